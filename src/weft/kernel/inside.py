"""One look or deed inside namespaces: what is open there while it lasts."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass, field

from weft.errors import NotFound
from weft.kernel import links, nfnetlink
from weft.kernel.guards import Guards
from weft.kernel.netlink import Failure, Netlink
from weft.kernel.netns import Namespaces, open_namespace
from weft.kernel.reaper import Reaper
from weft.kernel.spares import Spare
from weft.plan import HOST, Item


@dataclass(slots=True)
class Inside:
    """A namespace with sockets opened in it. Held no longer than needed: they keep the namespace alive."""

    descriptor: int
    rtnl: Netlink
    nf: Netlink | None = None
    fresh: bool = False
    """Made just now: nothing is in it."""
    spare: Spare | None = None
    """What it was made from, if it was made ahead."""
    pending: list[Item] = field(default_factory=list)
    """Items still to be made in it."""


class Visit:
    """The namespaces that one call has to do with. `close` it."""

    def __init__(self, namespaces: Namespaces, host: Netlink, host_nf: Netlink, reaper: Reaper, guards: Guards) -> None:
        self.namespaces = namespaces
        self.reaper = reaper
        self.guards = guards
        self.host = Inside(namespaces.home, host, host_nf)
        self.inside: dict[str, Inside] = {}
        self._slow: list[Netlink] = []

    def enter(self, netns: str) -> Inside:
        """Raises NotFound if there is no such namespace."""
        if netns == HOST:
            return self.host
        there = self.inside.get(netns)
        if there is None:
            descriptor = open_namespace(netns)
            try:
                rtnl = self.namespaces.within(descriptor, open_rtnl)
            except BaseException:
                os.close(descriptor)
                raise
            there = self.inside[netns] = Inside(descriptor, rtnl)
        return there

    def try_enter(self, netns: str) -> Inside | None:
        try:
            return self.enter(netns)
        except NotFound:
            return None

    def make(self, path: str, *, with_nf: bool) -> Inside:
        """A new namespace; sockets are opened in the same visit, since each costs two switches."""

        def open_sockets() -> tuple[Netlink, Netlink | None]:
            return open_rtnl(), Netlink(nfnetlink.NETLINK_NETFILTER) if with_nf else None

        descriptor, (rtnl, nf) = self.namespaces.make(path, open_sockets)
        there = self.inside[path] = Inside(descriptor, rtnl, nf, fresh=True)
        return there

    def adopt(self, path: str, spare: Spare) -> Inside:
        """A namespace that was made ahead, bound at its place."""
        self.namespaces.bind_descriptor(path, spare.descriptor)
        there = self.inside[path] = Inside(spare.descriptor, spare.rtnl, fresh=True, spare=spare)
        return there

    def nf_of(self, there: Inside) -> Netlink:
        if there.nf is None:
            there.nf = self.namespaces.within(
                there.descriptor, lambda: Netlink(nfnetlink.NETLINK_NETFILTER, receive_buffer=1 << 20)
            )
        return there.nf

    def retire_nf(self, there: Inside) -> None:
        """The socket has deleted something: closing it would wait until the kernel has cleaned up."""
        if there.nf is not None and there is not self.host:
            self._slow.append(there.nf)
            there.nf = None

    def close(self) -> None:
        for there in self.inside.values():
            there.rtnl.close()
            if there.nf is not None:
                there.nf.close()
            os.close(there.descriptor)
        self.inside.clear()
        for slow in self._slow:
            self.reaper.retire(slow)


def link_in(there: Inside, name: str) -> links.Link | None:
    answer = there.rtnl.get([links.get(name)])[0]
    return None if isinstance(answer, Failure) or not answer else links.parse(answer[0])


def open_rtnl() -> Netlink:
    return Netlink(socket.NETLINK_ROUTE)
