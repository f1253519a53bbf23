"""A container explained: its network stack, its place on each network, its way out, its names, its ports.

The sections stand in the order in which one would build all of it by hand.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from weft.explain.explanation import Drift, Explanation, Line, Section, explanation
from weft.explain.items import item_line
from weft.explain.leases import lease_lines
from weft.explain.ports import port_lines
from weft.model import DhcpLease, Endpoint, IPAddress, Network, Sandbox
from weft.names import NAMESERVER, detour, veth
from weft.plan import (
    HOST,
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
)

Answers = Mapping[str, Sequence[IPAddress]]
"""What the name server said when asked inside the container: name to addresses, none if it knows no such name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """Another container on a network."""

    name: str
    addresses: tuple[IPAddress, ...]
    mac: str
    names: tuple[str, ...]
    """All that it answers to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A container's place on one network."""

    endpoint: Endpoint
    network: Network
    names: tuple[str, ...]
    neighbours: tuple[Neighbour, ...]
    plan: Plan
    """The network's own."""
    lease: DhcpLease | None = None
    """Of its IPv4 address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerFacts:
    sandbox: Sandbox
    condition: str
    attachments: tuple[Attachment, ...]
    """In gateway order."""
    plan: Plan
    """The container's own; empty if it has ended."""
    drift: Drift
    """Of the container's plan and its networks'."""
    firewall: bool | None
    """Whether the rules of `table inet weft` are as written; None: not looked at."""
    answers: Answers | None
    """None: the name server was not asked, or does not answer at all."""
    elsewhere: str = ""
    """none, host, or container:NAME, in the place of networks."""
    now: float = 0.0
    holds_ports: bool = True
    """Whether its published ports are ports of the host."""


def explain_container(facts: ContainerFacts) -> Explanation:
    sandbox = facts.sandbox
    if not sandbox.origin.own:
        sections = [_foreign_stack(facts)] if facts.elsewhere else []
        return explanation("container", sandbox.id, sandbox.name, facts.condition, sections)
    sections = [_stack(facts)]
    for attachment in facts.attachments:
        sections += (_interface(attachment, facts), _neighbours(attachment))
    sections += (_routes(facts), _names(facts), _ports(facts), _firewall(facts))
    return explanation("container", sandbox.id, sandbox.name, facts.condition, sections)


def _stack(facts: ContainerFacts) -> Section:
    return Section(
        title="Its network stack",
        lines=tuple(item_line(item, facts.drift) for item in facts.plan if isinstance(item, Netns | Loopback)),
    )


def _foreign_stack(facts: ContainerFacts) -> Section:
    _, shares, owner = facts.elsewhere.partition(":")
    if shares:
        line = Line(
            text=f"the network of container {owner}, whole",
            why=f"Interfaces, addresses, names and ports are {owner}'s, and end with {owner}; `weft explain {owner}` "
            "shows them.",
        )
    else:
        line = Line(
            text="the host's own network",
            why="Nothing of it is weft's: no address, no name, no published port. It listens on the host's own ports.",
        )
    return Section(title="Its network stack", lines=(line,))


def _interface(attachment: Attachment, facts: ContainerFacts) -> Section:
    network, endpoint = attachment.network, attachment.endpoint
    shared = [item for item in attachment.plan if not isinstance(item, NftElement | Sysctl)]
    own = sorted((item for item in facts.plan if _is_of(endpoint, item)), key=_is_rule)
    subnets = ", ".join(str(pool.subnet) for pool in network.pools)
    return Section(
        title=f"{endpoint.ifname}, on network {network.name}",
        intro=f"A network of driver {network.driver}, {subnets}.",
        lines=(
            *(shared_line(item, network, facts.drift) for item in shared),
            *(item_line(item, facts.drift) for item in own),
            *lease_lines(attachment.lease, endpoint, now=facts.now),
        ),
    )


def shared_line(item: Item, network: Network, drift: Drift) -> Line:
    """A line of what all containers on a network have in common."""
    no_way_out = "The host's own address on the network. It is no way out, since the network is internal."
    return item_line(item, drift, why=no_way_out if network.internal and isinstance(item, Address) else "")


def _is_of(endpoint: Endpoint, item: Item) -> bool:
    match item:
        case Route(netns=netns, destination=destination):
            return netns == HOST and destination.network_address in [a.ip for a in endpoint.addresses]
        case Guard(port=port):
            return port == veth(endpoint.id)
        case Veth(peer=link) | Child(name=link) | Address(link=link):
            return item.netns != HOST and link == endpoint.ifname
        case Shaper(link=link):
            return link in (veth(endpoint.id), detour(endpoint.id)) or (item.netns != HOST and link == endpoint.ifname)
        case Detour(link=link):
            return link == endpoint.ifname
        case ProxyNeighbour(address=address):
            return address in [interface.ip for interface in endpoint.addresses]
        case Sysctl():
            return (item.key, item.value) in endpoint.sysctls
        case NftElement(family="bridge", key=(port, *_)):
            return port == veth(endpoint.id)
        case Netns() | Loopback() | SandboxTable() | NftElement():
            return False
        case _:
            return getattr(item, "link", getattr(item, "peer", None)) == endpoint.ifname


def _is_rule(item: Item) -> bool:
    return isinstance(item, NftElement | Guard)


def _neighbours(attachment: Attachment) -> Section:
    network = attachment.network.name
    return Section(
        title=f"Neighbours on network {network}",
        intro="The other containers on it, and what they are called there.",
        lines=tuple(neighbour_line(neighbour) for neighbour in attachment.neighbours),
    )


def neighbour_line(neighbour: Neighbour) -> Line:
    addresses = " ".join(str(address) for address in neighbour.addresses)
    others = [name for name in neighbour.names if name != neighbour.name]
    also = f", also called {', '.join(others)}" if others else ""
    mac = f" (MAC {neighbour.mac})" if neighbour.mac else ""
    return Line(text=f"{neighbour.name} at {addresses}{mac}{also}")


def _routes(facts: ContainerFacts) -> Section:
    lines = [item_line(item, facts.drift) for item in facts.plan if isinstance(item, Route) and item.netns != HOST]
    if facts.attachments and not any(isinstance(item, Route) and item.is_default for item in facts.plan):
        internal = all(attachment.network.internal for attachment in facts.attachments)
        why = "Every network of it is internal." if internal else "No network of it has a gateway."
        lines.append(Line(text="no default route: nothing outside its networks can be reached", why=why))
    return Section(title="Its way out", lines=tuple(lines))


# Names


def _names(facts: ContainerFacts) -> Section:
    servers = ", ".join(str(server) for server in facts.sandbox.dns) or "those of the host"
    lines = [item_line(item, facts.drift) for item in facts.plan if isinstance(item, SandboxTable)]
    for attachment in facts.attachments:
        lines += _names_on(attachment, facts.answers)
    return Section(
        title="Its names",
        intro=f"Its neighbours ask {NAMESERVER}, as it does itself. What weft does not know is asked of other servers: "
        f"{servers}.",
        lines=tuple(lines),
    )


def _names_on(attachment: Attachment, answers: Answers | None) -> Iterator[Line]:
    expected = tuple(interface.ip for interface in attachment.endpoint.addresses)
    shown = " and ".join(str(address) for address in expected)
    network = attachment.network.name
    for name in attachment.names:
        asked = qualified(name, network)
        text = f"{name} → {shown or 'no address'}, on {network}"
        why = "Whoever is on that network finds it by this name. The name with the network's means that one only."
        if answers is None:
            yield Line(text=text, why=why)
            continue
        said = answers.get(asked, ())
        right = set(expected) <= set(said)
        yield Line(
            text=text,
            why=why,
            state="present" if right else "different" if said else "missing",
            found="" if right else " ".join(str(address) for address in said),
        )


def qualified(name: str, network: str) -> str:
    """The name that means just this network, whatever else the asker is on."""
    return f"{name}.{network}"


# Ports and firewall


def _ports(facts: ContainerFacts) -> Section:
    if not facts.plan:
        return Section(title="Published ports", lines=())
    return Section(
        title="Published ports",
        intro="Doors from the outside: a port of the host that leads to one of the container, or, where the network is "
        "routed, the container's own port.",
        lines=tuple(port_lines(facts.sandbox.ports, facts.plan, facts.drift, held=facts.holds_ports)),
    )


def _firewall(facts: ContainerFacts) -> Section:
    lines = []
    for attachment in facts.attachments:
        lines += [item_line(item, facts.drift) for item in attachment.plan if isinstance(item, NftElement | Sysctl)]
    if facts.attachments and facts.firewall is not None:
        lines.insert(0, table_line(intact=facts.firewall))
    return Section(
        title="What the host lets pass",
        intro="One table of rules for all containers. The rules look things up in sets and maps, which are all that "
        "grows with containers and ports.",
        lines=tuple(dict.fromkeys(lines)),
    )


def table_line(*, intact: bool, commands: tuple[str, ...] = ()) -> Line:
    """The line of the host's table as a whole."""
    return Line(
        text="table inet weft: its rules are those that weft wrote",
        why="Forwarded to a container is what belongs to a connection it began, comes from its own network, or was "
        "published. All else is dropped. Read them with: nft list table inet weft",
        state="present" if intact else "different",
        found="" if intact else "no such table, or other rules or elements in it",
        commands=commands,
    )
