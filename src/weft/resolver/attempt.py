"""A question as put to one server: a socket, hence a source port, and an id of its own."""

from __future__ import annotations

import socket

from weft.dns import message
from weft.dns.message import FormatError
from weft.resolver.loop import READ, WRITE
from weft.resolver.servers import Endpoint

TYPE_CHECKING = False  # without `typing`, which would add to the resolver's memory
if TYPE_CHECKING:
    from weft.resolver.upstream import Exchange


class Attempt:
    """The question as put to one server, and the socket on which its answer is awaited."""

    stream = False
    doubts = 0
    """Packets that were no answer to the question."""

    def __init__(self, exchange: Exchange, server: Endpoint, kind: socket.SocketKind) -> None:
        """Raises OSError if the server cannot be reached, as far as can be told at once."""
        self.exchange = exchange
        self.server = server
        self.query = exchange.query(server)
        self._own: tuple[int, int] | None = None
        self.sock = socket.socket(server.family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            self.begin()
        except OSError:
            self.close()
            raise

    def begin(self) -> None:
        raise NotImplementedError

    def repeat(self) -> None:
        """Ask again, the first time having perhaps been lost."""

    def mark(self) -> None:
        """Remember what we are asking of a loopback address, lest we take it for a container's question."""
        if self.server.loopback:
            self._own = (self.sock.getsockname()[1], self.query.ident)
            self.exchange.upstream.ours.add(self._own)

    def close(self) -> None:
        if self._own is not None:
            self.exchange.upstream.ours.discard(self._own)
            self._own = None
        if self.sock.fileno() >= 0:
            self.exchange.upstream.loop.drop(self.sock.fileno())
            self.sock.close()

    def take(self, data: bytes) -> None:
        """Pass on an answer, if it is one to our question."""
        try:
            answer = message.parse_answer(data, self.query)
        except FormatError:
            answer = None
        if answer is None:
            self.exchange.upstream.counts.upstream_bad += 1
            self.exchange.doubted(self)
        elif not message.repeats(data, self.query.question) and not answer.bare:
            self.exchange.misspelt(self, answer)
        else:
            self.exchange.answered(self, answer)


class Datagram(Attempt):
    def __init__(self, exchange: Exchange, server: Endpoint) -> None:
        super().__init__(exchange, server, socket.SOCK_DGRAM)

    def begin(self) -> None:
        # Connected, so that the kernel takes packets from the server alone and tells when its port is closed.
        self.sock.connect(self.server.address)
        self.mark()
        self.sock.send(message.render_query(self.query))
        self.exchange.upstream.loop.add(self.sock.fileno(), self._ready)

    def repeat(self) -> None:
        try:
            self.sock.send(message.render_query(self.query))
        except OSError:
            pass  # the error comes again when the socket is read

    def _ready(self) -> None:
        try:
            data = self.sock.recv(message.STREAM_SIZE)
        except BlockingIOError:
            return
        except OSError as error:
            self.exchange.failed(self, error)
            return
        self.take(data)


class Stream(Attempt):
    stream = True

    def __init__(self, exchange: Exchange, server: Endpoint) -> None:
        self._received = bytearray()
        self._unsent = b""
        super().__init__(exchange, server, socket.SOCK_STREAM)

    def begin(self) -> None:
        wire = message.render_query(self.query)
        self._unsent = len(wire).to_bytes(2, "big") + wire
        try:
            self.sock.connect(self.server.address)
        except BlockingIOError:
            pass
        self.mark()
        self.exchange.upstream.loop.add(self.sock.fileno(), self._ready, WRITE)

    def _ready(self) -> None:
        try:
            if self._unsent:
                self._unsent = self._unsent[self.sock.send(self._unsent) :]
                if not self._unsent:
                    self.exchange.upstream.loop.change(self.sock.fileno(), READ)
                return
            data = self.sock.recv(message.STREAM_SIZE)
            if not data:
                raise ConnectionResetError(104, "closed without an answer")
        except BlockingIOError:
            return
        except OSError as error:
            self.exchange.failed(self, error)
            return
        self._received += data
        if len(self._received) >= 2:
            length = int.from_bytes(self._received[:2], "big")
            if len(self._received) >= 2 + length:
                frame = bytes(self._received[2 : 2 + length])
                self._received.clear()
                self.take(frame)
