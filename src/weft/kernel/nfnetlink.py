"""nf_tables by hand: the messages of nfnetlink that are sent often enough to be packed without a library.

A batch is one transaction: all of it holds, or nothing does. Whole rulesets go through libnftables (`nft`).
"""

from __future__ import annotations

import os
import socket
import struct

from weft.kernel.netlink import (
    NLM_F_APPEND,
    NLM_F_CREATE,
    NLM_F_EXCL,
    Failure,
    Netlink,
    Packed,
    Request,
    attr,
    be32,
    nest,
    pack_batch,
    text,
)

NETLINK_NETFILTER = 12
SUBSYSTEM = 10
"""nf_tables' number within nfnetlink."""

NEWTABLE, GETTABLE, DELTABLE = 0, 1, 2
NEWCHAIN, GETCHAIN, DELCHAIN = 3, 4, 5
NEWRULE, GETRULE, DELRULE = 6, 7, 8
NEWSET, GETSET, DELSET = 9, 10, 11
NEWSETELEM, GETSETELEM, DELSETELEM = 12, 13, 14

INET = 1
IPV4 = 2
BRIDGE = 7
IPV6 = 10

LIST_ELEM = 1
_DATA_VALUE = 1
_DATA_VERDICT = 2
_VERDICT_CODE = 1
_DROP = 0
_RETURN = -5

_GENMSG = struct.Struct("=BBH")
_BEGIN = Request(0x10, 0, _GENMSG.pack(0, 0, socket.htons(SUBSYSTEM)))
_END = Request(0x11, 0, _GENMSG.pack(0, 0, socket.htons(SUBSYSTEM)))
_CHUNK = 400


def open_socket(port: int = 0) -> Netlink:
    """One for life in the host's namespace: closing such a socket soon after deletions takes up to 25 ms."""
    return Netlink(NETLINK_NETFILTER, port=port, receive_buffer=1 << 21)


def own_port() -> int:
    """The port id that our own sockets get first in any namespace, by which their doings can be told."""
    return os.getpid()


def request(kind: int, *attrs: bytes, family: int = INET, flags: int = 0) -> Request:
    return Request(SUBSYSTEM << 8 | kind, flags, _GENMSG.pack(family, 0, 0) + b"".join(attrs))


def kind_of(message_type: int) -> int:
    return message_type & 0xFF


def commit(socket: Netlink, requests: list[Request]) -> list[Failure]:
    """Carry out all or nothing; very long lists in several transactions."""
    failures: list[Failure] = []
    for start in range(0, len(requests), _CHUNK):
        chunk = socket.batch(_BEGIN, requests[start : start + _CHUNK], _END)
        failures += [f._replace(at=max(f.at, 0) + start) for f in chunk]
    return failures


def pack_commit(requests: list[Request]) -> Packed:
    """What `commit` would send, for `Netlink.send_packed`; it may be sent again and again."""
    return pack_batch(_BEGIN, requests, _END)


HEADER = _GENMSG.size
"""Where the attributes of a message's body begin."""


# Rules are made of expressions that load a packet's bytes into a register, compare, and act.


def add_table(name: str, *, family: int = INET) -> Request:
    return request(NEWTABLE, text(1, name), family=family, flags=NLM_F_CREATE)


def add_new_table(name: str, *, family: int = INET) -> Request:
    """Refused with EEXIST if there is one."""
    return request(NEWTABLE, text(1, name), family=family, flags=NLM_F_CREATE | NLM_F_EXCL)


def delete_table(name: str, *, family: int = INET) -> Request:
    return request(DELTABLE, text(1, name), family=family)


def add_chain(table: str, name: str, hook: int, priority: int, *, family: int = INET) -> Request:
    """A chain of type filter that accepts what no rule refuses."""
    where = nest(4, be32(1, hook), be32(2, priority & 0xFFFFFFFF))
    chain = (text(1, table), text(3, name), where, text(7, "filter"))
    return request(NEWCHAIN, *chain, family=family, flags=NLM_F_CREATE)


def add_rule(table: str, chain: str, *expressions: bytes, family: int = INET) -> Request:
    rule = (text(1, table), text(2, chain), nest(4, *expressions))
    return request(NEWRULE, *rule, family=family, flags=NLM_F_CREATE | NLM_F_APPEND)


def meta(key: int) -> bytes:
    return _expression("meta", be32(2, key), be32(1, 1))


def equal(value: bytes) -> bytes:
    return _compare(0, value)


def unequal(value: bytes) -> bytes:
    return _compare(1, value)


def load(base: int, offset: int, size: int) -> bytes:
    """Bytes of the packet; base 1 is the network header, 2 the transport header."""
    return _expression("payload", be32(1, 1), be32(2, base), be32(3, offset), be32(4, size))


def store(base: int, offset: int, value: bytes, checksum_offset: int) -> bytes:
    """Overwrite bytes of the packet and mend the internet checksum in the transport header."""
    put = (be32(5, 1), be32(2, base), be32(3, offset), be32(4, len(value)))
    return _expression("immediate", be32(1, 1), nest(2, attr(_DATA_VALUE, value))) + _expression(
        "payload", *put, be32(6, 1), be32(7, checksum_offset), be32(8, 0)
    )


def notrack() -> bytes:
    return _expression("notrack")


def drop() -> bytes:
    return _verdict(_DROP)


def leave_chain() -> bytes:
    """nft's `return`."""
    return _verdict(_RETURN)


def _verdict(code: int) -> bytes:
    value = nest(_DATA_VERDICT, be32(_VERDICT_CODE, code & 0xFFFFFFFF))
    return _expression("immediate", be32(1, 0), nest(2, value))


def _compare(operation: int, value: bytes) -> bytes:
    return _expression("cmp", be32(1, 1), be32(2, operation), nest(3, attr(_DATA_VALUE, value)))


def _expression(name: str, *attrs: bytes) -> bytes:
    return nest(LIST_ELEM, text(1, name), nest(2, *attrs))
