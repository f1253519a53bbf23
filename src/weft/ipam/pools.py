"""Chooses subnets for networks. Knows what is taken because it is told; keeps nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Network, IPv6Network

from weft.errors import Exhausted
from weft.model import IPNetwork


def free_subnet(bases: Sequence[tuple[IPNetwork, int]], taken: Iterable[IPNetwork]) -> IPNetwork:
    """The first subnet cut from the bases (each with the prefix length to cut) that overlaps nothing taken.

    Raises Exhausted if there is none. Costs one pass over `taken` per base, however many subnets a base holds.
    """
    occupied = [(_span(network), network.version) for network in taken]
    for base, prefix in bases:
        found = _first_gap(base, prefix, sorted(span for span, version in occupied if version == base.version))
        if found is not None:
            return found
    wanted = ", ".join(f"{base} in /{prefix}s" for base, prefix in bases) or "none are configured"
    raise Exhausted(f"no free subnet is left in the address pools ({wanted}); name one with --subnet")


def ula_base(seed: str) -> IPv6Network:
    """The stable random /48 of this host (RFC 4193 section 3.2): `seed` is kept with the state."""
    global_id = hashlib.sha256(seed.encode()).digest()[-5:]
    return IPv6Network((b"\xfd" + global_id + bytes(10), 48))


def clash(subnet: IPNetwork, others: Iterable[tuple[IPNetwork, str]]) -> tuple[IPNetwork, str] | None:
    """The first of (network, what it is) that overlaps the subnet."""
    return next(((n, what) for n, what in others if n.version == subnet.version and n.overlaps(subnet)), None)


def _span(network: IPNetwork) -> tuple[int, int]:
    first = int(network.network_address)
    return first, first + network.num_addresses - 1


def _first_gap(base: IPNetwork, prefix: int, spans: Sequence[tuple[int, int]]) -> IPNetwork | None:
    size = 1 << (base.max_prefixlen - prefix)
    low, high = _span(base)
    candidate = low
    for first, last in spans:
        if candidate + size - 1 < first:
            break
        if last >= candidate:
            candidate = -(-(last + 1) // size) * size
    if candidate + size - 1 > high:
        return None
    kind = IPv4Network if isinstance(base, IPv4Network) else IPv6Network
    return kind((candidate, prefix))


def any_of_size(subnet: IPNetwork) -> bool:
    """Whether a subnet as asked for means "any of this size": 0.0.0.0/24, ::/64."""
    return int(subnet.network_address) == 0 and subnet.prefixlen > 0
