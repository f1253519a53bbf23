"""The ways of packets on networks that branch off from a link of the host: weft and its rules have no part in them."""

from __future__ import annotations

from collections.abc import Iterator

from weft.explain.reach import steps
from weft.explain.reach.facts import Party, ReachFacts, Step
from weft.model import Endpoint, IPAddress, Network
from weft.plan import HOST, Child, Dummy, Item, Route


def let_talk(network: Network, facts: ReachFacts) -> Iterator[Step]:
    """Between two containers of the network."""
    child = next((i for i in facts.target.plan if isinstance(i, Child) and _is_on(i, network, facts)), None)
    if child is None:
        return
    how = child.flag if child.kind == "ipvlan" else child.mode
    setting = f"{child.kind}, {how}"
    if how == "private":
        yield Step(
            holds="no",
            text=f"network {network.name} keeps its containers apart ({setting})",
            why=f"What one of them sends goes out through {child.parent}, to others on the wire. A network in mode "
            "bridge lets them talk.",
        )
    elif how == "vepa":
        yield Step(
            holds="perhaps",
            text=f"the switch behind {child.parent} must send it back ({setting})",
            why="The kernel hands nothing from one container to the other. A switch that reflects frames (802.1Qbg, "
            "hairpin mode) does.",
        )
    else:
        yield Step(holds="yes", text=f"the kernel passes it on beneath {child.parent} ({setting})")


def _is_on(child: Child, network: Network, facts: ReachFacts) -> bool:
    parent = steps.parent_of(facts.network_plans[network.id])
    return parent is not None and child.parent == parent.name and child.kind == parent.kind


def to_host(endpoint: Endpoint, network: Network, facts: ReachFacts) -> Step:
    """From a container to an address of the host's."""
    parent = steps.parent_of(facts.network_plans[network.id])
    shims = [i for i in facts.network_plans[network.id] if isinstance(i, Child) and i.netns == HOST]
    if shims:
        holding: list[Item] = [*shims, *_ways(facts.source, endpoint)]
        wrong = [item for item in holding if item in facts.drift]
        if wrong:
            return steps.lacking(f"the host has no link of its own on network {network.name}", wrong, facts)
        return Step(holds="yes", text=f"the host has a link of its own on network {network.name} ({shims[0].name})")
    return _no_access(network, parent.name if parent else "its parent")


def _ways(party: Party, endpoint: Endpoint) -> list[Route]:
    addresses = [interface.ip for interface in endpoint.addresses]
    routes = [i for i in party.plan if isinstance(i, Route) and i.netns == HOST]
    return [route for route in routes if route.destination.network_address in addresses]


def from_host(endpoint: Endpoint, network: Network, facts: ReachFacts) -> Iterator[Step]:
    ways = _ways(facts.target, endpoint)
    wrong = [way for way in ways if way in facts.drift]
    if wrong:
        yield steps.lacking(f"the host has lost its way to {facts.target.name}", wrong, facts)
    elif ways:
        yield Step(holds="yes", text=f"the host has a way to {facts.target.name} of its own ({ways[0].link})")
    else:
        parent = steps.parent_of(facts.network_plans[network.id])
        yield _no_access(network, parent.name if parent else "its parent")


def _no_access(network: Network, parent: str) -> Step:
    return Step(
        holds="no",
        text=f"the host and the containers on network {network.name} do not reach each other through {parent}",
        why=f"The kernel passes nothing between a parent and the {network.driver} links that branch off from it. A "
        "macvlan network made with host-access=true gives the host a link of its own.",
        mend=("weft network create -d macvlan --opt host-access=true …",) if network.driver == "macvlan" else (),
    )


def to_outside(endpoint: Endpoint, network: Network, address: IPAddress | None, facts: ReachFacts) -> Iterator[Step]:
    """Past the container's own interface."""
    plan = facts.network_plans[network.id]
    parent = steps.parent_of(plan)
    name = parent.name if parent else "its parent"
    if any(isinstance(item, Dummy) for item in plan):
        yield Step(holds="no", text=f"network {network.name} has no parent: {name} leads nowhere")
    elif address is not None and any(address in interface.network for interface in endpoint.addresses):
        yield Step(
            holds="perhaps",
            text=f"{address} is asked for on the wire of {name}",
            why="What is on that wire, weft does not see. The host's own rules and routes have no part in it.",
        )
    else:
        yield Step(
            holds="perhaps",
            text=f"it leaves through {name} as it is, for a router that weft does not see",
            why="The host's own rules and routes have no part in it: no NAT, no firewall of weft's.",
        )


def from_outside(endpoint: Endpoint, network: Network, facts: ReachFacts) -> Step:
    parent = steps.parent_of(facts.network_plans[network.id])
    name = parent.name if parent else "its parent"
    shown = " and ".join(str(interface.ip) for interface in endpoint.addresses)
    return Step(
        holds="perhaps",
        text=f"{facts.target.name} is on the wire of {name} itself, at {shown}: every port is open there",
        why="Nothing is published, nothing is refused: who is on that wire reaches it as any machine. Who is further "
        "away needs a router that knows the way.",
    )
