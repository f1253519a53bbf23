"""Plans of whole sandboxes: what drivers say of each endpoint, and what belongs to the sandbox itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from ipaddress import ip_network

from weft.drivers import claim_on_parent, driver_named
from weft.drivers.driver import Publishing, WayOut
from weft.engine.needs import Holder, View
from weft.engine.routes import routes
from weft.firewall.elements import port_elements, routed_port_elements
from weft.firewall.guard import guards, sender_elements
from weft.firewall.policy import endpoint_policy_elements, network_policy_elements
from weft.model import Endpoint, IPAddress, Network, Origin, Sandbox
from weft.names import NAMESERVER_PORT, detour, short, veth
from weft.plan import (
    Address,
    Child,
    Detour,
    Guard,
    Item,
    Loopback,
    Netns,
    NftElement,
    Plan,
    ProxyNeighbour,
    Route,
    SandboxTable,
    Shaper,
    Sysctl,
    Veth,
    Vlan,
    superseded,
)

_AS_ASKED = "the interface behaves as was asked for"
_DEFAULT = {4: ip_network("0.0.0.0/0"), 6: ip_network("::/0")}

# Of one kind at a time, so that the kernel room can send each namespace's share as one batch. The table, which refuses
# router advertisements, is there before a link that is plugged into somebody else's network.
_ORDER: dict[type[Item], int] = {
    kind: rank
    for rank, kind in enumerate(
        (
            Netns,
            SandboxTable,
            Veth,
            Guard,
            Child,
            Detour,
            Shaper,
            Loopback,
            Address,
            Route,
            ProxyNeighbour,
            Sysctl,
            NftElement,
        ),
    )
}
_WITH_NAMESPACES = _ORDER[Netns]

Networks = Mapping[str, Network]


def network_plan(network: Network) -> Plan:
    return (*_network_policy(network), *driver_named(network.driver).network(network))


def _network_policy(network: Network) -> tuple[NftElement, ...]:
    bridge = driver_named(network.driver).link(network)
    return () if network.policy is None or bridge is None else network_policy_elements(network, bridge)


def network_leavings(network: Network, others: Iterable[Network]) -> Plan:
    """What goes with a network: all but a VLAN sub-interface that another one is on as well."""
    plan = network_plan(network)
    if not any(isinstance(item, Vlan) for item in plan):
        return plan
    shared = (
        item
        for other in others
        if other.id != network.id and claim_on_parent(other) is not None
        for item in network_plan(other)
    )
    return superseded(plan, tuple(shared))


def sandbox_plan(sandbox: Sandbox, endpoints: Sequence[Endpoint], networks: Networks) -> Plan:
    """All that a sandbox has in the kernel: nothing, unless the namespace is its own. `endpoints` in gateway order."""
    if not sandbox.origin.own:
        return ()
    items: list[Item] = [Netns(sandbox.key, source_of(sandbox)), Loopback(sandbox.key)]
    for endpoint in endpoints:
        network = networks[endpoint.network]
        items.extend(driver_named(network.driver).endpoint(network, endpoint, sandbox))
        items.extend(Sysctl(sandbox.key, key, value, _AS_ASKED) for key, value in endpoint.sysctls)
    items.extend(routes(sandbox, endpoints, networks))
    for version in (4, 6):
        found = gateway(endpoints, networks, version)
        if found is not None:
            endpoint, way = found
            items.append(Route(sandbox.key, _DEFAULT[version], endpoint.ifname, way.via))
    ipv6 = any(endpoint.ipv6 for endpoint in endpoints)
    items.append(SandboxTable(sandbox.key, NAMESERVER_PORT, ipv6))
    items.extend(_own_policies(endpoints, networks))
    items.extend(_leaving_by_the_way_out(endpoints, networks))
    items.extend(_published(sandbox, endpoints, networks))
    items.extend(guards(items, borrowed=_borrowed_bridges(endpoints, networks)))
    return tuple(sorted(items, key=_rank))


def _borrowed_bridges(endpoints: Sequence[Endpoint], networks: Networks) -> list[str]:
    own = (networks[endpoint.network] for endpoint in endpoints)
    links = (driver_named(network.driver).link(network) for network in own if network.borrowed is not None)
    return [link for link in links if link is not None]


def _rank(item: Item) -> int:
    # What a port may send is known before the port is there; what leads to it comes last.
    before = isinstance(item, NftElement) and item.family == "bridge"
    return _WITH_NAMESPACES if before else _ORDER[type(item)]


def sandbox_elements(sandbox: Sandbox, endpoints: Sequence[Endpoint], networks: Networks) -> tuple[NftElement, ...]:
    """What the host's firewall knows of a sandbox: the same elements as in its plan."""
    of_endpoints = (
        item
        for endpoint in endpoints
        for item in driver_named(networks[endpoint.network].driver).endpoint(
            networks[endpoint.network], endpoint, sandbox
        )
        if isinstance(item, NftElement)
    )
    return (
        *of_endpoints,
        *_own_policies(endpoints, networks),
        *_leaving_by_the_way_out(endpoints, networks),
        *_published(sandbox, endpoints, networks),
    )


def _own_policies(endpoints: Sequence[Endpoint], networks: Networks) -> Iterator[NftElement]:
    for endpoint in endpoints:
        network = networks[endpoint.network]
        bridge = driver_named(network.driver).link(network)
        if endpoint.policy is not None and bridge is not None:
            yield from endpoint_policy_elements(network, endpoint, bridge)


def _leaving_by_the_way_out(endpoints: Sequence[Endpoint], networks: Networks) -> Iterator[NftElement]:
    """Whoever asks a container at its address on one network is answered from there, but by the default route."""
    for version in (4, 6) if len(endpoints) > 1 else ():
        found = gateway(endpoints, networks, version)
        if found is None or not driver_named(networks[found[0].network].driver).guards(networks[found[0].network]):
            continue
        others = [e for e in endpoints if e is not found[0] and _is_reached_directly(networks[e.network], version)]
        addresses = [own for endpoint in others if (own := endpoint.address(version)) is not None]
        yield from sender_elements(veth(found[0].id), found[0].mac, addresses)


def _is_reached_directly(network: Network, version: int) -> bool:
    """Whether anybody beyond the network may ask a container at its own address."""
    ways = ("routed", "open", f"trusted{version}")
    plan = driver_named(network.driver).network(network)
    return any(isinstance(item, NftElement) and item.name in ways for item in plan)


def _published(sandbox: Sandbox, endpoints: Sequence[Endpoint], networks: Networks) -> tuple[NftElement, ...]:
    if not sandbox.ports:
        return ()
    rewritten = port_elements(sandbox.ports, *targets(endpoints, networks))
    opened = (
        element
        for address in routed_targets(endpoints, networks)
        for element in routed_port_elements(sandbox.ports, address)
    )
    return (*rewritten, *opened)


def inner_links(endpoints: Iterable[Endpoint]) -> set[str]:
    """What links of weft's may be called in a container."""
    return {name for endpoint in endpoints for name in (endpoint.ifname, detour(endpoint.id))}


def source_of(sandbox: Sandbox) -> str | None:
    """The path of a namespace that is not ours; None for one that we make."""
    if sandbox.origin is Origin.PID:
        return f"/proc/{sandbox.source.partition(':')[0]}/ns/net"
    return sandbox.source if sandbox.origin is Origin.PATH else None


def gateway(endpoints: Sequence[Endpoint], networks: Networks, version: int) -> tuple[Endpoint, WayOut] | None:
    """The endpoint that carries the default route of a family, and where that leads."""
    for endpoint in endpoints:
        way = way_out(endpoint, networks[endpoint.network], version)
        if way is not None:
            return endpoint, way
    return None


def way_out(endpoint: Endpoint, network: Network, version: int) -> WayOut | None:
    """How an endpoint's network is left, if it can be and the endpoint has that family."""
    if endpoint.address(version) is None:
        return None
    return driver_named(network.driver).way_out(network, endpoint, version)


def endpoint_gateway(endpoint: Endpoint, network: Network, version: int) -> IPAddress | None:
    """The router on an endpoint's network, if there is one and the endpoint has that family."""
    way = way_out(endpoint, network, version)
    return None if way is None else way.via


def targets(endpoints: Sequence[Endpoint], networks: Networks) -> tuple[IPAddress | None, IPAddress | None]:
    """The container addresses that published ports lead to: those through which answers leave."""
    return _target(endpoints, networks, 4), _target(endpoints, networks, 6)


def routed_targets(endpoints: Sequence[Endpoint], networks: Networks) -> list[IPAddress]:
    """The container addresses at which published ports are opened: on every network that is routed, gateway or not."""
    return [
        interface.ip
        for endpoint in endpoints
        for interface in endpoint.addresses
        if _publishing(networks[endpoint.network], interface.version) == "routed"
    ]


def holds_ports(endpoints: Sequence[Endpoint], networks: Networks) -> bool:
    """Whether published ports are ports of the host, or become some when one of the networks is left."""
    return any(
        _publishing(networks[endpoint.network], interface.version) == "nat"
        for endpoint in endpoints
        for interface in endpoint.addresses
    )


def _publishing(network: Network, version: int) -> Publishing | None:
    return driver_named(network.driver).publishes(network, version)


def _target(endpoints: Sequence[Endpoint], networks: Networks, version: int) -> IPAddress | None:
    found = gateway(endpoints, networks, version)
    if found is None:
        return None
    endpoint, network = found[0], networks[found[0].network]
    address = endpoint.address(version)
    return address.ip if address is not None and _publishing(network, version) == "nat" else None


def holder(sandbox: Sandbox, endpoint: Endpoint) -> Holder:
    names = dict.fromkeys((sandbox.name, *endpoint.aliases, short(sandbox.id)))
    return Holder(
        endpoint=endpoint.id, names=tuple(names), addresses=tuple(interface.ip for interface in endpoint.addresses)
    )


def view(sandbox: Sandbox, endpoints: Sequence[Endpoint], networks: Networks) -> View:
    return View(
        sandbox=sandbox.id,
        networks=tuple(endpoint.network for endpoint in endpoints),
        forward=any(not networks[endpoint.network].internal for endpoint in endpoints),
        servers=sandbox.dns,
        links=tuple((alias, short(target)) for endpoint in endpoints for alias, target in endpoint.links),
    )
