"""What guard.py's chains do, as a program on a container's port: it drops what the container may not send.

It also hands what may pass to whom it is for, if that is somebody on the same bridge whom it knows.

Theory of operation. The program is asked before the bridge is, for each frame that comes out of a cable, and says
"drop" or "go on", which leaves the frame to whoever else may have a say. By the port's index it finds the port's MAC
and addresses (`guard_value`) in a map; of a port that is not there nothing passes. Most frames are IPv4 from the right
place and no datagrams: they take a dozen comparisons. What cannot be read is dropped, and so is what has a VLAN tag.

MAC and addresses could be constants of a program per port, which would spare the frame 30 ns. But the kernel takes 0.3
to 1 ms to look a program over and translate it, which is half of what a container takes to be made. So all ports with
as many addresses (`Shape`) share one.

What is for a neighbour's MAC, or for the host's on the bridge, is handed over right there (`_deliver`): to the
neighbour's port, where it goes through what there is on the way out of it, or to the bridge's own link as if it had
come by the bridge. So such frames cost less than without a guard. Whoever may be reached so is in a second map, by
bridge and MAC; all else goes to the bridge, as do ARP, neighbour discovery and whatever takes a closer look.

Offsets are from the frame's first byte. The kernel shows a program the beginning of a frame only as far as it lies in
one piece; where that is too short, it is asked once to gather more (`short`), and then all is read anew. What stands
behind options or further headers of IPv6 is copied out (`_fetch`), wherever it lies.

Fragments but the first have no ports and types, and pass: without the first nobody puts them together. Of a chain of
IPv6 headers (RFC 8200, section 4) at most six are followed.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator
from typing import NamedTuple

from weft.firewall.ebpf import (
    R0,
    R1,
    R2,
    R3,
    R4,
    R5,
    R6,
    R7,
    R8,
    R9,
    STACK,
    Size,
    Step,
    add,
    add_register,
    as_loaded,
    assemble,
    call,
    copy,
    jump,
    jump_beyond,
    jump_if,
    jump_if_none,
    jump_unless_same,
    leave,
    load,
    mask,
    point_to_map,
    put,
    shift_left,
    store,
    subtract,
)
from weft.names import mac_bytes
from weft.plan import Guard

DROP = 2
"""TC_ACT_SHOT of linux/pkt_cls.h."""
HANDED_OVER = 7
"""TC_ACT_REDIRECT."""
GO_ON = -1
"""TC_ACT_UNSPEC: whoever comes next decides."""

# struct __sk_buff of linux/bpf.h, and four of its functions.
_LENGTH, _VLAN_PRESENT, _PORT, _DATA, _DATA_END = 0, 20, 40, 76, 80
_LOOK_UP, _REDIRECT, _LOAD_BYTES, _PULL_DATA = 1, 23, 26, 39

_ETHERNET = 14
_IPV4, _ARP, _IPV6 = (as_loaded(bytes.fromhex(kind)) for kind in ("0800", "0806", "86dd"))
_OF_ETHERNET_AND_IPV4 = bytes.fromhex("000108000604")
"""How ARP begins, but for what it asks or says (RFC 826)."""
_LATER_FRAGMENT4 = as_loaded(bytes.fromhex("1fff"))
_LATER_FRAGMENT6 = as_loaded(bytes.fromhex("fff8"))
_TCP, _UDP, _ICMP6 = 6, 17, 58
_HOP_BY_HOP, _ROUTING, _FRAGMENT, _AUTHENTICATION, _DESTINATION = 0, 43, 44, 51, 60
_MOST_HEADERS = 6
_DHCP4, _DHCP6 = (as_loaded(port.to_bytes(2, "big")) for port in (68, 546))
# Multicast listeners' questions and reports, solicitations and advertisements of routers; redirects; reports anew.
_REFUSED = (*range(130, 135), 137, 143)
_ADVERTISEMENT = 136
_CLAIM = 8
"""Where a neighbour advertisement says whose address it is about (RFC 4861, section 4.4)."""
_GATHERED = 64
"""Bytes: more than any step below reads at fixed offsets."""
_COPY = -16
"""Where on the stack something is copied to."""
_KEY = -20
_WHO = -32
"""Likewise: a bridge's index and a MAC."""
_BRIDGE, _FIRST_ADDRESS = 8, 12
"""In a value; the MAC is before them."""
_INTO = 1
"""BPF_F_INGRESS of linux/bpf.h: as if it had come by the link."""

# R0: the port's value. R2, R3: where what is in one piece begins and ends. R6: the frame. R7: whether more was
# gathered; then, how many headers may follow. R8: where the next header is. R9: its kind. A call clobbers R0 to R5.


class Shape(NamedTuple):
    """How many addresses of each family a port has."""

    ipv4: int
    ipv6: int


def shape_of(guard: Guard) -> Shape:
    return Shape(*(sum(address.version == version for address in guard.addresses) for version in (4, 6)))


def value_size(shape: Shape) -> int:
    return _FIRST_ADDRESS + 4 * shape.ipv4 + 16 * shape.ipv6


def guard_value(guard: Guard, bridge: int) -> bytes:
    """What is in the map for a port: its MAC, the bridge on which others are reached directly (its index; 0 for none),
    IPv4 and IPv6 addresses."""
    listed = sorted(guard.addresses, key=lambda address: address.version)
    head = mac_bytes(guard.mac).ljust(_BRIDGE, b"\0") + _index(bridge)
    return head + b"".join(address.packed for address in listed)


def port_key(link: int) -> bytes:
    """Of a port's value: the port's index."""
    return _index(link)


def neighbour_key(bridge: int, mac: str) -> bytes:
    return _index(bridge) + mac_bytes(mac).ljust(8, b"\0")


def neighbour_value(link: int, *, host: bool = False) -> bytes:
    """Where frames for a neighbour go: out of its port, or (`host`) into the bridge's own link."""
    return struct.pack("=II", link, _INTO if host else 0)


def link_of_neighbour(value: bytes) -> int:
    link: int = struct.unpack_from("=I", value)[0]
    return link


NEIGHBOUR = (12, 8)
"""Sizes of key and value."""


def _index(link: int) -> bytes:
    return link.to_bytes(4, sys.byteorder)


def guard_program(shape: Shape, table: int, neighbours: int) -> bytes:
    """The instructions, for a classifier at the ingress of ports of that shape.

    `table`, `neighbours`: the descriptors of hash maps with the ports' values and with the neighbours'; 0 and 0 give
    the program as the kernel names it (its tag).
    """
    own4 = [_FIRST_ADDRESS + 4 * number for number in range(shape.ipv4)]
    own6 = [_FIRST_ADDRESS + 4 * shape.ipv4 + 16 * number for number in range(shape.ipv6)]
    return assemble(
        (
            copy(R6, R1),
            put(R7, 0),
            "begin",
            load(4, R4, R6, _VLAN_PRESENT),
            jump_if(R4, "!=", 0, "drop"),
            *_look_up(table),
            load(4, R2, R6, _DATA),
            load(4, R3, R6, _DATA_END),
            *_reaching(34),
            load(2, R5, R2, 12),
            *(_ipv4(own4) if own4 else ()),
            *(_arp(own4) if own4 else ()),
            *(_ipv6(own6, table) if own6 else (jump("drop"),)),
            "short",
            *_gather_more(),
            *_deliver(neighbours),
            "go on",
            put(R0, GO_ON),
            leave(),
            "drop",
            put(R0, DROP),
            leave(),
        )
    )


def _look_up(table: int) -> Iterator[Step]:
    """Have R0 point to the port's value."""
    yield load(4, R4, R6, _PORT)
    yield store(R4, STACK, _KEY)
    yield from point_to_map(R1, table)
    yield copy(R2, STACK)
    yield add(R2, _KEY)
    yield call(_LOOK_UP)
    yield jump_if_none(R0, "drop")


def _ipv4(own: list[int]) -> Iterator[Step | str]:
    yield jump_if(R5, "!=", _IPV4, "no ipv4")
    yield from _one_of(own, 4, "source4", 26)
    yield from _is_mac(6)
    yield load(1, R4, R2, 14)
    yield load(1, R9, R2, 23)
    yield jump_if(R4, "!=", 0x45, "options4")
    yield jump_if(R9, "!=", _UDP, "deliver")
    yield from _unless_later_fragment()
    yield from _reaching(38)
    yield load(2, R5, R2, 36)
    yield jump_if(R5, "==", _DHCP4, "drop")
    yield jump("deliver")

    yield "options4"
    yield copy(R8, R4)
    yield mask(R4, 0xF0)
    yield jump_if(R4, "!=", 0x40, "drop")
    yield mask(R8, 0x0F)
    yield jump_if(R8, "<", 5, "drop")
    yield jump_if(R9, "!=", _UDP, "deliver")
    yield from _unless_later_fragment()
    yield shift_left(R8, 2)
    yield add(R8, _ETHERNET)
    yield from _fetch(2, further=2)
    yield load(2, R5, STACK, _COPY)
    yield jump_if(R5, "==", _DHCP4, "drop")
    yield jump("go on")
    yield "no ipv4"


def _unless_later_fragment() -> Iterator[Step]:
    yield load(2, R5, R2, 20)
    yield mask(R5, _LATER_FRAGMENT4)
    yield jump_if(R5, "!=", 0, "deliver")


def _arp(own: list[int]) -> Iterator[Step | str]:
    yield jump_if(R5, "!=", _ARP, "no arp")
    yield from _reaching(42)
    yield load(4, R4, R2, 14)
    yield jump_if(R4, "!=", as_loaded(_OF_ETHERNET_AND_IPV4[:4]), "drop")
    yield load(2, R4, R2, 18)
    yield jump_if(R4, "!=", as_loaded(_OF_ETHERNET_AND_IPV4[4:]), "drop")
    yield from _is_mac(6)
    yield from _is_mac(22)
    yield from _one_of(own, 4, "sender", 28)
    yield jump("go on")
    yield "no arp"


def _ipv6(own: list[int], table: int) -> Iterator[Step | str]:
    yield jump_if(R5, "!=", _IPV6, "drop")
    yield from _reaching(54)
    yield load(1, R4, R2, 14)
    yield mask(R4, 0xF0)
    yield jump_if(R4, "!=", 0x60, "drop")
    yield from _one_of(own, 16, "source6", 22)
    yield from _is_mac(6)
    yield load(1, R9, R2, 20)
    yield jump_if(R9, "==", _TCP, "deliver")
    yield jump_if(R9, "==", _UDP, "datagram6")
    yield put(R8, 54)
    yield put(R7, _MOST_HEADERS)
    yield from _headers_of_ipv6()
    yield from _icmp6(own, table)
    yield "datagram6"
    yield from _reaching(58)
    yield load(2, R5, R2, 56)
    yield jump_if(R5, "==", _DHCP6, "drop")
    yield jump_if(R5, "==", _DHCP4, "drop")
    yield jump("deliver")


def _headers_of_ipv6() -> Iterator[Step | str]:
    yield "header"
    yield jump_if(R9, "==", _UDP, "udp6")
    yield jump_if(R9, "==", _ICMP6, "icmp6")
    yield jump_if(R9, "==", _FRAGMENT, "fragment")
    yield jump_if(R9, "==", _AUTHENTICATION, "authentication")
    for kind in (_HOP_BY_HOP, _ROUTING, _DESTINATION):
        yield jump_if(R9, "==", kind, "options6")
    yield jump("go on")

    for name, least, unit in (("options6", 1, 3), ("authentication", 2, 2)):
        yield name
        yield from _fetch(2)
        yield load(1, R9, STACK, _COPY)
        yield load(1, R4, STACK, _COPY + 1)
        yield add(R4, least)
        yield shift_left(R4, unit)
        yield add_register(R8, R4)
        yield jump("next header")

    yield "fragment"
    yield from _fetch(4)
    yield load(1, R9, STACK, _COPY)
    yield load(2, R4, STACK, _COPY + 2)
    yield mask(R4, _LATER_FRAGMENT6)
    yield jump_if(R4, "!=", 0, "later fragment6")
    yield add(R8, 8)

    yield "next header"
    yield subtract(R7, 1)
    yield jump_if(R7, "!=", 0, "header")
    yield jump("drop")

    yield "later fragment6"
    for kind in (_HOP_BY_HOP, _ROUTING, _FRAGMENT, _AUTHENTICATION, _DESTINATION):
        yield jump_if(R9, "==", kind, "drop")
    yield jump("go on")

    yield "udp6"
    yield from _fetch(2, further=2)
    yield load(2, R5, STACK, _COPY)
    yield jump_if(R5, "==", _DHCP6, "drop")
    yield jump_if(R5, "==", _DHCP4, "drop")
    yield jump("go on")


def _icmp6(own: list[int], table: int) -> Iterator[Step | str]:
    yield "icmp6"
    yield from _fetch(1)
    yield load(1, R5, STACK, _COPY)
    for kind in _REFUSED:
        yield jump_if(R5, "==", kind, "drop")
    yield jump_if(R5, "!=", _ADVERTISEMENT, "go on")
    yield from _fetch(16, further=_CLAIM)
    yield from _look_up(table)
    yield copy(R2, STACK)
    yield from _one_of(own, 16, "claim", _COPY)
    yield jump("go on")


def _deliver(neighbours: int) -> Iterator[Step | str]:
    """R0 and R2 are as they were at first: nobody comes here who has called more than `_look_up`."""
    yield "deliver"
    yield load(4, R4, R0, _BRIDGE)
    yield jump_if(R4, "==", 0, "go on")
    yield store(R4, STACK, _WHO)
    yield load(4, R4, R2, 0)
    yield store(R4, STACK, _WHO + 4)
    yield load(2, R4, R2, 4)
    yield store(R4, STACK, _WHO + 8)
    yield from point_to_map(R1, neighbours)
    yield copy(R2, STACK)
    yield add(R2, _WHO)
    yield call(_LOOK_UP)
    yield jump_if_none(R0, "go on")
    yield load(4, R1, R0, 0)
    yield load(4, R2, R0, 4)
    yield call(_REDIRECT)
    yield leave()


def _gather_more() -> Iterator[Step | str]:
    yield jump_if(R7, "!=", 0, "drop")
    yield put(R7, 1)
    yield copy(R1, R6)
    yield load(4, R2, R6, _LENGTH)
    yield jump_if(R2, "<", _GATHERED, "gather")
    yield put(R2, _GATHERED)
    yield "gather"
    yield call(_PULL_DATA)
    yield jump("begin")


def _reaching(length: int) -> Iterator[Step]:
    """So many bytes may be read at R2 from here on."""
    yield copy(R4, R2)
    yield add(R4, length)
    yield jump_beyond(R4, R3, "short")


def _fetch(length: int, *, further: int = 0) -> Iterator[Step]:
    """Copy bytes to the stack from where R8 says, or so much further."""
    yield copy(R1, R6)
    yield copy(R2, R8)
    yield add(R2, further)
    yield copy(R3, STACK)
    yield add(R3, _COPY)
    yield put(R4, length)
    yield call(_LOAD_BYTES)
    yield jump_if(R0, "!=", 0, "drop")


def _is_mac(offset: int) -> Iterator[Step]:
    """Six bytes are the port's MAC, or the frame is dropped."""
    yield from _compare(4, offset, 0, "drop")
    yield from _compare(2, offset + 4, 4, "drop")


def _one_of(own: list[int], length: int, name: str, offset: int) -> Iterator[Step | str]:
    """So many bytes are one of the port's addresses, or the frame is dropped. `name`: for labels."""
    for number, place in enumerate(own):
        other = f"{name} but {number}"
        for start in range(0, length, 4):
            yield from _compare(4, offset + start, place + start, other)
        yield jump(f"{name} is own")
        yield other
    yield jump("drop")
    yield f"{name} is own"


def _compare(size: Size, offset: int, place: int, otherwise: str) -> Iterator[Step]:
    yield load(size, R4, R2, offset)
    yield load(size, R1, R0, place)
    yield jump_unless_same(R4, R1, otherwise)
