"""Connections that an application takes over from HTTP: on a Unix socket, and the same over TLS."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serve.place import HEAD, UPGRADE, Place, everything, exactly, serving
from tests.waiting import eventually
from weft.serve.takeover import BUFFER


@pytest.fixture(params=["unix", "tls", "tls on uvloop"])
def place(request: pytest.FixtureRequest, tmp_path: Path, certificates: Path) -> Iterator[Place]:
    kind: str = request.param
    with serving(tmp_path, None if kind == "unix" else certificates, quick="uvloop" in kind) as place:
        yield place


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
    with place.ask("/flood") as line:
        eventually(lambda: _rests(place), within=10)
        assert place.flooded < 2 << 20  # what the kernel holds, and a buffer
        exactly(line, 4 << 20)
        assert place.flooded > 4 << 20
    eventually(lambda: place.ended == ["done"])


def _rests(place: Place) -> bool:
    before = place.flooded
    time.sleep(0.3)
    return before == place.flooded > 0


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
