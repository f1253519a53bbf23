"""What weftd and its resolver say to each other, as bytes: one packet holds one or more messages.

A message is a verb and its fields. ASCII's own separators stand between messages, fields and the items of a field that
is a list: none of them can be part of a name, and neither side needs more than `split`.

From weftd; `list` and `counters` are answered, `hello` too, everything else is not:

    hello     PROTOCOL                           → hello PROTOCOL VERSION RESOLV_CONF
    upstream  [SERVER…]                          the host's servers, instead of those in its resolv.conf
    network   ID NAME
    drop      ID
    publish   NETWORK ENDPOINT [NAME…] [ADDRESS…]   addresses in hex
    withdraw  NETWORK ENDPOINT
    view      SANDBOX [NETWORK…] FORWARD [SERVER…] [LINK…]  with two sockets, UDP and TCP: open; without: change
                                                 a link is ALIAS=NAME: what this sandbox alone calls somebody
    close     SANDBOX
    list                                         → all of network, publish, view that hold, then end
    counters                                     → counters [NAME=NUMBER…]

`hello` and its answer's PROTOCOL keep their form in every version: by them the two find out that they do not
understand each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

PROTOCOL = "3"

PACKET = 65536
"""The longest packet, in bytes; well below what a Unix socket takes at once (net.core.wmem_max)."""

_MESSAGES = "\x1d"
_FIELDS = "\x1e"
_ITEMS = "\x1f"
_SEPARATORS = str.maketrans({_MESSAGES: None, _FIELDS: None, _ITEMS: None})

Message = tuple[str, ...]


def items(values: Iterable[str]) -> str:
    """A field that is a list."""
    return _ITEMS.join(v.translate(_SEPARATORS) for v in values)


def split(field: str) -> tuple[str, ...]:
    return tuple(field.split(_ITEMS)) if field else ()


def pack(messages: Iterable[Message]) -> Iterator[bytes]:
    """Packets of as many messages as fit. Raises ValueError for a message that alone is too long."""
    batch: list[bytes] = []
    size = 0
    for message in messages:
        text = _FIELDS.join(message).encode("utf-8", "surrogatepass")
        if len(text) > PACKET:
            raise ValueError(f"a message of {len(text)} bytes: {message[0]} {message[1]}")
        if batch and size + len(text) > PACKET:
            yield _MESSAGES.encode().join(batch)
            batch, size = [], 0
        batch.append(text)
        size += len(text) + 1
    if batch:
        yield _MESSAGES.encode().join(batch)


def unpack(packet: bytes) -> list[Message]:
    return [tuple(m.split(_FIELDS)) for m in packet.decode("utf-8", "surrogatepass").split(_MESSAGES)]


def network(ident: str, name: str) -> Message:
    return ("network", ident, items([name]))


def publish(network_id: str, endpoint: str, names: Sequence[str], addresses: Iterable[bytes]) -> Message:
    return ("publish", network_id, endpoint, items(names), items(a.hex() for a in addresses))


def view(
    sandbox: str,
    networks: Sequence[str],
    servers: Sequence[str],
    links: Iterable[tuple[str, str]] = (),
    *,
    forward: bool,
) -> Message:
    pairs = items(f"{alias}={name}" for alias, name in links)
    return ("view", sandbox, items(networks), "forward" if forward else "local", items(servers), pairs)
