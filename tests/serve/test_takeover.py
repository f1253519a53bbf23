"""Connections that an application takes over from HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.waiting import eventually
from weft.serve.app import App, Patience, Receive, Scope, Send, answer, read_body
from weft.serve.http import Server, listen
from weft.serve.routes import Table
from weft.serve.takeover import BUFFER, HIJACK, Connection, NotPossible

HEAD = b"HTTP/1.1 101 UPGRADED\r\n\r\n"
UPGRADE = "Connection: Upgrade\r\nUpgrade: tcp\r\n"


class Place:
    """A server whose application does what the path says."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.ended: list[str] = []
        """How the connections that were taken over ended."""
        self.flooded = 0
        """Bytes that have been written to who may not read them."""
        self.stop: Callable[[], None] = lambda: None
        self.patience = Patience()

    async def application(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_body(receive)
        if scope["path"] == "/plain":
            await answer(send, 200, body)
            return
        try:
            connection = scope["extensions"][HIJACK](HEAD)
        except NotPossible:
            self.ended.append("not possible")
            await answer(send, 400, b"not possible")
            return
        act = {"/echo": self._echo, "/wait": self._wait, "/flood": self._flood}[scope["path"]]
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

    def connect(self) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(10)
        sock.connect(self.path)
        return sock

    def ask(self, path: str, body: bytes = b"", *, fields: str = UPGRADE, then: bytes = b"") -> socket.socket:
        sock = self.connect()
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\n{fields}Content-Length: {len(body)}\r\n\r\n"
        sock.sendall(head.encode() + body + then)
        return sock


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(str(tmp_path / "sock"))
    ready = threading.Event()

    async def serve() -> None:
        server = Server(App(prefix="/weft/v1", routes=Table([]), others=place.application, patience=place.patience))
        loop = asyncio.get_running_loop()
        place.stop = lambda: loop.call_soon_threadsafe(server.stop) and None
        listener = listen(place.path)
        ready.set()
        await server.serve(sockets=[listener])

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert ready.wait(10)
    yield place
    place.stop()
    thread.join(20)
    assert not thread.is_alive()


def everything(sock: socket.socket) -> bytes:
    found = b""
    while data := sock.recv(65536):
        found += data
    return found


def exactly(sock: socket.socket, length: int) -> bytes:
    found = b""
    while len(found) < length and (data := sock.recv(length - len(found))):
        found += data
    return found


@pytest.mark.parametrize("fields", [UPGRADE, ""], ids=["asked", "old"])
def test_bytes_go_both_ways_until_the_client_has_sent_all(place: Place, fields: str):
    with place.ask("/echo", b"body:", fields=fields) as sock:
        assert exactly(sock, len(HEAD) + 5) == HEAD + b"body:"
        sock.sendall(b"one ")
        assert exactly(sock, 4) == b"ONE "
        sock.sendall(b"two ")
        sock.shutdown(socket.SHUT_WR)
        assert everything(sock) == b"TWO end"
    eventually(lambda: place.ended == ["done"])


def test_what_is_sent_along_with_the_request_is_the_new_owners(place: Place):
    with place.ask("/echo", b"body:", then=b"GET / HTTP/1.1\r\n\r\n") as sock:
        sock.shutdown(socket.SHUT_WR)
        assert everything(sock) == HEAD + b"body:GET / HTTP/1.1\r\n\r\nend"


def test_a_body_that_comes_in_pieces_is_the_requests(place: Place):
    with place.connect() as sock:
        sock.sendall(f"POST /echo HTTP/1.1\r\nHost: x\r\n{UPGRADE}Content-Length: 6\r\n\r\nab".encode())
        for piece in (b"cd", b"efgh"):
            time.sleep(0.05)
            sock.sendall(piece)
        assert exactly(sock, len(HEAD) + 8) == HEAD + b"abcdefGH"


def test_who_wants_no_upgrade_goes_on_with_http(place: Place):
    second = b"POST /plain HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\nConnection: close\r\n\r\nsecond"
    with place.ask("/plain", b"first", then=second) as sock:
        answers = everything(sock)
    assert answers.count(b"HTTP/1.1 200 OK") == 2
    assert answers.index(b"first") < answers.index(b"second")


def test_an_upgrade_with_a_body_of_unknown_length_is_refused(place: Place):
    with place.connect() as sock:
        sock.sendall(f"POST /echo HTTP/1.1\r\nHost: x\r\n{UPGRADE}Transfer-Encoding: chunked\r\n\r\n".encode())
        assert everything(sock).startswith(b"HTTP/1.1 411 ")
    assert place.ended == []


def test_a_connection_with_further_requests_is_not_given_away(place: Place):
    further = b"POST /plain HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
    with place.ask("/echo", b"", fields="", then=further) as sock:
        sock.settimeout(2)
        assert sock.recv(65536).startswith(b"HTTP/1.1 400 ")
    assert place.ended == ["not possible"]


def test_a_client_that_is_gone_is_noticed_while_nothing_is_read(place: Place):
    sock = place.ask("/wait", then=b"unread" * 10_000)
    assert exactly(sock, len(HEAD)) == HEAD
    sock.shutdown(socket.SHUT_WR)
    time.sleep(0.1)
    assert place.ended == []  # it has only said all
    sock.close()
    eventually(lambda: place.ended == ["done"])


def test_a_client_that_does_not_read_is_waited_for(place: Place):
    with place.ask("/flood"):
        time.sleep(0.2)
        before = place.flooded
        time.sleep(0.3)
        assert before == place.flooded < 2 << 20  # what the kernel holds, and a buffer
    eventually(lambda: place.ended == ["done"])


def test_a_client_that_sends_ahead_has_to_wait(place: Place):
    with place.ask("/wait") as sock:
        assert exactly(sock, len(HEAD)) == HEAD
        sock.settimeout(0.5)
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent < 64 << 20:
                sent += sock.send(b"x" * 65536)
        assert sent < 4 * BUFFER + (2 << 20)


def test_the_end_of_the_server_ends_them(place: Place):
    socks = [place.ask("/wait") for _ in range(10)]
    for sock in socks:
        assert exactly(sock, len(HEAD)) == HEAD
    begun = time.monotonic()
    place.stop()
    for sock in socks:
        assert everything(sock) == b""
        sock.close()
    assert time.monotonic() - begun < 3
    eventually(lambda: place.ended == ["Unavailable"] * 10)
