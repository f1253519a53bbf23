"""A resolver as weftd has it, clients that ask it, and servers for it to ask; all on the loopback of a private host.

A container's own namespace is not needed here: its two sockets are opened on a loopback address of its own.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import struct
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from weft.dns.message import IN, A, labels, to_wire
from weft.engine.needs import Holder, View
from weft.outside.names import ResolverNames

NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = range(6)
NS1, NS2, NS3 = "127.0.53.1", "127.0.53.2", "127.0.53.3"


@dataclass
class Reply:
    ident: int
    flags: int
    question: bytes
    records: list[tuple[int, int, bytes]]
    """Type, TTL, data of those in the answer section."""
    seconds: float = 0.0

    @property
    def rcode(self) -> int:
        return self.flags & 15

    @property
    def truncated(self) -> bool:
        return bool(self.flags & 0x200)

    @property
    def addresses(self) -> list[str]:
        return [str(ip_address(data)) for rtype, _, data in self.records if rtype in (1, 28)]


def read_reply(wire: bytes) -> Reply:
    """Reads answers of the forms that occur here, independently of the code under test."""
    ident, flags, questions, answers = struct.unpack_from("!HHHH", wire)
    at = 12
    if questions:
        at = wire.index(0, 12) + 5
    question, records = wire[12:at], []
    for _ in range(answers):
        assert wire[at : at + 2] == b"\xc0\x0c"
        rtype, _, ttl, length = struct.unpack_from("!HHIH", wire, at + 2)
        records.append((rtype, ttl, wire[at + 12 : at + 12 + length]))
        at += 12 + length
    return Reply(ident, flags, question, records)


def query(
    name: str, rtype: int = A, *, ident: int = 4711, rclass: int = IN, flags: int = 0x100, edns: int = 0
) -> bytes:
    """A query's bytes; with `edns`, the size offered."""
    opt = struct.pack("!BHHIH", 0, 41, edns, 0, 0) if edns else b""
    return (
        struct.pack("!6H", ident, flags, 1, 0, 0, bool(edns))
        + to_wire(name)
        + struct.pack("!BHH", 0, rtype, rclass)
        + opt
    )


def ask(where: str, name: str, rtype: int = A, *, timeout: float = 5.5, **options: int) -> Reply:
    """One question over UDP."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(timeout)
        sock.connect((where, 53))
        since = time.monotonic()
        sock.send(query(name, rtype, **options))
        reply = read_reply(sock.recv(65535))
    reply.seconds = time.monotonic() - since
    assert reply.ident == options.get("ident", 4711)
    return reply


def ask_tcp(where: str, *queries: bytes, timeout: float = 5.5) -> list[Reply]:
    """Questions sent at once over one connection; the answers in the order they come."""
    with socket.create_connection((where, 53), timeout) as sock:
        sock.sendall(b"".join(framed(q) for q in queries))
        return [read_reply(read_frame(sock)) for _ in queries]


def framed(wire: bytes) -> bytes:
    return len(wire).to_bytes(2, "big") + wire


def read_frame(sock: socket.socket) -> bytes:
    head = sock.recv(2, socket.MSG_WAITALL)
    if len(head) < 2:
        raise EOFError("closed")
    return sock.recv(int.from_bytes(head, "big"), socket.MSG_WAITALL)


def answer(asked: bytes, *addresses: str, ttl: int = 60, rcode: int = 0, flags: int = 0x8180) -> bytes:
    """A server's answer to a query's bytes."""
    end = asked.index(0, 12) + 5
    records = b"".join(
        struct.pack("!HHHIH", 0xC00C, 1 if len(p) == 4 else 28, IN, ttl, len(p)) + p
        for p in (ip_address(a).packed for a in addresses)
    )
    return asked[:2] + struct.pack("!5H", flags | rcode, 1, len(addresses), 0, 0) + asked[12:end] + records


def name_of(asked: bytes) -> str:
    """In lower case: the resolver asks in a random spelling."""
    return b".".join(labels(asked[12 : asked.index(0, 12)])).decode().lower()


Behaviour = Callable[[bytes], bytes | Sequence[bytes] | None]


class Upstream:
    """A DNS server on port 53 of an address. `behaviour` is given each query's bytes and returns what to send."""

    def __init__(self, address: str, behaviour: Behaviour, *, over_tcp: Behaviour | None = None) -> None:
        self.asked: list[str] = []
        """Names, in order; those over TCP marked with "tcp "."""
        self.ports: list[int] = []
        self._behaviour = behaviour
        self._over_tcp = over_tcp
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind((address, 53))
        self._threads = [threading.Thread(target=self._datagrams, daemon=True)]
        self._tcp: socket.socket | None = None
        if over_tcp is not None:
            self._tcp = socket.create_server((address, 53))
            self._threads.append(threading.Thread(target=self._streams, daemon=True))
        for thread in self._threads:
            thread.start()

    def _datagrams(self) -> None:
        while True:
            asked, client = self._udp.recvfrom(4096)
            if not asked:
                return
            self.asked.append(name_of(asked))
            self.ports.append(client[1])
            threading.Thread(target=self._answer, args=(asked, client), daemon=True).start()

    def _answer(self, asked: bytes, client: tuple[str, int]) -> None:
        said = self._behaviour(asked)
        for packet in [said] if isinstance(said, bytes) else said or []:
            with contextlib.suppress(OSError):
                self._udp.sendto(packet, client)

    def _streams(self) -> None:
        assert self._tcp is not None
        assert self._over_tcp is not None
        while True:
            with contextlib.suppress(EOFError), self._tcp.accept()[0] as sock:
                asked = read_frame(sock)
                self.asked.append(f"tcp {name_of(asked)}")
                said = self._over_tcp(asked)
                if isinstance(said, bytes):
                    sock.sendall(framed(said))

    def close(self) -> None:
        with contextlib.suppress(OSError):
            # A closed socket does not wake a thread that reads from it; an empty datagram ends the thread.
            self._udp.sendto(b"", self._udp.getsockname())
            self._threads[0].join(2)
        self._udp.close()


class World:
    def __init__(self, names: ResolverNames, run_dir: str) -> None:
        self.names = names
        self.run_dir = run_dir
        self.sockets: dict[str, str] = {}
        """Sandbox to its loopback address."""
        self.opened: list[str] = []
        """Sandboxes whose sockets were asked for, in order."""

    def use_servers(self, *servers: str) -> None:
        path = f"{self.run_dir}/resolv.conf"
        with open(f"{path}.new", "w", encoding="ascii") as file:
            file.write("".join(f"nameserver {s}\n" for s in servers))
        os.replace(f"{path}.new", path)

    def open_sockets(self, sandbox: str) -> tuple[int, int]:
        self.opened.append(sandbox)
        address = self.sockets.setdefault(sandbox, f"127.0.11.{len(self.sockets) + 1}")
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind((address, 53))
        tcp = socket.create_server((address, 53))
        return udp.detach(), tcp.detach()

    def enter(self, view: View, *holders: tuple[str, Holder]) -> str:
        """Publish a container's names and serve it; the address at which it asks."""
        udp, tcp = self.open_sockets(view.sandbox)
        self.names.enter(view, holders, udp, tcp)
        return self.sockets[view.sandbox]

    def reconcile(
        self, networks: Mapping[str, str], holders: Mapping[str, Sequence[Holder]], views: Sequence[View]
    ) -> None:
        self.names.reconcile(networks, holders, views, self.open_sockets)


@contextlib.contextmanager
def running_world(**options: object) -> Iterator[World]:
    """A fresh resolver without names; ended and cleared away afterwards."""
    run_dir = tempfile.mkdtemp(prefix="weft-")
    os.chmod(run_dir, 0o755)  # the resolver reads resolv.conf as nobody
    names = ResolverNames(run_dir, f"{run_dir}/resolv.conf", **options)  # type: ignore[arg-type]
    world = World(names, run_dir)
    world.use_servers()
    try:
        names.start()
        yield world
        assert world.names.counters()["errors"] == 0
    finally:
        world.names.stop()
        shutil.rmtree(run_dir)


def view(sandbox: str, *networks: str, forward: bool = True, servers: Sequence[str] = ()) -> View:
    return View(sandbox, networks, forward, tuple(ip_address(s) for s in servers))


def holder(endpoint: str, names: str, *addresses: str) -> Holder:
    return Holder(endpoint, tuple(names.split()), tuple(ip_address(a) for a in addresses))
