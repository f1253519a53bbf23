"""What is there in the place of an item that is not as it should be, in a few words for people."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address
from typing import Protocol, TypeVar

from weft.errors import WeftError
from weft.kernel import addresses, elements, guards, links, nfnetlink, qdiscs, sandbox_table, sysctl
from weft.kernel.inside import Inside, link_in, open_rtnl
from weft.names import LINK_GROUP
from weft.plan import (
    HOST,
    Address,
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

T = TypeVar("T")


class Within(Protocol):
    def __call__(self, netns: str, do: Callable[[], T]) -> T:
        """Call `do` inside a namespace. Raises NotFound if there is none."""


def found(item: Item, within: Within) -> str:
    """Empty if nothing is there, or if it cannot be told."""
    try:
        return _found(item, within)
    except (OSError, WeftError):
        return ""


def _found(item: Item, within: Within) -> str:
    match item:
        case Netns(path=path, source=source):
            within(path, lambda: None)
            return f"not the namespace of {source}" if source else ""
        case Loopback(netns=netns):
            return "lo is down" if _link(within, netns, "lo") else ""
        case Bridge():
            return _bridge(item, within)
        case Veth():
            return _veth(item, within)
        case Uplink():
            return _uplink(item, within)
        case Parent() | ProxyNeighbour() | Detour():
            return ""
        case Vlan() | Dummy() | Child():
            return _branch(item, within)
        case Guard():
            return within(HOST, lambda: _guard(item))
        case Shaper(netns=netns):
            return within(netns, lambda: _shaper(item))
        case Address():
            return _address(item, within)
        case Route():
            return _route(item, within)
        case Sysctl(netns=netns, key=key):
            return within(netns, lambda: sysctl.read(key))
        case NftElement():
            return within(HOST, lambda: _element(item))
        case SandboxTable(netns=netns):
            return "other rules" if within(netns, _has_table) else ""


def _shaper(item: Shaper) -> str:
    socket = open_rtnl()
    try:
        return qdiscs.found(socket, item)
    finally:
        socket.close()


def _guard(item: Guard) -> str:
    socket = open_rtnl()
    try:
        return guards.found(socket, item)
    finally:
        socket.close()


def _link(within: Within, netns: str, name: str) -> links.Link | None:
    def look() -> links.Link | None:
        socket = open_rtnl()
        try:
            return link_in(Inside(-1, socket), name)
        finally:
            socket.close()

    return within(netns, look)


def _bridge(item: Bridge, within: Within) -> str:
    link = _link(within, HOST, item.name)
    if link is None:
        return ""
    if link.kind != "bridge":
        return f"a {link.kind or 'device'} of that name"
    if item.borrowed:
        return _listed((not link.up, "down"))
    return _listed(
        (not link.up, "down"),
        (link.mac != item.mac, f"MAC {link.mac}"),
        (link.mtu != item.mtu, f"MTU {link.mtu}"),
        (link.group != LINK_GROUP, f"group {link.group}"),
        (link.learns_linklocal, "it learns from frames that no rule sees"),
    )


def _uplink(item: Uplink, within: Within) -> str:
    link, master = _link(within, HOST, item.link), _link(within, HOST, item.master)
    if link is None:
        return f"no link {item.link}"
    return _listed(
        (not link.up, "down"),
        (master is None or link.master != master.index, f"no port of {item.master}"),
    )


def _veth(item: Veth, within: Within) -> str:
    outer, inner = _link(within, HOST, item.name), _link(within, item.netns, item.peer)
    if outer is None and inner is None:
        return ""
    if outer is None or inner is None:
        return f"only {item.peer if outer is None else item.name}, and it is not the end of this pair"
    master = _link(within, HOST, item.master)
    return _listed(
        (not outer.up, f"{item.name} is down"),
        (not inner.up, f"{item.peer} is down"),
        (master is None or outer.master != master.index, f"{item.name} is no port of {item.master}"),
        (outer.isolated != item.isolated, f"{item.name} is {'' if outer.isolated else 'not '}isolated"),
        (outer.up and outer.port_state == links.PORT_DISABLED, f"{item.name} does not forward"),
        (inner.mac != item.mac, f"MAC {inner.mac}"),
        (outer.mtu != item.mtu, f"MTU {outer.mtu} of {item.name}"),
        (inner.mtu != item.mtu, f"MTU {inner.mtu} of {item.peer}"),
        (outer.group != LINK_GROUP, f"group {outer.group}"),
    )


def _branch(item: Vlan | Dummy | Child, within: Within) -> str:
    child = item if isinstance(item, Child) else None
    link = _link(within, child.netns if child else HOST, item.name)
    if link is None:
        return ""
    return _listed(
        (child is not None and link.kind != child.kind, f"a {link.kind or 'device'} of that name"),
        (not link.up, "down"),
        (child is not None and child.mac not in ("", link.mac), f"MAC {link.mac}"),
        (child is not None and child.mtu not in (0, link.mtu), f"MTU {link.mtu}"),
        (link.group != (child.group if child else LINK_GROUP), f"group {link.group}"),
    )


def _listed(*differences: tuple[bool, str]) -> str:
    return ", ".join(text for differs, text in differences if differs) or "something else"


def _address(item: Address, within: Within) -> str:
    def look() -> str:
        socket = open_rtnl()
        try:
            index = links.index_of(socket, item.link)
            there = addresses.parse_addresses(socket.dump(addresses.get_addresses(item.address.version)))
        finally:
            socket.close()
        same = [a for a in there if a.raw == item.address.ip.packed]
        if any(a.link != index for a in same):
            return "on another interface"
        return f"with prefix length {same[0].length}" if same else ""

    return within(item.netns, look)


def _route(item: Route, within: Within) -> str:
    def look() -> str:
        socket = open_rtnl()
        try:
            listed = list(addresses.parse_routes(socket.dump(addresses.get_routes(item.destination.version))))
            names = {link.index: link.name for link in map(links.parse, socket.dump(links.get_all()))}
        finally:
            socket.close()
        same = [r for r in listed if r.unicast and r.destination() == item.destination]
        if not same:
            return ""
        via = f"via {same[0].gateway()} " if same[0].via else ""
        return f"{via}dev {names.get(same[0].link, '?')}"

    return within(item.netns, look)


def _element(item: NftElement) -> str:
    if item.value is None:
        return ""
    key = elements.encode(item)[0].key
    socket = nfnetlink.open_socket()
    try:
        data = next((e.data for e in elements.list_set(socket, item.family, item.name) if e.key == key), b"")
    finally:
        socket.close()
    layout = elements.layout_of(item).value
    if not data or layout is None or not layout[0].endswith("_addr"):
        return ""
    size = 4 if layout[0] == "ipv4_addr" else 16
    return f"{ip_address(data[:size])} . {int.from_bytes(data[size : size + 2], 'big')}"


def _has_table() -> bool:
    socket = nfnetlink.open_socket()
    try:
        return not sandbox_table.is_empty(sandbox_table.listing(socket))
    finally:
        socket.close()
