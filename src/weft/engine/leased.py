"""Networks whose IPv4 addresses are had from the LAN's own DHCP server: which can be, and what that makes of a request.

weft's own IPAM is called `default`, as Docker calls its own, and gives out IPv6 addresses there, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from weft.drivers import driver_named
from weft.drivers.parents import OnParent
from weft.engine.specs import EndpointSpec, NetworkSpec, PoolSpec
from weft.errors import Conflict, Invalid, NotFound
from weft.ipam.pools import any_of_size
from weft.model import Network

DEFAULT, DHCP = "default", "dhcp"


def check(spec: NetworkSpec, options: Mapping[str, str]) -> None:
    """`options` as the driver has accepted them. Raises NotFound (no such IPAM driver) or Invalid."""
    if spec.ipam not in (DEFAULT, DHCP):
        raise NotFound.named("IPAM driver", spec.ipam, (DEFAULT, DHCP))
    if spec.ipam == DEFAULT:
        return
    driver, what = driver_named(spec.driver), f"network {spec.name!r}: IPAM driver dhcp"
    if not isinstance(driver, OnParent):
        raise Invalid(
            f"{what} asks a server of the LAN, which a {spec.driver} network is not on; it takes driver macvlan or "
            "ipvlan, and a parent"
        )
    if not driver.uplink(options).name:
        raise Invalid(f"{what} needs to know where to ask: name a link of the host with --opt parent=LINK")
    if not driver.is_on_wire(options):
        raise Invalid(f"{what} needs ipvlan's mode l2: in the others no broadcast reaches the wire or the containers")
    if not spec.ipv4:
        raise Invalid(f"{what} gives IPv4 addresses: leave out --ipv4=false, or the IPAM driver")
    pools = pools4(spec)
    if len(pools) > 1:
        raise Invalid(f"{what} has one IPv4 subnet, that of the server; {len(pools)} were named")
    if pools and pools[0].ip_range is not None:
        raise Invalid(f"{what} leaves the choice to the server: leave out --ip-range {pools[0].ip_range}")


def check_known(spec: NetworkSpec) -> None:
    """Raises Invalid where nobody has said, or asked, what the subnet is."""
    if spec.ipam == DHCP and not knows_subnet(spec):
        raise Invalid(f"network {spec.name!r}: what is the subnet of its DHCP server? Name it with --subnet")


def knows_subnet(spec: NetworkSpec) -> bool:
    """Whether it was named, so that no server need be asked for it."""
    return any(pool.subnet is not None and not any_of_size(pool.subnet) for pool in pools4(spec))


def pools4(spec: NetworkSpec) -> list[PoolSpec]:
    return [pool for pool in spec.pools if _is_ipv4(pool)]


def _is_ipv4(pool: PoolSpec) -> bool:
    given = [part for part in (pool.subnet, pool.ip_range, pool.gateway, *pool.aux.values()) if part is not None]
    return all(part.version == 4 for part in given)


def settled(spec: EndpointSpec, network: Network) -> EndpointSpec:
    """With the address, and the MAC, that the lease is for. Raises Conflict without one, or with one for elsewhere."""
    lease = spec.lease
    if lease is None or lease.client.network != network.id:
        raise Conflict(f"network {network.name!r} has its addresses from a DHCP server, and none was asked for one")
    return replace(spec, ipv4=lease.address, mac=spec.mac or lease.client.mac)
