"""What must hold for any bytes: a function for each place where the resolver reads what others wrote.

A target is called with the bytes, and raises if something does not hold. `run.py` has them tried by the million,
guided by coverage; `test_targets.py` tries some thousands in the ordinary suite.
"""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from weft.dns import control, message
from weft.dns.message import FormatError, Query
from weft.resolver import stream
from weft.resolver.control import Control
from weft.resolver.counts import Counts
from weft.resolver.log import Log
from weft.resolver.loop import Loop
from weft.resolver.sandbox import Sandbox
from weft.resolver.server import Server, View

stream._port = lambda _: 0  # of the pairs of Unix sockets that stand for connections: TCP's would use up the ports


class Quiet(Log):
    """Keeps the unexpected instead of writing it."""

    def __init__(self) -> None:
        super().__init__()
        self.unexpected: list[str] = []

    def event(self, what: str, **fields: object) -> None:
        pass

    def failure(self, what: str, error: BaseException) -> None:
        super().failure(what, error)
        self.unexpected.append(f"{what}: {error!r}")


def query(data: bytes) -> None:
    """A query is read or a format error; what is read goes out as it was, and its answer keeps to its limit."""
    try:
        asked = message.parse_query(data)
    except FormatError:
        return
    again = message.parse_query(message.render_query(asked))
    for field in Query.__slots__:
        if field != "options":  # stay behind
            assert getattr(again, field) == getattr(asked, field), field
    for rdata in ([], [bytes(4)] * 3, [bytes(16)] * 40):
        for limit in (asked.size, message.STREAM_SIZE):
            wire = message.render_answer(asked, rdata=rdata, ttl=5, limit=limit)
            assert len(wire) <= limit
            answer = message.parse_answer(wire, asked)
            assert answer is not None
            assert message.repeats(wire, asked.question)
    respelt = message.respelt(asked.question, data[-32:].rjust(32, b"\x55"))
    assert respelt[:-4].lower() == asked.question[:-4].lower()
    assert respelt[-4:] == asked.question[-4:]


def answer(data: bytes) -> None:
    """An answer is read, is to something else, or a format error; what is passed on is an answer to the same question.

    The first byte says how old it is; the question is the one in the answer itself.
    """
    age, wire = (data[0] if data else 0), data[1:]
    asked = _question_in(wire)
    try:
        read = message.parse_answer(wire, asked)
    except FormatError:
        return
    if read is None:
        return
    assert read.lifetime >= 0
    client = Query(ident=0x4711, flags=0x0100, question=asked.question.swapcase()[:-4] + asked.question[-4:], edns=True)
    for limit in (message.PLAIN_SIZE, message.STREAM_SIZE):
        relayed = message.relay_answer(read, client, age=age, limit=limit)
        assert len(relayed) <= limit
        assert message.repeats(relayed, client.question)
        again = message.parse_answer(relayed, client)
        assert again is not None
        assert again.rcode == read.rcode
        if not (again.truncated or read.bare):
            assert again.ttls == read.ttls
            assert again.lifetime <= read.lifetime
            assert len(relayed) == len(wire)


def _question_in(wire: bytes) -> Query:
    ident = int.from_bytes(wire[:2].ljust(2, b"\0"), "big")
    try:
        question = message.parse_query(b"\0\0\0\0\0\1" + bytes(6) + wire[12:]).question
    except FormatError:
        question = b"\x02c1\0\0\1\0\1"
    return Query(ident=ident, flags=0, question=question)


def datagrams(data: bytes) -> None:
    """A datagram has one answer or none, to itself; nothing unexpected happens; the same again is answered the same."""
    world = _world()
    world.client.send(data[:4096])
    first = world.served()
    world.client.send(data[:4096])
    second = world.served()
    assert len(first) == len(second) <= 1
    for wire in first:
        assert wire[:2] == data[:2]
        assert wire[2] & 0x80
        assert not data[2] & 0x80, "an answer was answered"
        assert len(wire) <= max(message.PLAIN_SIZE, _offered(data))
    assert [len(w) for w in first] == [len(w) for w in second]
    assert not world.log.unexpected, world.log.unexpected


def _offered(data: bytes) -> int:
    try:
        return message.parse_query(data[:4096]).size
    except FormatError:
        return 0


def frames(data: bytes) -> None:
    """Bytes over TCP, in pieces as the first one says: no more answers than questions, each whole and in its turn."""
    world = _world()
    piece, rest = (data[0] + 1 if data else 1), data[1 : 1 + 8192]
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    ours.settimeout(0)
    connection = stream.Connection(world.listener, world.loop, theirs, world.view._frames)
    world.listener.connections.add(connection)
    said = b""
    try:
        for at in range(0, len(rest), piece):
            if theirs.fileno() < 0:
                break
            ours.send(rest[at : at + piece])
            connection._ready()
            said += _all_of(ours)
        if theirs.fileno() >= 0:
            ours.shutdown(socket.SHUT_WR)
            connection._ready()
            connection._ready()
        assert theirs.fileno() < 0, "not closed after the client's end"
        said += _all_of(ours)
    finally:
        connection.close()
        ours.close()
    asked, answered = list(_split(rest)), list(_split(said))
    assert sum(2 + len(f) for f in answered) == len(said), "an answer is not whole"
    assert [f[:2] for f in answered] == [f[:2] for f in asked[: len(answered)]]
    assert all(f[2] & 0x80 for f in answered)
    assert not world.log.unexpected, world.log.unexpected


def _all_of(sock: socket.socket) -> bytes:
    found = b""
    try:
        while piece := sock.recv(65536):
            found += piece
    except (BlockingIOError, ConnectionResetError):
        pass
    return found


def _split(data: bytes) -> Iterator[bytes]:
    while len(data) >= 2:
        length = int.from_bytes(data[:2], "big")
        if len(data) < 2 + length:
            return
        yield data[2 : 2 + length]
        data = data[2 + length :]


def messages(data: bytes) -> None:
    """Whatever is said on weftd's line, the line stays, and names are answered as they are said afterwards."""
    with _line() as (line, served, log):
        try:
            control.unpack(data)
        except ValueError:
            pass
        if data:
            line.send(data[: control.PACKET])
        served.catch_up()
        _all_packets(line)
        for packet in control.pack([("drop", "n1"), control.publish("n1", "e1", ["c1"], [bytes([10, 1, 0, 2])])]):
            line.send(packet)
        line.send(b"hello\x1e" + control.PROTOCOL.encode())
        served.catch_up()
        replies = _all_packets(line)
        assert any(said[0] == "hello" for packet in replies for said in control.unpack(packet)), "the line is gone"
        found = served._server.zone.lookup(b"\x02c1", message.A, ["n1"])
        assert found is not None
        assert found.rdata == (bytes([10, 1, 0, 2]),)
        assert all(error.startswith("a message of weftd was not understood") for error in log.unexpected)


@contextmanager
def _line() -> Iterator[tuple[socket.socket, Control, Quiet]]:
    log = Quiet()
    with tempfile.TemporaryDirectory() as scratch, socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(f"{scratch}/line")
        listener.listen()
        loop = Loop(log)
        server = Server(loop, Counts(), log, os.devnull)
        served = Control(loop, server, listener, Sandbox(0, filtered=False, reasons=[]), log)
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as line:
            line.connect(f"{scratch}/line")
            line.settimeout(0)
            served._accept()
            try:
                yield line, served, log
            finally:
                served._hang_up()
                loop._epoll.close()


def _all_packets(line: socket.socket) -> list[bytes]:
    found = []
    try:
        while packet := line.recv(control.PACKET):
            found.append(packet)
    except (BlockingIOError, ConnectionResetError):
        pass
    return found


class _World:
    """A server with some names, and a container with a client on the loopback. Nothing is asked of other servers."""

    def __init__(self) -> None:
        self.log = Quiet()
        self.loop = Loop(self.log)
        server = Server(self.loop, Counts(), self.log, os.devnull)
        server.zone.set_network("n1", "blue")
        server.zone.publish("n1", "e1", ["c1", "web"], [bytes([10, 1, 0, 2])])
        server.zone.publish("n1", "e2", ["c2", "web"], [bytes([10, 1, 0, 3]), bytes(15) + b"\3"])
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind(("127.0.0.1", 0))
        tcp = socket.create_server(("127.0.0.1", 0))
        self.view = View(server, "s1", (("n1",), (("db", "c1"),)), (), forward=True, udp=udp, tcp=tcp)
        server.open_view(self.view)
        assert self.view._listener is not None
        self.listener = self.view._listener
        self.client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.client.connect(udp.getsockname())
        self.client.settimeout(0)

    def served(self) -> list[bytes]:
        """Have what was sent answered: what came back."""
        self.view._datagrams()
        return _all_packets(self.client)

    def close(self) -> None:
        self.view.close()
        self.client.close()


_worlds: list[_World] = []


def _world() -> _World:
    if not _worlds:
        _worlds.append(_World())
    _worlds[0].log.unexpected.clear()
    return _worlds[0]


def clear_away() -> None:
    """Close what the targets have kept open from one call to the next."""
    while _worlds:
        _worlds.pop().close()


TARGETS: dict[str, Callable[[bytes], None]] = {
    "query": query,
    "answer": answer,
    "datagrams": datagrams,
    "stream": frames,
    "messages": messages,
}
