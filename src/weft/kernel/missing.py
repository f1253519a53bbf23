"""Which items of a plan are absent or different. Reads only."""

from __future__ import annotations

from weft.kernel import addresses, borrowed, detours, elements, links, proxies, qdiscs, sandbox_table, sysctl, uplinks
from weft.kernel.addresses import FoundAddress
from weft.kernel.branches import Branches
from weft.kernel.ensure import leads_to
from weft.kernel.inside import Inside, Visit, link_in
from weft.kernel.netns import is_namespace, same_namespace
from weft.kernel.right_tables import RightTables
from weft.model import IPAddress
from weft.names import LINK_GROUP
from weft.plan import (
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
    Plan,
    ProxyNeighbour,
    Route,
    SandboxTable,
    Shaper,
    Sysctl,
    Uplink,
    Veth,
    Vlan,
)

_MAIN = 254


class Missing:
    """One look at the kernel: what was read once is not asked for again."""

    def __init__(self, visit: Visit, tables: RightTables) -> None:
        self._visit = visit
        self._tables = tables
        self._links: dict[tuple[str, str], links.Link | None] = {}
        self._addresses: dict[str, set[FoundAddress]] = {}
        self._proxies: set[ProxyNeighbour] | None = None
        self._routes: dict[tuple[str, int], set[tuple[int, bytes, int, bytes]]] = {}

    def run(self, plan: Plan) -> tuple[Item, ...]:
        wanted = [item for item in plan if isinstance(item, NftElement)]
        absent = elements.missing(self._visit.nf_of(self._visit.host), wanted)
        return tuple(
            item for item in plan if (item in absent if isinstance(item, NftElement) else not self._holds(item))
        )

    def _holds(self, item: Item) -> bool:
        match item:
            case Netns(path=path, source=source):
                lost = source is None or not is_namespace(source)
                return is_namespace(path) and (lost or same_namespace(path, source or ""))
            case Loopback(netns=netns):
                link = self._link(netns, "lo")
                return link is not None and link.up
            case Bridge():
                return self._bridge(item)
            case Veth():
                return self._veth(item)
            case Guard():
                return self._visit.guards.holds(self._visit.host.rtnl, item)
            case Parent() | Vlan() | Dummy() | Child():
                return Branches(self._visit).holds(item)
            case Uplink():
                return uplinks.holds(self._visit.host, item)
            case ProxyNeighbour():
                return self._proxy(item)
            case Address():
                return self._address(item)
            case Route():
                return self._route(item)
            case Detour():
                there = self._visit.try_enter(item.netns)
                return there is not None and detours.holds(there, item)
            case Shaper():
                there = self._visit.try_enter(item.netns)
                return there is not None and qdiscs.holds(there, item)
            case Sysctl():
                return self._switch(item)
            case SandboxTable():
                there = self._visit.try_enter(item.netns)
                if there is None:
                    return False
                return sandbox_table.listing(self._visit.nf_of(there)) == self._tables.like(self._visit, item)
            case NftElement():
                raise AssertionError("elements are asked for together")

    def _bridge(self, item: Bridge) -> bool:
        found = self._link("", item.name)
        if found is None or not borrowed.holds(found):
            return False
        if item.borrowed:
            return True
        return not found.learns_linklocal and (found.mac, found.mtu, found.group) == (item.mac, item.mtu, LINK_GROUP)

    def _veth(self, item: Veth) -> bool:
        there = self._visit.try_enter(item.netns)
        outer, master = self._link("", item.name), self._link("", item.master)
        inner = self._link(item.netns, item.peer)
        if there is None or outer is None or inner is None or master is None:
            return False
        right = (
            outer.kind == "veth"
            and (outer.group, outer.mtu, outer.master) == (LINK_GROUP, item.mtu, master.index)
            and outer.isolated == item.isolated
            and outer.port_state != links.PORT_DISABLED
            and (inner.mac, inner.mtu) == (item.mac, item.mtu)
        )
        return right and outer.up and inner.up and leads_to(self._visit.host, outer, there, item.peer)

    def _address(self, item: Address) -> bool:
        link = self._link(item.netns, item.link)
        if link is None:
            return False
        if item.netns not in self._addresses:
            there = self._visit.enter(item.netns)
            self._addresses[item.netns] = set(addresses.parse_addresses(there.rtnl.dump(addresses.get_addresses())))
        wanted = FoundAddress(link.index, item.address.ip.packed, item.address.network.prefixlen)
        return wanted in self._addresses[item.netns]

    def _route(self, item: Route) -> bool:
        link = self._link(item.netns, item.link)
        if link is None:
            return False
        found = self._routes_of(item.netns, item.destination.version)
        destination = item.destination
        return (link.index, destination.network_address.packed, destination.prefixlen, _packed(item.via)) in found

    def _routes_of(self, netns: str, version: int) -> set[tuple[int, bytes, int, bytes]]:
        if (netns, version) not in self._routes:
            there = self._visit.enter(netns)
            self._routes[netns, version] = {
                (route.link, route.raw, route.length, route.via)
                for route in addresses.parse_routes(there.rtnl.dump(addresses.get_routes(version)))
                if route.unicast and route.table == _MAIN
            }
        return self._routes[netns, version]

    def _proxy(self, item: ProxyNeighbour) -> bool:
        if self._proxies is None:
            self._proxies = proxies.found(self._visit.host.rtnl)
        return item in self._proxies

    def _switch(self, item: Sysctl) -> bool:
        there = self._visit.try_enter(item.netns)
        if there is None:
            return False
        if there is self._visit.host:
            return sysctl.is_set(item)
        return self._visit.namespaces.within(there.descriptor, lambda: sysctl.is_set(item))

    def _link(self, netns: str, name: str) -> links.Link | None:
        if (netns, name) not in self._links:
            there: Inside | None = self._visit.try_enter(netns)
            self._links[netns, name] = link_in(there, name) if there else None
        return self._links[netns, name]


def _packed(via: IPAddress | None) -> bytes:
    return via.packed if via else b""
