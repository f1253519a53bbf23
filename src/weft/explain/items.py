"""Items of a plan in words: what each is, and what it is there for."""

from __future__ import annotations

from weft.explain.branches import branch_wording
from weft.explain.explanation import Drift, Line, state_of
from weft.firewall.layout import LAYOUTS
from weft.names import NAMESERVER, is_detour
from weft.plan import (
    HOST,
    Address,
    Atom,
    Bridge,
    Child,
    Detour,
    Dummy,
    Guard,
    Item,
    Loopback,
    Netns,
    NftElement,
    Parent,
    ProxyNeighbour,
    Route,
    SandboxTable,
    Shaper,
    Sysctl,
    Uplink,
    Veth,
    Vlan,
)

_ELEMENTS = {
    "bridges": "Says that the bridge is weft's: what is forwarded to it, and allowed by nothing else, is dropped.",
    "internal": "The network is internal: nothing leads out of it, and nothing into it.",
    "outbound": "Packets that leave the host from this bridge carry the host's address (masquerade), because nobody "
    "outside knows the way to the containers' own.",
    "same": "What is forwarded from this bridge to this bridge may pass: containers of one network reach each other.",
    "routed": "The network is routed: the ports that its containers publish are reached at the containers' own "
    "addresses, and a ping is answered. Nothing is rewritten.",
    "open": "The network is open (nat-unprotected): every port of its containers is reached at their own addresses.",
    "snat4": "Packets that leave the host from this bridge carry this address of the host's.",
    "snat6": "Packets that leave the host from this bridge carry this address of the host's.",
    "trusted4": "What arrives by this interface reaches the containers at their own addresses, whatever they publish.",
    "trusted6": "What arrives by this interface reaches the containers at their own addresses, whatever they publish.",
    "routed_ports4": "A published port of a routed network: the host lets packets to this port of the container pass.",
    "routed_ports6": "A published port of a routed network: the host lets packets to this port of the container pass.",
    "subnets4": "A packet from outside that is addressed to a container directly is dropped on arrival: only "
    "published ports lead in.",
    "senders4": "What leaves the container must come from its own MAC and address, and what it says by ARP too: the "
    "bridge drops all else. It cannot pass itself off as a neighbour, or as the gateway.",
    "senders6": "What leaves the container must come from its own MAC and address, and what it says by neighbour "
    "discovery too: the bridge drops all else. It cannot pass itself off as a neighbour, or as a router.",
    "unguarded": "Its network does without the guard (anti-spoof=false): the container may send from any MAC and "
    "address.",
    "policed": "The network has an egress policy: what its containers send elsewhere is refused, unless it is allowed.",
    "allowed4": "The network's egress policy lets its containers send there.",
    "allowed6": "The network's egress policy lets its containers send there.",
    "own": "The container has an egress policy of its own: what it sends elsewhere is refused where it is not allowed.",
    "own_allowed4": "The container's own egress policy, or what that leaves to its network's, lets it send there.",
    "own_allowed6": "The container's own egress policy, or what that leaves to its network's, lets it send there.",
    "subnets6": "A packet from outside that is addressed to a container directly is dropped on arrival: only "
    "published ports lead in.",
}


def item_line(item: Item, drift: Drift, *, why: str = "") -> Line:
    """The line of an item, checked; `why` where the context knows better what it is there for."""
    state, found = state_of(item, drift)
    text, purpose = wording(item)
    return Line(text=text, why=why or purpose, state=state, found=found, commands=item.describe())


def wording(item: Item) -> tuple[str, str]:
    """What an item is, and what for."""
    match item:
        case Netns(path=path, source=source):
            return _namespace(path, source)
        case Loopback():
            return "lo is up", "Programs inside reach each other over 127.0.0.1."
        case Bridge(name=name, borrowed=True):
            return f"bridge {name}, which was there before", (
                "The host's own bridge. weft plugs containers into it, and otherwise leaves it as it found it."
            )
        case Bridge(name=name, mac=mac, mtu=mtu):
            text = f"bridge {name} (MAC {mac}, MTU {mtu})"
            return (
                text,
                "A switch made of software. Every container of the network is plugged into it, and so is the host.",
            )
        case Veth():
            return _pair(item)
        case Guard(port=port):
            return f"{port} lets nothing else out", (
                "A program at the host's end of the cable drops what is not from the container's own MAC and "
                "addresses, before the bridge sees it, and hands what is for neighbours to them directly. Where "
                'this kernel takes no program, or weft.toml says guard = "rules", table bridge weft does it.'
            )
        case Uplink() | ProxyNeighbour():
            return _wire(item)
        case Parent() | Vlan() | Dummy() | Child():
            return branch_wording(item)
        case Detour(link=link, through=through):
            return f"what arrives by {link} is led through {through} first", (
                "A queue holds what leaves by a link, not what arrives by one. So that leaves by this one, and goes on."
            )
        case Shaper():
            return _shaper(item)
        case Address():
            return _address(item)
        case Route():
            return _route(item)
        case Sysctl(key=key, value=value, reason=reason):
            return f"{key} = {value}", f"A switch of the kernel, set so that {reason}."
        case NftElement():
            return _element(item)
        case SandboxTable():
            return _sandbox_table(item)


def _namespace(path: str, source: str | None) -> tuple[str, str]:
    if source:
        return f"{path}, bound from {source}", (
            "Somebody else made this network stack; the second name keeps it within weft's reach."
        )
    return path, (
        "A network stack of its own: interfaces, addresses, routes, sockets and firewall that nobody else sees. A file "
        "is bound to it, so that it lives on while no process is in it."
    )


def _pair(pair: Veth) -> tuple[str, str]:
    text = f"{pair.peer} ↔ {pair.name}, a port of {pair.master} (MAC {pair.mac}, MTU {pair.mtu})"
    why = (
        "A cable with two ends: what goes in at the end inside comes out at the end on the host, which is plugged into "
        "the bridge."
    )
    if pair.isolated:
        why += " The port is isolated: it passes frames to and from the host, but not to the other containers."
    return text, why


def _wire(item: Uplink | ProxyNeighbour) -> tuple[str, str]:
    match item:
        case Uplink(link=link, master=master):
            return f"{link} is a port of {master}", (
                "The network is one with the wire beyond: whoever is there is a neighbour of the containers, with no "
                "firewall between them."
            )
        case ProxyNeighbour(link=link, address=address):
            asked = "ARP" if address.version == 4 else "neighbour discovery"
            return f"the host answers on {link} for {address}", (
                f"Whoever asks there by {asked} who has the address is told the host's MAC, and the host passes "
                "packets on: nobody out there needs a route to the network."
            )


def _shaper(item: Shaper) -> tuple[str, str]:
    """On the host's end what leaves is what the container receives, and so is what comes by a detour."""
    does = "receives" if item.netns == HOST or is_detour(item.link) else "sends"
    wait = item.queue * 8000 / item.rate
    return f"a limit of {_rate(item.rate)} to what it {does}, {item.burst:,} bytes at once (on {item.link})", (
        f"What comes faster waits its turn, up to {wait:.0f} ms, and is dropped beyond that."
    )


def _rate(bits: int) -> str:
    for name, unit in (("Gbit", 10**9), ("Mbit", 10**6), ("kbit", 10**3)):
        if bits >= unit:
            return f"{bits / unit:g} {name}/s"
    return f"{bits} bit/s"


def _address(item: Address) -> tuple[str, str]:
    text = f"address {item.address} on {item.link}"
    if item.netns == HOST and item.address.network.prefixlen == item.address.max_prefixlen:
        return text, "The host's own address among the containers, and nothing else: the link is no way to others."
    if item.netns == HOST:
        return text, "The host's own address on the network: the containers' way out, and the host's way to them."
    return text, (
        "With it comes a route: whoever has an address in the same subnet is next door and is asked for its MAC, by "
        "ARP or (IPv6) neighbour discovery. No router is needed."
    )


def _route(item: Route) -> tuple[str, str]:
    target = "default" if item.is_default else str(item.destination)
    family = " (IPv6)" if item.destination.version == 6 and target == "default" else ""
    via = f" via {item.via}" if item.via else ""
    why = "A router on that network leads to these addresses."
    if item.netns == HOST:
        return f"{target}{via} dev {item.link}, on the host", "The host's way to the container."
    if item.via is None and target != "default":
        why = "More of the network, on the same wire: whoever has such an address is next door, too."
    elif target == "default" and item.via is None:
        why = "Whatever is not next door is handed to the link as it is, and the host routes it."
    elif target == "default":
        why = "Whatever is not next door goes to the host's address on that network, and the host passes it on."
    return f"{target}{family}{via} dev {item.link}", why


def _element(item: NftElement) -> tuple[str, str]:
    layout = LAYOUTS[item.family].get(item.name)
    kind = "map" if item.value is not None else "set"
    text = f"{kind} {item.name} has {item.text()}"
    if item.name.startswith("routed_ports"):
        address, proto, port = item.key
        return f"port {port}/{proto} at the container's own address, {address}", _ELEMENTS[item.name]
    if item.value is not None and "ports" in item.name:
        return _published(item)
    if item.name in ("senders4", "senders6"):
        port, mac, address = item.key
        text = f"{port} may send as {address} (MAC {mac})"
    return text, _ELEMENTS.get(item.name, f"{layout.comment.capitalize()}." if layout and layout.comment else "")


def _published(item: NftElement) -> tuple[str, str]:
    """An element of ports4/6 (protocol, port) or addr_ports4/6 (address, protocol, port)."""
    assert item.value is not None
    *host, proto, port = item.key
    address, container_port = item.value
    version = item.name[-1]
    where = _socket(host[0], port) if host else f"port {port}"
    which = "" if host else f" of every IPv{version} address of the host"
    return (
        f"{where}/{proto}{which} → {_socket(address, container_port)}",
        "An entry of a map in which one rule looks up every new connection: the destination is rewritten (DNAT), and "
        "the answers are rewritten back by themselves.",
    )


def _socket(address: Atom, port: Atom) -> str:
    return f"[{address}]:{port}" if ":" in str(address) else f"{address}:{port}"


def _sandbox_table(item: SandboxTable) -> tuple[str, str]:
    ipv6 = (
        "Router advertisements are refused: its addresses come from weft."
        if item.ipv6
        else ("IPv6 from outside is refused: the container has no IPv6 address.")
    )
    return (
        f"tables ip weft and ip6 weft inside: {NAMESERVER}:53 is really port {item.dns_port}",
        "weft's name server listens in here, on another port, so that 53 is free for a server of the container's own; "
        f"two rules rewrite the port on the way there and back. {ipv6}",
    )
