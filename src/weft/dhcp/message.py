"""DHCP messages as bytes (RFC 2131, 2132): what a client says is written, what servers say is read.

Reading never goes beyond the bytes that are there, and knows no pointers: no message can make it loop. Options may be
spread over the fields `file` and `sname` (option 52), and one option over several of its kind (RFC 3396).
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address

REQUEST, REPLY = 1, 2
"""The field `op`: from a client, from a server."""

BROADCAST = 0x8000
"""The flag: answer to everybody, since nobody answers ARP for the address yet."""

MASK, ROUTER, HOSTNAME, ADDRESS, LEASE_SECONDS, OVERLOAD, TYPE = 1, 3, 12, 50, 51, 52, 53
SERVER, PARAMETERS, TEXT, T1, T2, CLIENT = 54, 55, 56, 58, 59, 61
"""Options, by the numbers of RFC 2132."""

_PAD, _END = 0, 255
_MAGIC = b"\x63\x82\x53\x63"
_HEAD = struct.Struct("!BBBBIHH4s4s4s4s16s64s128s4s")
_ETHERNET = 1
_LEAST = 300
"""RFC 1542 2.1: BOOTP relays may drop what is shorter."""

ANYBODY = IPv4Address(0)


class Type(enum.IntEnum):
    DISCOVER = 1
    OFFER = 2
    REQUEST = 3
    DECLINE = 4
    ACK = 5
    NAK = 6
    RELEASE = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    op: int
    xid: int
    """What question and answer have in common, 32 bits."""
    mac: bytes
    """`chaddr`: the client's, six bytes."""
    flags: int = 0
    seconds: int = 0
    """Since the client began to ask."""
    client: IPv4Address = ANYBODY
    """`ciaddr`: the address that the client has, and answers ARP for."""
    yours: IPv4Address = ANYBODY
    """`yiaddr`."""
    options: Mapping[int, bytes] = field(default_factory=dict)


def render(message: Message) -> bytes:
    """Raises ValueError for an option longer than 255 bytes."""
    head = _HEAD.pack(
        *(message.op, _ETHERNET, 6, 0, message.xid, message.seconds, message.flags),
        *(message.client.packed, message.yours.packed, bytes(4), bytes(4), message.mac, b"", b"", _MAGIC),
    )
    # The kind of message comes first: some servers look for it there.
    ordered = sorted(message.options.items(), key=lambda option: option[0] != TYPE)
    body = b"".join(bytes((code, len(value))) + value for code, value in ordered)
    return (head + body + bytes((_END,))).ljust(_LEAST, b"\0")


def parse(data: bytes) -> Message:
    """Raises ValueError for what is no DHCP message over Ethernet."""
    if len(data) < _HEAD.size:
        raise ValueError("too short")
    op, hardware, length, _, xid, seconds, flags, client, yours, _, _, mac, sname, file, magic = _HEAD.unpack_from(data)
    if magic != _MAGIC:
        raise ValueError("no options")
    if hardware != _ETHERNET or length != 6:
        raise ValueError("not of Ethernet")
    options = _gathered(data[_HEAD.size :])
    overload = options.get(OVERLOAD, b"\0")[-1:] or b"\0"
    for bit, place in ((1, file), (2, sname)):
        if overload[0] & bit:
            for code, value in _gathered(place).items():
                options[code] = options.get(code, b"") + value
    return Message(
        op=op,
        xid=xid,
        mac=mac[:6],
        flags=flags,
        seconds=seconds,
        client=IPv4Address(client),
        yours=IPv4Address(yours),
        options=options,
    )


def _gathered(data: bytes) -> dict[int, bytes]:
    options: dict[int, bytes] = {}
    for code, value in _each(data):
        options[code] = options.get(code, b"") + value
    return options


def _each(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Up to the end, or to the first that is cut short."""
    at = 0
    while at < len(data) and data[at] != _END:
        if data[at] == _PAD:
            at += 1
            continue
        if at + 2 > len(data) or at + 2 + data[at + 1] > len(data):
            return
        yield data[at], data[at + 2 : at + 2 + data[at + 1]]
        at += 2 + data[at + 1]
