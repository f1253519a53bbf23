"""Addresses and routes by rtnetlink: requests, and what the kernel lists."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from ipaddress import IPv6Address, ip_address, ip_network
from typing import NamedTuple

from weft.kernel.netlink import NLM_F_CREATE, NLM_F_REPLACE, Message, Request, attr, attribute_map, u32
from weft.model import IPAddress, IPInterface, IPNetwork

RTM_NEWADDR = 20
RTM_DELADDR = 21
RTM_GETADDR = 22
RTM_NEWROUTE = 24
RTM_DELROUTE = 25
RTM_GETROUTE = 26

_IFA_ADDRESS = 1
_IFA_LOCAL = 2
_IFA_FLAGS = 8
_IFA_F_NODAD = 0x02
_RTA_DST = 1
_RTA_OIF = 4
_RTA_GATEWAY = 5
_RTA_TABLE = 15
RT_TABLE_MAIN = 254
RT_TABLE_LOCAL = 255
_RTPROT_STATIC = 4
_RT_SCOPE_UNIVERSE = 0
_RT_SCOPE_LINK = 253
_RT_SCOPE_NOWHERE = 255
_RTN_UNICAST = 1
_RTN_LOCAL = 2

_IFADDR = struct.Struct("=BBBBi")
_RTMSG = struct.Struct("=BBBBBBBBI")
_NODAD = u32(_IFA_FLAGS, _IFA_F_NODAD)
_FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}


def replace_address(link: int, address: IPInterface) -> Request:
    return Request(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, _address(link, address))


def delete_address(link: int, address: IPInterface) -> Request:
    return Request(RTM_DELADDR, 0, _address(link, address))


def _address(link: int, address: IPInterface) -> bytes:
    raw = address.ip.packed
    attrs = attr(_IFA_LOCAL, raw) + attr(_IFA_ADDRESS, raw)
    length = address.network.prefixlen
    if len(raw) == 4:
        return _IFADDR.pack(socket.AF_INET, length, 0, 0, link) + attrs
    return _IFADDR.pack(socket.AF_INET6, length, _IFA_F_NODAD, 0, link) + attrs + _NODAD


def replace_route(link: int, destination: IPNetwork, via: IPAddress | None) -> Request:
    scope = _RT_SCOPE_UNIVERSE if via or destination.version == 6 else _RT_SCOPE_LINK
    return Request(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, _route(link, destination, via, scope))


def delete_route(link: int, destination: IPNetwork, via: IPAddress | None) -> Request:
    return Request(RTM_DELROUTE, 0, _route(link, destination, via, _RT_SCOPE_NOWHERE))


def _route(link: int, destination: IPNetwork, via: IPAddress | None, scope: int) -> bytes:
    length = destination.prefixlen
    head = _RTMSG.pack(
        _FAMILY[destination.version], length, 0, 0, RT_TABLE_MAIN, _RTPROT_STATIC, scope, _RTN_UNICAST, 0
    )
    target = attr(_RTA_DST, destination.network_address.packed) if length else b""
    gateway = attr(_RTA_GATEWAY, via.packed) if via else b""
    return head + target + gateway + u32(_RTA_OIF, link)


def get_addresses(version: int = 0) -> Request:
    """For `Netlink.dump`; both families without a version."""
    return Request(RTM_GETADDR, 0, _IFADDR.pack(_FAMILY.get(version, 0), 0, 0, 0, 0))


def get_routes(version: int = 0) -> Request:
    return Request(RTM_GETROUTE, 0, _RTMSG.pack(_FAMILY.get(version, 0), 0, 0, 0, 0, 0, 0, 0, 0))


def get_route_to(address: IPv6Address) -> Request:
    """For `Netlink.get`: by which route packets to the address would go."""
    return Request(
        RTM_GETROUTE, 0, _RTMSG.pack(socket.AF_INET6, 128, 0, 0, 0, 0, 0, 0, 0) + attr(_RTA_DST, address.packed)
    )


def is_own(answer: list[Message]) -> bool:
    """Whether what `get_route_to` was answered with means that the address is one's own."""
    return bool(answer) and _RTMSG.unpack_from(answer[0].body)[7] == _RTN_LOCAL


class FoundAddress(NamedTuple):
    link: int
    raw: bytes
    """4 or 16 bytes."""
    length: int


class FoundRoute(NamedTuple):
    link: int
    """0 for a route through several links."""
    raw: bytes
    """The destination, 4 or 16 bytes."""
    length: int
    via: bytes
    """Empty if none."""
    table: int
    unicast: bool

    def destination(self) -> IPNetwork:
        return ip_network((self.raw, self.length))

    def gateway(self) -> IPAddress | None:
        return ip_address(self.via) if self.via else None


def parse_addresses(messages: list[Message]) -> Iterator[FoundAddress]:
    for message in messages:
        _, length, _, _, link = _IFADDR.unpack_from(message.body)
        attrs = attribute_map(message.body, _IFADDR.size)
        raw = attrs.get(_IFA_LOCAL) or attrs.get(_IFA_ADDRESS)
        if raw:
            yield FoundAddress(link, raw, length)


def parse_routes(messages: list[Message]) -> Iterator[FoundRoute]:
    for message in messages:
        family, length, _, _, table, _, _, kind, _ = _RTMSG.unpack_from(message.body)
        attrs = attribute_map(message.body, _RTMSG.size)
        raw = attrs.get(_RTA_DST) or bytes(4 if family == socket.AF_INET else 16)
        wide = attrs.get(_RTA_TABLE)
        yield FoundRoute(
            int.from_bytes(attrs.get(_RTA_OIF, b""), "little"),
            raw,
            length,
            attrs.get(_RTA_GATEWAY, b""),
            int.from_bytes(wide, "little") if wide else table,
            kind == _RTN_UNICAST,
        )
