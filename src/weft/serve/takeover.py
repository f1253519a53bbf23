"""A connection that has stopped to be HTTP: an application takes it over, and both sides send bytes as they like.

`Connection` is what the application is given. Neither direction is read further ahead than a few buffers: who does not
read makes the other side wait. The client's half-close is the end of what it sends, and no more than that; that it has
gone for good shows in `gone`, also while nothing is read or written.

A Unix socket tells the two apart. TCP does not before something is written: whoever has gone answers with a reset. So
what is written then has to be something that means nothing; without it, TCP's end is held to be the client's.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import select
import sys
import termios
from collections.abc import Awaitable, Callable
from typing import Any

HIJACK = "weft.hijack"
"""The extension's name in an ASGI scope: a `Hijack`."""

BUFFER = 64 << 10
"""Bytes that may wait to be read before the client has to wait; and as many that may wait to be sent."""
LINGER_SECONDS = 2.0
"""How long a client may take to close its side once it has been told that no more comes."""
HEAD_MILLISECONDS = 100
"""How long a client may take to read the head of the answer before more is sent."""


class NotPossible(Exception):
    """The connection is in use for something else: requests have been sent ahead on it."""


class Connection:
    """Bytes to and from a client. `close` it in the end."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, nothing: bytes) -> None:
        """Takes the transport over from its protocol. `begin` is to be called with what came before.

        `nothing` is what means nothing to the client; empty if whatever is sent does.
        """
        self.gone = asyncio.Event()
        """Set once the client has closed the connection, or died."""
        self._transport = transport
        self._loop = loop
        self._nothing = nothing
        self._over_tls = transport.get_extra_info("sslcontext") is not None
        self._reader = asyncio.StreamReader(limit=BUFFER, loop=loop)
        protocol = _Protocol(self._reader, loop, self._set_gone)
        protocol.connection_made(transport)
        transport.set_protocol(protocol)
        self._writer = asyncio.StreamWriter(transport, protocol, self._reader, loop)
        self._watch: select.epoll | None = None
        self._protocol = protocol
        self._watch_end()

    def begin(self, early: bytes, *, ended: bool, slow: bool) -> None:
        """Say what the client has sent already, whether that was all, and whether it has yet to read what it was sent.

        From now on it is read.
        """
        if slow:
            self._protocol.pause_writing()
        if early:
            self._reader.feed_data(early)
        if ended:
            self._reader.feed_eof()

    async def read(self, limit: int = BUFFER) -> bytes:
        """What the client has sent; nothing at its end. Waits."""
        try:
            return await self._reader.read(limit)
        except OSError:
            return b""

    async def write(self, data: bytes) -> None:
        """Waits while the client is slow. What is written after it has gone is lost."""
        if self.gone.is_set():
            await asyncio.sleep(0)  # whoever goes on writing must not keep the others from all they do
            return
        self._writer.write(data)
        with contextlib.suppress(OSError):
            await self._writer.drain()

    async def until_read(self) -> None:
        """Wait a moment until the client has read what was written.

        Clients that take the socket away from their HTTP library lose what the library has read ahead. Over TLS it goes
        no further than the head, which is a record; and a host may take its time to acknowledge.
        """
        if self._over_tls:
            return
        for _ in range(HEAD_MILLISECONDS):
            if self.gone.is_set() or not _unread(self._transport):
                return
            await asyncio.sleep(0.001)

    async def finish(self) -> None:
        """Say that no more comes, and wait a while until the client has closed its side; then close.

        To close at once would have the kernel throw away what the client has yet to read, if it has sent more.
        """
        try:
            if self._writer.can_write_eof() and not self.gone.is_set():
                self._writer.write_eof()
                async with asyncio.timeout(LINGER_SECONDS):
                    while await self.read():
                        pass
        except (TimeoutError, OSError):
            pass
        finally:
            self.close()

    def close(self) -> None:
        self._forget_watch()
        self._transport.close()

    def _set_gone(self) -> None:
        self._forget_watch()
        self.gone.set()

    # The end of the client. A transport tells of it only once it reads or writes, and cannot tell it from a half-close.

    def _watch_end(self) -> None:
        sock = self._transport.get_extra_info("socket")
        try:
            self._watch = select.epoll()
            # EPOLLHUP and EPOLLERR are always told.
            self._watch.register(sock.fileno(), select.EPOLLRDHUP if self._over_tls else 0)
            self._loop.add_reader(self._watch.fileno(), self._hear_end)
        except OSError:
            self._set_gone()

    def _hear_end(self) -> None:
        assert self._watch is not None
        for fd, events in self._watch.poll(0):
            if events & (select.EPOLLHUP | select.EPOLLERR) or not self._nothing:
                self._set_gone()
            else:
                self._watch.modify(fd, 0)
                self._writer.write(self._nothing)

    def _forget_watch(self) -> None:
        if self._watch is not None:
            self._loop.remove_reader(self._watch.fileno())
            self._watch.close()
            self._watch = None


class _Protocol(asyncio.StreamReaderProtocol):
    def __init__(self, reader: asyncio.StreamReader, loop: asyncio.AbstractEventLoop, lost: Callable[[], None]) -> None:
        super().__init__(reader, loop=loop)
        self._lost = lost

    def eof_received(self) -> bool:
        super().eof_received()
        return True  # asyncio would have it that TLS knows no half-close; `weft.serve.tls` does

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._lost()


Hijack = Callable[[bytes, bytes], Connection]
"""Sends the head of an answer, and hands the connection over, told what means nothing on it. Raises NotPossible."""
Run = Callable[[Connection], Awaitable[Any]]


def _unread(transport: asyncio.Transport) -> int:
    """Bytes that the other side of a Unix socket has not read."""
    try:
        answer = fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, b"\0\0\0\0")
    except OSError:
        return 0
    return int.from_bytes(answer, sys.byteorder)
