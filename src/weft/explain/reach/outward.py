"""The way of a container's packets to the world outside the host."""

from __future__ import annotations

from collections.abc import Iterator

from weft.explain.health.facts import HostFacts
from weft.explain.reach import direct, policy, steps, wires
from weft.explain.reach.facts import ReachFacts, Step
from weft.model import Endpoint, IPAddress
from weft.plan import HOST, NftElement, Route


def to_outside(facts: ReachFacts) -> Iterator[Step]:
    version = facts.asked.address.version if facts.asked.address else 4
    if facts.asked.name:
        yield _outside_name(facts)
    near = _next_door(facts)
    if near is None:
        route = steps.default_route(facts.source, version, facts)
        yield route
        if route.holds == "no":
            return
    endpoint = near or _leading_endpoint(facts, version)
    if endpoint is not None:
        network = facts.networks[endpoint.network]
        yield steps.interface(facts.source, endpoint, network, facts)
        if steps.on_wire(network, facts):
            yield from wires.to_outside(endpoint, network, facts.asked.address, facts)
            return
        yield from policy.asked(endpoint, network, facts)
        yield steps.forwards(version, facts)
        plan = facts.network_plans[network.id]
        if not direct.host_is_on(network, version, facts):
            yield Step(holds="perhaps", text=f"on network {network.name} another router passes it on, not this host")
            return
        outbound = [*direct.of_family(plan, "outbound", version), *steps.elements(plan, f"snat{version}")]
        text = "weft lets pass what containers send"
        source = next((i.value[0] for i in outbound if isinstance(i, NftElement) and i.value is not None), None)
        if outbound:
            text += "; it leaves under " + ("the host's address" if source is None else f"the address {source}")
        yield steps.weft_lets_pass([*outbound, *steps.elements(plan, "bridges")], text, facts)
        if source is not None and source not in facts.host.addresses:
            yield Step(
                holds="perhaps",
                text=f"{source} is no address of this host",
                why="Answers come back only if what is around the host leads them here.",
            )
        if not outbound:
            yield Step(
                holds="perhaps",
                text=f"network {network.name} does not masquerade IPv{version}: the packet keeps its address",
                why="Answers come back only if the routers outside know a way to the network's addresses.",
            )
        yield from steps.others_let_pass(network, version, facts)
    yield _host_route(facts.host, facts.asked.address, version)


def _next_door(facts: ReachFacts) -> Endpoint | None:
    """The endpoint on whose wire the address is: no router is needed."""
    address = facts.asked.address
    if address is None:
        return None
    on_wires = [e for e in facts.source.endpoints if steps.on_wire(facts.networks[e.network], facts)]
    return next((e for e in on_wires if any(address in interface.network for interface in e.addresses)), None)


def _leading_endpoint(facts: ReachFacts, version: int) -> Endpoint | None:
    """The one that carries the default route."""
    routes = [i for i in facts.source.plan if isinstance(i, Route) and i.netns != HOST and i.is_default]
    link = next((i.link for i in routes if i.destination.version == version), "")
    carrying = next((e for e in facts.source.endpoints if e.ifname == link), None)
    return carrying or gateway_endpoint(facts, version)


def _outside_name(facts: ReachFacts) -> Step:
    source = facts.source
    networks = [facts.networks[endpoint.network] for endpoint in source.endpoints]
    if networks and all(network.internal for network in networks):
        return Step(
            holds="no",
            text=f"{source.name} resolves only the names of its neighbours: every network of it is internal",
            why=f"{facts.asked.name} is none of them, and the question is not passed on.",
        )
    servers = [str(s) for s in source.sandbox.dns] if source.sandbox else []
    shown = ", ".join(servers or facts.host.nameservers)
    if not shown:
        return Step(holds="no", text=f"nobody can be asked for {facts.asked.name}: there is no upstream name server")
    return Step(holds="perhaps", text=f"{facts.asked.name} is no name of weft's: {shown} is asked for it")


def _host_route(host: HostFacts, address: IPAddress | None, version: int) -> Step:
    near = [r for r in host.routes if address is not None and address in r.destination]
    if near:
        return Step(holds="yes", text=f"the host reaches {near[0].destination} through {near[0].link}")
    out = [route for route in host.default_routes if route.version == version]
    if out:
        return Step(holds="yes", text=f"the host passes it on through {out[0].link}")
    return Step(
        holds="no",
        text=f"the host itself has no IPv{version} route there",
        why="Containers reach no more than the host does.",
    )


def gateway_endpoint(facts: ReachFacts, version: int) -> Endpoint | None:
    """The endpoint on whose network the asked address of the host is, else the first with that family."""
    endpoints = facts.source.endpoints
    for endpoint in endpoints:
        if any(facts.asked.address in interface.network for interface in endpoint.addresses if facts.asked.address):
            return endpoint
    leading = [e for e in endpoints if not facts.networks[e.network].internal]
    return next((e for e in leading if any(a.version == version for a in e.addresses)), None)
