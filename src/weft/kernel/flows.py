"""Connection tracking entries of what has gone: they would lead packets to the next holder of an address or port."""

from __future__ import annotations

import errno
import logging
import struct
from collections.abc import Callable, Collection, Iterator
from ipaddress import ip_address
from typing import NamedTuple

from weft.engine.needs import Flow
from weft.kernel.netlink import Failure, Message, Netlink, Request, attr, attribute_map, attributes
from weft.model import IPAddress, IPNetwork, PortBinding, Proto

log = logging.getLogger("weft.kernel")

_CTNETLINK = 1
_GET, _DELETE, _GET_STATS = 1, 2, 5
_TUPLE_ORIG, _TUPLE_REPLY, _STATUS = 1, 2, 3
_ID, _ZONE = 12, 18
_STATS_ENTRIES = 1
_NESTED = 0x8000
_SRC_NAT, _DST_NAT = 1 << 4, 1 << 5
_GENMSG = struct.Struct("=BBH")
_NUMBERS = {Proto.TCP: 6, Proto.UDP: 17, Proto.SCTP: 132}
_CHUNK = 100


class _Tuple(NamedTuple):
    source: bytes
    destination: bytes
    proto: int
    port: int
    """The destination's."""


def forget(socket: Netlink, addresses: Collection[IPAddress], ports: Collection[PortBinding]) -> None:
    """Delete the entries that concern the containers' addresses or the published ports. `socket` is nfnetlink's."""
    if addresses or ports:
        raw = frozenset(address.packed for address in addresses)
        _delete(socket, lambda message: _concerns(message, raw, ports))


def distrust(socket: Netlink, subnets: Collection[IPNetwork], kept_in: Collection[IPNetwork]) -> None:
    """Delete the entries of connections that cannot have come about under our rules.

    Those that were not rewritten, and lead from beyond one of the subnets into it, or out of one in `kept_in`.
    """
    inward, outward = [_Range.of(subnet) for subnet in subnets], [_Range.of(subnet) for subnet in kept_in]

    def is_suspect(message: Message) -> bool:
        found = attribute_map(message.body, _GENMSG.size)
        if int.from_bytes(found.get(_STATUS, b""), "big") & (_SRC_NAT | _DST_NAT):
            return False
        way = _tuple(found[_TUPLE_ORIG])
        return any(r.holds(way.destination) and not r.holds(way.source) for r in inward) or any(
            r.holds(way.source) and not r.holds(way.destination) for r in outward
        )

    if subnets:
        _delete(socket, is_suspect)


def cut(socket: Netlink, sources: Collection[IPAddress], allowed: Callable[[Flow], bool]) -> None:
    """Delete the entries of connections that one of the addresses has begun and that are not allowed."""
    known = {address.packed for address in sources}

    def is_refused(message: Message) -> bool:
        way = _tuple(attribute_map(message.body, _GENMSG.size)[_TUPLE_ORIG])
        if way.source not in known:
            return False
        return not allowed(Flow(ip_address(way.source), ip_address(way.destination), way.proto, way.port))

    if known:
        _delete(socket, is_refused)


class _Range(NamedTuple):
    first: bytes
    last: bytes

    @classmethod
    def of(cls, subnet: IPNetwork) -> _Range:
        return cls(subnet.network_address.packed, subnet.broadcast_address.packed)

    def holds(self, address: bytes) -> bool:
        return len(address) == len(self.first) and self.first <= address <= self.last


def _delete(socket: Netlink, is_meant: Callable[[Message], bool]) -> None:
    if not _entries(socket):
        return
    doomed = []
    for family in (2, 10):
        try:
            listed = socket.dump(_request(_GET, family))
        except OSError as error:
            log.warning("cannot list tracked connections: %s", error.strerror)
            return
        doomed += [_deletion(family, message) for message in listed if is_meant(message)]
    for start in range(0, len(doomed), _CHUNK):
        for failure in socket.send(doomed[start : start + _CHUNK]):
            if failure.errno != errno.ENOENT:
                log.warning("cannot forget a tracked connection: %s", failure.text)


def _entries(socket: Netlink) -> int:
    """How many connections are tracked; 0 too if the kernel tracks none at all."""
    answer = socket.get([_request(_GET_STATS, 0)])[0]
    if isinstance(answer, Failure) or not answer:
        return 0
    return int.from_bytes(attribute_map(answer[0].body, _GENMSG.size).get(_STATS_ENTRIES, b""), "big")


def _request(kind: int, family: int, body: bytes = b"") -> Request:
    return Request(_CTNETLINK << 8 | kind, 0, _GENMSG.pack(family, 0, 0) + body)


def _concerns(message: Message, addresses: frozenset[bytes], ports: Collection[PortBinding]) -> bool:
    if any(address in message.body for address in addresses):
        both = [_tuple(payload) for payload in _tuples(message)]
        if any(address in (one.source, one.destination) for one in both for address in addresses):
            return True
    return bool(ports) and _published(message, ports)


def _published(message: Message, ports: Collection[PortBinding]) -> bool:
    found = attribute_map(message.body, _GENMSG.size)
    if not int.from_bytes(found.get(_STATUS, b""), "big") & _DST_NAT:
        return False
    original = _tuple(found[_TUPLE_ORIG])
    return any(
        (binding.host_port, _NUMBERS[binding.proto]) == (original.port, original.proto)
        and (binding.host_ip is None or binding.host_ip.packed == original.destination)
        for binding in ports
    )


def _tuples(message: Message) -> Iterator[bytes]:
    for kind, payload in attributes(message.body, _GENMSG.size):
        if kind in (_TUPLE_ORIG, _TUPLE_REPLY):
            yield payload


def _tuple(payload: bytes) -> _Tuple:
    parts = attribute_map(payload)
    ip, proto = attribute_map(parts.get(1, b"")), attribute_map(parts.get(2, b""))
    # 1 and 2 are IPv4's source and destination, 3 and 4 IPv6's; in the other 1 is the protocol, 3 the port.
    source = ip.get(1) or ip.get(3, b"")
    destination = ip.get(2) or ip.get(4, b"")
    return _Tuple(
        source, destination, int.from_bytes(proto.get(1, b""), "big"), int.from_bytes(proto.get(3, b""), "big")
    )


def _deletion(family: int, message: Message) -> Request:
    """The entry itself, by its tuple and id: a new one with the same tuple is not meant."""
    found = attribute_map(message.body, _GENMSG.size)
    body = attr(_TUPLE_ORIG | _NESTED, found[_TUPLE_ORIG])
    for kind in (_ID, _ZONE):
        if kind in found:
            body += attr(kind, found[kind])
    return _request(_DELETE, family, body)
