"""Taking a plan away, in reverse order. What is gone is fine; errors are collected.

Nothing here waits for the kernel to delete a link of a container. Where the whole namespace ends, its links end with
it; the host's end is only set down, so that no packet passes from this moment on. Where the namespace stays (it is
somebody else's, or only one network is left), the reaper deletes the link within moments. Links that branch off from
one of the host's have no other end there: they are deleted on the spot.
"""

from __future__ import annotations

import errno

from weft.errors import WeftError
from weft.kernel import addresses, detours, elements, links, proxies, qdiscs, sandbox_table, sysctl, uplinks
from weft.kernel.branches import Branches
from weft.kernel.deeds import deed
from weft.kernel.inside import Inside, Visit
from weft.kernel.netlink import Failure, Request
from weft.kernel.netns import drop_pin
from weft.kernel.refusal import refusal
from weft.plan import (
    HOST,
    Address,
    Bridge,
    Child,
    Detour,
    Dummy,
    Guard,
    Item,
    Netns,
    NftElement,
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

_GONE = (errno.ENODEV, errno.ESRCH, errno.EADDRNOTAVAIL, errno.ENOENT, errno.ENXIO)


class Remove:
    """One call's work; `run` once."""

    def __init__(self, visit: Visit) -> None:
        self._visit = visit
        self._elements: list[NftElement] = []
        self._host: list[tuple[Request, Item]] = []
        self._errors: list[WeftError] = []

    def run(self, plan: Plan) -> list[WeftError]:
        ending = {item.path for item in plan if isinstance(item, Netns) and item.source is None}
        pairs = [item for item in plan if isinstance(item, Veth)]
        dying = {end for item in pairs for end in ((item.netns, item.peer), (HOST, item.name))}
        dying |= {(HOST, item.name) for item in plan if isinstance(item, Bridge) and not item.borrowed}
        dying |= {(HOST, item.name) for item in plan if isinstance(item, Vlan | Dummy)}
        dying |= {(item.netns, item.name) for item in plan if isinstance(item, Child)}
        for item in reversed(plan):
            if isinstance(item, NftElement):
                self._flush_host()
                self._elements.append(item)
                continue
            self._flush_elements()
            try:
                match item:
                    case Veth():
                        self._veth(item, stays=item.netns not in ending)
                    case Bridge() if not item.borrowed:
                        self._visit.guards.forget_bridge(self._visit.host.rtnl, item)
                        self._host.append((links.delete(item.name), item))
                    case Uplink() | ProxyNeighbour():
                        for failure in _by_itself(self._visit.host, item):
                            self._note(item, failure)
                    case Vlan() | Dummy() | Child():
                        # Also where the namespace ends: until it has, the kernel would not let another have the MAC.
                        self._flush_host()
                        for failure in Branches(self._visit).remove(item):
                            self._note(item, failure)
                    case Address() | Route() if item.netns not in ending and (item.netns, item.link) not in dying:
                        self._from_link(item)
                    case Shaper() if item.netns not in ending and (item.netns, item.link) not in dying:
                        self._shaper(item)
                    case Detour() if item.netns not in ending:
                        self._detour(item)
                    case Guard() if (HOST, item.port) in dying:
                        self._visit.guards.forget(self._visit.host.rtnl, item)
                    case Guard():
                        self._visit.guards.forget(self._visit.host.rtnl, item)
                        for failure in self._visit.guards.remove(self._visit.host.rtnl, item.port):
                            self._note(item, failure)
                    case SandboxTable() if item.netns not in ending:
                        self._table(item)
                    case Sysctl(netns="", before=str()):
                        sysctl.set_back(item)
                    case Netns():
                        self._flush_host()
                        drop_pin(item.path)
                    case _:
                        pass  # Goes with its namespace or link; lo stays up, and switches are never taken back.
            except WeftError as error:
                self._errors.append(error)
        self._flush_elements()
        self._flush_host()
        return self._errors

    def _veth(self, item: Veth, *, stays: bool) -> None:
        self._host.append((links.leave(item.name), item))
        if stays:
            self._visit.reaper.links_left()

    def _from_link(self, item: Address | Route) -> None:
        there = self._visit.try_enter(item.netns)
        index = links.index_of(there.rtnl, item.link) if there else 0
        if there is None or not index:
            return
        if isinstance(item, Address):
            request = addresses.delete_address(index, item.address)
        else:
            request = addresses.delete_route(index, item.destination, item.via)
        for failure in there.rtnl.send([request]):
            self._note(item, failure)

    def _shaper(self, item: Shaper) -> None:
        there = self._visit.try_enter(item.netns)
        for failure in qdiscs.remove(there, item) if there else ():
            self._note(item, failure)

    def _detour(self, item: Detour) -> None:
        there = self._visit.try_enter(item.netns)
        for failure in detours.remove(there, item) if there else ():
            self._note(item, failure)

    def _table(self, item: SandboxTable) -> None:
        there = self._visit.try_enter(item.netns)
        if there is None:
            return
        for failure in sandbox_table.remove(self._visit.nf_of(there)):
            self._note(item, failure)
        self._visit.retire_nf(there)

    def _flush_elements(self) -> None:
        if self._elements:
            old, self._elements = self._elements, []
            self._errors += elements.remove(self._visit.nf_of(self._visit.host), old)

    def _flush_host(self) -> None:
        if not self._host:
            return
        steps, self._host = self._host, []
        for failure in self._visit.host.rtnl.send([request for request, _ in steps]):
            self._note(steps[failure.at][1], failure)

    def _note(self, item: Item, failure: Failure) -> None:
        if failure.errno not in _GONE:
            self._errors.append(refusal(failure.errno, f"undo: {deed(item)}", failure.text))


def _by_itself(host: Inside, item: Uplink | ProxyNeighbour) -> list[Failure]:
    match item:
        case Uplink():
            return uplinks.remove(host, item)
        case ProxyNeighbour():
            return proxies.remove(host, item)
