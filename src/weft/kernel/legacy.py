"""Rules of nftables' predecessor, as iptables-legacy leaves them: whether forwarded packets are dropped.

nft does not show these tables. The kernel hands a table over as one block of entries (getsockopt, struct ipt_entry
and ip6t_entry of linux/netfilter_ipv4/ip_tables.h and its twin); each ends in a target.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from weft.explain.health.facts import Chain

_GET_INFO, _GET_ENTRIES = 64, 65
_INPUT, _FORWARD = 1, 2
_INFO = struct.Struct("=32s I5I5I II")
_TABLE = b"filter".ljust(32, b"\0")
_ENTRIES_AT = 40
"""Where entries begin: behind name (32) and size (4), aligned to eight."""
_TARGET = struct.Struct("=H29sB")
_VERDICT = struct.Struct("=i")
_DROP, _ACCEPT = -1, -2

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class _Layout:
    """Offsets in an entry that differ between the families."""

    family: Literal["ip", "ip6"]
    domain: int
    level: int
    names: str
    links_at: int
    """Of the incoming link's name; then the outgoing one's, and the masks of both, 16 bytes each."""
    offsets_at: int
    """Of the target's offset and the next entry's."""
    header: int


_LAYOUTS = (
    _Layout("ip", socket.AF_INET, socket.IPPROTO_IP, "/proc/thread-self/net/ip_tables_names", 16, 88, 112),
    _Layout("ip6", socket.AF_INET6, socket.IPPROTO_IPV6, "/proc/thread-self/net/ip6_tables_names", 64, 140, 168),
)


def legacy_chains() -> tuple[Chain, ...]:
    """The forward chain of each family's filter table, if the old tables are in use in the thread's namespace."""
    # Asking for a table makes it; so only those are asked for that are there already.
    return tuple(chain for layout in _LAYOUTS if _in_use(layout.names) for chain in _read(layout))


def filters_in_use() -> tuple[str, ...]:
    """The families whose old filter table is in use in the thread's namespace."""
    return tuple(layout.family for layout in _LAYOUTS if _in_use(layout.names))


def _in_use(path: str) -> bool:
    try:
        with open(path, encoding="ascii") as file:
            return "filter" in file.read().split()
    except OSError:
        return False


def _read(layout: _Layout) -> Iterator[Chain]:
    try:
        with socket.socket(layout.domain, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
            info = _INFO.unpack(_get(raw, layout.level, _GET_INFO, _TABLE, _INFO.size))
            underflow, size = info[7:12], info[13]
            question = _TABLE + struct.pack("=I", size)
            block = _get(raw, layout.level, _GET_ENTRIES, question, _ENTRIES_AT + size)[_ENTRIES_AT:]
    except OSError:
        return
    entries = list(_entries(block, layout))
    yield Chain(
        family=layout.family,
        table="filter",
        name="FORWARD",
        hook="forward",
        closed="drop" if any(e.at == underflow[_FORWARD] and e.verdict == _DROP for e in entries) else "",
        admits_in=tuple(e.into for e in entries if e.into and not e.out and e.plain and e.verdict == _ACCEPT),
        admits_out=tuple(e.out for e in entries if e.out and not e.into and e.plain and e.verdict == _ACCEPT),
        siblings=frozenset(e.chain for e in entries if e.chain not in ("", "ERROR")),
        legacy=True,
    )


def _get(raw: socket.socket, level: int, option: int, question: bytes, size: int) -> bytes:
    """getsockopt with something in the buffer, which Python's own cannot."""
    buffer = ctypes.create_string_buffer(question, size)
    length = ctypes.c_uint32(size)
    if _libc.getsockopt(raw.fileno(), level, option, buffer, ctypes.byref(length)):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return buffer.raw


@dataclass(frozen=True, slots=True)
class _Entry:
    at: int
    verdict: int | None
    """Of a plain verdict; None for another target."""
    chain: str
    """The name of the chain that begins here, if one does."""
    into: str
    out: str
    plain: bool
    """It looks at nothing but the links."""


def _entries(block: bytes, layout: _Layout) -> Iterator[_Entry]:
    at = 0
    while at + layout.header <= len(block):
        target_at, following = struct.unpack_from("=HH", block, at + layout.offsets_at)
        if following < layout.header:
            return
        _, name, _ = _TARGET.unpack_from(block, at + target_at)
        rest = at + target_at + _TARGET.size
        yield _Entry(
            at=at,
            verdict=_VERDICT.unpack_from(block, rest)[0] if name.rstrip(b"\0") == b"" else None,
            chain=block[rest : rest + 30].split(b"\0")[0].decode() if name.startswith(b"ERROR\0") else "",
            into=_link(block, at + layout.links_at),
            out=_link(block, at + layout.links_at + 16),
            plain=target_at == layout.header and not _asks_more(block, at, layout),
        )
        at += following


def _asks_more(block: bytes, at: int, layout: _Layout) -> bool:
    """Whether the entry looks at addresses (before the links) or at the protocol and flags (behind them)."""
    return any(block[at : at + layout.links_at]) or any(block[at + layout.links_at + 64 : at + layout.offsets_at - 4])


def _link(block: bytes, at: int) -> str:
    """A link's name, with "*" where only its beginning counts; empty for any."""
    name, mask = block[at : at + 16], block[at + 32 : at + 48]
    length = len(mask.rstrip(b"\0"))
    text = name[:length].rstrip(b"\0").decode(errors="replace")
    return text if length == 0 or name[length - 1] == 0 else f"{text}*"
