"""Notices when something in the kernel goes away that weft may have put there.

Two sockets listen, in the host's namespace, to it and to every namespace it is linked with (containers, that is):
one to links, what limits and filters them, addresses and routes, one to nf_tables. Filters in the kernel keep out what
cannot be drift, so that a join wakes nobody: what is added, links being made, links that no endpoint has (yet, or any
more), and what this process did through the first socket it had in a namespace. What comes through is a hint only: its
reader looks at the kernel.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from weft.kernel import addresses, bpf, links, nfnetlink, tcmsg
from weft.kernel.netlink import SOL_NETLINK, Message, attribute_map, parse_messages, zero_terminated
from weft.names import LINK_GROUP, TABLE

_LISTEN_ALL_NSID = 8
_SO_RCVBUFFORCE = 33
_RECEIVE_BUFFER = 1 << 21
_RTNETLINK_GROUPS = (1, 4, 5, 7, 9, 11)
"""Links, limits and filters of theirs, IPv4 and IPv6 addresses, IPv4 and IPv6 routes."""
_NFTABLES_GROUPS = (7,)
_PORT_BIT = 1 << 30
"""Keeps these sockets' port ids apart from the one that marks our own doings."""
_AF_BRIDGE = 7
_NEWGEN = 15
_MOST = 1000
"""Datagrams read at a time."""

_TYPE_AT, _PID_AT, _FAMILY_AT, _TABLE_AT, _FLAGS_AT, _CHANGE_AT, _ATTRIBUTES_AT = 4, 12, 16, 20, 24, 28, 32
_IFLA_LINK, _IFLA_MASTER, _IFLA_GROUP = 5, 10, 27


@dataclass(frozen=True, slots=True)
class Change:
    """Something went away, or was set down."""

    what: Literal["link", "limit", "address", "route", "firewall", "overflow"]
    """overflow: more happened than could be queued; anything may have."""
    name: str = ""
    """The link's, if the kernel said so."""
    index: int = 0
    """The link's; 0 if unknown."""
    nsid: int | None = None
    """Where: None is the host, else as `LinuxKernel.nsid` tells it of a container."""


class Watch:
    """Make it in the host's namespace; then any thread may read."""

    def __init__(self) -> None:
        self._links = _listen(socket.NETLINK_ROUTE, _RTNETLINK_GROUPS, _link_filter())
        self._rules = _listen(nfnetlink.NETLINK_NETFILTER, _NFTABLES_GROUPS, _rule_filter())

    def filenos(self) -> tuple[int, int]:
        return self._links.fileno(), self._rules.fileno()

    def read(self, fd: int) -> list[Change]:
        """What there is to be read from one of `filenos`; never waits."""
        source, parse = (self._links, _link_change) if fd == self._links.fileno() else (self._rules, _rule_change)
        changes: dict[Change, None] = {}
        for data, nsid in _waiting(source):
            found = [Change("overflow")] if data is None else [parse(message, nsid) for message in parse_messages(data)]
            changes.update((change, None) for change in found if change)
        return list(changes)

    def close(self) -> None:
        self._links.close()
        self._rules.close()


def _listen(family: int, groups: tuple[int, ...], program: bpf.Program) -> socket.socket:
    listener = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, family)
    try:
        listener.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BUFFER)
    except PermissionError:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
    bpf.attach(listener, program)
    listener.setsockopt(SOL_NETLINK, _LISTEN_ALL_NSID, 1)
    try:
        listener.bind((nfnetlink.own_port() | _PORT_BIT, _mask(groups)))
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        listener.bind((0, _mask(groups)))
    return listener


def _mask(groups: tuple[int, ...]) -> int:
    return sum(1 << (group - 1) for group in groups)


def _link_filter() -> bpf.Program:
    down_or_gone = (
        *bpf.find_attribute(_IFLA_GROUP, _ATTRIBUTES_AT),
        *bpf.equals(0, (bpf.KEEP,)),
        *bpf.load_found_word(),
        *bpf.equals(bpf.word(links.LEAVING_GROUP), (bpf.DROP,)),
        *bpf.equals(bpf.word(links.SPARE_GROUP), (bpf.DROP,)),
        bpf.KEEP,
    )
    # The host's end of a veth that lost its bridge: up, of our group, with another end, without a master.
    freed = (
        *bpf.find_attribute(_IFLA_MASTER, _ATTRIBUTES_AT),
        *bpf.differs(0, (bpf.DROP,)),
        *bpf.find_attribute(_IFLA_LINK, _ATTRIBUTES_AT),
        *bpf.equals(0, (bpf.DROP,)),
        *bpf.find_attribute(_IFLA_GROUP, _ATTRIBUTES_AT),
        *bpf.equals(0, (bpf.DROP,)),
        *bpf.load_found_word(),
        *bpf.differs(bpf.word(LINK_GROUP), (bpf.DROP,)),
        bpf.KEEP,
    )
    # The kernel's own routes (to itself, multicast) come and go with every link.
    of_main_tables = (*bpf.load_byte(_TABLE_AT), *bpf.equals(addresses.RT_TABLE_LOCAL, (bpf.DROP,)), bpf.KEEP)
    up = bpf.word(links.IFF_UP)
    return (
        *bpf.load_word(_PID_AT),
        *bpf.equals(bpf.word(nfnetlink.own_port()), (bpf.DROP,)),
        *bpf.load_half(_TYPE_AT),
        *bpf.equals(bpf.half(addresses.RTM_DELADDR), (bpf.KEEP,)),
        # Not new ones: kernels up to 6.6 tell everybody whenever one is merely looked at.
        *bpf.equals(bpf.half(tcmsg.RTM_DELQDISC), (bpf.KEEP,)),
        *bpf.equals(bpf.half(tcmsg.RTM_DELTFILTER), (bpf.KEEP,)),
        *bpf.equals(bpf.half(addresses.RTM_DELROUTE), of_main_tables),
        # A bridge says the same of its ports again, in messages of its own family.
        *bpf.load_byte(_FAMILY_AT),
        *bpf.equals(_AF_BRIDGE, (bpf.DROP,)),
        *bpf.load_half(_TYPE_AT),
        *bpf.equals(bpf.half(links.RTM_DELLINK), down_or_gone),
        *bpf.differs(bpf.half(links.RTM_NEWLINK), (bpf.DROP,)),
        *bpf.load_word(_FLAGS_AT),
        *bpf.has(up, freed),
        *bpf.load_word(_CHANGE_AT),
        *bpf.equals(0xFFFFFFFF, (bpf.DROP,)),  # A link was made.
        *bpf.lacks(up, (bpf.DROP,)),
        *down_or_gone,
    )


def _rule_filter() -> bpf.Program:
    return (
        *bpf.load_word(_PID_AT),
        *bpf.equals(bpf.word(nfnetlink.own_port()), (bpf.DROP,)),
        *bpf.load_half(_TYPE_AT),
        *bpf.equals(bpf.half(nfnetlink.SUBSYSTEM << 8 | _NEWGEN), (bpf.DROP,)),
        bpf.KEEP,
    )


def _waiting(source: socket.socket) -> Iterator[tuple[bytes | None, int | None]]:
    """(datagram, namespace) of each that waits; None for those that were lost."""
    for _ in range(_MOST):
        try:
            data, extra, _, _ = source.recvmsg(1 << 16, 64)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            yield None, None
            continue
        yield data, _nsid(extra)


def _nsid(extra: list[tuple[int, int, bytes]]) -> int | None:
    for level, kind, payload in extra:
        if (level, kind) == (SOL_NETLINK, _LISTEN_ALL_NSID):
            number: int = struct.unpack_from("=i", payload)[0]
            return number
    return None


def _link_change(message: Message, nsid: int | None) -> Change | None:
    if message.type in (links.RTM_DELLINK, links.RTM_NEWLINK):
        link = links.parse(message)
        return Change("link", link.name, link.index, nsid)
    if message.type in (tcmsg.RTM_DELQDISC, tcmsg.RTM_DELTFILTER):
        return Change("limit", index=tcmsg.link_of(message), nsid=nsid)
    if message.type == addresses.RTM_DELADDR:
        found = next(addresses.parse_addresses([message]), None)
        return Change("address", index=found.link if found else 0, nsid=nsid)
    if message.type == addresses.RTM_DELROUTE:
        route = next(addresses.parse_routes([message]), None)
        return Change("route", index=route.link if route else 0, nsid=nsid)
    return None


def _rule_change(message: Message, nsid: int | None) -> Change | None:
    """Whatever others do to a table of our name; all of nf_tables' messages name the table in attribute 1."""
    if message.type >> 8 != nfnetlink.SUBSYSTEM:
        return None
    table = zero_terminated(attribute_map(message.body, nfnetlink.HEADER).get(1, b""))
    return Change("firewall", nsid=nsid) if table == TABLE else None
