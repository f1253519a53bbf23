"""Routes of a container besides the default one: what its networks say leads where.

Where two networks of a container lead to the same destination, the first in gateway order does. What is next door on
any of them is never sent to a router, and the router itself has no route by way of itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from weft.errors import Conflict, Invalid
from weft.model import Endpoint, IPNetwork, Network, Pool, Sandbox, StaticRoute
from weft.plan import Route


def check_routes(routes: Sequence[StaticRoute], pools: Sequence[Pool], network: str) -> None:
    """Raises Invalid or Conflict for routes that a network of these pools cannot have."""
    gateways: dict[IPNetwork, StaticRoute] = {}
    for route in routes:
        _check_route(route, pools, network)
        other = gateways.setdefault(route.destination, route)
        if other is not route:
            raise Conflict(
                f"route {route.destination} is given twice, by way of {other.gateway} and of {route.gateway}: "
                "leave one out"
            )


def _check_route(route: StaticRoute, pools: Sequence[Pool], network: str) -> None:
    destination, gateway = route.destination, route.gateway
    if destination.version != gateway.version:
        raise Invalid(f"route {destination}: the gateway {gateway} is of the other family")
    if destination.prefixlen == 0:
        raise Invalid(f"route {destination}: the way to everywhere is the subnet's --gateway")
    near = next((pool for pool in pools if gateway in pool.subnet), None)
    if near is None:
        shown = ", ".join(str(pool.subnet) for pool in pools if pool.subnet.version == gateway.version) or "none"
        raise Invalid(
            f"route {destination}: gateway {gateway} is in no subnet of network {network!r} (IPv{gateway.version}: "
            f"{shown}); a router is a neighbour"
        )
    if near.subnet.num_addresses > 2 and gateway == near.subnet.network_address:
        raise Invalid(f"route {destination}: gateway {gateway} is the address of the subnet {near.subnet} itself")
    for pool in pools:
        if _within(destination, pool.subnet):
            raise Conflict(f"route {destination} is within the network's own subnet {pool.subnet}: no router is needed")


def routes(sandbox: Sandbox, endpoints: Sequence[Endpoint], networks: Mapping[str, Network]) -> Iterator[Route]:
    """`endpoints` in gateway order. What is next door comes first: gateways are reached through it."""
    for endpoint in endpoints:
        yield from _next_door(sandbox, endpoint, networks[endpoint.network])
    near = [pool.subnet for endpoint in endpoints for pool in networks[endpoint.network].pools]
    led: set[IPNetwork] = set()
    for endpoint in endpoints:
        own = [interface.ip for interface in endpoint.addresses]
        for route in networks[endpoint.network].routes:
            if route.gateway in own:  # It is the router, and knows the way by itself.
                led.add(route.destination)
            elif route.destination not in led and not any(_within(route.destination, subnet) for subnet in near):
                led.add(route.destination)
                yield Route(sandbox.key, route.destination, endpoint.ifname, route.gateway)


def _next_door(sandbox: Sandbox, endpoint: Endpoint, network: Network) -> Iterator[Route]:
    """The network's other subnets are on the same wire: neighbours there are spoken to without a router."""
    for own in endpoint.addresses:
        for pool in network.pools_of(own.version):
            if own.ip not in pool.subnet:
                yield Route(sandbox.key, pool.subnet, endpoint.ifname)


def _within(destination: IPNetwork, subnet: IPNetwork) -> bool:
    return destination.version == subnet.version and destination.subnet_of(subnet)  # type: ignore[arg-type]
