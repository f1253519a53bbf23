"""Carries what the kernel cannot rewrite: connections to ::1, and from one address family to a container that has
only the other.

Everything else that is published goes through maps in the kernel and never comes here. The sockets that reserve the
published ports are the ones that listen: a connection that arrives at one of them was not rewritten. They belong to
the daemon, so relayed connections end with it, unlike all others.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import struct
import threading
from dataclasses import dataclass
from typing import Any

from weft.model import IPAddress, Proto

_log = logging.getLogger("weft.relay")

MOST_CONNECTIONS = 2048
"""At once, of all ports together; further ones wait in the sockets' backlogs, datagrams are dropped."""
UDP_IDLE_SECONDS = 60.0
CONNECT_SECONDS = 5.0
_CHUNK = 1 << 16
_PKTINFO_SPACE = socket.CMSG_SPACE(20)

Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Aim:
    """Where one port leads."""

    ipv4: IPAddress | None
    ipv6: IPAddress | None
    port: int

    def towards(self, client: str) -> list[Address]:
        """The container's addresses for a client, the one of the client's own family first."""
        own_first = (self.ipv6, self.ipv4) if ":" in client.removeprefix("::ffff:") else (self.ipv4, self.ipv6)
        return [(str(address), self.port) for address in own_first if address is not None]


@dataclass(frozen=True, slots=True)
class _Flow:
    """Datagrams of one client to one address of the host's."""

    listener: int
    """The descriptor."""
    client: Any
    """As `socket` has it: address, port, and for IPv6 two numbers more."""
    asked_at: bytes

    def from_where_asked(self) -> list[tuple[int, int, bytes]]:
        if not self.asked_at:
            return []
        link = self.client[3] if self.asked_at.startswith(b"\xfe\x80") else 0
        return [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, self.asked_at + struct.pack("=I", link))]


class Relay:
    """Used on the event loop's thread, but for `retire`."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._aims: dict[int, Aim] = {}
        self._handing_over = threading.Lock()
        """Held while a socket begins to be served, or ends to be there."""
        self._tasks: dict[asyncio.Task[None], int] = {}
        """Each with the descriptor that its connection arrived at."""
        self._flows: dict[_Flow, socket.socket] = {}

    def aim(self, proto: Proto, listener: socket.socket, aim: Aim) -> None:
        """Serve what arrives at the socket; again: from now on, with another aim."""
        serve = {Proto.TCP: self._accept, Proto.UDP: self._datagram}.get(proto)
        with self._handing_over:
            fd = listener.fileno()
            if fd < 0 or serve is None:  # closed in the meantime, or nothing that a relay could carry
                return
            if fd not in self._aims:
                self._loop.add_reader(fd, serve, listener)
            self._aims[fd] = aim

    def retire(self, listener: socket.socket) -> None:
        """Close the socket now, from any thread; its relayed connections, which lead nowhere now, end soon after.

        The descriptor's number stays taken until the loop has let go of it: otherwise the next socket to be opened
        anywhere in the process could be mistaken for this one. What takes its place must be something that can be
        waited for, or an event loop by libuv, which may have yet to begin waiting, ends the process.
        """
        with self._handing_over:
            if listener.fileno() not in self._aims:
                listener.close()
                return
            fd = listener.detach()
            nothing = os.eventfd(0, os.EFD_CLOEXEC)
            os.dup2(nothing, fd, inheritable=False)
            os.close(nothing)
        self._loop.call_soon_threadsafe(self._forget, fd)

    def _forget(self, fd: int) -> None:
        if self._aims.pop(fd, None) is not None:
            self._loop.remove_reader(fd)
        for task in [task for task, arrived_at in self._tasks.items() if arrived_at == fd]:
            task.cancel()
        for flow in [flow for flow in self._flows if flow.listener == fd]:
            self._close_flow(flow)
        os.close(fd)

    # TCP

    def _accept(self, listener: socket.socket) -> None:
        try:
            client, address = listener.accept()
        except OSError:  # gone again, or no descriptor left: the backlog keeps it
            return
        targets = self._aims[listener.fileno()].towards(address[0])
        if not targets or len(self._tasks) >= MOST_CONNECTIONS:
            client.close()
            return
        client.settimeout(0)
        task = self._loop.create_task(self._carry(client, targets))
        self._tasks[task] = listener.fileno()
        task.add_done_callback(self._tasks.pop)

    async def _carry(self, client: socket.socket, targets: list[Address]) -> None:
        with client:
            inner = await self._connect(targets)
            if inner is None:
                return
            with inner:
                try:
                    await asyncio.gather(self._pump(client, inner), self._pump(inner, client))
                except OSError as error:
                    _log.debug("a relayed connection to %s ended: %s", targets[0], error)

    async def _connect(self, targets: list[Address]) -> socket.socket | None:
        # A program that listens on IPv4 alone, in a container that has both, answers at the second.
        for target in targets:
            inner = socket.socket(_family(target), socket.SOCK_STREAM)
            inner.settimeout(0)
            try:
                await asyncio.wait_for(self._loop.sock_connect(inner, target), CONNECT_SECONDS)
            except OSError as error:  # a timeout is one
                _log.debug("cannot relay to %s: %s", target, error)
                inner.close()
            except BaseException:
                inner.close()
                raise
            else:
                return inner
        return None

    async def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        while data := await self._loop.sock_recv(source, _CHUNK):
            await self._loop.sock_sendall(sink, data)
        # One direction has ended; the other may go on for as long as it likes.
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    # UDP: one socket towards the container for each client, so that answers find their way back

    def _datagram(self, listener: socket.socket) -> None:
        try:
            data, extra, _, client = listener.recvmsg(_CHUNK, _PKTINFO_SPACE)
        except OSError:
            return
        flow = _Flow(listener.fileno(), client, _asked_at(extra))
        inner = self._flows.get(flow) or self._open_flow(flow, listener)
        if inner is not None:
            with contextlib.suppress(OSError):
                inner.send(data)

    def _open_flow(self, flow: _Flow, listener: socket.socket) -> socket.socket | None:
        targets = self._aims[flow.listener].towards(flow.client[0])
        if not targets or len(self._flows) >= MOST_CONNECTIONS:
            return None
        inner = socket.socket(_family(targets[0]), socket.SOCK_DGRAM)
        inner.settimeout(0)
        try:
            inner.connect(targets[0])
        except OSError:
            inner.close()
            return None
        self._flows[flow] = inner
        last = [self._loop.time()]
        self._loop.add_reader(inner.fileno(), self._answer, inner, listener, flow, last)
        self._loop.call_later(UDP_IDLE_SECONDS, self._expire, flow, inner, last)
        return inner

    def _answer(self, inner: socket.socket, listener: socket.socket, flow: _Flow, last: list[float]) -> None:
        with contextlib.suppress(OSError):
            data = inner.recv(_CHUNK)
            last[0] = self._loop.time()
            listener.sendmsg([data], flow.from_where_asked(), 0, flow.client)

    def _expire(self, flow: _Flow, inner: socket.socket, last: list[float]) -> None:
        if self._flows.get(flow) is not inner:
            return
        idle = self._loop.time() - last[0]
        if idle >= UDP_IDLE_SECONDS:
            self._close_flow(flow)
        else:
            self._loop.call_later(UDP_IDLE_SECONDS - idle, self._expire, flow, inner, last)

    def _close_flow(self, flow: _Flow) -> None:
        inner = self._flows.pop(flow)
        self._loop.remove_reader(inner.fileno())
        inner.close()


def tell_where_asked(listener: socket.socket) -> None:
    """A datagram on a socket for every address comes with the one it was sent to: answers must come from there."""
    if listener.family == socket.AF_INET6:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)


def _asked_at(extra: list[tuple[int, int, bytes]]) -> bytes:
    """The address, as the kernel has packed it; empty if it has not said."""
    for level, kind, payload in extra:
        if (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO):
            return payload[:16]
    return b""


def _family(target: Address) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in target[0] else socket.AF_INET
