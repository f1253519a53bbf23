"""Packets that no honest program sends, put on a wire by hand.

`python -m tests.system.frames PREFIX` is a router on eth0 that advertises itself without a pause, until it is killed.
"""

from __future__ import annotations

import socket
import struct
import sys
import time
from collections.abc import Iterator

ETH_P_IP, ETH_P_ARP, ETH_P_IPV6 = 0x0800, 0x0806, 0x86DD
ALL_NODES_MAC = bytes.fromhex("333300000001")


def put_on_wire(link: str, protocol: int, mac: bytes, packet: bytes) -> None:
    """Send an IP packet over a link of the current namespace, straight to a MAC."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0) as wire:
        wire.sendto(packet, (link, protocol, 0, 0, mac))


def udp4(source: str, destination: str, port: int, payload: bytes = b"?", *, source_port: int = 4444) -> bytes:
    """A whole IPv4 packet. UDP's own checksum is left out, as IPv4 allows."""
    datagram = struct.pack(">4H", source_port, port, 8 + len(payload), 0) + payload
    header = struct.pack(
        ">BBHHHBBH4s4s",
        *(0x45, 0, 20 + len(datagram), 1, 0, 64, socket.IPPROTO_UDP, 0),
        *(socket.inet_aton(source), socket.inet_aton(destination)),
    )
    return header[:10] + struct.pack(">H", internet_checksum(header)) + header[12:] + datagram


def syn4(source: str, destination: str, port: int) -> bytes:
    """A TCP packet that opens a connection."""
    ends = socket.inet_aton(source) + socket.inet_aton(destination)
    segment = struct.pack(">HHIIBBHHH", 4444, port, 7, 0, 0x50, 0x02, 65535, 0, 0)
    check = internet_checksum(ends + struct.pack(">BBH", 0, socket.IPPROTO_TCP, len(segment)) + segment)
    segment = segment[:16] + struct.pack(">H", check) + segment[18:]
    header = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(segment), 1, 0, 64, socket.IPPROTO_TCP, 0) + ends
    return header[:10] + struct.pack(">H", internet_checksum(header)) + header[12:] + segment


def router_advertisement(prefix: str, source: str = "fe80::bad") -> bytes:
    """ "I am a router, and make yourselves addresses of this /64"."""
    ends = socket.inet_pton(socket.AF_INET6, source) + socket.inet_pton(socket.AF_INET6, "ff02::1")
    advert = struct.pack(">BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0)
    advert += struct.pack(">BBBBIII", 3, 4, 64, 0xC0, 86400, 86400, 0) + socket.inet_pton(socket.AF_INET6, prefix)
    check = internet_checksum(ends + struct.pack(">II", len(advert), socket.IPPROTO_ICMPV6) + advert)
    advert = advert[:2] + struct.pack(">H", check) + advert[4:]
    return struct.pack(">IHBB", 0x60000000, len(advert), socket.IPPROTO_ICMPV6, 255) + ends + advert


def who_has(link: str, address: str, *, own: str, seconds: float) -> set[str]:
    """The MACs that answer for an IPv4 address when it is asked for by ARP, over a link of the current namespace."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ARP)) as wire:
        wire.bind((link, ETH_P_ARP))
        mac = wire.getsockname()[4]
        ends = mac + socket.inet_aton(own) + bytes(6) + socket.inet_aton(address)
        wire.send(b"\xff" * 6 + mac + struct.pack(">HHHBBH", ETH_P_ARP, 1, ETH_P_IP, 6, 4, 1) + ends)
        return set(_answers(wire, socket.inet_aton(address), seconds))


def _answers(wire: socket.socket, address: bytes, seconds: float) -> Iterator[str]:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        wire.settimeout(left)
        try:
            frame = wire.recv(2048)
        except TimeoutError:
            return
        if frame[20:22] == b"\0\2" and frame[28:32] == address:
            yield frame[22:28].hex(":")


def internet_checksum(data: bytes) -> int:
    """RFC 1071's."""
    total = sum(struct.unpack(f">{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _advertise(prefix: str) -> None:
    advert = router_advertisement(prefix)
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0) as wire:
        print("ready", flush=True)
        while True:
            wire.sendto(advert, ("eth0", ETH_P_IPV6, 0, 0, ALL_NODES_MAC))
            time.sleep(0.0001)


if __name__ == "__main__":
    _advertise(sys.argv[1])
