"""No address twice, and a freed one not again while others are free."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from weft.errors import Conflict, Exhausted, Invalid
from weft.ipam.leases import Leases, first_gateway
from weft.model import IPAddress, Pool


def pool(subnet: str, *, ip_range: str | None = None, gateway: str | None = None, **aux: str) -> Pool:
    return Pool(
        subnet=ip_network(subnet),
        ip_range=ip_network(ip_range) if ip_range else None,
        gateway=ip_address(gateway) if gateway else None,
        aux={name: ip_address(text) for name, text in aux.items()},
    )


def take(leases: Leases, wanted: str | None = None) -> str:
    address = leases.choose(ip_address(wanted) if wanted else None)
    leases.hold(address)
    return str(address)


def take_all(leases: Leases) -> list[str]:
    taken = []
    while True:
        try:
            taken.append(take(leases))
        except Exhausted:
            return taken


@pytest.mark.parametrize(
    ("of", "addresses"),
    [
        (pool("10.0.0.0/29"), [f"10.0.0.{n}" for n in range(1, 7)]),
        (pool("10.0.0.0/29", gateway="10.0.0.1"), [f"10.0.0.{n}" for n in range(2, 7)]),
        (pool("10.0.0.0/29", gateway="10.0.0.6", printer="10.0.0.3"), ["10.0.0.1", "10.0.0.2", "10.0.0.4", "10.0.0.5"]),
        (pool("10.0.0.0/24", ip_range="10.0.0.8/30"), ["10.0.0.8", "10.0.0.9", "10.0.0.10", "10.0.0.11"]),
        (pool("10.0.0.0/24", ip_range="10.0.0.252/30"), ["10.0.0.252", "10.0.0.253", "10.0.0.254"]),
        (pool("10.0.0.0/24", ip_range="10.0.0.0/30", gateway="10.0.0.1"), ["10.0.0.2", "10.0.0.3"]),
        (pool("10.0.0.0/30"), ["10.0.0.1", "10.0.0.2"]),
        (pool("10.0.0.0/31"), ["10.0.0.0", "10.0.0.1"]),
        (pool("10.0.0.0/31", gateway="10.0.0.0"), ["10.0.0.1"]),
        (pool("10.0.0.7/32"), ["10.0.0.7"]),
        (pool("10.0.0.7/32", gateway="10.0.0.7"), []),
        (pool("fd00::/125"), [f"fd00::{n}" for n in range(1, 8)]),  # IPv6 has no broadcast address
        (pool("fd00::/125", gateway="fd00::1"), [f"fd00::{n}" for n in range(2, 8)]),
        (pool("fd00::/127"), ["fd00::", "fd00::1"]),
        (pool("fd00::1/128"), ["fd00::1"]),
    ],
    ids=lambda value: str(value.subnet) if isinstance(value, Pool) else f"{len(value)} addresses",
)
def test_every_address_a_host_may_have_is_given_out_once_in_order(of: Pool, addresses: list[str]):
    assert take_all(Leases(of)) == addresses


def test_a_64_is_as_quick_as_any():
    leases = Leases(pool("fd00::/64", gateway="fd00::1"))
    assert [take(leases) for _ in range(3)] == ["fd00::2", "fd00::3", "fd00::4"]


def test_choosing_holds_nothing():
    leases = Leases(pool("10.0.0.0/29"))
    assert leases.choose() == leases.choose()


@pytest.mark.parametrize(
    ("wanted", "refusal", "words"),
    [
        ("10.0.1.1", Invalid, "not in the subnet 10.0.0.0/29"),
        ("fd00::1", Invalid, "not in the subnet"),
        ("10.0.0.0", Conflict, "the address of the subnet"),
        ("10.0.0.7", Conflict, "the broadcast address"),
        ("10.0.0.1", Conflict, "the network's gateway"),
        ("10.0.0.5", Conflict, "set aside as 'printer'"),
        ("10.0.0.2", Conflict, "already in use"),
    ],
)
def test_an_address_that_cannot_be_had_is_refused_by_name(wanted: str, refusal: type[Exception], words: str):
    leases = Leases(pool("10.0.0.0/29", gateway="10.0.0.1", printer="10.0.0.5"), held=[ip_address("10.0.0.2")])
    with pytest.raises(refusal, match=words):
        leases.choose(ip_address(wanted))


def test_a_static_address_may_lie_outside_the_range_of_dynamic_ones():
    leases = Leases(pool("10.0.0.0/24", ip_range="10.0.0.8/30"))
    assert take(leases, "10.0.0.200") == "10.0.0.200"
    assert take(leases) == "10.0.0.8"


def test_a_freed_address_is_not_the_next_one():
    leases = Leases(pool("10.0.0.0/24"))
    first = take(leases)
    leases.release(ip_address(first))
    assert take(leases) != first


def test_the_address_ahead_of_the_search_is_not_the_next_one_either_if_it_was_just_freed():
    leases = Leases(pool("10.0.0.0/29"))
    for address in take_all(leases)[:3]:
        leases.release(ip_address(address))
    assert [take(leases), take(leases)] == ["10.0.0.1", "10.0.0.2"]
    leases.release(ip_address("10.0.0.5"))
    assert take(leases) == "10.0.0.3"  # freed longer ago than 10.0.0.5


def test_addresses_come_back_the_longest_freed_first():
    leases = Leases(pool("10.0.0.0/29"))
    take_all(leases)
    for number in (4, 2, 6):
        leases.release(ip_address(f"10.0.0.{number}"))
    assert take_all(leases) == ["10.0.0.4", "10.0.0.2", "10.0.0.6"]


def test_the_search_goes_on_after_the_last_one_given_out_before_a_restart():
    assert take(Leases(pool("10.0.0.0/29"), last=ip_address("10.0.0.4"))) == "10.0.0.5"
    assert take(Leases(pool("10.0.0.0/29"), last=ip_address("10.0.0.6"))) == "10.0.0.1"


def test_what_was_last_given_out_may_lie_outside_the_range():
    assert take(Leases(pool("10.0.0.0/24", ip_range="10.0.0.8/29"), last=ip_address("10.0.0.200"))) == "10.0.0.8"
    assert take(Leases(pool("10.0.0.0/24", ip_range="10.0.0.8/29"), last=ip_address("10.0.0.2"))) == "10.0.0.8"


def test_releasing_twice_is_as_good_as_once():
    leases = Leases(pool("10.0.0.0/29"))
    address = ip_address(take(leases))
    leases.release(address)
    leases.release(address)
    assert len(leases) == 0


def test_many_that_come_and_go_do_not_fill_the_memory():
    leases = Leases(pool("10.0.0.0/16"))
    for _ in range(5000):
        leases.release(ip_address(take(leases)))
    assert len(leases) == 0
    assert take(leases) == "10.0.19.137"  # the 5001st


def test_a_bridge_takes_the_first_address_of_the_range():
    assert str(first_gateway(pool("10.0.0.0/24"))) == "10.0.0.1"
    assert str(first_gateway(pool("10.0.0.0/24", ip_range="10.0.0.64/26"))) == "10.0.0.64"
    assert str(first_gateway(pool("10.0.0.0/24", router="10.0.0.1"))) == "10.0.0.2"
    assert str(first_gateway(pool("fd00::/64"))) == "fd00::1"


@st.composite
def pools(draw: st.DrawFn) -> Pool:
    """Pools of at most 32 addresses, with and without range, gateway and addresses set aside."""
    subnet = ip_network(
        draw(st.sampled_from(["10.0.0.0/27", "10.9.8.0/29", "10.0.0.4/31", "fd00::/124", "fd00::8/127"]))
    )
    size = draw(st.integers(subnet.prefixlen, subnet.max_prefixlen))
    ip_range = draw(st.none() | st.sampled_from(list(subnet.subnets(new_prefix=size))))
    inside = st.sampled_from(list(subnet))
    gateway = draw(st.none() | inside)
    aux = draw(st.dictionaries(st.sampled_from("abc"), inside, max_size=3))
    return Pool(subnet=subnet, ip_range=ip_range, gateway=gateway, aux=aux)


class LeasesUnderUse(RuleBasedStateMachine):
    """Containers that come and go, against the plainest of models: sets and a list."""

    @initialize(of=pools())
    def a_network(self, of: Pool):
        self.pool = of
        self.leases = Leases(of)
        self.held: list[IPAddress] = []
        self.freed: list[IPAddress] = []
        edges = {of.subnet.network_address} if of.subnet.prefixlen < of.subnet.max_prefixlen - 1 else set()
        if edges and of.subnet.version == 4:
            edges.add(of.subnet.broadcast_address)
        self.never = edges | {of.gateway} | set(of.aux.values())

    def free(self) -> set[IPAddress]:
        return set(self.pool.ip_range or self.pool.subnet) - self.never - set(self.held)

    @rule()
    def join(self):
        free = self.free()
        if not free:
            with pytest.raises(Exhausted):
                self.leases.choose()
            return
        address = self.leases.choose()
        assert address in free
        rested = [a for a in self.freed if a in free]
        if len(rested) < len(free):
            assert address not in rested, "freed, and given out again while others were free"
        else:
            assert address == rested[0], "not the one that was freed the longest ago"
        self._hold(address)

    @rule(number=st.integers(0, 31))
    def join_with_an_address_of_its_own(self, number: int):
        addresses = list(self.pool.subnet)
        wanted = addresses[number % len(addresses)]
        if wanted in self.held or wanted in self.never:
            with pytest.raises(Conflict):
                self.leases.choose(wanted)
        else:
            assert self.leases.choose(wanted) == wanted
            self._hold(wanted)

    def _hold(self, address: IPAddress):
        self.leases.hold(address)
        self.held.append(address)
        self.freed = [a for a in self.freed if a != address]

    @precondition(lambda self: self.held)
    @rule(number=st.integers(0, 31))
    def leave(self, number: int):
        address = self.held.pop(number % len(self.held))
        self.leases.release(address)
        self.freed.append(address)

    @invariant()
    def as_many_as_the_model(self):
        if hasattr(self, "leases"):
            assert len(self.leases) == len(self.held) == len(set(self.held))


TestLeasesUnderUse = LeasesUnderUse.TestCase
