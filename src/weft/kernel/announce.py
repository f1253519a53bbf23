"""Telling neighbours where an address lives: gratuitous ARP, unsolicited neighbour advertisement."""

from __future__ import annotations

import fcntl
import socket
import struct
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address

from weft.model import IPAddress
from weft.names import mac_bytes

_ETH_ARP = 0x0806
_ETH_IPV6 = 0x86DD
_ALL_NODES = IPv6Address("ff02::1")
_ICMPV6 = 58
_NEIGHBOUR_ADVERTISEMENT = 136
_OVERRIDE = 0x20000000
_SIOCGIFHWADDR = 0x8927


def announce(ifname: str, mac: str, addresses: Sequence[IPAddress]) -> socket.socket:
    """Send from a link of the calling thread's namespace; without `mac` under the one that the link has.

    Returns the socket for somebody patient to close: a packet socket's end waits for an RCU grace period.
    """
    sender = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    try:
        hardware = mac_bytes(mac) if mac else _mac_of(sender, ifname)
        for address in addresses:
            frame = _arp(hardware, address) if isinstance(address, IPv4Address) else _advertisement(hardware, address)
            sender.sendto(frame, (ifname, 0))
    except BaseException:
        sender.close()
        raise
    return sender


def _mac_of(sender: socket.socket, ifname: str) -> bytes:
    answer = fcntl.ioctl(sender.fileno(), _SIOCGIFHWADDR, ifname.encode().ljust(40, b"\0"))
    return answer[18:24]  # of struct ifreq: a name of 16 bytes, a struct sockaddr whose family takes 2


def _arp(mac: bytes, address: IPv4Address) -> bytes:
    """A request for one's own address, RFC 5227's announcement."""
    body = struct.pack("!HHBBH6s4s6s4s", 1, 0x0800, 6, 4, 1, mac, address.packed, bytes(6), address.packed)
    return b"\xff" * 6 + mac + struct.pack("!H", _ETH_ARP) + body


def _advertisement(mac: bytes, address: IPv6Address) -> bytes:
    option = b"\x02\x01" + mac
    icmp = struct.pack("!BBHI", _NEIGHBOUR_ADVERTISEMENT, 0, 0, _OVERRIDE) + address.packed + option
    pseudo = address.packed + _ALL_NODES.packed + struct.pack("!II", len(icmp), _ICMPV6)
    icmp = icmp[:2] + struct.pack("!H", _checksum(pseudo + icmp)) + icmp[4:]
    header = struct.pack("!IHBB", 6 << 28, len(icmp), _ICMPV6, 255) + address.packed + _ALL_NODES.packed
    return b"\x33\x33\0\0\0\x01" + mac + struct.pack("!H", _ETH_IPV6) + header + icmp


def _checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF
