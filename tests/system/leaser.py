"""A small DHCP server with moods, for what no good one does: leases of seconds, refusals, lies, silence.

`python -m tests.system.leaser DIRECTORY LINK` serves on a link of the current namespace. What it does is in
DIRECTORY/mood.json and may change at any time; what it hears it writes to DIRECTORY/heard, one JSON document a line.

Of another make than weft's own codec.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

KINDS = {1: "discover", 3: "request", 4: "decline", 7: "release"}
_OFFER, _ACK, _NAK = 2, 5, 6
_COOKIE = b"\x63\x82\x53\x63"


@dataclass(frozen=True)
class Mood:
    server: str
    addresses: tuple[str, ...]
    """Given out in turn, one per client; the first is offered again to who has it."""
    seconds: int = 4
    manner: Literal["serve", "silent", "nak", "lie", "offer only"] = "serve"
    """nak: to every request; lie: with answers that are not for who asked."""
    delay: float = 0.0
    """Seconds for which a client is let wait for an offer."""
    times: tuple[int, int] | None = None
    """T1 and T2, if it is to name them."""
    mask: str | None = "255.255.255.0"
    router: str | None = None

    def save(self, directory: Path) -> None:
        (directory / "mood.new").write_text(json.dumps(asdict(self)))
        os.replace(directory / "mood.new", directory / "mood.json")


def heard(directory: Path) -> list[dict[str, Any]]:
    path = directory / "heard"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _serve(directory: Path, link: str) -> None:
    wire = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    wire.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    wire.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    wire.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, link.encode())
    wire.bind(("0.0.0.0", 67))
    given: dict[str, str] = {}
    first: dict[str, float] = {}
    print("ready", flush=True)
    while True:
        packet = wire.recv(2048)
        mood = Mood(**json.loads((directory / "mood.json").read_text()))
        options = dict(_options(packet[240:]))
        kind = KINDS.get(options[53][0], "?")
        client = options.get(61, packet[28:34]).hex()
        asked = socket.inet_ntoa(options[50]) if 50 in options else socket.inet_ntoa(packet[12:16])
        told = {
            "kind": kind,
            "mac": packet[28:34].hex(":"),
            "client": client,
            "asked": asked,
            "in_use": socket.inet_ntoa(packet[12:16]),
            "server": socket.inet_ntoa(options[54]) if 54 in options else "",
            "name": options.get(12, b"").decode(),
            "at": time.time(),
        }
        with open(directory / "heard", "a") as log:
            log.write(json.dumps(told) + "\n")
        if mood.manner == "silent" or told["server"] not in ("", mood.server):
            continue
        if kind in ("release", "decline"):
            given.pop(client, None)
            if kind == "decline":
                given[f"declined {asked}"] = asked
            continue
        if given.get(client) not in mood.addresses:
            given.pop(client, None)
        free = [address for address in mood.addresses if address not in given.values()]
        address = given.get(client) or (asked if asked in free else free[0] if free else "")
        if kind == "discover" and address:
            if told["at"] - first.setdefault(client, told["at"]) < mood.delay:
                continue
            for answer in _answers(packet, _OFFER, address, mood):
                wire.sendto(answer, ("255.255.255.255", 68))
        elif kind == "request" and mood.manner != "offer only":
            good = mood.manner != "nak" and asked == address
            if good:
                given[client] = address
            to = told["in_use"] if good and told["in_use"] != "0.0.0.0" else "255.255.255.255"
            for answer in _answers(packet, _ACK if good else _NAK, address if good else "0.0.0.0", mood):
                wire.sendto(answer, (to, 68))


def _answers(packet: bytes, kind: int, address: str, mood: Mood) -> Iterator[bytes]:
    if mood.manner != "lie":
        yield _answer(packet, kind, address, mood)
        return
    honest = _answer(packet, kind, address, mood)
    yield honest[:4] + bytes(4) + honest[8:]  # xid
    yield honest[:28] + b"\2\0\0\0\0\x66" + honest[34:]  # chaddr
    yield honest[:16] + socket.inet_aton("192.168.50.255") + honest[20:]
    yield honest[:200]
    yield honest.replace(_COOKIE, b"rogue"[:4])


def _answer(packet: bytes, kind: int, address: str, mood: Mood) -> bytes:
    options = bytes((53, 1, kind)) + b"\x36\4" + socket.inet_aton(mood.server)
    if kind != _NAK:
        options += b"\x33\4" + struct.pack("!I", mood.seconds)
        for code, number in zip((58, 59), mood.times or (), strict=False):
            options += bytes((code, 4)) + struct.pack("!I", number)
        options += b"\1\4" + socket.inet_aton(mood.mask) if mood.mask else b""
        options += b"\3\4" + socket.inet_aton(mood.router) if mood.router else b""
    else:
        options += b"\x38\6go off"
    head = b"\2\1\6\0" + packet[4:8] + packet[8:12] + bytes(4) + socket.inet_aton(address) + bytes(8)
    return head + packet[28:44] + bytes(192) + _COOKIE + options + b"\xff"


def _options(data: bytes) -> Iterator[tuple[int, bytes]]:
    while data and data[0] != 255:
        if data[0] == 0:
            data = data[1:]
            continue
        yield data[0], data[2 : 2 + data[1]]
        data = data[2 + data[1] :]


if __name__ == "__main__":
    _serve(Path(sys.argv[1]), sys.argv[2])
