"""TLS of our own: who is let in, how connections end, and that nobody can hold weftd up."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import socket
import ssl
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serve.place import HEAD, NOTHING, Place, everything, exactly, serving
from tests.tls import TlsClient, authority, client_context
from tests.waiting import eventually
from weft.serve import tls

MEGABYTES = os.urandom(8 << 20)
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def place(
    request: pytest.FixtureRequest, tmp_path: Path, certificates: Path, caplog: pytest.LogCaptureFixture
) -> Iterator[Place]:
    """Whatever happens there, it is nothing to complain about."""
    with serving(tmp_path, certificates, quick=request.param) as place:
        yield place
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def closed(sock: socket.socket) -> bool:
    """Whether the other side closes it: by itself, and while we wait."""
    try:
        while sock.recv(65536):
            pass
    except ConnectionResetError:
        pass
    return True


# Who is let in


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
def test_both_versions_have_a_half_close(place: Place, version: ssl.TLSVersion):
    with place.connect(version=version) as line:
        assert isinstance(line, TlsClient)
        assert line.version == version.name.replace("_", ".")
        line.sendall(b"POST /echo HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nall of it")
        line.shutdown(socket.SHUT_WR)
        assert everything(line) == HEAD + b"ALL OF ITend"
    eventually(lambda: place.ended == ["done"], within=5)


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
@pytest.mark.parametrize("whose", ["nobody's", "another's"])
def test_who_may_not_come_in_is_told_so(place: Place, version: ssl.TLSVersion, whose: str, tmp_path: Path):
    foreign = authority(tmp_path / "others", "client") / "client" if whose == "another's" else None
    context = client_context(foreign, version=version)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with pytest.raises(ssl.SSLError, match="alert"):
        _ask_all_the_same(TlsClient(place.knock(), context))
    time.sleep(0.1)
    assert place.ended == []


def _ask_all_the_same(line: TlsClient) -> None:
    """With TLS 1.3 a client learns of the refusal only now."""
    with line:
        line.sendall(b"POST /wait HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        line.recv(1)


@pytest.mark.parametrize("text", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\xff\xff", b"\0" * 5000], ids=len)
def test_what_is_no_handshake_is_not_listened_to(place: Place, text: bytes):
    with place.knock() as sock:
        sock.sendall(text)
        sock.shutdown(socket.SHUT_WR)
        assert closed(sock)


def test_who_never_shows_a_certificate_is_given_up(place: Place, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tls, "HANDSHAKE_SECONDS", 0.3)
    with place.connect() as friend, place.knock() as silent, place.knock() as slow:
        begun = time.monotonic()
        slow.sendall(b"\x16\x03")
        assert closed(silent)
        assert closed(slow)
        assert 0.2 < time.monotonic() - begun < 2
        friend.sendall(b"POST /plain HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi")
        assert friend.recv(1000).startswith(b"HTTP/1.1 200 ")


def test_a_crowd_at_the_door_keeps_nobody_out(place: Place, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tls, "MOST_STRANGERS", 5)
    with contextlib.ExitStack() as stack:
        friend = stack.enter_context(place.ask("/echo"))
        assert exactly(friend, len(HEAD)) == HEAD
        crowd = [stack.enter_context(place.knock()) for _ in range(20)]
        with place.ask("/echo") as line:
            line.shutdown(socket.SHUT_WR)
            assert everything(line) == HEAD + b"end"
        friend.shutdown(socket.SHUT_WR)
        assert everything(friend) == b"end"
        for sock in crowd[:15]:
            assert closed(sock)
        crowd[-1].setblocking(False)
        with pytest.raises(BlockingIOError):
            crowd[-1].recv(1)


# How connections end


def test_the_end_of_tcp_along_with_that_of_tls_is_a_half_close_too(place: Place):
    with place.ask("/echo", b"body:", then=b"all of it") as line:
        assert isinstance(line, TlsClient)
        line.shutdown(socket.SHUT_WR)
        line.beneath.shutdown(socket.SHUT_WR)
        assert everything(line).replace(NOTHING, b"") == HEAD + b"body:ALL OF ITend"
    eventually(lambda: place.ended == ["done"], within=5)


@pytest.mark.parametrize("how", ["closed", "closed after a half-close", "reset"])
def test_a_client_that_has_gone_is_noticed_at_once(place: Place, how: str):
    line = place.ask("/wait")
    assert isinstance(line, TlsClient)
    assert exactly(line, len(HEAD)) == HEAD
    if how == "closed after a half-close":
        line.shutdown(socket.SHUT_WR)
        time.sleep(0.1)
        assert place.ended == []
    if how == "reset":
        line.beneath.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    line.close()
    eventually(lambda: place.ended == ["done"], within=5)


@pytest.mark.parametrize("how", ["closed", "closed after a half-close"])
def test_a_client_that_has_gone_is_noticed_behind_what_nobody_reads(place: Place, how: str):
    line = place.ask("/wait", then=b"x" * (250 << 10))
    assert isinstance(line, TlsClient)
    assert exactly(line, len(HEAD)) == HEAD
    if how == "closed after a half-close":
        line.shutdown(socket.SHUT_WR)
    time.sleep(0.1)
    assert place.ended == []
    line.close()
    eventually(lambda: place.ended == ["done"], within=5)


def test_where_everything_means_something_the_end_of_tcp_is_the_clients(place: Place):
    with place.ask("/terminal") as line:
        assert isinstance(line, TlsClient)
        assert exactly(line, len(HEAD)) == HEAD
        line.shutdown(socket.SHUT_WR)
        time.sleep(0.1)
        assert place.ended == []
        line.beneath.shutdown(socket.SHUT_WR)
        eventually(lambda: place.ended == ["done"], within=5)


def test_a_request_whose_client_says_no_more_is_not_answered(place: Place):
    """As on the socket: HTTP has its own way to say where a request ends."""
    with place.connect() as line:
        line.sendall(b"POST /plain HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf")
        line.shutdown(socket.SHUT_WR)
        assert everything(line) == b""


def test_the_end_of_tcp_alone_is_the_end_of_the_connection(place: Place):
    with place.connect() as idle, place.ask("/wait") as taken:
        assert isinstance(idle, TlsClient)
        assert isinstance(taken, TlsClient)
        idle.sendall(b"POST /plain HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi")
        assert idle.recv(1000).startswith(b"HTTP/1.1 200 ")
        for line in (idle, taken):
            line.beneath.shutdown(socket.SHUT_WR)
            assert closed(line.beneath)
    eventually(lambda: place.ended == ["done"], within=5)


def test_an_answer_arrives_though_more_has_been_sent_than_is_read(place: Place):
    body = b"x" * (3 << 20)
    with place.ask("/plain", body, fields="Connection: close\r\n") as line:
        found = line.recv(1)
        line.sendall(b"y" * 1000)
        time.sleep(0.2)
        assert (found + everything(line)).endswith(b"\r\n\r\n" + body)


def test_a_client_that_does_not_close_is_waited_for_a_while(
    tmp_path: Path, certificates: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(tls, "LINGER_SECONDS", 2)
    with serving(tmp_path, certificates, quick=True) as place:
        with place.ask("/plain", b"hi", fields="Connection: close\r\n") as line:
            assert isinstance(line, TlsClient)
            assert everything(line).endswith(b"hi")
            line.settimeout(1)
            assert line.beneath.recv(1) == b""
            line.sendall(b"more")
            time.sleep(0.1)
            line.sendall(b"and more")
            with pytest.raises(ConnectionError):
                eventually(lambda: line.send(b"and more") == 0, within=10)


def test_who_breaks_off_tls_is_cut_off(place: Place):
    with place.ask("/wait") as line:
        assert isinstance(line, TlsClient)
        assert exactly(line, len(HEAD)) == HEAD
        line.beneath.sendall(b"\x17\x03\x03\x00\x20" + b"?" * 32)
        eventually(lambda: place.ended == ["done"], within=5)
        with pytest.raises(ssl.SSLError, match="alert"):
            line.recv(1)


@pytest.mark.parametrize("quick", [False, True], ids=["asyncio", "uvloop"])
def test_the_end_of_the_server_waits_for_nobody(
    *, quick: bool, tmp_path: Path, certificates: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(tls, "LINGER_SECONDS", 60)
    monkeypatch.setattr(tls, "HANDSHAKE_SECONDS", 60)
    with serving(tmp_path, certificates, quick=quick) as place:
        with place.connect() as idle, place.knock() as stranger, place.ask("/wait") as taken:
            idle.sendall(b"POST /plain HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi")
            assert idle.recv(1000).startswith(b"HTTP/1.1 200 ")
            assert exactly(taken, len(HEAD)) == HEAD
            place.stop()
            assert place.stopped.wait(5)
            assert closed(stranger)
            everything(idle)
            everything(taken)
    assert place.ended == ["Unavailable"]


# Bytes


def test_megabytes_are_intact_both_ways(place: Place):
    with place.ask("/echo") as line:
        assert exactly(line, len(HEAD)) == HEAD
        found = hashlib.sha256()
        for at in range(0, len(MEGABYTES), 100_000):  # no multiple of a record
            piece = MEGABYTES[at : at + 100_000]
            line.sendall(piece)
            found.update(exactly(line, len(piece)))
        line.shutdown(socket.SHUT_WR)
        assert everything(line) == b"end"
    assert found.digest() == hashlib.sha256(MEGABYTES.upper()).digest()


class _ByteByByte(socket.socket):
    def sendall(self, data: bytes, flags: int = 0) -> None:  # type: ignore[override]
        for byte in data:
            super().sendall(bytes([byte]), flags)
            time.sleep(0.0002)


def test_what_comes_byte_by_byte_is_understood(place: Place):
    sock = _ByteByByte(socket.AF_INET)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.settimeout(10)
    sock.connect(place.address)
    assert place.files
    with TlsClient(sock, client_context(place.files / "client")) as line:
        line.sendall(b"POST /echo HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nbyte by byte")
        line.shutdown(socket.SHUT_WR)
        assert everything(line) == HEAD + b"BYTE BY BYTEend"


@pytest.mark.parametrize("ends", ["none", "of TLS", "of TLS and TCP"])
def test_who_waits_costs_nothing(place: Place, ends: str):
    with place.ask("/wait") as line:
        assert isinstance(line, TlsClient)
        assert exactly(line, len(HEAD)) == HEAD
        if ends != "none":
            line.shutdown(socket.SHUT_WR)
        if ends == "of TLS and TCP":
            line.beneath.shutdown(socket.SHUT_WR)
        time.sleep(0.1)
        spent = time.process_time()
        time.sleep(0.5)
        assert time.process_time() - spent < 0.1
        assert place.ended == []
