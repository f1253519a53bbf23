"""Published ports on the host's side: sockets that reserve them, and the relay that serves what arrives at those.

Implements `engine.needs.HostPorts`. Reserving is done on the engine's worker thread, relaying on the event loop's;
`later` carries word from one to the other once whoever asked has been answered.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from weft.errors import Conflict
from weft.model import IPAddress, PortBinding, Proto
from weft.outside.relay import Aim, Relay, tell_where_asked

_BACKLOG = 128
_SO_DETACH_FILTER = 27


class Sockets(Protocol):
    """What reserves ports (`kernel.ports.HostPortSockets`)."""

    def reserve(self, bindings: Sequence[PortBinding]) -> None: ...

    def release(self, bindings: Sequence[PortBinding]) -> None: ...

    def free_port(self, proto: Proto, host_ip: IPAddress | None, first: int, last: int) -> int: ...

    def socket_of(self, binding: PortBinding) -> socket.socket | None: ...


class RelayedPorts:
    def __init__(self, sockets: Sockets, later: Callable[[Callable[[], object]], None]) -> None:
        self._sockets = sockets
        self._later = later
        self._loop: asyncio.AbstractEventLoop | None = None
        self._relay: Relay | None = None

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Relay on this loop from now on; call it before the first port is reserved."""
        self._loop = loop
        self._relay = Relay(loop)

    def reserve(self, bindings: Sequence[PortBinding]) -> None:
        self._sockets.reserve(bindings)

    def free_port(self, proto: Proto, host_ip: IPAddress | None, first: int, last: int) -> int:
        return self._sockets.free_port(proto, host_ip, first, last)

    def aim(self, bindings: Sequence[PortBinding], ipv4: IPAddress | None, ipv6: IPAddress | None) -> None:
        for binding in bindings:
            held = self._sockets.socket_of(binding)
            if held is None or not _can_be_reached(binding, ipv4, ipv6):
                continue
            # From here on connections wait in the backlog, even though the loop hears of them a moment later.
            if binding.proto is Proto.TCP:
                _listen(held, binding)
            elif binding.proto is Proto.UDP:
                tell_where_asked(held)
                _let_datagrams_in(held)
            self._later(partial(self._tell, binding, held, Aim(ipv4, ipv6, binding.container_port)))

    def release(self, bindings: Sequence[PortBinding]) -> None:
        """The ports are free at once."""
        relay = self._relay
        if relay is not None:
            for binding in bindings:
                held = self._sockets.socket_of(binding)
                if held is not None:
                    relay.retire(held)
        self._sockets.release(bindings)

    def _tell(self, binding: PortBinding, held: socket.socket, aim: Aim) -> None:
        if self._loop is not None and self._relay is not None:
            self._loop.call_soon_threadsafe(self._relay.aim, binding.proto, held, aim)


def _can_be_reached(binding: PortBinding, ipv4: IPAddress | None, ipv6: IPAddress | None) -> bool:
    """Whether anything can arrive at the socket, that is, whether there is an address that no map rewrites."""
    if binding.host_ip is None or binding.host_ip.is_loopback:
        return True
    return (ipv4 if binding.host_ip.version == 4 else ipv6) is None


def _listen(held: socket.socket, binding: PortBinding) -> None:
    # What it accepts inherits this: connections that have yet to end do not keep the port from us when we start again.
    # While it listens nobody else is let in by it.
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        held.listen(_BACKLOG)
    except OSError as error:
        raise Conflict(f"port {binding.host_port}/tcp cannot be listened on: {error.strerror}") from error


def _let_datagrams_in(held: socket.socket) -> None:
    try:
        held.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)
    except OSError:  # let in already
        pass
