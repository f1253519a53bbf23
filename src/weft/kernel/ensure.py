"""Making a plan so.

Theory of operation. Items are not carried out one by one: what concerns the same namespace is collected and sent as
one datagram, and elements of the firewall as one transaction. A veth concerns two namespaces: the pair is made from
the host's, then its inner end is set up from inside. So requests for the host go out before those for any container,
and whatever is collected goes out before an element of the firewall is touched, and the other way round: a plan that
closes before it opens is carried out in that order. Only where a namespace is made on the way, all its elements go out
at the end, in one transaction: nobody is in there who could send, or miss what did not arrive.

Creating is tried first and looked into only when the kernel says that something is there already: then what matters
is compared, put right, or (a veth that leads to another namespace) replaced.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Sequence
from ipaddress import IPv6Address, IPv6Interface
from typing import NamedTuple

from weft.errors import NotFound
from weft.firewall.guard_program import shape_of
from weft.kernel import (
    addresses,
    borrowed,
    detours,
    elements,
    links,
    neighbours,
    proxies,
    qdiscs,
    sandbox_table,
    sysctl,
    uplinks,
)
from weft.kernel.branches import Branches
from weft.kernel.deeds import deed, refused
from weft.kernel.inside import Inside, Visit, link_in
from weft.kernel.netlink import Failure, Netlink, Request
from weft.kernel.netns import drop_pin, is_namespace, same_namespace
from weft.kernel.right_tables import RightTables
from weft.kernel.spares import INNER, Spares
from weft.names import LINK_GROUP, is_ours
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

_PATIENCE = 0.2
_MOMENT = 0.0001
_CHUNK = 96
"""Requests in one datagram; each may be answered by an error of some hundred bytes."""


class Step(NamedTuple):
    request: Request
    item: Item
    creates: bool = False
    """EEXIST is looked into."""
    optional: bool = False
    """Fails where the kernel has no IPv6, and is not needed there."""


class Ensure:
    """One call's work; `run` once."""

    def __init__(self, visit: Visit, tables: RightTables, spares: Spares) -> None:
        self._visit = visit
        self._tables = tables
        self._spares = spares
        self._outer: dict[str, str] = {}
        self._guards: dict[str, Guard] = {}
        """By port, of those ports that the plan makes."""
        self._host: list[Step] = []
        self._elements: list[NftElement] = []
        self._deserted = False
        """The namespace was made just now."""
        self._with_table: frozenset[str] = frozenset()
        self._new: list[tuple[Inside, IPv6Address]] = []
        """IPv6 addresses that the kernel may not answer at yet."""

    def run(self, plan: Plan) -> None:
        self._with_table = frozenset(item.netns for item in plan if isinstance(item, SandboxTable))
        self._outer = {item.netns: item.name for item in plan if isinstance(item, Veth) and item.peer == INNER}
        made = {item.name for item in plan if isinstance(item, Veth)}
        self._guards = {item.port: item for item in plan if isinstance(item, Guard) and item.port in made}
        for item in plan:
            if isinstance(item, NftElement):
                if not self._deserted:
                    self._flush_links()
                self._elements.append(item)
                continue
            if not self._deserted:
                self._flush_elements()
            match item:
                case Netns():
                    self._namespace(item)
                case Guard():
                    if item.port not in self._guards:
                        self._visit.guards.ensure(self._visit.host.rtnl, item)
                case Veth():
                    self._veth(item)
                case Bridge():
                    self._bridge(item)
                case Uplink() | ProxyNeighbour():
                    self._flush_host()
                    _by_itself(self._visit.host, item)
                case Parent() | Vlan() | Dummy() | Child():
                    Branches(self._visit).ensure(item)
                case Loopback() | Address() | Route():
                    self._collect(item)
                case Detour():
                    self._flush_links()
                    detours.ensure(self._visit.enter(item.netns), item)
                case Shaper():
                    self._flush_links()
                    qdiscs.ensure(self._visit.enter(item.netns), item)
                case SandboxTable():
                    self._table(item)
                case Sysctl():
                    self._switch(item)
        self._flush_links()
        self._flush_elements()
        self._await_addresses()

    def _namespace(self, item: Netns) -> None:
        self._deserted = item.source is None and not is_namespace(item.path)
        if item.source is None:
            if self._deserted:
                self._make(item.path)
        elif not is_namespace(item.path):
            self._visit.namespaces.bind(item.path, item.source)
        elif is_namespace(item.source) and not same_namespace(item.path, item.source):
            drop_pin(item.path)
            self._visit.namespaces.bind(item.path, item.source)

    def _make(self, path: str) -> None:
        spare = self._spares.take(self._outer.get(path, ""))
        if spare is None:
            self._visit.make(path, with_nf=path in self._with_table)
        else:
            self._spares.keep_sockets(path, spare.sockets)
            self._visit.adopt(path, spare)

    def _veth(self, item: Veth) -> None:
        there = self._visit.enter(item.netns)
        self._host += self._veth_steps(item, there)
        self._guard(item, there)
        self._host.append(Step(links.set_up(item.name), item))
        there.pending.append(item)

    def _guard(self, item: Veth, there: Inside) -> None:
        """What may come out of a port is settled before it is up."""
        rtnl, guard = self._visit.host.rtnl, self._guards.get(item.name)
        by_programs = guard is not None and self._visit.guards.in_force
        self._spares.shape = shape_of(guard) if guard is not None and by_programs else None
        ahead = there.spare.ahead if there.spare is not None and _is_spare(item, there) else None
        if ahead is not None and guard is None:
            self._visit.guards.remove(rtnl, item.name)
        elif ahead is not None and guard is not None and ahead.shape == shape_of(guard):
            self._visit.guards.write(rtnl, ahead, guard)
            if guard.bridge:
                self._host.append(Step(neighbours.know(ahead.link, guard.mac), item))
        elif guard is not None and (by_programs or not there.fresh):  # a new port has no program to be taken away
            self._flush_host()
            self._visit.guards.ensure(rtnl, guard)

    def _veth_steps(self, item: Veth, there: Inside) -> list[Step]:
        master = links.index_of(self._visit.host.rtnl, item.master)
        if not master and self._host:
            self._flush_host()
            master = links.index_of(self._visit.host.rtnl, item.master)
        if not master:
            raise NotFound(f"bridge {item.master} is not there, and {item.name} should be a port of it")
        self._spares.bridge = master
        if _is_spare(item, there):
            steps = [Step(links.take_spare(item.name, master, item.mtu), item, creates=True)]
        else:
            make = links.add_veth(item.name, master, item.mtu, item.peer, item.mac, there.descriptor)
            steps = [Step(make, item, creates=True), Step(links.no_own_address(item.name), item, optional=True)]
        if item.isolated:
            steps.append(Step(links.isolate(item.name, isolated=True), item))
        return steps

    def _bridge(self, item: Bridge) -> None:
        if item.borrowed:
            borrowed.ensure(self._visit.host, item)
            return
        self._host.append(Step(links.add_bridge(item.name, item.mac, item.mtu), item, creates=True))
        if not item.ipv6:
            self._host.append(Step(links.no_own_address(item.name), item, optional=True))
        self._host.append(Step(links.set_up(item.name), item))

    def _collect(self, item: Loopback | Address | Route) -> None:
        if item.netns == HOST:
            self._flush_host()  # The link may be among what is collected, and its index is needed.
            self._send(self._visit.host.rtnl, _inner_steps(self._visit.host, [item]))
            self._note_addresses(self._visit.host, [item])
            return
        there = self._visit.enter(item.netns)
        if there.spare is None or not isinstance(item, Loopback):
            there.pending.append(item)

    def _table(self, item: SandboxTable) -> None:
        there = self._visit.enter(item.netns)
        self._spares.table = kind = (item.dns_port, item.ipv6)
        if there.spare is not None and there.spare.table == kind:
            return
        if any(not isinstance(pending, Loopback) for pending in there.pending):
            self._flush_links()
        nf = self._visit.nf_of(there)
        found = None if there.fresh and there.spare is None else sandbox_table.listing(nf)
        if found is None or sandbox_table.is_empty(found):
            failures = sandbox_table.add(nf, item)
        elif found == self._tables.like(self._visit, item):
            return
        else:
            failures = sandbox_table.replace(nf, item)
            self._visit.retire_nf(there)
        if failures:
            raise refused(item, failures[0])

    def _switch(self, item: Sysctl) -> None:
        self._flush_links()
        there = self._visit.enter(item.netns)
        if there is self._visit.host:
            sysctl.ensure(item)
        else:
            self._visit.namespaces.within(there.descriptor, lambda: sysctl.ensure(item))

    def _flush_links(self) -> None:
        self._flush_host()
        plugged: list[str] = []
        for there in self._visit.inside.values():
            if there.pending:
                pending, there.pending = there.pending, []
                self._send(there.rtnl, _inner_steps(there, pending))
                self._note_addresses(there, pending)
                plugged += [item.name for item in pending if isinstance(item, Veth)]
        if plugged:
            # That there is a carrier the kernel tells the bridge some time later, and until then the port is closed.
            # To be asked for the link makes it do so now.
            self._visit.host.rtnl.get([links.get(name) for name in plugged])

    def _note_addresses(self, there: Inside, made: Sequence[Item]) -> None:
        self._new += [
            (there, item.address.ip)
            for item in made
            if isinstance(item, Address) and isinstance(item.address, IPv6Interface)
        ]

    def _await_addresses(self) -> None:
        """Until the kernel takes new IPv6 addresses for its own, mostly at once.

        It does so only when it finds the time for duplicate address detection, even if there is none. Whoever asks
        for an address before is not heard, and asks again a second later.
        """
        deadline = time.monotonic() + _PATIENCE
        while self._new:
            there, address = self._new[-1]
            (answer,) = there.rtnl.get([addresses.get_route_to(address)])
            if isinstance(answer, Failure) or addresses.is_own(answer) or time.monotonic() > deadline:
                self._new.pop()
            else:
                time.sleep(_MOMENT)

    def _flush_elements(self) -> None:
        if self._elements:
            wanted, self._elements = self._elements, []
            elements.ensure(self._visit.nf_of(self._visit.host), wanted)

    def _flush_host(self) -> None:
        if self._host:
            steps, self._host = self._host, []
            self._send(self._visit.host.rtnl, steps)

    def _send(self, socket: Netlink, steps: Sequence[Step], *, again: bool = False) -> None:
        for start in range(0, len(steps), _CHUNK):
            chunk = steps[start : start + _CHUNK]
            failures = socket.send([step.request for step in chunk])
            if failures:
                self._judge(chunk, failures, again=again)

    def _judge(self, steps: Sequence[Step], failures: Sequence[Failure], *, again: bool) -> None:
        """Look into what exists already; raise what is left, once per item and the first reason only."""
        looked_into: set[Item] = set()
        for failure in failures:
            step = steps[failure.at]
            if step.item in looked_into or (step.optional and failure.errno in (errno.EAFNOSUPPORT, errno.EOPNOTSUPP)):
                continue
            looked_into.add(step.item)
            if again or not step.creates or not self._accept(step.item, failure):
                raise refused(step.item, failure)

    def _accept(self, item: Item, failure: Failure) -> bool:
        """Whether an item that could not be made is right after all, or now."""
        if isinstance(item, Bridge) and failure.errno == errno.EEXIST:
            return self._accept_bridge(item)
        if isinstance(item, Veth) and failure.errno == errno.EEXIST:
            return self._accept_veth(item)
        if isinstance(item, Veth) and failure.errno == errno.EXFULL:
            self._visit.reaper.flush(force=True)  # Ports that have left count until they are deleted.
            self._spares.unplug()
            self._make_again(item)
            return True
        if isinstance(item, Veth) and failure.errno == errno.ENODEV:
            return self._accept_lost_spare(item)
        return False

    def _accept_lost_spare(self, item: Veth) -> bool:
        """Somebody deleted the link that was made ahead: make one as if there had been none."""
        there = self._visit.enter(item.netns)
        if not _is_spare(item, there):
            return False
        there.spare = None
        self._make_again(item)
        return True

    def _accept_bridge(self, item: Bridge) -> bool:
        found = link_in(self._visit.host, item.name)
        if found is None or found.kind != "bridge":
            return False
        if not is_ours(item.name) and found.group != LINK_GROUP and found.mac != item.mac:
            return False  # somebody else's: a name that the user chose says nothing
        if (found.mac, found.mtu, found.group) != (item.mac, item.mtu, LINK_GROUP) or found.learns_linklocal:
            self._send(self._visit.host.rtnl, [Step(links.change_bridge(item.name, item.mac, item.mtu), item)])
        return True

    def _accept_veth(self, item: Veth) -> bool:
        found = link_in(self._visit.host, item.name)
        there = self._visit.enter(item.netns)
        if found is None:
            # The name inside is taken: by a link that left just now, or by somebody else's.
            self._visit.reaper.flush()
            self._make_again(item)
            return True
        if not is_ours(found.name) or found.kind != "veth":
            return False
        if found.group == LINK_GROUP and leads_to(self._visit.host, found, there, item.peer):
            self._mend_veth(item, found, there)
            return True
        self._visit.host.rtnl.send([links.delete(item.name)])
        self._make_again(item)
        return True

    def _mend_veth(self, item: Veth, found: links.Link, there: Inside) -> None:
        master = links.index_of(self._visit.host.rtnl, item.master)
        steps = []
        if found.mtu != item.mtu:
            steps.append(Step(links.set_values(item.name, mtu=item.mtu), item))
        if found.master != master:
            steps.append(Step(links.set_master(item.name, master), item))
        if found.isolated != item.isolated:
            steps.append(Step(links.isolate(item.name, isolated=item.isolated), item))
        self._send(self._visit.host.rtnl, steps)
        inner = link_in(there, item.peer)
        if inner and (inner.mac, inner.mtu) != (item.mac, item.mtu):
            self._send(there.rtnl, [Step(links.set_values(item.peer, mac=item.mac, mtu=item.mtu), item)])
        if found.port_state == links.PORT_DISABLED and found.master == master:
            # Refused while there is no carrier: then the kernel opens the port itself once there is one.
            self._visit.host.rtnl.send([links.open_port(item.name)])

    def _make_again(self, item: Veth) -> None:
        rtnl, guard = self._visit.host.rtnl, self._guards.get(item.name)
        self._send(rtnl, self._veth_steps(item, self._visit.enter(item.netns)), again=True)
        if guard is not None:
            self._visit.guards.ensure(rtnl, guard)
        self._send(rtnl, [Step(links.set_up(item.name), item)], again=True)


def _by_itself(host: Inside, item: Uplink | ProxyNeighbour) -> None:
    match item:
        case Uplink():
            uplinks.ensure(host, item)
        case ProxyNeighbour():
            proxies.ensure(host, item)


def leads_to(host: Inside, found: links.Link, there: Inside, peer: str) -> bool:
    """Whether a veth's other end is the link of that name in that namespace."""
    answer = host.rtnl.get([links.get_nsid(there.descriptor)])[0]
    if isinstance(answer, Failure) or not answer:
        return False
    return (
        found.nsid >= 0 and links.parse_nsid(answer[0]) == found.nsid and links.index_of(there.rtnl, peer) == found.peer
    )


def _is_spare(item: Veth, there: Inside) -> bool:
    return there.spare is not None and there.spare.link == item.name


def _inner_steps(there: Inside, items: Sequence[Item]) -> list[Step]:
    socket = there.rtnl
    steps: list[Step] = []
    indices: dict[str, int] = {}
    for item in items:
        match item:
            case Loopback():
                steps.append(Step(links.set_up("lo"), item))
            case Veth() if _is_spare(item, there):
                steps.append(Step(links.set_up_as(item.peer, mac=item.mac, mtu=item.mtu), item))
            case Veth():
                steps.append(Step(links.no_own_address(item.peer), item, optional=True))
                steps.append(Step(links.set_up(item.peer), item))
            case Address():
                link = _index(socket, item, indices)
                steps.append(Step(addresses.replace_address(link, item.address), item))
            case Route():
                link = _index(socket, item, indices)
                steps.append(Step(addresses.replace_route(link, item.destination, item.via), item))
    return steps


def _index(socket: Netlink, item: Address | Route, indices: dict[str, int]) -> int:
    index = indices.get(item.link) or links.index_of(socket, item.link)
    if not index:
        raise NotFound(f"cannot {deed(item)}: there is no link {item.link}")
    indices[item.link] = index
    return index
