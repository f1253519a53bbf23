"""uvicorn as weft wants it: without signals of its own, strict with requests' heads; on a Unix socket, or with TLS."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import grp
import json
import logging
import os
import socket
import ssl
from collections.abc import Iterator
from typing import Any

import httptools
import uvicorn
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from weft.errors import Conflict, Unavailable
from weft.serve.app import App
from weft.serve.takeover import HIJACK, Connection, NotPossible
from weft.serve.tls import Tls

GROUP = "weft"
"""Its members may open the socket, if the group exists. To use it is to be root on the host."""
LARGEST_HEAD = 320 << 10
"""In bytes: more than is read at once, so that what came before a head in one go is not held against it."""
KEEPALIVE = {
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE): 1,
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE): 15,
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL): 15,
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT): 4,
}
"""Of TCP connections, which inherit it: a silent host is missed within 75 seconds, unless something is under way to it.

TCP_USER_TIMEOUT would do for that, but ends the connections of those who merely read slowly, too.
"""
HEAD_PATIENCE = 30.0
"""Seconds until a request whose head has begun but does not end is given up."""


class Server(uvicorn.Server):
    def __init__(self, app: App, tls: ssl.SSLContext | None = None) -> None:
        logging.getLogger("uvicorn.error").setLevel(logging.WARNING)  # it greets and says goodbye there
        self._app = app
        self._tls = None if tls is None else Tls(tls)
        super().__init__(
            uvicorn.Config(
                app,
                http=self._protocol,  # type: ignore[arg-type]  # uvicorn does no more than call it
                ws="none",
                lifespan="off",
                loop="asyncio",
                log_config=None,
                access_log=False,
                server_header=False,
                date_header=False,
                proxy_headers=False,
                backlog=1024,
                timeout_keep_alive=75,
                timeout_graceful_shutdown=15,
            )
        )

    def stop(self) -> None:
        """Answer what is under way, then return from `serve`."""
        self.should_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the daemon's business: uvicorn would raise them again before the daemon has put things away."""
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._app.close()
        if self._tls is not None:
            self._tls.end()
        await super().shutdown(sockets)

    def _protocol(self, **parts: Any) -> asyncio.Protocol:
        protocol = StrictProtocol(**parts)
        return protocol if self._tls is None else self._tls.under(protocol)


class StrictProtocol(HttpToolsProtocol):
    """Bounds what uvicorn leaves open, how long and how large a request's head may be; and lets go of connections.

    After a request that asks for an upgrade, what follows is nobody's until the application has decided: it belongs to
    who takes the connection over, or is the next request.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_size = 0
        self._head_timer: asyncio.TimerHandle | None = None
        self._held: bytearray | None = None
        """What came after a request for an upgrade."""
        self._ended = False
        """Nothing more comes after that."""
        self._body_left = 0
        """Bytes of its body that have yet to come: the parser leaves them to us."""

    def data_received(self, data: bytes) -> None:
        if self._held is not None:
            self._hold(data)
            return
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._held = bytearray()
            self._hold(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            self.send_400_response("")
            return
        if self._head_timer is not None:
            self._head_size += len(data)
            if self._head_size > LARGEST_HEAD:
                self._refuse(431, "the request's head is too large")

    def eof_received(self) -> bool:  # type: ignore[override]
        """Whether the connection stays open for the answer."""
        self._ended = True
        if self._held is None or self._body_left:
            return False
        return self._get_upgrade() == b"tcp"

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._held is None or self.transport.is_closing():
            return
        if self._body_left:
            self.transport.close()
            return
        early, self._held = bytes(self._held), None  # nobody wanted the upgrade: what follows is HTTP
        if early:
            self.data_received(early)
        if self._ended:
            self.transport.close()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {HIJACK: self._hijack}  # type: ignore[dict-item]
        self._head_size = 0
        self._head_timer = self.loop.call_later(HEAD_PATIENCE, self._give_up)

    def on_headers_complete(self) -> None:
        self._forget_timer()
        if self.parser.should_upgrade():
            fields = dict(self.headers)
            if b"transfer-encoding" in fields:
                self._refuse(411, "a request for an upgrade needs the length of its body")
                return
            self._body_left = int(fields.get(b"content-length", b"0"))
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        if not self._body_left:
            super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_timer()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        self._forget_timer()
        self._refuse(400, "this is not an HTTP request that weftd understands")

    def _hold(self, data: bytes) -> None:
        """Of a request for an upgrade: the rest of its body, and what follows."""
        assert self._held is not None
        if self._body_left:
            part = data[: self._body_left]
            self._body_left -= len(part)
            self.on_body(part)
            self.on_message_complete()
        else:
            part = b""
        self._held += data[len(part) :]
        if len(self._held) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()

    def _hijack(self, head: bytes, nothing: bytes) -> Connection:
        """Answer with this head, and let go of the connection for good. Raises NotPossible."""
        cycle = self.cycle
        if self.pipeline or cycle.more_body or cycle.response_started or self.transport.is_closing():
            raise NotPossible
        cycle.response_started = cycle.response_complete = True
        cycle.message_event.set()
        self.connections.discard(self)
        early, self._held = bytes(self._held or b""), None
        self.transport.write(head)
        connection = Connection(self.transport, self.loop, nothing)
        self.flow.resume_reading()
        connection.begin(early, ended=self._ended, slow=self.flow.write_paused)
        return connection

    def _give_up(self) -> None:
        self._refuse(408, f"the request's head has not come within {HEAD_PATIENCE:g} s")

    def _forget_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _refuse(self, status: int, message: str) -> None:
        self._forget_timer()
        if self.transport.is_closing():
            return
        body = json.dumps({"kind": "invalid", "message": message}).encode()
        head = (
            f"HTTP/1.1 {status} Refused\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()


def listen_tcp(place: str) -> socket.socket:
    """Listening at ADDRESS:PORT. Raises Conflict (taken) or Unavailable."""
    host, _, port = place.rpartition(":")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        for option, value in KEEPALIVE.items():
            listener.setsockopt(*option, value)
        listener.bind((host.strip("[]"), int(port)))
        listener.listen(1024)
    except OSError as error:
        listener.close()
        kind = Conflict if error.errno == errno.EADDRINUSE else Unavailable
        raise kind(f"cannot listen on {place}: {error.strerror}") from error
    return listener


def listen(path: str) -> socket.socket:
    """The daemon's socket, listening. One that a dead daemon left is replaced; a live daemon's raises Conflict."""
    _refuse_if_answered(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    fresh = f"{path}.new"
    try:
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(fresh)
        listener.bind(fresh)
        os.chmod(fresh, 0o660)
        with contextlib.suppress(KeyError, OSError):  # no such group; not ours to give, or not in this user namespace
            os.chown(fresh, -1, grp.getgrnam(GROUP).gr_gid)
        listener.listen(1024)
        os.rename(fresh, path)  # clients see a socket that answers, or none
    except OSError as error:
        listener.close()
        raise Unavailable(f"cannot listen on {path}: {error.strerror or error}") from error
    return listener


def _refuse_if_answered(path: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except OSError:
            return
    raise Conflict(f"another weftd answers on {path}")
