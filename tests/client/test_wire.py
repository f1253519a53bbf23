"""The client against a server that misbehaves."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.serve.house import House
from weft.client import connect
from weft.client.wire import DEFAULT_HOST, quote, socket_path
from weft.errors import Invalid, NotFound, Unavailable, WeftError


def test_where_the_daemon_is(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("WEFT_HOST", raising=False)
    assert f"unix://{socket_path()}" == DEFAULT_HOST
    monkeypatch.setenv("WEFT_HOST", "unix:///tmp/a.sock")
    assert socket_path() == "/tmp/a.sock"
    assert socket_path("unix:///tmp/b.sock") == "/tmp/b.sock"
    for wrong in ("tcp://127.0.0.1:1", "/tmp/a.sock", "unix://a.sock"):
        with pytest.raises(Invalid, match="write unix:///path"):
            socket_path(wrong)


def test_nobody_there(tmp_path: Path):
    with pytest.raises(Unavailable, match=f"no weftd at unix://{tmp_path}/a.sock: start it with"):
        connect(f"unix://{tmp_path}/a.sock").ping()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(f"{tmp_path}/b.sock")
    with pytest.raises(Unavailable, match="no weftd at"):
        connect(f"unix://{tmp_path}/b.sock").ping()
    with pytest.raises(Unavailable, match="AF_UNIX path too long"):
        connect(f"unix:///{'x' * 200}").ping()


def test_names_are_quoted():
    assert quote("a-b_c.1~") == "a-b_c.1~"
    assert quote("a/b c?ü") == "a%2Fb%20c%3F%C3%BC"
    with pytest.raises(NotFound):
        quote("")


@contextmanager
def server(path: Path, *conversations: Callable[[socket.socket], None]) -> Iterator[str]:
    """Serves one connection after the other as told, then closes."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(8)

    def run() -> None:
        for conversation in conversations:
            stream, _ = listener.accept()
            with stream:
                conversation(stream)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield f"unix://{path}"
    finally:
        thread.join(5)
        listener.close()
        assert not thread.is_alive()


def answering(*parts: bytes) -> Callable[[socket.socket], None]:
    def conversation(stream: socket.socket) -> None:
        stream.recv(65536)
        for part in parts:
            stream.sendall(part)

    return conversation


def test_an_answer_in_pieces(tmp_path: Path):
    body = b'{"version": "1"}'
    whole = b"HTTP/1.1 200 OK\r\nContent-Length: 16\r\nX: y\r\n\r\n" + body
    with server(tmp_path / "s", answering(*(whole[i : i + 1] for i in range(len(whole))))) as host:
        assert connect(host).ping() == {"version": "1"}


def test_a_chunked_answer(tmp_path: Path):
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    chunks = b'5;x=y\r\n{"a":\r\n3\r\n 1}\r\n0\r\nTrailer: 1\r\n\r\n'
    with server(tmp_path / "s", answering(head, chunks)) as host:
        assert connect(host).ping() == {"a": 1}


@pytest.mark.parametrize(
    "parts", [(), (b"HTTP/1.1 200",), (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{",)], ids=["none", "head", "body"]
)
def test_a_connection_that_breaks(tmp_path: Path, parts: tuple[bytes, ...]):
    with server(tmp_path / "s", answering(*parts)) as host:
        with pytest.raises(Unavailable, match="closed the connection"):
            connect(host).ping()


def test_an_error_that_is_not_wefts(tmp_path: Path):
    head = b"HTTP/1.1 502 Bad\r\nContent-Length: 4\r\n\r\noops"
    with server(tmp_path / "s", answering(head)) as host:
        with pytest.raises(WeftError, match="weftd answered 502: oops"):
            connect(host).ping()


def test_a_connection_that_the_server_has_closed_is_not_used_again(tmp_path: Path):
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
    with server(tmp_path / "s", answering(answer), answering(answer)) as host:
        client = connect(host)
        assert client.ping() == {}
        assert client.ping() == {}


def test_what_may_have_happened_already_is_not_asked_for_twice(tmp_path: Path):
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"

    def hanging_up(stream: socket.socket) -> None:
        answering(answer)(stream)
        stream.recv(65536)  # heard, and perhaps done

    for method, asked_again in (("GET", True), ("DELETE", True), ("POST", False), ("PATCH", False)):
        with server(tmp_path / method, hanging_up, answering(answer)) as host:
            client = connect(host)
            client.ping()
            if asked_again:
                assert client.wire.call(method, "/networks/front") == {}
                continue
            with pytest.raises(Unavailable):
                client.wire.call(method, "/networks/front", {})
            assert client.ping() == {}


def test_a_connection_is_used_again(house: House):
    client = house.client
    for _ in range(5):
        client.ping()
    assert len(client.wire._idle) == 1
    stream = client.wire._idle[0].socket
    with pytest.raises(NotFound):
        client.networks.get("nix")
    client.ping()
    assert client.wire._idle[0].socket is stream
    client.close()
    assert client.ping()["pid"] == os.getpid()


def test_a_connection_is_not_shared_with_a_child(house: House):
    client = house.client
    client.ping()
    mine = client.wire._idle[0].socket
    child = os.fork()
    if child == 0:
        try:
            client.ping()
            os._exit(0 if client.wire._idle[0].socket is not mine else 1)
        finally:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    client.ping()


def test_answers_are_read_only_values(house: House):
    made = house.client.networks.create("front")
    again = house.client.networks.list()[0]
    assert made == again
    assert hash(made) == hash(again)
    assert made != house.client.networks.create("back")
    assert "name='front'" in repr(made)
    with pytest.raises(AttributeError, match="Network is read-only"):
        made.name = "other"


def test_what_is_no_network_is_refused(house: House):
    with pytest.raises(Invalid, match="networks: 3 is not understood"):
        house.client.containers.create(networks=[3])  # type: ignore[list-item]


def test_the_package_offers_it(house: House):
    import weft

    with weft.connect(house.host) as client:
        assert client.ping()["ready"] is True
