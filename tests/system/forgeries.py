"""Whole frames as liars send them: under another's MAC or address, as a router, as a DHCP server."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass

from tests.system.frames import ETH_P_IP, internet_checksum, udp4

ETH_P_ARP, ETH_P_8021Q, ETH_P_8021AD, ETH_P_EXPERIMENT = 0x0806, 0x8100, 0x88A8, 0x88B5
EVERYBODY = b"\xff" * 6
NOBODY = "00:00:00:00:00:00"
UNSPECIFIED = "::"

_OVERRIDE = 0x20000000
_TARGET_MAC, _SOURCE_MAC = 2, 1


@dataclass(frozen=True)
class Station:
    """What somebody on a network really is."""

    mac: str
    ip: str
    ip6: str


def frame(to: str | bytes, source: str, protocol: int, payload: bytes, *, tags: tuple[int, ...] = ()) -> bytes:
    """`tags`: the types of VLAN tags in front, all of VLAN 0, which a receiver takes for none."""
    inner = b"".join(struct.pack(">HH", tag, 0) for tag in tags) + struct.pack(">H", protocol)
    return (mac(to) if isinstance(to, str) else to) + mac(source) + inner + payload.ljust(46, b"\0")


def mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def arp(sender_mac: str, sender: str, target: Station, *, reply: bool = True, hardware: int = 1) -> bytes:
    """ "`sender` is at `sender_mac`", to `target`."""
    ends = mac(sender_mac) + socket.inet_aton(sender) + mac(target.mac) + socket.inet_aton(target.ip)
    return struct.pack(">HHBBH", hardware, ETH_P_IP, 6, 4, 2 if reply else 1) + ends


def advertisement(source: str, claimed: str, at: str, to: str, *, fragment_at: int = 0) -> bytes:
    """ "`claimed` is at `at`", from `source`. In fragments where it is cut after `fragment_at` bytes."""
    body = struct.pack(">I", _OVERRIDE) + socket.inet_pton(socket.AF_INET6, claimed) + _mac_option(_TARGET_MAC, at)
    return icmp6(source, to, 136, body, fragment_at=fragment_at)


def solicitation(source: str, wanted: str, at: str, to: str) -> bytes:
    """ "Who has `wanted`? I am `source`, at `at`"."""
    body = bytes(4) + socket.inet_pton(socket.AF_INET6, wanted) + _mac_option(_SOURCE_MAC, at)
    return icmp6(source, to, 135, body)


def router_advertisement(source: str, to: str, *, options_before: bool = False) -> bytes:
    prefix = struct.pack(">BBBBIII", 3, 4, 64, 0xC0, 86400, 86400, 0) + socket.inet_pton(socket.AF_INET6, "fd00:bad::")
    return icmp6(source, to, 134, struct.pack(">BBHII", 64, 0, 1800, 0, 0) + prefix, options_before=options_before)


def redirect(source: str, to: str, elsewhere: str, destination: str) -> bytes:
    places = b"".join(socket.inet_pton(socket.AF_INET6, each) for each in (elsewhere, destination))
    return icmp6(source, to, 137, bytes(4) + places)


def echo6(source: str, to: str) -> bytes:
    return icmp6(source, to, 128, struct.pack(">HH", 7, 7))


def icmp6(source: str, to: str, kind: int, body: bytes, *, options_before: bool = False, fragment_at: int = 0) -> bytes:
    message = struct.pack(">BBH", kind, 0, 0) + body
    check = internet_checksum(_pseudo(source, to, len(message), socket.IPPROTO_ICMPV6) + message)
    message = message[:2] + struct.pack(">H", check) + message[4:]
    following = socket.IPPROTO_ICMPV6
    if fragment_at:
        message = struct.pack(">BBHI", following, 0, 1, 7) + message[:fragment_at]
        following = socket.IPPROTO_FRAGMENT
    if options_before:
        message = struct.pack(">BBBB", following, 0, 1, 4) + bytes(4) + message
        following = socket.IPPROTO_DSTOPTS
    return _ipv6(source, to, following, message)


def udp6(source: str, to: str, source_port: int, port: int, payload: bytes = b"?") -> bytes:
    datagram = struct.pack(">4H", source_port, port, 8 + len(payload), 0) + payload
    check = internet_checksum(_pseudo(source, to, len(datagram), socket.IPPROTO_UDP) + datagram)
    return _ipv6(source, to, socket.IPPROTO_UDP, datagram[:6] + struct.pack(">H", check) + datagram[8:])


def offer(source: str, to: str, address: str) -> bytes:
    """A DHCP server's answer: "take `address`, and me for your router"."""
    head = struct.pack(">BBBBIHH", 2, 1, 6, 0, 7, 0, 0x8000)
    places = bytes(4) + socket.inet_aton(address) + socket.inet_aton(source) + bytes(4 + 16 + 64 + 128)
    options = bytes.fromhex("63825363350102") + b"\x03\x04" + socket.inet_aton(source) + b"\xff"
    return udp4(source, to, 68, head + places + options, source_port=67)


def _mac_option(kind: int, at: str) -> bytes:
    return struct.pack(">BB", kind, 1) + mac(at)


def _ipv6(source: str, to: str, following: int, payload: bytes) -> bytes:
    return struct.pack(">IHBB", 0x60000000, len(payload), following, 255) + _ends(source, to) + payload


def _ends(source: str, to: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6, source) + socket.inet_pton(socket.AF_INET6, to)


def _pseudo(source: str, to: str, length: int, protocol: int) -> bytes:
    return _ends(source, to) + struct.pack(">II", length, protocol)
