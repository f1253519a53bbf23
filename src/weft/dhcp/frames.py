"""The Ethernet frames that DHCP messages travel in, and ARP's question whether anybody has an address.

Frames are put on the wire and taken from it whole: the client's address is not the host's, so that no ordinary socket
could send from it or hear what is sent to it.
"""

from __future__ import annotations

import struct
from ipaddress import IPv4Address

ETH_IP, ETH_ARP = 0x0800, 0x0806
UDP = 17
CLIENT_PORT, SERVER_PORT = 68, 67
EVERYBODY = b"\xff" * 6
NOWHERE, EVERYWHERE = IPv4Address(0), IPv4Address("255.255.255.255")

_IP_AT, _UDP_AT, _PAYLOAD_AT = 14, 34, 42
_IP = struct.Struct("!BBHHHBBH4s4s")
_UDP_HEAD = struct.Struct("!HHHH")
_ARP = struct.Struct("!HHBBH6s4s6s4s")


def to_servers(
    payload: bytes,
    mac: bytes,
    *,
    source: IPv4Address = NOWHERE,
    destination: IPv4Address = EVERYWHERE,
    next_hop: bytes = EVERYBODY,
) -> bytes:
    """A client's datagram. `next_hop`: the MAC of the server, or of the router before it."""
    length = _UDP_HEAD.size + len(payload)
    head = _IP.pack(0x45, 0x10, _IP.size + length, 0, 0, 64, UDP, 0, source.packed, destination.packed)
    head = head[:10] + struct.pack("!H", _checksum(head)) + head[12:]
    pseudo = source.packed + destination.packed + struct.pack("!HH", UDP, length)
    udp = _UDP_HEAD.pack(CLIENT_PORT, SERVER_PORT, length, 0)
    check = _checksum(pseudo + udp + payload) or 0xFFFF
    udp = udp[:6] + struct.pack("!H", check)
    return next_hop + mac + struct.pack("!H", ETH_IP) + head + udp + payload


def from_server(frame: bytes) -> tuple[bytes, bytes]:
    """The sender's MAC and the payload of a datagram to a client. Raises ValueError for anything else.

    UDP's checksum is not looked at: over virtual links nobody has filled it in yet.
    """
    if len(frame) < _PAYLOAD_AT or frame[12:14] != ETH_IP.to_bytes(2, "big") or frame[_IP_AT] != 0x45:
        raise ValueError("no IPv4 without options")
    fragment = int.from_bytes(frame[20:22], "big") & 0x3FFF
    _, port, length, _ = _UDP_HEAD.unpack_from(frame, _UDP_AT)
    if frame[23] != UDP or fragment or port != CLIENT_PORT:
        raise ValueError("no datagram to a client")
    if _checksum(frame[_IP_AT:_UDP_AT]) or not _UDP_HEAD.size <= length <= len(frame) - _UDP_AT:
        raise ValueError("damaged")
    return frame[6:12], frame[_PAYLOAD_AT : _UDP_AT + length]


def who_has(address: IPv4Address, mac: bytes) -> bytes:
    """A probe (RFC 5227 2.1.1): it names no sender's address, so that nobody remembers one."""
    return (
        EVERYBODY
        + mac
        + struct.pack("!H", ETH_ARP)
        + _ARP.pack(1, ETH_IP, 6, 4, 1, mac, bytes(4), bytes(6), address.packed)
    )


def claims(frame: bytes, address: IPv4Address, mac: bytes) -> bool:
    """Whether somebody else says by ARP that the address is theirs, or is about to take it as well."""
    if len(frame) < 14 + _ARP.size or frame[12:14] != ETH_ARP.to_bytes(2, "big"):
        return False
    _, _, _, _, _, sender, own, _, asked = _ARP.unpack_from(frame, 14)
    if sender == mac:
        return False
    return bool(own == address.packed or (own == bytes(4) and asked == address.packed))


def _checksum(data: bytes) -> int:
    """RFC 1071's."""
    total: int = sum(struct.unpack(f"!{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
