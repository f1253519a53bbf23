"""A table as the kernel lists it, stripped of what changes by itself: handles, use counts, counters.

Two listings are equal if the tables do the same. What a table should list like is learned by loading it once, so
nothing here needs to know how the kernel writes a rule down.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from weft.kernel import nfnetlink as nf
from weft.kernel.netlink import Message, Netlink, attributes, text

Attributes = tuple[tuple[int, bytes], ...]

_TABLE_NAME, _TABLE_FLAGS, _TABLE_USERDATA = 1, 2, 6
_CHAIN_TABLE, _CHAIN_HANDLE, _CHAIN_NAME, _CHAIN_USE, _CHAIN_COUNTERS = 1, 2, 3, 6, 8
_RULE_TABLE, _RULE_CHAIN, _RULE_EXPRESSIONS, _RULE_USERDATA = 1, 2, 4, 7
_SET_TABLE, _SET_NAME, _SET_FLAGS, _SET_ID, _SET_HANDLE, _SET_COUNT = 1, 2, 3, 10, 16, 20
_ANONYMOUS = 1
_LIST_TABLE, _LIST_SET, _LIST_ELEMENTS = 1, 2, 3
_ELEM_KEY, _ELEM_DATA, _ELEM_FLAGS, _ELEM_KEY_END = 1, 2, 3, 10
_INTERVAL_END = 1
_COUNTING = (b"counter\0", b"quota\0", b"last\0", b"connlimit\0")


class Found(NamedTuple):
    """An element as the kernel holds it."""

    key: bytes
    data: bytes
    """Empty in a set."""
    end: bool
    """It ends an interval (and is not in it)."""
    last: bytes = b""
    """The last key, of an element that stands for all from `key` on."""


class Listing(NamedTuple):
    table: Attributes
    """Empty if there is no such table."""
    chains: frozenset[Attributes]
    rules: tuple[tuple[bytes, Attributes, bytes], ...]
    """(chain, expressions, comment) in order."""
    sets: frozenset[Attributes]
    constants: frozenset[tuple[str, frozenset[Found]]]
    """The elements of anonymous sets, by set."""

    def named_sets(self) -> tuple[str, ...]:
        found = (dict(attrs) for attrs in self.sets)
        return tuple(_string(attrs[_SET_NAME]) for attrs in found if not _is_anonymous(attrs))


_NOTHING = Listing((), frozenset(), (), frozenset(), frozenset())


def list_table(socket: Netlink, family: int, table: str) -> Listing:
    """Everything of a table but the elements of its named sets, which change as containers come and go."""
    own = table.encode() + b"\0"
    tables = _dump(socket, nf.GETTABLE, family)
    if not any(attrs[_TABLE_NAME] == own for attrs in tables):
        return _NOTHING  # asking for the sets of a table that is not there is an error
    chains = _dump(socket, nf.GETCHAIN, family)
    rules = _dump(socket, nf.GETRULE, family, text(_RULE_TABLE, table))
    sets = [attrs for attrs in _dump(socket, nf.GETSET, family, text(_SET_TABLE, table)) if attrs[_SET_TABLE] == own]
    anonymous = [_string(attrs[_SET_NAME]) for attrs in sets if _is_anonymous(attrs)]
    keep = (_TABLE_NAME, _TABLE_FLAGS, _TABLE_USERDATA)
    return Listing(
        table=next((_only(attrs, keep) for attrs in tables if attrs[_TABLE_NAME] == own), ()),
        chains=frozenset(
            _without(attrs, (_CHAIN_HANDLE, _CHAIN_USE, _CHAIN_COUNTERS))
            for attrs in chains
            if attrs[_CHAIN_TABLE] == own
        ),
        rules=tuple(
            (attrs[_RULE_CHAIN], _expressions(attrs.get(_RULE_EXPRESSIONS, b"")), attrs.get(_RULE_USERDATA, b""))
            for attrs in rules
            if attrs[_RULE_TABLE] == own
        ),
        sets=frozenset(_without(attrs, (_SET_ID, _SET_HANDLE, _SET_COUNT)) for attrs in sets),
        constants=frozenset((name, frozenset(list_elements(socket, name, table, family))) for name in anonymous),
    )


def list_elements(socket: Netlink, name: str, table: str, family: int = nf.INET) -> list[Found]:
    """The elements of one set or map. Raises OSError (ENOENT) if there is no such set."""
    wanted = nf.request(nf.GETSETELEM, text(_LIST_TABLE, table), text(_LIST_SET, name), family=family)
    return [found for message in socket.dump(wanted) for found in parse_elements(message)]


def parse_elements(message: Message) -> Iterable[Found]:
    for kind, listed in attributes(message.body, nf.HEADER):
        if kind == _LIST_ELEMENTS:
            for _, element in attributes(listed):
                yield _parse_element(element)


def _parse_element(element: bytes) -> Found:
    key = data = last = b""
    end = False
    for kind, payload in attributes(element):
        # Keys and data are wrapped twice: the value's own attribute header takes the next four bytes.
        if kind == _ELEM_KEY:
            key = payload[4:]
        elif kind == _ELEM_DATA:
            data = payload[4:]
        elif kind == _ELEM_KEY_END:
            last = payload[4:]
        elif kind == _ELEM_FLAGS:
            end = bool(payload[3] & _INTERVAL_END)
    return Found(key, data, end, last)


def _dump(socket: Netlink, kind: int, family: int, *filters: bytes) -> list[dict[int, bytes]]:
    wanted = nf.request(kind, *filters, family=family)
    return [dict(attributes(message.body, nf.HEADER)) for message in socket.dump(wanted)]


def _expressions(listed: bytes) -> Attributes:
    return tuple(_expression(expression) for _, expression in attributes(listed))


def _expression(expression: bytes) -> tuple[int, bytes]:
    name = next((payload for kind, payload in attributes(expression) if kind == 1), b"")
    return (0, name) if name in _COUNTING else (1, expression)


def _is_anonymous(attrs: dict[int, bytes]) -> bool:
    return bool(int.from_bytes(attrs.get(_SET_FLAGS, b"\0"), "big") & _ANONYMOUS)


def _only(attrs: dict[int, bytes], kinds: tuple[int, ...]) -> Attributes:
    return tuple(sorted((kind, payload) for kind, payload in attrs.items() if kind in kinds))


def _without(attrs: dict[int, bytes], kinds: tuple[int, ...]) -> Attributes:
    return tuple(sorted((kind, payload) for kind, payload in attrs.items() if kind not in kinds))


def _string(payload: bytes) -> str:
    return payload.rstrip(b"\0").decode(errors="replace")
