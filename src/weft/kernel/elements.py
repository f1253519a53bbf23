"""Elements of the sets and maps of the host's tables `inet weft` and `bridge weft`, packed and compared by hand.

How a key is packed follows from the set's layout: each part big-endian and, where there are several, filled up to
four bytes. A subnet is two elements: where it begins, and the first address behind it, marked as an end. At the end of
a key of several parts it is one element with two keys, of its first address and its last; so are other ranges there.
"""

from __future__ import annotations

import errno
import functools
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Network, IPv6Network

from weft.errors import Invalid, Unavailable, WeftError
from weft.firewall.layout import LAYOUTS, Kind, SetLayout
from weft.kernel import nfnetlink as nf
from weft.kernel.listing import Found, list_elements, parse_elements
from weft.kernel.netlink import NLM_F_CREATE, Failure, Netlink, Request, attr, be32, nest, text
from weft.kernel.refusal import all_of, refusal
from weft.names import TABLE, mac_bytes
from weft.plan import Atom, Mac, NftElement, Span, TableFamily

_PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132}
_PROTO_FAMILIES = {"ipv4": 2, "ipv6": 10}
_FAMILIES: dict[TableFamily, int] = {"inet": nf.INET, "bridge": nf.BRIDGE}
_SIZES = {
    "ifname": 16,
    "nf_proto": 1,
    "ether_addr": 6,
    "ipv4_addr": 4,
    "ipv6_addr": 16,
    "inet_proto": 1,
    "inet_service": 2,
}
_KEY_END = 10
_FEW = 32
"""Up to so many elements of a set are asked for singly, more by listing the set."""


def ensure(socket: Netlink, elements: Sequence[NftElement]) -> None:
    """Add them in one transaction; a map's element with another value is replaced. Raises WeftError."""
    failures = nf.commit(socket, [_request(nf.NEWSETELEM, element) for element in elements])
    # A map's element with another value: EBUSY in older kernels, EEXIST in newer ones.
    clash = (errno.EBUSY, errno.EEXIST)
    changed = {f.at for f in failures if f.errno in clash and elements[f.at].value is not None}
    if changed:
        deletions = [_request(nf.DELSETELEM, elements[position]) for position in sorted(changed)]
        additions = [_request(nf.NEWSETELEM, element) for element in elements]
        failures = nf.commit(socket, deletions + additions)
        # What is said of a deletion would be said of the addition, too.
        failures = [f._replace(at=max(f.at - len(deletions), 0)) for f in failures]
    if failures:
        raise all_of([_refused(elements[failure.at], failure) for failure in failures])


def remove(socket: Netlink, elements: Sequence[NftElement]) -> list[WeftError]:
    """Delete them in one transaction; those that are gone already are left out of a second."""
    left = list(elements)
    for _ in range(3):
        failures = nf.commit(socket, [_request(nf.DELSETELEM, element) for element in left])
        gone = {failure.at for failure in failures if failure.errno == errno.ENOENT}
        if not gone:
            return [_refused(left[failure.at], failure) for failure in failures]
        left = [element for position, element in enumerate(left) if position not in gone]
    return []


def missing(socket: Netlink, elements: Iterable[NftElement]) -> set[NftElement]:
    """Those that are not there, or lead elsewhere. One question per set, or per element where they are few."""
    by_set: dict[tuple[TableFamily, str], list[NftElement]] = defaultdict(list)
    for element in elements:
        by_set[element.family, element.name].append(element)
    absent: set[NftElement] = set()
    for wanted in by_set.values():
        ask = _absent_singly if len(wanted) <= _FEW and not layout_of(wanted[0]).interval else _absent_by_list
        absent.update(ask(socket, wanted))
    return absent


def encode(element: NftElement) -> tuple[Found, ...]:
    """What the kernel shall hold for an element: one, or the two ends of an interval."""
    layout = layout_of(element)
    *before, subnet = element.key
    if layout.interval and before:
        key, last = (_concatenate(layout.key, end) for end in zip(*map(_ends, element.key), strict=True))
        return (Found(key, b"", end=False, last=last),)
    if layout.interval and isinstance(subnet, IPv4Network | IPv6Network):
        first = Found(subnet.network_address.packed, b"", end=False)
        if int(subnet.broadcast_address) + 1 == 1 << subnet.max_prefixlen:
            return (first,)
        return (first, Found((subnet.broadcast_address + 1).packed, b"", end=True))
    value = b"" if element.value is None or layout.value is None else _concatenate(layout.value, element.value)
    return (Found(_concatenate(layout.key, element.key), value, end=False),)


def _ends(atom: Atom) -> tuple[Atom, Atom]:
    if isinstance(atom, IPv4Network | IPv6Network):
        return atom.network_address, atom.broadcast_address
    return (atom.first, atom.last) if isinstance(atom, Span) else (atom, atom)


def layout_of(element: NftElement) -> SetLayout:
    """Raises Invalid if there is no such set."""
    layout = LAYOUTS[element.family].get(element.name)
    if layout is None:
        raise Invalid(f"the firewall has no set {element.name!r}")
    return layout


def list_set(socket: Netlink, family: TableFamily, name: str) -> list[Found]:
    """The elements of a set or map of ours. Raises OSError (ENOENT) if there is no such set."""
    return list_elements(socket, name, TABLE, _FAMILIES[family])


def _concatenate(kinds: tuple[Kind, ...], atoms: tuple[Atom, ...]) -> bytes:
    if len(kinds) == 1:
        return _atom(kinds[0], atoms[0])
    return b"".join(_fill(_atom(kind, atom)) for kind, atom in zip(kinds, atoms, strict=True))


def _fill(raw: bytes) -> bytes:
    return raw + bytes(-len(raw) % 4)


def _atom(kind: Kind, atom: Atom) -> bytes:
    if kind == "inet_service" and isinstance(atom, int):
        return atom.to_bytes(2, "big")
    if kind == "inet_proto" and isinstance(atom, str):
        return bytes((_PROTOCOLS[atom],))
    if kind == "inet_proto" and isinstance(atom, int):
        return bytes((atom,))
    if kind == "nf_proto" and isinstance(atom, str):
        return bytes((_PROTO_FAMILIES[atom],))
    if kind == "ifname" and isinstance(atom, str):
        return atom.encode().ljust(16, b"\0")
    if kind == "ether_addr" and isinstance(atom, Mac):
        return mac_bytes(atom)
    raw = getattr(atom, "packed", b"")
    if not isinstance(raw, bytes) or len(raw) != _SIZES[kind]:
        raise Invalid(f"{atom!r} is no {kind}")
    return raw


@functools.lru_cache(maxsize=64)
def _place(name: str) -> bytes:
    return text(1, TABLE) + text(2, name)


def _request(kind: int, element: NftElement) -> Request:
    listed = b"".join(_pack(found, with_data=kind == nf.NEWSETELEM) for found in encode(element))
    flags = NLM_F_CREATE if kind == nf.NEWSETELEM else 0
    return nf.request(kind, _place(element.name), nest(3, listed), family=_FAMILIES[element.family], flags=flags)


def _pack(found: Found, *, with_data: bool) -> bytes:
    data = nest(2, attr(1, found.data)) if with_data and found.data else b""
    end = be32(3, 1) if found.end else b""
    last = nest(_KEY_END, attr(1, found.last)) if found.last else b""
    return nest(nf.LIST_ELEM, nest(1, attr(1, found.key)), data, end, last)


def _absent_singly(socket: Netlink, wanted: list[NftElement]) -> list[NftElement]:
    absent = []
    for element, answer in zip(wanted, socket.get([_request(nf.GETSETELEM, e) for e in wanted]), strict=True):
        if isinstance(answer, Failure):
            if answer.errno != errno.ENOENT:
                raise _refused(element, answer)
            absent.append(element)
        elif set(encode(element)) != {found for message in answer for found in parse_elements(message)}:
            absent.append(element)
    return absent


def _absent_by_list(socket: Netlink, wanted: list[NftElement]) -> list[NftElement]:
    try:
        there = set(list_set(socket, wanted[0].family, wanted[0].name))
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise refusal(error.errno or 0, f"list {wanted[0].name}", os.strerror(error.errno or 0)) from error
        return wanted
    return [element for element in wanted if not there.issuperset(encode(element))]


def _refused(element: NftElement, failure: Failure) -> WeftError:
    if failure.errno == errno.ENOENT:
        return Unavailable(
            f"table {element.family} {TABLE} (set {element.name}) is gone from the host; it has to be put back first"
        )
    return refusal(
        failure.errno, f"add {element.text()} to {element.name} of table {element.family} {TABLE}", failure.text
    )
