"""Both ways of taking and answering datagrams, with sockets of the loopback."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from weft.resolver.datagrams import BATCH, SIZE, Datagrams, OneByOne, datagrams

READY = {b"one": b"first", b"long": b"x" * (SIZE - 2), b"": b"nothing"}


@pytest.fixture(params=[Datagrams, OneByOne])
def way(request: pytest.FixtureRequest) -> Datagrams | OneByOne:
    made: Datagrams | OneByOne = request.param()
    return made


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(0)
        yield sock


@pytest.fixture
def clients(server: socket.socket) -> Iterator[list[socket.socket]]:
    socks = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(3)]
    for sock in socks:
        sock.connect(server.getsockname())
        sock.settimeout(2)
    yield socks
    for sock in socks:
        sock.close()


def test_the_ready_are_answered_to_whom_asked_and_the_others_handed_over(
    way: Datagrams | OneByOne, server: socket.socket, clients: list[socket.socket]
) -> None:
    for _ in range(3):
        for number, client in enumerate(clients):
            for rest in (b"one", b"unknown", b"long"):
                client.send(bytes([7, number]) + rest)
        clients[0].send(b"x")
        assert way.receive(server) == 10
        rest = way.reply(server, 10, {k: v for k, v in READY.items() if k}.get)
        asked = [(bytes([7, n]) + b"unknown", c.getsockname()) for n, c in enumerate(clients)]
        assert rest == [*asked, (b"x", clients[0].getsockname())]
        for number, client in enumerate(clients):
            assert client.recv(65535) == bytes([7, number]) + b"first"
            assert client.recv(65535) == bytes([7, number]) + READY[b"long"]


def test_more_than_a_batch_is_left_for_the_next_turn(
    way: Datagrams | OneByOne, server: socket.socket, clients: list[socket.socket]
) -> None:
    for number in range(BATCH + 5):
        clients[0].send(number.to_bytes(2, "big") + b"one")
    for expected in (BATCH, 5, 0):
        assert way.receive(server) == expected
        assert way.reply(server, expected, READY.get) == []
    assert [clients[0].recv(99)[:2] for _ in range(BATCH + 5)] == [n.to_bytes(2, "big") for n in range(BATCH + 5)]


def test_an_answer_that_cannot_be_sent_does_not_stop_those_after_it(
    way: Datagrams | OneByOne, server: socket.socket, clients: list[socket.socket]
) -> None:
    clients[0].send(b"\1\1one")
    clients[1].send(b"\1\2one")
    assert way.receive(server) == 2
    if isinstance(way, Datagrams):
        way._addresses[0].port[:] = [0, 0]  # to which nothing can be sent
    else:
        way._queries[0] = (b"\1\1one", ("127.0.0.1", 0))
    assert way.reply(server, 2, READY.get) == []
    assert clients[1].recv(99) == b"\1\2first"


def test_a_library_without_the_calls_is_no_obstacle(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(datagrams(), Datagrams)
    monkeypatch.setattr("ctypes.CDLL", lambda name: object())
    assert isinstance(datagrams(), OneByOne)
