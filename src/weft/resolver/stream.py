"""Clients over TCP: framing by length, several questions on the way at once, and bounds on all of it."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

from weft.resolver.loop import READ, WRITE, Loop, Timer

CONNECTIONS = 16
"""Per view."""
IDLE = 10.0
"""Seconds without a question, or without reading an answer."""
PAUSE = 1.0
"""Seconds without accepting after it failed."""
PIPELINED = 32
"""Questions of one connection that are under way; more wait in the kernel."""
UNSENT = 256 * 1024
"""Bytes of answers that a client has not read before no more questions are taken."""
FRAME = 65537

Receive = Callable[["Connection", list[bytes]], None]


class Listener:
    """A view's listening socket and its connections."""

    def __init__(self, loop: Loop, sock: socket.socket, receive: Receive) -> None:
        self._loop = loop
        self._sock = sock
        self._receive = receive
        self._pause: Timer | None = None
        self.connections: set[Connection] = set()
        sock.settimeout(0)
        loop.add(sock.fileno(), self._accept)

    def _accept(self) -> None:
        try:
            sock, _ = self._sock.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError:
            # No descriptors are left. The client goes on waiting in the queue; so do we, instead of spinning.
            self._loop.drop(self._sock.fileno())
            self._pause = self._loop.after(PAUSE, self._resume)
            return
        if len(self.connections) >= CONNECTIONS:
            # The one that has been quiet for longest makes room: a client that left many open finds service again.
            min(self.connections, key=lambda c: c.active).close()
        self.connections.add(Connection(self, self._loop, sock, self._receive))

    def _resume(self) -> None:
        self._loop.add(self._sock.fileno(), self._accept)

    def close(self) -> None:
        if self._pause is not None:
            self._pause.cancel()
        for connection in tuple(self.connections):
            connection.close()
        self._loop.drop(self._sock.fileno())
        self._sock.close()


class Connection:
    def __init__(self, listener: Listener, loop: Loop, sock: socket.socket, receive: Receive) -> None:
        self._listener = listener
        self._loop = loop
        self._sock = sock
        self._receive = receive
        self._received = bytearray()
        self._unsent = bytearray()
        self._under_way = 0
        self._taking = False
        self._ended = False
        self._events = READ
        self.active = time.monotonic()
        sock.settimeout(0)
        self.port = _port(sock)
        loop.add(sock.fileno(), self._ready)
        self._timer = loop.after(IDLE, self._check_idle)

    def send(self, wire: bytes) -> None:
        """Send one answer, or keep it until the client reads."""
        self._under_way -= 1
        if not self._open:
            return
        self._unsent += len(wire).to_bytes(2, "big") + wire
        if not self._taking:
            self._flush()
            self._take()
            self._watch()

    @property
    def _open(self) -> bool:
        return self._sock.fileno() >= 0

    def close(self) -> None:
        if self._open:
            self._timer.cancel()
            self._listener.connections.discard(self)
            self._loop.drop(self._sock.fileno())
            self._sock.close()

    def _ready(self) -> None:
        self._flush()
        self._take()
        if self._open_for_questions():
            self._read()
        self._watch()

    def _read(self) -> None:
        try:
            data = self._sock.recv(FRAME)
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        if not data:
            self._ended = True
            return
        self._received += data
        self._take()

    def _take(self) -> None:
        """Hand over the whole questions that have come, as many as may be under way."""
        self._taking = True
        while self._open and len(self._unsent) < UNSENT and (frames := self._frames()):
            self.active = time.monotonic()
            self._receive(self, frames)
            self._flush()
        self._taking = False

    def _frames(self) -> list[bytes]:
        frames: list[bytes] = []
        while self._under_way < PIPELINED and len(self._received) >= 2:
            length = int.from_bytes(self._received[:2], "big")
            if length < 12:
                self.close()
                return []
            if len(self._received) < 2 + length:
                break
            frames.append(bytes(self._received[2 : 2 + length]))
            del self._received[: 2 + length]
            self._under_way += 1
        return frames

    def _flush(self) -> None:
        if self._unsent and self._open:
            try:
                sent = self._sock.send(self._unsent)
            except BlockingIOError:
                return
            except OSError:
                self.close()
                return
            del self._unsent[:sent]
            self.active = time.monotonic()

    def _open_for_questions(self) -> bool:
        return self._open and not self._ended and self._under_way < PIPELINED and len(self._unsent) < UNSENT

    def _watch(self) -> None:
        """Watch for what is of use now, and close once nothing can follow."""
        if not self._open:
            return
        if self._ended and not self._unsent and self._under_way <= 0:
            self.close()
            return
        events = (READ if self._open_for_questions() else 0) | (WRITE if self._unsent else 0)
        if events != self._events:
            # Watched for nothing, a connection that the client has torn down would still wake the loop for ever.
            if not events:
                self._loop.drop(self._sock.fileno())
            elif not self._events:
                self._loop.add(self._sock.fileno(), self._ready, events)
            else:
                self._loop.change(self._sock.fileno(), events)
            self._events = events

    def _check_idle(self) -> None:
        left = self.active + IDLE - time.monotonic()
        if left <= 0 and self._under_way <= 0:
            self.close()
        else:
            self._timer = self._loop.after(max(left, 1.0), self._check_idle)


def _port(sock: socket.socket) -> int:
    try:
        return int(sock.getpeername()[1])
    except OSError:
        return 0
