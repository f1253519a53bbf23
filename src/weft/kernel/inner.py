"""Firewalls that somebody put inside a container: that they are there, not what they do.

What is in a container is the container's to write, so nothing here is given to a library to understand: the kernel's
list of chains is read by hand, and their rules are not read at all.
"""

from __future__ import annotations

from collections.abc import Iterator

from weft.explain.health.facts import Chain
from weft.kernel import nfnetlink as nf
from weft.kernel.legacy import filters_in_use
from weft.kernel.netlink import Message, Request, attribute_map, zero_terminated
from weft.names import TABLE

_TABLE, _NAME, _HOOK, _POLICY = 1, 3, 4, 5
_HOOKNUM = 1
_LOCAL_IN = 1
_DROP = 0
_MOST = 16
_FAMILIES = ((nf.INET, "inet"), (nf.IPV4, "ip"), (nf.IPV6, "ip6"))


def inner_chains() -> tuple[Chain, ...]:
    """Base chains at the input hook in the calling thread's namespace, without weft's own; the first few."""
    socket = nf.open_socket()
    try:
        found = [chain for number, family in _FAMILIES for chain in _input_chains(socket.dump(_ask(number)), family)]
    finally:
        socket.close()
    found += [_chain(family, "filter", "INPUT", closed=False, legacy=True) for family in filters_in_use()]
    return tuple(found[:_MOST])


def _ask(family: int) -> Request:
    return nf.request(nf.GETCHAIN, family=family)


def _input_chains(messages: list[Message], family: str) -> Iterator[Chain]:
    for message in messages:
        attrs = attribute_map(message.body, nf.HEADER)
        hook = attribute_map(attrs.get(_HOOK, b"")).get(_HOOKNUM, b"")
        table, name = zero_terminated(attrs.get(_TABLE, b"")), zero_terminated(attrs.get(_NAME, b""))
        if hook and int.from_bytes(hook, "big") == _LOCAL_IN and table != TABLE:
            closed = int.from_bytes(attrs.get(_POLICY, b"\1"), "big") == _DROP
            yield _chain(family, table, name, closed=closed)


def _chain(family: str, table: str, name: str, *, closed: bool, legacy: bool = False) -> Chain:
    return Chain(family=family, table=table, name=name, hook="input", closed="drop" if closed else "", legacy=legacy)
