"""A program that keeps many containers talking at once, and counts: what was lost, and what should not have arrived.

Started with a file that lists talkers as JSON (`loads.py`), says "ready", talks until standard input ends, waits for
the last answers and prints what it counted, as JSON.

One process holds sockets in every namespace, and one loop serves them all.
"""

from __future__ import annotations

import heapq
import json
import selectors
import socket
import struct
import sys
import time
from collections.abc import Callable
from typing import Any

from tests.audits import addresses_in, question
from tests.enter import network

LATE = 1.0
"""Seconds after which an answer no longer counts."""
BUFFER = 1 << 20


class Load:
    def __init__(self) -> None:
        self.waiting = selectors.DefaultSelector()
        self._due: list[tuple[float, int, Callable[[], None], float]] = []
        self.talking = True

    def listen(self, sock: socket.socket, ready: Callable[[], None]) -> None:
        sock.setblocking(False)
        self.waiting.register(sock, selectors.EVENT_READ, ready)

    def hang_up(self, sock: socket.socket) -> None:
        self.waiting.unregister(sock)
        sock.close()

    def every(self, seconds: float, deed: Callable[[], None]) -> None:
        # Begun at different moments, so that at every moment somebody speaks.
        begin = time.monotonic() + seconds * (len(self._due) * 0.618 % 1)
        heapq.heappush(self._due, (begin, len(self._due), deed, seconds))

    def run(self, until: Callable[[], bool]) -> None:
        while not until():
            now = time.monotonic()
            while self.talking and self._due[0][0] <= now:
                due, number, deed, seconds = self._due[0]
                heapq.heapreplace(self._due, (max(due + seconds, now), number, deed, seconds))
                deed()
            pause = max(0.0, self._due[0][0] - time.monotonic()) if self.talking else 0.01
            for key, _ in self.waiting.select(pause):
                key.data()


class Count:
    """Questions of one talker, and whether each was answered in time."""

    def __init__(self) -> None:
        self.sent: list[float] = []
        self.answered: dict[int, float] = {}
        self.failures: list[str] = []

    def ask(self) -> int:
        self.sent.append(time.monotonic())
        return len(self.sent) - 1

    def answer(self, number: int) -> None:
        if number < len(self.sent):
            self.answered.setdefault(number, time.monotonic())

    def result(self) -> dict[str, Any]:
        late = [n for n, at in enumerate(self.sent) if self.answered.get(n, 9e9) - at > LATE]
        times = [self.sent[n] for n in late]
        return {
            "sent": len(self.sent),
            "lost": len(late),
            "outage": max(times) - min(times) if times else 0.0,
            "slowest": max((at - self.sent[n] for n, at in self.answered.items()), default=0.0),
            "failures": self.failures[:3],
        }


class Ping:
    def __init__(self, load: Load, to: str, **_: Any) -> None:
        self.count = Count()
        self._to = (to, 0)
        six = ":" in to
        self._kinds, self._offset = ((128, 129), 0) if six else ((8, 0), 20)
        proto = socket.IPPROTO_ICMPV6 if six else socket.IPPROTO_ICMP
        self._socket = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_RAW, proto)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        load.listen(self._socket, self._hear)

    def speak(self) -> None:
        number = self.count.ask()
        echo = struct.pack(">BBHHI", self._kinds[0], 0, 0, 0x7766, number)
        if self._offset:  # for IPv6 the kernel does it
            total = sum(struct.unpack(">5H", echo))
            total = (total & 0xFFFF) + (total >> 16)
            echo = echo[:2] + struct.pack(">H", ~(total + (total >> 16)) & 0xFFFF) + echo[4:]
        try:
            self._socket.sendto(echo, self._to)
        except OSError as error:
            self.count.failures.append(f"ping {self._to[0]}: {error}")

    def _hear(self) -> None:
        packet = self._socket.recv(200)[self._offset :]
        if len(packet) >= 10 and packet[0] == self._kinds[1] and packet[4:6] == b"\x77\x66":
            self.count.answer(struct.unpack_from(">I", packet, 6)[0])


class Query:
    def __init__(self, load: Load, to: str, expect: str, **_: Any) -> None:
        self.count = Count()
        self._name, self._expect, self._load = to, expect, load
        self._open()

    def _open(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        self._socket.connect(("127.0.0.11", 53))
        self._load.listen(self._socket, self._hear)

    def speak(self) -> None:
        number = self.count.ask()
        try:
            self._socket.send(question(self._name, ident=number & 0xFFFF))
        except OSError:  # told that nobody is there: counted as lost
            pass

    def _hear(self) -> None:
        try:
            answer = self._socket.recv(2000)
        except OSError:
            return
        if addresses_in(answer) == {self._expect}:
            self.count.answer(struct.unpack_from(">H", answer)[0])
        else:
            self.count.failures.append(f"{self._name}: {addresses_in(answer)}")


class Stream:
    """One connection for the whole time; what is said on it comes back."""

    def __init__(self, load: Load, to: str, port: int, **_: Any) -> None:
        self.count = Count()
        self._rest = b""
        self._socket = socket.create_connection((to, port), timeout=5)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        load.listen(self._socket, self._hear)

    def speak(self) -> None:
        number = self.count.ask()
        try:
            self._socket.send(b"%d\n" % number)
        except OSError as error:
            self.count.failures.append(f"stream: {error}")

    def _hear(self) -> None:
        try:
            data = self._socket.recv(1 << 16)
        except OSError as error:
            self.count.failures.append(f"stream: {error}")
            return
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self.count.answer(int(line))


class Connect:
    """A connection of its own for each question."""

    def __init__(self, load: Load, to: str, port: int, netns: str, **_: Any) -> None:
        self.count = Count()
        self._load, self._to, self._netns = load, (to, port), netns

    def speak(self) -> None:
        number = self.count.ask()
        with network(self._netns):
            sock = socket.socket(socket.AF_INET6 if ":" in self._to[0] else socket.AF_INET, socket.SOCK_STREAM)
        sock.setblocking(False)
        sock.connect_ex(self._to)
        self._load.waiting.register(sock, selectors.EVENT_WRITE, lambda: self._connected(sock, number))

    def _connected(self, sock: socket.socket, number: int) -> None:
        error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            self.count.failures.append(f"connect {self._to}: error {error}")
            self._load.hang_up(sock)
            return
        sock.send(b"hello\n")
        self._load.waiting.modify(sock, selectors.EVENT_READ, lambda: self._answered(sock, number))

    def _answered(self, sock: socket.socket, number: int) -> None:
        try:
            if sock.recv(100):
                self.count.answer(number)
        except OSError as error:
            self.count.failures.append(f"connect {self._to}: {error}")
        self._load.hang_up(sock)


class Echo:
    """A server; counts nothing."""

    def __init__(self, load: Load, port: int, **_: Any) -> None:
        self._load = load
        listener = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=512)
        load.listen(listener, lambda: self._accept(listener))

    def _accept(self, listener: socket.socket) -> None:
        stream, _ = listener.accept()
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._load.listen(stream, lambda: self._reply(stream))

    def _reply(self, stream: socket.socket) -> None:
        try:
            data = stream.recv(1 << 16)
            if data:
                stream.send(data)
                return
        except OSError:
            pass
        self._load.hang_up(stream)


class Attack:
    """Datagrams and the beginnings of connections, to where they must not arrive."""

    def __init__(self, load: Load, to: str, port: int, netns: str, **_: Any) -> None:
        self.sent = 0
        self._to, self._netns = (to, port), netns
        self._family = socket.AF_INET6 if ":" in to else socket.AF_INET
        self._flow = socket.socket(self._family, socket.SOCK_DGRAM)
        self._flow.setblocking(False)

    def speak(self) -> None:
        self.sent += 1
        try:
            if self.sent % 4:
                self._flow.sendto(b"let me in", self._to)
                return
            with network(self._netns), socket.socket(self._family, socket.SOCK_STREAM) as knock:
                knock.setblocking(False)
                knock.connect_ex(self._to)
        except OSError:  # refused already
            pass


class Trap:
    """Counts whatever arrives."""

    def __init__(self, load: Load, port: int, **_: Any) -> None:
        self.caught = 0
        for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
            trap = socket.socket(socket.AF_INET6, kind)
            trap.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            trap.bind(("::", port))
            if kind == socket.SOCK_STREAM:
                trap.listen(64)
            load.listen(trap, lambda trap=trap: self._spring(trap))  # type: ignore[misc]

    def _spring(self, trap: socket.socket) -> None:
        self.caught += 1
        if trap.type == socket.SOCK_STREAM:
            trap.accept()[0].close()
        else:
            trap.recv(100)


KINDS = {kind.__name__.lower(): kind for kind in (Ping, Query, Stream, Connect, Echo, Attack, Trap)}


def main() -> int:
    load = Load()
    talkers: list[tuple[dict[str, Any], Any]] = []
    with open(sys.argv[1]) as file:
        for wanted in json.load(file):
            wanted["netns"] = wanted["netns"] or "/proc/self/ns/net"
            with network(wanted["netns"]):
                talker = KINDS[wanted["kind"]](load, **wanted)
            talkers.append((wanted, talker))
            if hasattr(talker, "speak"):
                load.every(wanted["every"], talker.speak)
    stopped: list[float] = []

    def stop() -> None:
        load.waiting.unregister(sys.stdin)
        load.talking = False
        stopped.append(time.monotonic())

    load.waiting.register(sys.stdin, selectors.EVENT_READ, stop)
    print("ready", flush=True)
    load.run(lambda: bool(stopped) and time.monotonic() > stopped[0] + LATE)
    print(json.dumps([_outcome(wanted, talker) for wanted, talker in talkers]))
    return 0


def _outcome(wanted: dict[str, Any], talker: Any) -> dict[str, Any]:
    found = {"kind": wanted["kind"], "group": wanted["group"]}
    if isinstance(talker, Attack):
        return {**found, "sent": talker.sent}
    if isinstance(talker, Trap):
        return {**found, "caught": talker.caught}
    return {**found, **talker.count.result()} if hasattr(talker, "count") else found


if __name__ == "__main__":
    sys.exit(main())
