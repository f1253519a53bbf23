"""Namespaces made ahead, while nobody waits: most of what a join costs is the same for every container.

A spare is a namespace with `lo` up, weft's table and the name server's sockets, and a veth pair whose inner end is
eth0; on the outer end is a guard's program that has yet to be told what may pass. Nothing but this process's
descriptors keeps it: however weftd ends, its spares end with it and leave nothing behind. The outer end has a group of
its own, so that nobody takes it for a link of a container's.

The outer end of one spare is a port already of the bridge that a container joined last, though down: the kernel goes
through all ports of a bridge for every new one, which on a network of a thousand is the dearest part of a join.

Whoever makes an endpoint asks for an `offer` first: the endpoint's id must begin as the spare's link is named.
"""

from __future__ import annotations

import os
import secrets
import socket
from collections import deque
from dataclasses import dataclass

from weft import names
from weft.errors import WeftError
from weft.firewall.guard_program import Shape
from weft.kernel import links, nfnetlink, sandbox_table
from weft.kernel.guards import Ahead, Guards
from weft.kernel.netlink import Netlink
from weft.kernel.netns import Namespaces, log
from weft.plan import SandboxTable

INNER = "eth0"

_BACKLOG = 128

Sockets = tuple[int, int]
"""Descriptors of the name server's UDP and listening TCP socket."""


@dataclass(slots=True)
class Spare:
    link: str
    """The outer end's name."""
    descriptor: int
    rtnl: Netlink
    sockets: Sockets
    table: tuple[int, bool]
    """The kind of `plan.SandboxTable`: port, and whether IPv6 is let in."""
    bridge: int = 0
    """The index of the bridge that the link is a port of."""
    ahead: Ahead | None = None
    """The program on the link."""


class Spares:
    def __init__(self, namespaces: Namespaces, host: Netlink, guards: Guards, count: int) -> None:
        self._namespaces = namespaces
        self._guards = guards
        self._host = host
        self._count = count
        self._ready: deque[Spare] = deque()
        self._offered: Spare | None = None
        self._sockets: dict[str, Sockets] = {}
        self.table = (names.NAMESERVER_PORT, False)
        """The kind that the latest container wanted: the next one probably does, too."""
        self.bridge = 0
        """The index of the bridge that it joined; likewise."""
        self.shape: Shape | None = Shape(1, 0)
        """That of its guard; None if it had none."""

    def prepare(self) -> bool:
        """Make one, unless there are enough; whether another is wanted."""
        if len(self._ready) >= self._count:
            return False
        spare = self._made()
        if spare is None:
            return False
        self._plug(spare)
        self._ready.append(spare)
        return len(self._ready) < self._count

    def offer(self, bridge: str) -> str | None:
        """How the id of an endpoint that is to be on this bridge should begin.

        An offer that was not taken up is void from now on. If none is ready one is made: to have a container made
        from it costs no more than to make it otherwise.
        """
        if self._offered is not None:
            _discard(self._offered)
        self._offered = self._best(links.index_of(self._host, bridge)) if self._ready else self._made()
        return self._offered.link.removeprefix("wv-") if self._offered else None

    def _best(self, bridge: int) -> Spare:
        """One that is a port of the bridge; else of none, since the kernel would have to take it off another."""
        best = min(self._ready, key=lambda spare: (spare.bridge != bridge, spare.bridge))
        self._ready.remove(best)
        return best

    def unplug(self) -> None:
        """Give up the ports that are held for containers to come: a bridge has only so many."""
        plugged = [spare for spare in self._ready if spare.bridge]
        self._host.send([links.set_master(spare.link, 0) for spare in plugged])
        for spare in plugged:
            spare.bridge = 0

    def take(self, link: str) -> Spare | None:
        """The spare that was offered, if its outer end has this name; it is the caller's from now on."""
        spare = self._offered
        if spare is None or spare.link != link:
            return None
        self._offered = None
        return spare

    def keep_sockets(self, path: str, sockets: Sockets) -> None:
        """Until somebody asks for the name server's sockets of the namespace that is now at `path`."""
        self._sockets[path] = sockets

    def sockets_of(self, path: str) -> Sockets | None:
        return self._sockets.pop(path, None)

    def close(self) -> None:
        for path in list(self._sockets):
            self.forget(path)
        for spare in (*self._ready, *([self._offered] if self._offered else [])):
            _discard(spare)
        self._ready.clear()
        self._offered = None

    def forget(self, path: str) -> None:
        for descriptor in self._sockets.pop(path, ()):
            os.close(descriptor)

    def _made(self) -> Spare | None:
        try:
            return self._make()
        except (OSError, WeftError) as error:
            # Whoever needs a namespace will hear of it, if it is still so.
            log.debug("no spare namespace: %s", error)
            return None

    def _make(self) -> Spare:
        link = f"wv-{secrets.token_hex(names.SHORT // 2)}"
        table = SandboxTable("", *self.table)

        def furnish() -> tuple[Netlink, Sockets]:
            rules = Netlink(nfnetlink.NETLINK_NETFILTER)
            sandbox_table.add(rules, table)
            rules.close()
            rtnl = Netlink(socket.NETLINK_ROUTE)
            rtnl.send([links.set_up("lo")])  # the sockets' address is on it
            return rtnl, nameserver_sockets()

        descriptor, (rtnl, sockets) = self._namespaces.apart(furnish)
        spare = Spare(link, descriptor, rtnl, sockets, self.table)
        wanted = [links.add_spare(link, INNER, descriptor), links.no_own_address(link)]
        failures = self._host.send(wanted)
        if failures and failures[0].at == 0:
            _discard(spare)
            raise OSError(failures[0].errno, failures[0].text)
        rtnl.send([links.no_own_address(INNER)])
        try:
            spare.ahead = None if self.shape is None else self._guards.ahead(self._host, link, self.shape)
        except BaseException:
            _discard(spare)
            raise
        return spare

    def _plug(self, spare: Spare) -> None:
        bridge = self.bridge
        if bridge and all(other.bridge != bridge for other in self._ready):
            # Refused if the bridge is gone or full.
            spare.bridge = 0 if self._host.send([links.set_master(spare.link, bridge)]) else bridge


def _discard(spare: Spare) -> None:
    spare.rtnl.close()
    for descriptor in (spare.descriptor, *spare.sockets):
        os.close(descriptor)


def nameserver_sockets() -> Sockets:
    """In the calling thread's namespace; both non-blocking."""
    place = (str(names.NAMESERVER), names.NAMESERVER_PORT)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as udp:
        udp.bind(place)
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as tcp:
            tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tcp.bind(place)
            tcp.listen(_BACKLOG)
            return udp.detach(), tcp.detach()
