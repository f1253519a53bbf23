"""Sockets that wait for others, as the calling thread's namespace lists them in /proc."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address

from weft.explain.reach.facts import Listener
from weft.model import IPAddress, Proto
from weft.names import NAMESERVER, NAMESERVER_PORT

_TABLES = (
    (Proto.TCP, "tcp", "0A"),  # listening
    (Proto.TCP, "tcp6", "0A"),
    (Proto.UDP, "udp", "07"),  # bound, and connected to nobody
    (Proto.UDP, "udp6", "07"),
)


def listeners() -> tuple[Listener, ...]:
    """Without the sockets of weft's own name server."""
    return tuple(listener for proto, table, state in _TABLES for listener in _read(proto, table, state))


def _read(proto: Proto, table: str, state: str) -> Iterator[Listener]:
    try:
        with open(f"/proc/thread-self/net/{table}", encoding="ascii") as file:
            rows = [line.split() for line in file][1:]
    except OSError:
        return
    for row in rows:
        host, _, port = row[1].partition(":")
        found = Listener(proto=proto, address=_address(host), port=int(port, 16))
        if row[3] == state and (found.address, found.port) != (NAMESERVER, NAMESERVER_PORT):
            yield found


def _address(text: str) -> IPAddress:
    """From words of 32 bits in the machine's order, as the kernel prints them (%08X)."""
    words = [int(text[at : at + 8], 16) for at in range(0, len(text), 8)]
    return ip_address(b"".join(word.to_bytes(4, "little") for word in words))
