"""The steps that several ways have in common."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from weft.explain.health.firewalls import in_the_way, shut_chains
from weft.explain.items import wording
from weft.explain.reach.facts import Listener, Party, ReachFacts, Step
from weft.model import Endpoint, IPAddress, Network
from weft.names import veth
from weft.plan import HOST, Address, Bridge, Child, Dummy, Item, Netns, NftElement, Parent, Plan, Route, Veth, Vlan

FIX = ("weft doctor --fix",)


def ended(party: Party) -> Iterator[Step]:
    """Only if a container has ended: then nothing else needs to be asked."""
    if party.sandbox is not None and party.sandbox.exit is not None:
        code = party.sandbox.exit.code
        yield Step(holds="no", text=f"{party.name} has exited (code {code}), and has no network any more")


def resolves(facts: ReachFacts, expected: Sequence[IPAddress]) -> Step:
    """What the name means to the source."""
    name, source = facts.asked.name, facts.source.name
    if not facts.name_server:
        return Step(
            holds="no",
            text=f"nobody answers {source}'s questions for names",
            why="weft's name server does not run, or its rules in the container are gone.",
            mend=FIX,
        )
    said = facts.answers or ()
    shown = " and ".join(str(address) for address in said)
    if set(said) & set(expected):
        others = [address for address in said if address not in expected]
        more = " Others bear the name as well; clients choose among the addresses." if others else ""
        return Step(holds="yes", text=f"{source} resolves {name} to {shown}", why=f"Asked just now, in {source}.{more}")
    if said:
        return Step(
            holds="no",
            text=f"{source} resolves {name} to {shown}, which is not {facts.target.name}",
            why="A name means what it means on the first of the container's networks that knows it.",
        )
    return Step(
        holds="no",
        text=f"{source} cannot resolve {name}",
        why=f"The name server knows no such name on its networks. By address it may be reached: "
        f"{', '.join(map(str, expected))}.",
    )


def interface(party: Party, endpoint: Endpoint, network: Network, facts: ReachFacts) -> Step:
    """The container's own interface, and the way from there to the network's bridge."""
    items = [item for item in party.plan if _of_interface(item, endpoint)]
    items += [item for item in facts.network_plans[network.id] if isinstance(item, Bridge | Parent | Vlan | Dummy)]
    wrong = [item for item in items if item in facts.drift]
    if wrong:
        text = f"{party.name} is not connected to network {network.name} as it should be"
        return lacking(text, wrong, facts, more=_guarded(party, endpoint, wrong))
    shown = " and ".join(str(address.ip) for address in endpoint.addresses)
    return Step(
        holds="yes", text=f"{party.name} has {endpoint.ifname} with {shown} on network {network.name}, and it is up"
    )


def _of_interface(item: Item, endpoint: Endpoint) -> bool:
    match item:
        case Veth(peer=link) | Child(name=link) | Address(link=link):
            return link == endpoint.ifname
        case NftElement(family="bridge", key=(port, *_)):
            return port == veth(endpoint.id)
        case _:
            return isinstance(item, Netns)


def _guarded(party: Party, endpoint: Endpoint, wrong: Sequence[Item]) -> str:
    """What the guard on the bridge makes of it, if there is one."""
    own = [i for i in party.plan if isinstance(i, NftElement) and i.family == "bridge" and _of_interface(i, endpoint)]
    if any(item in wrong for item in own):
        return f" Without that the bridge drops what {party.name} sends."
    if not own or own[0].name == "unguarded" or not any(isinstance(item, Veth | Address) for item in wrong):
        return ""
    return f" If it was changed inside: the bridge drops what {party.name} sends from any other MAC or address."


def default_route(party: Party, version: int, facts: ReachFacts) -> Step:
    inside = [i for i in party.plan if isinstance(i, Route) and i.netns != HOST and i.is_default]
    routes = [route for route in inside if route.destination.version == version]
    family = f"IPv{version}"
    if not routes:
        networks = [facts.networks[endpoint.network] for endpoint in party.endpoints]
        if networks and all(network.internal for network in networks):
            return Step(
                holds="no",
                text=f"{party.name} has no way out: every network of it is internal",
                why="An internal network has no router; nothing leads out of it.",
                mend=(f"weft network connect NETWORK {party.name}",),
            )
        return Step(
            holds="no",
            text=f"{party.name} has no {family} way out",
            why=f"No network of it that leads outside has {family}.",
        )
    if routes[0] in facts.drift:
        return lacking(f"{party.name} has lost its way out", [routes[0]], facts)
    if routes[0].via is None or not _is_hosts(routes[0], party, facts):
        return Step(holds="yes", text=f"{party.name} has a way out ({wording(routes[0])[0]})")
    return Step(holds="yes", text=f"{party.name} sends it to the host ({wording(routes[0])[0]})")


def _is_hosts(route: Route, party: Party, facts: ReachFacts) -> bool:
    """Whether the router is the host."""
    network = next((e.network for e in party.endpoints if e.ifname == route.link), "")
    return parent_of(facts.network_plans.get(network, ())) is None


def on_wire(network: Network, facts: ReachFacts) -> bool:
    """Whether the network branches off from a link of the host, past weft's rules."""
    return parent_of(facts.network_plans[network.id]) is not None


def parent_of(plan: Plan) -> Parent | None:
    """The link of the host that a network branches off from, if it does."""
    return next((item for item in plan if isinstance(item, Parent)), None)


def forwards(version: int, facts: ReachFacts) -> Step:
    key = "net.ipv4.ip_forward" if version == 4 else "net.ipv6.conf.all.forwarding"
    if facts.host.sysctls.get(key) == "1":
        return Step(holds="yes", text=f"the host forwards IPv{version}")
    return Step(
        holds="no",
        text=f"the host does not forward IPv{version} ({key} is not 1)",
        why="A packet from one interface to another is dropped.",
        mend=(f"sysctl -w {key}=1",),
    )


def weft_lets_pass(items: Sequence[Item], text: str, facts: ReachFacts) -> Step:
    """weft's own rules, given the elements that open the way."""
    wrong = [item for item in items if item in facts.drift]
    if wrong:
        return lacking("weft's rules do not open the way as they should", wrong, facts)
    if not facts.firewall:
        return Step(holds="perhaps", text="table inet weft is not as weft wrote it", mend=FIX)
    why = "Rules of your own (forward.nft) come before weft's; they are not judged here." if facts.user_rules else ""
    return Step(holds="yes", text=text, why=why)


def others_let_pass(network: Network, version: int, facts: ReachFacts, *, direct: bool = False) -> Iterator[Step]:
    """Other tools' firewalls, as far as they see what is forwarded from or to a network.

    `direct`: to a container at its own address.
    """
    bridges = [item.name for item in facts.network_plans[network.id] if isinstance(item, Bridge)]
    families = ("inet", "ip" if version == 4 else "ip6")
    directly = bridges if direct else []
    shut = [chain for chain in shut_chains(facts.host, bridges, directly) if chain.family in families]
    for chain in shut:
        finding = in_the_way(chain, facts.host, bridges, directly, hurts=True)
        yield Step(holds="no", text=finding.what, why=finding.why, mend=finding.mend)
    if facts.host.unread_chains:
        yield Step(holds="perhaps", text=f"other tools' rules could not be read: {facts.host.unread_chains}")
    elif not shut:
        yield Step(holds="yes", text="no other firewall drops it")


def listens(facts: ReachFacts, port: int, addresses: Sequence[IPAddress], where: Party) -> Step | None:
    """Whether a program waits on the port, at one of the addresses."""
    if facts.listeners is None:
        return None
    service = f"{port}/{facts.asked.proto}"
    there = [s for s in facts.listeners if s.proto == facts.asked.proto and s.port == port]
    fitting = [s for s in there if _fits(s, addresses)]
    if fitting:
        return Step(holds="yes", text=f"a program in {where.name} listens on {_socket(fitting[0])}")
    if there:
        return Step(
            holds="no",
            text=f"in {where.name} a program listens on {_socket(there[0])}, but not on an address that others reach",
            why="Every container has a 127.0.0.1 of its own, which leads nowhere else. Have the program listen on "
            f"0.0.0.0 (or on {addresses[0] if addresses else 'the address of its interface'}).",
        )
    place = "on the host" if where.kind == "host" else f"in {where.name}"
    others = sorted({f"{s.port}/{s.proto}" for s in facts.listeners if _fits(s, addresses)})
    heard = f"Programs there listen on {', '.join(others[:8])}." if others else "No program there listens on any port."
    return Step(holds="no", text=f"nothing {place} listens on port {service}", why=heard)


def _fits(listener: Listener, addresses: Sequence[IPAddress]) -> bool:
    if listener.address.is_unspecified:
        # A socket on :: takes IPv4 as well, unless it was told not to; that cannot be seen from here.
        return listener.address.version == 6 or any(address.version == 4 for address in addresses)
    return listener.address in addresses


def _socket(listener: Listener) -> str:
    host = f"[{listener.address}]" if listener.address.version == 6 else str(listener.address)
    return f"{host}:{listener.port}/{listener.proto}"


def inner_firewall(facts: ReachFacts) -> Iterator[Step]:
    """Rules that somebody put inside the container."""
    for chain in facts.inner_chains[:1]:
        does = "drops what it does not expect" if chain.closed else "may drop it"
        key = facts.target.sandbox.key if facts.target.sandbox else ""
        lister = "iptables-legacy-save" if chain.legacy else "nft list ruleset"
        yield Step(
            holds="perhaps",
            text=f"{facts.target.name} has a firewall of its own, which {does} (chain {chain.name} of table "
            f"{chain.family} {chain.table})",
            why=f"It is not weft's. Read it with: nsenter --net={key} {lister}",
        )


def lacking(text: str, wrong: Sequence[Item], facts: ReachFacts, *, more: str = "") -> Step:
    shown = "; ".join(f"{wording(i)[0]} ({facts.drift[i] or 'missing'})" for i in wrong[:3])
    return Step(holds="no", text=text, why=f"The kernel does not hold: {shown}.{more}", mend=FIX)


def elements(plan: Plan, *names: str) -> list[Item]:
    return [item for item in plan if isinstance(item, NftElement) and item.name in names]
