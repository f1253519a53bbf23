"""What fuzzing starts from, by target: packets of real programs, and what weftd says."""

from __future__ import annotations

import struct
from pathlib import Path

from weft.dns import control, message


def _answer(rcode: int, answers: list[bytes], authority: list[bytes], *, flags: int = 0x8180) -> bytes:
    question = message.to_wire("www.Example.com") + struct.pack("!BHH", 0, message.A, message.IN)
    counts = (1, len(answers), len(authority), 1)
    opt = struct.pack("!BHHIH", 0, message.OPT, 1232, 0, 0)
    return b"".join((struct.pack("!6H", 0x1234, flags | rcode, *counts), question, *answers, *authority, opt))


def _record(owner: bytes, rtype: int, ttl: int, data: bytes) -> bytes:
    return owner + struct.pack("!HHIH", rtype, message.IN, ttl, len(data)) + data


_ALIAS = _record(b"\xc0\x0c", 5, 300, b"\x04edge\xc0\x10")
_ADDRESS = _record(b"\x04edge\xc0\x10", message.A, 60, bytes([192, 0, 2, 1]))
_SOA = _record(b"\xc0\x10", message.SOA, 900, b"\x02ns\xc0\x10\4root\xc0\x10" + struct.pack("!5I", 1, 2, 3, 4, 30))

ANSWERS = {
    "an alias and its address": _answer(0, [_ALIAS, _ADDRESS], []),
    "does not exist": _answer(3, [], [_SOA]),
    "nothing of this type": _answer(0, [_ALIAS], [_SOA]),
    "truncated": _answer(0, [_ALIAS[:9]], [], flags=0x8380),
    "refused, bare": struct.pack("!6H", 0x1234, 0x8185, 0, 0, 0, 0),
    "more than fits": _answer(0, [_record(b"\xc0\x0c", message.A, 60, bytes(4))] * 40, []),
    "a TTL below zero": _answer(0, [_record(b"\xc0\x0c", message.A, 0xFFFFFFFF, bytes(4))], []),
}

MESSAGES = {
    "a container": [
        control.network("n1", "blue"),
        control.publish("n1", "e1", ["c1", "web"], [bytes([10, 1, 0, 2]), bytes(16)]),
        ("withdraw", "n1", "e1"),
    ],
    "views": [control.view("s1", ["n1"], ["192.0.2.53"], [("db", "c1")], forward=True), ("close", "s1")],
    "a new weftd": [("hello", control.PROTOCOL), ("upstream", control.items(["192.0.2.53"])), ("list",), ("counters",)],
    "an end": [("drop", "n1")],
}

_lines = Path(__file__).with_name("queries.txt").read_text(encoding="ascii").splitlines()
_queries = [bytes.fromhex(line.rpartition(": ")[2]) for line in _lines]

SEEDS: dict[str, list[bytes]] = {
    "query": _queries,
    "answer": [b"\0" + wire for wire in ANSWERS.values()] + [b"\x07" + wire for wire in ANSWERS.values()],
    "datagrams": _queries,
    "stream": [
        b"\xff" + b"".join(len(wire).to_bytes(2, "big") + wire for wire in _queries),
        b"\x05" + b"".join(len(wire).to_bytes(2, "big") + wire for wire in _queries[:2]),
    ],
    "messages": [packet for said in MESSAGES.values() for packet in control.pack(said)],
}
"""By target, the bytes to begin with."""
