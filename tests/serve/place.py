"""A server whose application takes connections over, and does what the path says: on a Unix socket, or over TLS."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

from tests.tls import TlsClient, client_context
from weft.serve.app import App, Gone, Patience, Receive, Scope, Send, answer, read_body
from weft.serve.http import Server, listen, listen_tcp
from weft.serve.routes import Table
from weft.serve.takeover import HIJACK, Connection, NotPossible
from weft.serve.tls import mutual_tls

HEAD = b"HTTP/1.1 101 UPGRADED\r\n\r\n"
NOTHING = b"\0"
UPGRADE = "Connection: Upgrade\r\nUpgrade: tcp\r\n"
KERNEL = 256 << 10
"""Bytes that the kernel may hold of a TCP connection on either side, so that tests see who waits for whom."""

Line = socket.socket | TlsClient


@dataclass
class Place:
    path: str
    files: Path | None
    """Certificates, if it is over TLS."""
    address: tuple[str, int] = ("", 0)
    ended: list[str] = field(default_factory=list)
    """How the connections that were taken over ended."""
    flooded: int = 0
    """Bytes that have been written to who may not read them."""
    stop: Callable[[], None] = lambda: None
    stopped: threading.Event = field(default_factory=threading.Event)
    patience: Patience = field(default_factory=Patience)

    async def application(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            body = await read_body(receive)
        except Gone:
            return
        if scope["path"] == "/plain":
            await answer(send, 200, body)
            return
        try:
            connection = scope["extensions"][HIJACK](HEAD, b"" if scope["path"] == "/terminal" else NOTHING)
        except NotPossible:
            self.ended.append("not possible")
            await answer(send, 400, b"not possible")
            return
        act = {"/echo": self._echo, "/wait": self._wait, "/terminal": self._wait, "/flood": self._flood}[scope["path"]]
        try:
            await connection.write(body)
            await self.patience.unless_closing(act(connection))
            self.ended.append("done")
        except Exception as error:
            self.ended.append(type(error).__name__)
        finally:
            connection.close()

    async def _echo(self, connection: Connection) -> None:
        while data := await connection.read():
            await connection.write(data.upper())
        await connection.write(b"end")
        await connection.finish()

    async def _wait(self, connection: Connection) -> None:
        await connection.gone.wait()

    async def _flood(self, connection: Connection) -> None:
        while not connection.gone.is_set():
            self.flooded += 65536
            await connection.write(b"x" * 65536)

    def connect(self, *, version: ssl.TLSVersion | None = None) -> Line:
        sock = self.knock()
        if self.files is None:
            return sock
        return TlsClient(sock, client_context(self.files / "client", version=version))

    def knock(self) -> socket.socket:
        """Connected, and no more than that."""
        sock = socket.socket(socket.AF_INET if self.files else socket.AF_UNIX)
        sock.settimeout(10)
        if self.files:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, KERNEL)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL)
        sock.connect(self.address if self.files else self.path)
        return sock

    def ask(self, path: str, body: bytes = b"", *, fields: str = UPGRADE, then: bytes = b"") -> Line:
        line = self.connect()
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\n{fields}Content-Length: {len(body)}\r\n\r\n"
        line.sendall(head.encode() + body + then)
        return line


@contextlib.contextmanager
def serving(directory: Path, files: Path | None = None, *, quick: bool = False) -> Iterator[Place]:
    """`files` are the certificates of an authority, to serve over TLS; `quick`: on weftd's own kind of event loop."""
    place = Place(str(directory / "sock"), files)
    ready = threading.Event()

    async def serve() -> None:
        app = App(prefix="/weft/v1", routes=Table([]), others=place.application, patience=place.patience)
        if files is None:
            server, listener = Server(app), listen(place.path)
        else:
            cert, key, ca = (str(files / "server" / f"{name}.pem") for name in ("cert", "key", "ca"))
            server, listener = Server(app, mutual_tls(cert, key, ca)), listen_tcp("127.0.0.1:0")
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, KERNEL)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL)
            place.address = listener.getsockname()
        loop = asyncio.get_running_loop()
        place.stop = lambda: loop.call_soon_threadsafe(server.stop) and None
        ready.set()
        await server.serve(sockets=[listener])
        place.stopped.set()

    thread = threading.Thread(target=lambda: uvloop.run(serve()) if quick else asyncio.run(serve()))
    thread.start()
    assert ready.wait(10)
    try:
        yield place
    finally:
        if not place.stopped.is_set():
            place.stop()
        thread.join(20)
    assert not thread.is_alive()


def everything(line: Line) -> bytes:
    found = b""
    while data := line.recv(65536):
        found += data
    return found


def exactly(line: Line, length: int) -> bytes:
    found = b""
    while len(found) < length and (data := line.recv(length - len(found))):
        found += data
    return found
