"""Who may ask what: the names on networks, and what each means to somebody on certain of them.

A name is looked up in the asker's networks in their order; the first network that knows it answers alone. Plain names
go before names qualified with a network's. Whatever exists here is answered here, whatever the type asked; a
qualified name that does not exist does not exist anywhere. Only what is left may be asked of other servers.

Addresses are packed bytes, names in wire form (`message`): the resolver holds these by the ten thousand.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from weft.dns.message import AAAA, NAME_MAX, NOERROR, NXDOMAIN, PTR, A, FormatError, labels, to_wire

TTL = 5
"""Seconds. Containers come and go: a program that keeps answers must not keep a dead address for long."""

_REVERSE4 = b"\x07in-addr\x04arpa"
_REVERSE6 = b"\x03ip6\x04arpa"


class Local:
    """An answer from here."""

    __slots__ = ("rcode", "rdata")

    def __init__(self, rcode: int = NOERROR, rdata: tuple[bytes, ...] = ()) -> None:
        self.rcode = rcode
        self.rdata = rdata

    def __repr__(self) -> str:
        return f"Local({self.rcode}, {self.rdata})"


class _Network:
    __slots__ = ("addresses", "endpoints", "holders", "name", "suffix")

    def __init__(self) -> None:
        self.name = ""
        self.suffix = b""
        self.endpoints: dict[str, tuple[tuple[str, ...], tuple[bytes, ...]]] = {}
        """Endpoint to names and addresses, as published."""
        self.holders: dict[bytes, tuple[str, ...]] = {}
        """Name to endpoints."""
        self.addresses: dict[bytes, str] = {}
        """Address to endpoint."""


class Zone:
    def __init__(self) -> None:
        self._networks: dict[str, _Network] = {}

    def set_network(self, network: str, name: str) -> None:
        """Name a network. Names on it may have been published before."""
        entry = self._networks.setdefault(network, _Network())
        entry.name = name
        try:
            entry.suffix = to_wire(name).lower()
        except FormatError:
            entry.suffix = b""

    def drop_network(self, network: str) -> None:
        self._networks.pop(network, None)

    def publish(self, network: str, endpoint: str, names: Sequence[str], addresses: Sequence[bytes]) -> set[bytes]:
        """Say what an endpoint is called and where it is, replacing what was said before.

        Names that nobody could ask for (an empty label, one too long) are kept, but not found. Returns the names
        that may mean something else now to who is on the network; so does `withdraw`.
        """
        entry = self._networks.setdefault(network, _Network())
        changed = self._forget(entry, endpoint)
        entry.endpoints[endpoint] = (tuple(names), tuple(addresses))
        for name in dict.fromkeys(_askable(names)):
            entry.holders[name] = (*entry.holders.get(name, ()), endpoint)
        for address in addresses:
            entry.addresses[address] = endpoint
        return changed | _names_of(entry, endpoint)

    def withdraw(self, network: str, endpoint: str) -> set[bytes]:
        entry = self._networks.get(network)
        return self._forget(entry, endpoint) if entry is not None else set()

    @staticmethod
    def _forget(entry: _Network, endpoint: str) -> set[bytes]:
        gone = _names_of(entry, endpoint)
        names, addresses = entry.endpoints.pop(endpoint, ((), ()))
        for name in dict.fromkeys(_askable(names)):
            left = tuple(e for e in entry.holders[name] if e != endpoint)
            if left:
                entry.holders[name] = left
            else:
                del entry.holders[name]
        for address in addresses:
            # Another endpoint may have been given the address before this one was withdrawn.
            if entry.addresses.get(address) == endpoint:
                del entry.addresses[address]
        return gone

    def networks(self) -> Iterator[tuple[str, str]]:
        """Id and name of each."""
        return ((network, entry.name) for network, entry in self._networks.items())

    def holders(self) -> Iterator[tuple[str, str, tuple[str, ...], tuple[bytes, ...]]]:
        """Network, endpoint, names and addresses of each holder."""
        for network, entry in self._networks.items():
            for endpoint, (names, addresses) in entry.endpoints.items():
                yield network, endpoint, names, addresses

    def lookup(self, name: bytes, qtype: int, networks: Iterable[str]) -> Local | None:
        """What somebody on `networks`, in order of preference, learns of a lower-case name; None: not known here."""
        entries = [self._networks[n] for n in networks if n in self._networks]
        if name.endswith((_REVERSE4, _REVERSE6)):
            return _reverse(name, qtype, entries)
        for entry in entries:
            if name in entry.holders:
                return _addresses(entry, entry.holders[name], qtype)
        return _qualified(name, qtype, entries)


def _askable(names: Iterable[str]) -> Iterator[bytes]:
    for name in names:
        try:
            yield to_wire(name).lower()
        except FormatError:
            continue


def _names_of(entry: _Network, endpoint: str) -> set[bytes]:
    """All names by which somebody could ask for an endpoint: plain, qualified and reverse."""
    names, addresses = entry.endpoints.get(endpoint, ((), ()))
    plain = set(_askable(names))
    return plain | {name + entry.suffix for name in plain} | {_reverse_name(address) for address in addresses}


def _reverse_name(address: bytes) -> bytes:
    if len(address) == 4:
        return b"".join(b"%c%d" % (len(str(byte)), byte) for byte in reversed(address)) + _REVERSE4
    return b"".join(b"\x01%c" % digit for digit in reversed(address.hex().encode())) + _REVERSE6


def _addresses(entry: _Network, endpoints: Sequence[str], qtype: int) -> Local:
    size = {A: 4, AAAA: 16}.get(qtype)
    found = (a for e in endpoints for a in entry.endpoints[e][1] if len(a) == size)
    return Local(NOERROR, tuple(dict.fromkeys(found)))


def _qualified(name: bytes, qtype: int, entries: Sequence[_Network]) -> Local | None:
    ours = False
    for entry in entries:
        suffix = entry.suffix
        if not suffix or not name.endswith(suffix) or len(name) == len(suffix):
            continue
        # If what is left is a name of ours, it ends where a label does; a network's name can also be the inside
        # of a longer label, which is then no name of ours.
        endpoints = entry.holders.get(name[: -len(suffix)])
        if endpoints:
            return _addresses(entry, endpoints, qtype)
        ours = ours or _ends_with_labels(name, suffix)
    return Local(NXDOMAIN) if ours else None


def _ends_with_labels(name: bytes, suffix: bytes) -> bool:
    tail = labels(suffix)
    return labels(name)[-len(tail) :] == tail


def _reverse(name: bytes, qtype: int, entries: Sequence[_Network]) -> Local | None:
    address = _address_of(labels(name))
    if address is None:
        return None
    for entry in entries:
        if address in entry.addresses:
            names = entry.endpoints[entry.addresses[address]][0]
            return Local(NOERROR, _pointer(names, entry.name) if qtype == PTR else ())
    return None


def _pointer(names: Sequence[str], network: str) -> tuple[bytes, ...]:
    for name in names:
        try:
            wire = to_wire(f"{name}.{network}" if network else name)
        except FormatError:
            continue
        if len(wire) < NAME_MAX:
            return (wire + b"\0",)
    return ()


def _address_of(parts: list[bytes]) -> bytes | None:
    """The packed address that a reverse name stands for: 4.3.2.1.in-addr.arpa, or 32 nibbles under ip6.arpa."""
    digits = parts[-3::-1]
    if len(digits) == 4 and parts[-2] == b"in-addr":
        if all(d.isdigit() and len(d) <= 3 and int(d) < 256 for d in digits):
            return bytes(int(d) for d in digits)
    elif len(digits) == 32 and parts[-2] == b"ip6" and all(len(d) == 1 for d in digits):
        try:
            return bytes.fromhex(b"".join(digits).decode("ascii"))
        except ValueError:
            return None
    return None
