"""TLS on TCP connections, with the half-close that the event loops' own TLS does not know.

For them a connection is over once the client says that it sends no more (close_notify). Docker's clients say so as soon
as a command has all its input, and read on. Here it is the end of what the client sends, and no more than that: RFC
8446, section 6.1, and what OpenSSL does for TLS 1.2, too.

TCP's own end (FIN) without it is the end of the client. After it, it may be that as well, or say the same once more:
Node's clients do that, and read on. Which it is shows once something is written; see `weft.serve.takeover`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from typing import Any

from weft.errors import Invalid, Unavailable
from weft.serve.takeover import LINGER_SECONDS

HANDSHAKE_SECONDS = 10.0
"""Until a connection is given up that has not shown a certificate."""
MOST_STRANGERS = 256
"""Connections that have yet to show one. The oldest goes for one more: those who mean it need milliseconds."""
RECORD = 16 << 10
"""Bytes: the most that TLS puts in one record."""

_log = logging.getLogger("weft.serve")


def mutual_tls(cert: str, key: str, ca: str) -> ssl.SSLContext:
    """What lets in nobody without a certificate that `ca` signed: to use the API is to be root on the host.

    Raises Invalid if a file is not named, Unavailable if one is not as it should be.
    """
    for setting, path in (("tls-cert", cert), ("tls-key", key), ("tls-ca", ca)):
        if not path:
            raise Invalid(f"tcp: without {setting} anybody who reaches the port would be root on this host; name one")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION  # in the middle of which nothing could be written
    context.verify_mode = ssl.CERT_REQUIRED
    try:
        context.load_cert_chain(cert, key)
        context.load_verify_locations(ca)
    except OSError as error:  # an SSLError is one, too
        raise Unavailable(f"cannot use {cert}, {key} and {ca} for TLS: {error.strerror or error}") from error
    return context


class Tls:
    """Puts TLS under the protocols of a server."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.context = context
        self.patience = LINGER_SECONDS
        """How long a client that is told of the end may take to close its side."""
        self._strangers: dict[_Tunnel, None] = {}

    def under(self, protocol: asyncio.Protocol) -> asyncio.Protocol:
        """A protocol for a TCP connection: when the client has been let in, `protocol` is told of a connection."""
        return _Tunnel(self, protocol)

    def end(self) -> None:
        """The server stops, and waits for nobody."""
        self.patience = 0
        for stranger in self._strangers:
            stranger.abort()

    def meet(self, stranger: _Tunnel) -> None:
        if len(self._strangers) >= MOST_STRANGERS:
            oldest = next(iter(self._strangers))
            self.forget(oldest)
            oldest.abort()
        self._strangers[stranger] = None

    def forget(self, tunnel: _Tunnel) -> None:
        """It is a stranger no longer."""
        self._strangers.pop(tunnel, None)


class _Tunnel(asyncio.Transport, asyncio.Protocol):
    """To the TCP connection a protocol, and to the protocol above a transport.

    Nothing waits in here: what TCP has brought is handed up at once, what comes from above is TCP's at once. So
    whoever is slow is waited for as over TCP alone.
    """

    def __init__(self, shared: Tls, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self._shared = shared
        self._protocol = protocol
        self._loop = asyncio.get_running_loop()
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = shared.context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._let_in = False
        self._closing = False
        self._said_all = False
        self._heard_all = False
        self._tcp_ended = False

    # What TCP tells

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._tcp = transport
        self._deadline = self._loop.call_later(HANDSHAKE_SECONDS, transport.abort)
        self._shared.meet(self)

    def data_received(self, data: bytes) -> None:
        if self._closing or self._heard_all:
            return
        self._incoming.write(data)
        if not self._let_in:
            self._shake_hands()
        if self._let_in:
            self._read()

    def eof_received(self) -> bool:
        """Whether TCP stays open for what is to be written."""
        self._tcp_ended = True
        return self._heard_all and not self._closing

    def pause_writing(self) -> None:
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._protocol.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._deadline.cancel()
        self._shared.forget(self)
        # Large; and those above go on knowing us, in circles that are not collected soon.
        del self._tls, self._incoming, self._outgoing
        if self._let_in:
            self._protocol.connection_lost(exc)

    def _shake_hands(self) -> None:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return
        except ssl.SSLError as error:
            _log.debug("refused %s: %s", self.get_extra_info("peername"), error)
            self._flush()
            self.close()
            return
        self._deadline.cancel()
        self._shared.forget(self)
        self._flush()
        self._let_in = True
        self._protocol.connection_made(self)

    def _read(self) -> None:
        pieces: list[bytes] = []
        try:
            while self._incoming.pending and not self._heard_all:
                piece = self._tls.read(RECORD)
                if piece:
                    pieces.append(piece)
                else:
                    self._heard_all = True
        except ssl.SSLWantReadError:
            pass  # the rest of a record has yet to come
        except ssl.SSLZeroReturnError:
            self._heard_all = True
        except ssl.SSLError as error:
            _log.debug("cannot understand %s: %s", self.get_extra_info("peername"), error)
            self._flush()
            self._tcp.close()
            return
        self._flush()  # TLS, too, has its answers
        if pieces:
            self._protocol.data_received(b"".join(pieces))
        if self._heard_all and not self._closing and not self._protocol.eof_received():
            self.close()

    # What the protocol above asks

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not data or self._said_all or self._tcp.is_closing():
            return
        self._tls.write(data)
        self._flush()

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        if self._said_all or self._tcp.is_closing():
            return
        with contextlib.suppress(ssl.SSLError):  # it wants to hear the client's; or there is no TLS at all
            self._tls.unwrap()
        self._flush()
        self._said_all = True
        with contextlib.suppress(OSError):  # the client has gone
            self._tcp.write_eof()

    def close(self) -> None:
        """TCP is closed later: it would throw away what the client has yet to read, if the client has sent more."""
        if self._closing or self._tcp.is_closing():
            return
        self._closing = True
        self.write_eof()
        if self._tcp_ended:
            self._tcp.close()
            return
        self._tcp.resume_reading()
        self._deadline.cancel()
        self._deadline = self._loop.call_later(self._shared.patience, self._tcp.close)

    def abort(self) -> None:
        self._tcp.abort()

    def is_closing(self) -> bool:
        return self._closing or self._tcp.is_closing()

    def is_reading(self) -> bool:
        return self._tcp.is_reading()

    def pause_reading(self) -> None:
        if not self._closing:
            self._tcp.pause_reading()

    def resume_reading(self) -> None:
        self._tcp.resume_reading()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        assert isinstance(protocol, asyncio.Protocol)
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._tcp.set_write_buffer_limits(high, low)

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._tcp.get_write_buffer_limits()

    def get_write_buffer_size(self) -> int:
        return self._tcp.get_write_buffer_size()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._shared.context if name == "sslcontext" else self._tcp.get_extra_info(name, default)

    def _flush(self) -> None:
        if self._outgoing.pending and not self._said_all:
            self._tcp.write(self._outgoing.read())
