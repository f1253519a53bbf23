"""Networks on a link that the host has already: what of it is the network's, and what stays the host's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from weft.drivers import driver_named
from weft.drivers.driver import Borrowing
from weft.engine.specs import NetworkSpec, PoolSpec
from weft.engine.state import Records
from weft.errors import Conflict
from weft.ipam.pools import any_of_size
from weft.model import Borrowed, IPInterface


def found_link(
    spec: NetworkSpec, options: Mapping[str, str], records: Records, borrow: Callable[[str], Borrowed | None]
) -> Borrowed | None:
    """The link that the options name, as it is there now; None: weft makes it, or its driver needs none.

    Raises Conflict if another network has it, or if it will not do.
    """
    driver = driver_named(spec.driver)
    link = driver.asked_link(options) if isinstance(driver, Borrowing) else ""
    if not link:
        return None
    for other in records.networks.values():
        if driver_named(other.driver).link(other) == link:
            raise Conflict(f"bridge {link} is that of network {other.name!r}; a network has a bridge of its own")
    return borrow(link)


def settled(spec: NetworkSpec, options: Mapping[str, str], borrowed: Borrowed | None) -> NetworkSpec:
    """The spec with the link's own addresses in its pools: one is the gateway, unless another is named, and none of
    them is given to a container."""
    if borrowed is None:
        return spec
    driver = driver_named(spec.driver)
    link = driver.asked_link(options) if isinstance(driver, Borrowing) else ""
    return replace(spec, pools=tuple(_settled(pool, link, borrowed) for pool in spec.pools))


def _settled(pool: PoolSpec, link: str, borrowed: Borrowed) -> PoolSpec:
    if pool.subnet is None or any_of_size(pool.subnet):
        return pool
    own = [address.ip for address in borrowed.addresses if _is_in(pool, address)]
    if own and pool.gateway is None:
        pool = replace(pool, gateway=own[0])
    others = [address for address in own if address != pool.gateway and address not in pool.aux.values()]
    named = {link if not number else f"{link}-{number + 1}": address for number, address in enumerate(others)}
    return replace(pool, aux={**named, **pool.aux})


def _is_in(pool: PoolSpec, address: IPInterface) -> bool:
    assert pool.subnet is not None
    return address.version == pool.subnet.version and address.ip in pool.subnet
