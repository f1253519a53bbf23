"""Turns the pools a user asked for into pools of a network, or refuses them by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_network

from weft.errors import Conflict, Invalid
from weft.ipam.leases import first_gateway
from weft.ipam.pools import any_of_size, clash, free_subnet
from weft.model import IPAddress, IPNetwork, Pool

Taken = Sequence[tuple[IPNetwork, str]]
"""Subnets that must not be overlapped, each with what it is: "network 'blue'", "a route of this host"."""

_NO_UNICAST: Taken = (
    (ip_network("127.0.0.0/8"), "loopback"),
    (ip_network("224.0.0.0/4"), "multicast"),
    (ip_network("::1/128"), "loopback"),
    (ip_network("ff00::/8"), "multicast"),
)


def accept_pool(
    *,
    subnet: IPNetwork | None,
    ip_range: IPNetwork | None,
    gateway: IPAddress | None,
    aux: dict[str, IPAddress],
    bases: Sequence[tuple[IPNetwork, int]],
    taken: Taken,
    with_gateway: bool,
) -> Pool:
    """One pool, whole: the subnet chosen if it was left open, the gateway chosen if the network has one.

    Raises Invalid, Conflict (overlap) or Exhausted.
    """
    if subnet is None or any_of_size(subnet):
        if ip_range is not None or gateway is not None or aux:
            raise Invalid("--ip-range, --gateway and --aux-address need a --subnet that they lie in")
        cut = [(base, subnet.prefixlen if subnet else prefix) for base, prefix in bases]
        chosen = free_subnet([c for c in cut if c[0].prefixlen <= c[1]], [network for network, _ in taken])
    else:
        chosen = _accept_subnet(subnet, taken)
    pool = Pool(subnet=chosen, ip_range=ip_range, aux=aux)
    _check_inside(pool, gateway)
    if gateway is not None:
        return replace(pool, gateway=gateway)
    return replace(pool, gateway=first_gateway(pool)) if with_gateway else pool


def _accept_subnet(subnet: IPNetwork, taken: Taken) -> IPNetwork:
    special = clash(subnet, _NO_UNICAST)
    if special is not None:
        raise Invalid(f"subnet {subnet} cannot be used for containers: it has {special[1]} addresses ({special[0]})")
    other = clash(subnet, taken)
    if other is not None:
        raise Conflict(f"subnet {subnet} overlaps {other[1]} ({other[0]})")
    return subnet


def _check_inside(pool: Pool, gateway: IPAddress | None) -> None:
    subnet = pool.subnet
    if pool.ip_range is not None and not (
        pool.ip_range.version == subnet.version and pool.ip_range.subnet_of(subnet)  # type: ignore[arg-type]
    ):
        raise Invalid(f"ip-range {pool.ip_range} is not inside the subnet {subnet}")
    named = [("gateway", gateway)] if gateway is not None else []
    for what, address in (*named, *((f"aux-address {name!r}", a) for name, a in pool.aux.items())):
        if address not in subnet:
            raise Invalid(f"{what} {address} is not inside the subnet {subnet}")
    if gateway is not None and gateway in pool.aux.values():
        raise Conflict(f"gateway {gateway} is also an aux-address")
    if gateway is not None and subnet.prefixlen < subnet.max_prefixlen - 1 and gateway == subnet.network_address:
        raise Invalid(f"gateway {gateway} is the address of the subnet itself")
    if gateway is not None and subnet.version == 4 and subnet.prefixlen < 31 and gateway == subnet.broadcast_address:
        raise Invalid(f"gateway {gateway} is the broadcast address of {subnet}")
