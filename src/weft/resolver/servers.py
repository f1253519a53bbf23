"""Other DNS servers: which there are, and which of them are worth asking first."""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import time
from collections.abc import Iterable

from weft.resolver.log import Log

RECHECK = 1.0
"""Seconds between looks at the host's resolv.conf."""
AVOID = 10.0
"""Seconds for which a server that did not answer is asked last."""
RESPELLS = 3600.0
"""Seconds for which a server is taken to answer in a spelling of its own."""
SERVERS_MAX = 8
PORT = 53

_SIOCGIFINDEX = 0x8933


class Endpoint:
    """A server's address, ready for `connect`."""

    __slots__ = ("address", "family", "text")

    def __init__(self, text: str) -> None:
        """Raises ValueError if the text is no address. An IPv6 one may name its interface: fe80::1%eth0."""
        self.text = text
        host, _, scope = text.partition("%")
        self.address: tuple[str, int] | tuple[str, int, int, int] = (host, PORT)
        self.family = socket.AF_INET
        try:
            if ":" in host:
                socket.inet_pton(socket.AF_INET6, host)
                self.family = socket.AF_INET6
                index = 0 if not scope else int(scope) if scope.isdigit() else _index_of(scope)
                self.address = (host, PORT, 0, index)
            else:
                socket.inet_pton(socket.AF_INET, text)
        except OSError as error:
            raise ValueError(f"{text!r} is not the address of a server") from error

    @property
    def loopback(self) -> bool:
        return self.text.startswith("127.") or self.text == "::1"


def _index_of(link: str) -> int:
    """The link's index. Raises OSError. if_nametoindex(3) would need a Unix socket, which `seccomp` forbids."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        asked = struct.pack("16si20x", link.encode()[:15], 0)
        index: int = struct.unpack_from("i", fcntl.ioctl(sock, _SIOCGIFINDEX, asked), 16)[0]
    return index


def read_resolv_conf(text: str) -> tuple[str, ...]:
    """The servers that a resolv.conf names."""
    found = []
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] == "nameserver":
            found.append(words[1])
    return tuple(dict.fromkeys(found))


class HostServers:
    """The host's servers: those given, or else what resolv.conf says now."""

    def __init__(self, log: Log, path: str) -> None:
        self._log = log
        self.path = path
        self._given: tuple[str, ...] = ()
        self._seen: tuple[int, ...] = ()
        self._read: tuple[str, ...] = ()
        self._next_look = 0.0

    def set(self, given: tuple[str, ...]) -> None:
        self._given = given

    def current(self) -> tuple[str, ...]:
        if self._given:
            return self._given
        now = time.monotonic()
        if now >= self._next_look:
            self._next_look = now + RECHECK
            self._look()
        return self._read

    def _look(self) -> None:
        try:
            status = os.stat(self.path)
            seen = (status.st_mtime_ns, status.st_ino, status.st_size)
            if seen == self._seen:
                return
            with open(self.path, encoding="utf-8", errors="replace") as file:
                self._read = read_resolv_conf(file.read(65536))
            self._seen = seen
            self._log.event("host servers", path=self.path, servers=",".join(self._read) or "none")
        except OSError as error:
            # What was read before stays: better old servers than none while a file is being replaced.
            self._log.event("cannot read the host's servers", path=self.path, error=error)


class Health:
    """Which servers lately did not answer, or not as they were asked."""

    def __init__(self) -> None:
        self._endpoints: dict[str, Endpoint | None] = {}
        self._avoid: dict[str, float] = {}
        self._respells: dict[str, float] = {}

    def order(self, servers: Iterable[str], now: float) -> list[Endpoint]:
        """Those that can be asked, in order, those that lately did not answer last."""
        found = [e for e in map(self._endpoint, servers) if e is not None][:SERVERS_MAX]
        if self._avoid:
            found.sort(key=lambda e: self._avoid.get(e.text, 0.0) > now)
        return found

    def _endpoint(self, text: str) -> Endpoint | None:
        try:
            return self._endpoints[text]
        except KeyError:
            pass
        if len(self._endpoints) > 1024:
            self._endpoints.clear()
        try:
            endpoint = Endpoint(text)
        except ValueError:
            endpoint = None
        self._endpoints[text] = endpoint
        return endpoint

    def failed(self, server: Endpoint, now: float) -> None:
        if len(self._avoid) > 1024:
            self._avoid.clear()
        self._avoid[server.text] = now + AVOID

    def answered(self, server: Endpoint) -> None:
        self._avoid.pop(server.text, None)

    def respelt(self, server: Endpoint, now: float) -> None:
        if len(self._respells) > 1024:
            self._respells.clear()
        self._respells[server.text] = now + RESPELLS

    def respells(self, server: Endpoint, now: float) -> bool:
        """Whether the server answers in a spelling of its own."""
        return self._respells.get(server.text, 0.0) > now
