"""Chooses addresses inside one pool. Knows nothing of networks or storage.

A freed address is not handed out again while others are free: the search goes on from the last one given out, starts
over only at the end of the range, and passes over what was freed of late. Neighbours' caches and DNS answers that
still name the old holder then lead nowhere instead of to somebody else.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

from weft.errors import Conflict, Exhausted, Invalid
from weft.model import IPAddress, Pool

_REMEMBERED = 1024
"""How many freed addresses are passed over: more than leave in the minutes for which caches believe in them."""


class Leases:
    """The addresses of a pool that are held, as whole numbers (cheap to keep by the ten thousand)."""

    def __init__(self, pool: Pool, held: Iterable[IPAddress] = (), *, last: IPAddress | None = None) -> None:
        """`last` is the address most recently given out, from the store; the search goes on after it."""
        self.pool = pool
        self._held = {int(address) for address in held}
        self._freed: dict[int, None] = {}  # the oldest first
        self._reserved = _reserved(pool)
        span = pool.ip_range or pool.subnet
        self._first = int(span.network_address)
        self._last = self._first + span.num_addresses - 1
        self._cursor = int(last) if last is not None else self._first - 1
        self._address = type(pool.subnet.network_address)

    def choose(self, wanted: IPAddress | None = None) -> IPAddress:
        """An address that is free now: the wanted one, or the next. It is not held before `hold`.

        Raises Invalid (outside the subnet, or not an address a host may have), Conflict (held) or Exhausted.
        """
        if wanted is not None:
            return self._check(wanted)
        number = self._next_unused()
        if number is None:
            number = next(iter(self._freed), None)
        if number is None:
            span = self.pool.ip_range or self.pool.subnet
            raise Exhausted(f"no address is left in {span}: {len(self._held)} are in use")
        return self._address(number)

    def hold(self, address: IPAddress) -> None:
        number = int(address)
        self._held.add(number)
        self._freed.pop(number, None)
        if self._first <= number <= self._last:
            self._cursor = number

    def release(self, address: IPAddress) -> None:
        number = int(address)
        if number not in self._held:
            return
        self._held.discard(number)
        if self._first <= number <= self._last and number not in self._reserved:
            self._freed[number] = None
            if len(self._freed) > _REMEMBERED:
                del self._freed[next(iter(self._freed))]

    def __len__(self) -> int:
        return len(self._held)

    def counts(self) -> tuple[int, int]:
        """How many addresses of the subnet nobody else can have, and how many are left to be chosen from."""
        gone = self._held | self._reserved.keys()
        in_range = sum(1 for number in gone if self._first <= number <= self._last)
        return len(gone), self._last - self._first + 1 - in_range

    def _check(self, wanted: IPAddress) -> IPAddress:
        pool = self.pool
        if wanted.version != pool.subnet.version or wanted not in pool.subnet:
            raise Invalid(f"address {wanted} is not in the subnet {pool.subnet}")
        number = int(wanted)
        if number in self._reserved:
            raise Conflict(f"address {wanted} is reserved: it is {self._reserved[number]}")
        if number in self._held:
            raise Conflict(f"address {wanted} is already in use")
        return wanted

    def _next_unused(self) -> int | None:
        """The first after the one given out last, starting over at the end, that is free and was not freed of late."""
        held, reserved, freed = self._held, self._reserved, self._freed
        after = min(max(self._cursor + 1, self._first), self._last + 1)
        for number in chain(range(after, self._last + 1), range(self._first, after)):
            if number not in held and number not in reserved and number not in freed:
                return number
        return None


def first_gateway(pool: Pool) -> IPAddress:
    """The address a bridge takes if none was named: the first free one, inside the range if there is one."""
    return Leases(pool).choose()


def _reserved(pool: Pool) -> dict[int, str]:
    subnet = pool.subnet
    reserved: dict[int, str] = {}
    # /31 and /127 have no network or broadcast address (RFC 3021, RFC 6164); neither has a single address.
    if subnet.prefixlen < subnet.max_prefixlen - 1:
        reserved[int(subnet.network_address)] = f"the address of the subnet {subnet} itself"
        if subnet.version == 4:
            reserved[int(subnet.broadcast_address)] = f"the broadcast address of {subnet}"
    reserved |= {int(address): f"set aside as {name!r}" for name, address in pool.aux.items()}
    if pool.gateway is not None:
        reserved[int(pool.gateway)] = "the network's gateway"
    return reserved
