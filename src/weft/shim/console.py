"""The supervisor's socket: takes clients in, and does what they ask."""

from __future__ import annotations

import _socket

from weft.shim.command import Refusal
from weft.shim.frames import (
    ATTACH,
    ERROR,
    EXEC,
    EXIT,
    FOLLOW,
    NEWS,
    READY,
    RESIZE,
    SIGNAL,
    STDIN,
    Decoder,
    Record,
    first,
    frame,
    number,
    pack,
    unpack,
)
from weft.shim.init import as_sent
from weft.shim.lean import accept
from weft.shim.log import Log
from weft.shim.loop import IN, OUT, Loop
from weft.shim.session import Session

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

LAG = 256 << 10
"""Bytes behind at which a client that must see everything stops the output."""

TOO_SLOW = 1 << 20
"""Bytes behind at which any other client is dropped."""


class Console:
    """`execute` starts a command from the fields of an EXEC frame, in a fresh session for its client."""

    def __init__(self, loop: Loop, listener: _socket.socket, log: Log) -> None:
        self.clients: set[Client] = set()
        self.followers: set[Client] = set()
        self.main = Session(loop, self._output)
        self.log = log
        self.execute: Callable[[Record, Session], None] | None = None
        """None until the container's own process runs."""
        self._loop = loop
        self._listener = listener
        listener.settimeout(0)
        loop.watch(listener.fileno(), IN, self.accept)

    def accept(self, _fd: int = -1) -> None:
        """Take in all who wait, and what they have said so far."""
        while True:
            try:
                sock = accept(self._listener)
            except OSError:
                return
            sock.settimeout(0)
            client = Client(self, self._loop, sock)
            self.clients.add(client)
            client.readable(sock.fileno())

    def close(self) -> None:
        self._loop.forget(self._listener.fileno())
        self._listener.close()

    def forget(self, client: Client) -> None:
        """A client has gone."""
        self.clients.discard(client)
        self.followers.discard(client)
        session = client.session
        if session and client in session.clients:
            session.clients.remove(client)
            session.balance()
            if session is not self.main:
                session.abandon()

    def handle(self, client: Client, kind: int, payload: bytes) -> None:
        """Do what one frame asks."""
        if kind == STDIN:
            (client.session or self.main).feed(payload, client)
        elif kind == RESIZE and len(payload) == 4:
            rows, columns = int.from_bytes(payload[:2], "big"), int.from_bytes(payload[2:], "big")
            (client.session or self.main).resize(rows, columns)
        elif kind == SIGNAL and len(payload) == 1:
            session = client.session or self.main
            session.signal(as_sent(payload[0]) if session is self.main else payload[0])
        elif client.session or client in self.followers:
            client.refuse(Refusal(0, f"unexpected frame {kind}"))
            return
        elif kind == ATTACH:
            self._attach(client, unpack(payload))
        elif kind == EXEC:
            self._execute(client, unpack(payload))
        elif kind == FOLLOW:
            self.followers.add(client)
            client.send(READY)
        else:
            client.refuse(Refusal(0, f"unknown frame {kind}"))
        if kind in (RESIZE, SIGNAL) and not client.session:
            client.send(READY)

    def _attach(self, client: Client, fields: Record) -> None:
        client.session = self.main
        client.hold = bool(first(fields, "hold"))
        self._size(self.main, fields)
        self.main.clients.append(client)
        inode, length = self.log.position()
        client.send(READY, pack({"inode": [str(inode)], "length": [str(length)]}))

    def _execute(self, client: Client, fields: Record) -> None:
        if self.execute is None:
            client.refuse(Refusal(0, "the container has not started yet"))
            return
        session = Session(self._loop)
        session.alone = first(fields, "alone")
        self._size(session, fields)
        try:
            self.execute(fields, session)
        except Refusal as refusal:
            client.refuse(refusal)
            return
        client.session = session
        client.hold = True
        session.clients.append(client)
        client.send(READY, pack({"pid": [str(session.pid)]}))

    def _size(self, session: Session, fields: Record) -> None:
        rows, columns = number(fields, "rows"), number(fields, "columns")
        if rows and columns:
            session.resize(rows, columns)

    def _output(self, kind: int, data: bytes) -> None:
        self.log.write(kind, data)
        for client in tuple(self.followers):
            client.nudge()

    def announce(self, code: int) -> None:
        """Tell all who look on that the container has ended."""
        self.main.announce()
        for client in tuple(self.followers):
            client.send(EXIT, bytes((code,)))
            client.finish()


class Client:
    """One connection."""

    def __init__(self, console: Console, loop: Loop, sock: _socket.socket) -> None:
        self.session: Session | None = None
        self.hold = False
        """Whether output must wait for this client, rather than the client be dropped."""
        self.sock = sock
        self.unsent = bytearray()
        self._console = console
        self._loop = loop
        self._decoder = Decoder()
        self._finished = False
        self._closed = False
        self._deaf = False
        self._mask = IN
        loop.watch(sock.fileno(), IN, self.readable)

    @property
    def lags(self) -> bool:
        return self.hold and len(self.unsent) >= LAG

    def readable(self, fd: int) -> None:
        try:
            data = self.sock.recv(65536)
        except BlockingIOError:
            self._flush()
            self._listen()
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        try:
            for kind, payload in self._decoder.feed(data):
                if not self._closed and not self._finished:
                    self._console.handle(self, kind, payload)
        except ValueError:
            self.close()
        self._flush()
        self._listen()

    def _listen(self) -> None:
        if self._closed:
            return
        mask = IN | OUT if self.unsent else IN
        if mask != self._mask:
            self._mask = mask
            self._loop.watch(self.sock.fileno(), mask, self.readable)

    def send(self, kind: int, payload: bytes = b"") -> None:
        if self._closed or self._deaf:
            return
        self.unsent += frame(kind, payload)
        self._flush()
        if len(self.unsent) > TOO_SLOW and not self.hold:
            self.close()
        else:
            self._listen()

    def nudge(self) -> None:
        """Say that the log has grown; to one who has not heard the last such word, nothing more is needed."""
        if not self.unsent:
            self.send(NEWS)

    def refuse(self, refusal: Refusal) -> None:
        self.send(ERROR, pack({"code": [str(refusal.code)], "message": [refusal.message]}))
        self.finish()

    def finish(self) -> None:
        """Close once everything is sent."""
        self._finished = True
        if not self.unsent:
            self.close()

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._loop.forget(self.sock.fileno())
            self._console.forget(self)
            self.sock.close()

    def _flush(self) -> None:
        if not self.unsent or self._closed:
            return
        lagged = self.lags
        try:
            while self.unsent:
                del self.unsent[: self.sock.send(self.unsent[:262144])]
        except BlockingIOError:
            pass
        except OSError:
            self._deaf = True  # gone, but what it said last has still to be read
            self.unsent.clear()
        if lagged and not self.lags and self.session:
            self.session.balance()
        if self._finished and not self.unsent:
            self.close()


def drain(clients: list[Client], seconds: float) -> None:
    """Send the rest to clients, each at its own pace; who need not see everything gets a few seconds."""
    for client in sorted(clients, key=lambda one: not one.hold):
        client.sock.settimeout(None if client.hold else seconds)
        try:
            client.sock.sendall(client.unsent)
        except OSError:
            pass
