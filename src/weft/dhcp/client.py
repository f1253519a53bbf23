"""What a DHCP client says, and which of the answers it believes (RFC 2131, section 4.4). No I/O.

A server is somebody on the wire: what it says is taken only if it answers this very question, and makes sense.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from weft.dhcp import message
from weft.dhcp.message import Message, Type

_ASKED = bytes((message.MASK, message.ROUTER, message.LEASE_SECONDS, message.SERVER, message.T1, message.T2))
_DUID_UUID = 4
"""RFC 6355."""
_NODE_SPECIFIC = 255
"""RFC 4361: what follows is an IAID and a DUID."""
_FOREVER = 0xFFFFFFFF
_LONGEST = 10 * 365 * 86400
"""Seconds; "for ever" is taken for that."""


@dataclass(frozen=True, slots=True)
class Identity:
    """As whom the server knows a client."""

    mac: bytes
    client: bytes
    """Option 61. Where all containers share their parent's MAC, it alone tells them apart."""
    hostname: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What a server offers, or has granted."""

    server: IPv4Address
    server_mac: bytes
    """Of the frame that it came in: the server's, or that of the relay before it."""
    interface: IPv4Interface | None
    """The address, in its subnet; None: the server did not say of which size that is."""
    address: IPv4Address
    router: IPv4Address | None
    seconds: float
    renew: float
    """Seconds until it is to be renewed with this server (T1), and with any (T2)."""
    rebind: float


@dataclass(frozen=True, slots=True)
class Refusal:
    """A server's NAK."""

    server: IPv4Address
    text: str


def identity(endpoint_id: str, mac: bytes, name: str) -> Identity:
    """Of a container's place on a network. `endpoint_id`: 64 hex digits."""
    raw = bytes.fromhex(endpoint_id)
    client = bytes((_NODE_SPECIFIC,)) + raw[:4] + _DUID_UUID.to_bytes(2, "big") + raw[:16]
    return Identity(mac, client, name)


def discover(who: Identity, xid: int, *, wanted: IPv4Address | None = None) -> Message:
    options = {message.ADDRESS: wanted.packed} if wanted is not None else {}
    return _said(Type.DISCOVER, who, xid, options, flags=message.BROADCAST)


def request(who: Identity, xid: int, address: IPv4Address, server: IPv4Address | None) -> Message:
    """The address that this server has offered; None: one that was had before (INIT-REBOOT), of whatever server."""
    options = {message.ADDRESS: address.packed}
    if server is not None:
        options[message.SERVER] = server.packed
    return _said(Type.REQUEST, who, xid, options, flags=message.BROADCAST)


def renew(who: Identity, xid: int, address: IPv4Address) -> Message:
    """Of an address in use. Sent to its server it renews, sent to everybody it rebinds."""
    return _said(Type.REQUEST, who, xid, {}, client=address)


def release(who: Identity, xid: int, address: IPv4Address, server: IPv4Address) -> Message:
    return _said(Type.RELEASE, who, xid, {message.SERVER: server.packed}, client=address)


def decline(who: Identity, xid: int, address: IPv4Address, server: IPv4Address) -> Message:
    """Somebody else has it."""
    return _said(Type.DECLINE, who, xid, {message.SERVER: server.packed, message.ADDRESS: address.packed})


def _said(
    kind: Type,
    who: Identity,
    xid: int,
    options: Mapping[int, bytes],
    *,
    flags: int = 0,
    client: IPv4Address = message.ANYBODY,
) -> Message:
    asks = kind in (Type.DISCOVER, Type.REQUEST)  # RFC 2131, table 5: the others may carry neither
    more = {message.PARAMETERS: _ASKED} if asks else {}
    if asks and who.hostname:
        more[message.HOSTNAME] = who.hostname.encode("ascii", "replace")[:255]
    whole = {message.TYPE: bytes((kind,)), message.CLIENT: who.client, **options, **more}
    return Message(op=message.REQUEST, xid=xid, mac=who.mac, flags=flags, client=client, options=whole)


def read_offer(answer: Message, server_mac: bytes, asked: Message) -> Grant | None:
    """None: it is none, or not for us, or makes no sense."""
    return _grant(answer, server_mac) if _answers(answer, asked) and _type(answer) == Type.OFFER else None


def read_reply(
    answer: Message, server_mac: bytes, asked: Message, *, address: IPv4Address, server: IPv4Address | None
) -> Grant | Refusal | None:
    """To a request for an address, of one server or (None) of any. None: no answer to it."""
    kind = _type(answer)
    if not _answers(answer, asked) or kind not in (Type.ACK, Type.NAK):
        return None
    said_by = _server(answer)
    if said_by is None or server not in (None, said_by):
        return None
    if kind == Type.NAK:
        text = answer.options.get(message.TEXT, b"").decode("ascii", "replace")
        return Refusal(said_by, "".join(c if c.isprintable() else "?" for c in text))
    grant = _grant(answer, server_mac)
    return grant if grant is not None and grant.address == address else None


def _answers(answer: Message, asked: Message) -> bool:
    if answer.op != message.REPLY or answer.xid != asked.xid or answer.mac != asked.mac:
        return False
    # RFC 6842: a server that returns an identifier returns the client's.
    return answer.options.get(message.CLIENT, own := asked.options[message.CLIENT]) == own


def _type(answer: Message) -> int:
    kind = answer.options.get(message.TYPE, b"")
    return kind[0] if len(kind) == 1 else 0


def _server(answer: Message) -> IPv4Address | None:
    server = _address(answer, message.SERVER)
    return server if server is not None and _is_hosts(server) else None


def _grant(answer: Message, server_mac: bytes) -> Grant | None:
    server, seconds, address = _server(answer), _number(answer, message.LEASE_SECONDS), answer.yours
    if server is None or not seconds or not _is_hosts(address) or address == server:
        return None
    subnet = _subnet(answer, address)
    if subnet is not None and subnet.prefixlen < 31 and address in (subnet.network_address, subnet.broadcast_address):
        return None
    router = _address(answer, message.ROUTER)
    if router is not None and (router == address or not _is_hosts(router) or (subnet and router not in subnet)):
        router = None
    seconds = _LONGEST if seconds == _FOREVER else min(seconds, _LONGEST)
    rebind: float = _number(answer, message.T2) or 0
    if not 0 < rebind < seconds:
        rebind = seconds * 0.875
    renew_at: float = _number(answer, message.T1) or 0
    if not 0 < renew_at <= rebind:
        renew_at = min(seconds * 0.5, rebind)
    return Grant(
        server=server,
        server_mac=server_mac,
        interface=None if subnet is None else IPv4Interface((int(address), subnet.prefixlen)),
        address=address,
        router=router,
        seconds=seconds,
        renew=renew_at,
        rebind=rebind,
    )


def _subnet(answer: Message, address: IPv4Address) -> IPv4Network | None:
    mask = _address(answer, message.MASK)
    if mask is None:
        return None
    inverse = int(mask) ^ 0xFFFFFFFF
    if inverse & (inverse + 1) or not int(mask):  # a mask has its ones first
        return None
    return IPv4Network((int(address) & int(mask), 32 - inverse.bit_length()))


def _address(answer: Message, option: int) -> IPv4Address | None:
    """The first, where there may be several."""
    value = answer.options.get(option, b"")
    return IPv4Address(value[:4]) if len(value) >= 4 and len(value) % 4 == 0 else None


def _number(answer: Message, option: int) -> int | None:
    value = answer.options.get(option, b"")
    return int.from_bytes(value, "big") if len(value) == 4 else None


def _is_hosts(address: IPv4Address) -> bool:
    """Whether a host may have it."""
    return not (address.is_multicast or address.is_loopback or address.is_unspecified or address.is_reserved)
