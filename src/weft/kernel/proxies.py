"""Addresses for which the host answers on a link though others have them: proxy entries of the neighbour tables.

Numbers as in linux/neighbour.h. The protocol of an entry is the mark by which weft knows its own.
"""

from __future__ import annotations

import socket
from collections.abc import Collection, Iterator
from ipaddress import ip_address

from weft.errors import NotFound
from weft.kernel import links
from weft.kernel.inside import Inside
from weft.kernel.ndmsg import NDMSG, RTM_DELNEIGH, RTM_GETNEIGH, RTM_NEWNEIGH
from weft.kernel.netlink import (
    NLM_F_CREATE,
    NLM_F_REPLACE,
    Failure,
    Message,
    Netlink,
    Request,
    attr,
    attribute_map,
    u8,
)
from weft.kernel.refusal import refusal
from weft.model import IPAddress
from weft.plan import ProxyNeighbour

_NDA_DST, _NDA_PROTOCOL = 1, 12
_NTF_PROXY = 0x08
_NUD_PERMANENT = 0x80
"""It stays when the link loses its carrier."""
_WEFT = 0x77
_FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}


def ensure(host: Inside, item: ProxyNeighbour) -> None:
    link = links.index_of(host.rtnl, item.link)
    if not link:
        raise NotFound(f"there is no link {item.link} on this host to answer for {item.address} on")
    request = Request(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, _entry(link, item.address))
    for failure in host.rtnl.send([request]):
        raise refusal(failure.errno, f"answer on {item.link} for {item.address}", failure.text)


def found(rtnl: Netlink) -> set[ProxyNeighbour]:
    """weft's entries in the namespace of the socket."""
    names = {link.index: link.name for link in map(links.parse, rtnl.dump(links.get_all()))}
    return {
        ProxyNeighbour(names[index], address)
        for version in (4, 6)
        for index, address in _parse(rtnl.dump(_get_all(version)))
        if index in names
    }


def remove(host: Inside, item: ProxyNeighbour) -> list[Failure]:
    return list(host.rtnl.send([_delete(host.rtnl, item)])) if links.index_of(host.rtnl, item.link) else []


def sweep(rtnl: Netlink, kept: Collection[ProxyNeighbour]) -> tuple[str, ...]:
    """Remove weft's entries that are not listed; say what went."""
    stray = sorted(found(rtnl).difference(kept), key=lambda item: (item.link, item.address.version, item.address))
    if stray:
        rtnl.send([_delete(rtnl, item) for item in stray])
    return tuple(f"proxy {item.address} on {item.link}" for item in stray)


def _delete(rtnl: Netlink, item: ProxyNeighbour) -> Request:
    return Request(RTM_DELNEIGH, 0, _entry(links.index_of(rtnl, item.link), item.address))


def _entry(link: int, address: IPAddress) -> bytes:
    head = NDMSG.pack(_FAMILY[address.version], 0, link, _NUD_PERMANENT, _NTF_PROXY, 0)
    return head + attr(_NDA_DST, address.packed) + u8(_NDA_PROTOCOL, _WEFT)


def _get_all(version: int) -> Request:
    return Request(RTM_GETNEIGH, 0, NDMSG.pack(_FAMILY[version], 0, 0, 0, _NTF_PROXY, 0))


def _parse(messages: list[Message]) -> Iterator[tuple[int, IPAddress]]:
    for message in messages:
        _, _, link, _, flags, _ = NDMSG.unpack_from(message.body)
        attrs = attribute_map(message.body, NDMSG.size)
        if flags & _NTF_PROXY and attrs.get(_NDA_PROTOCOL) == bytes([_WEFT]):
            yield link, ip_address(attrs[_NDA_DST])
