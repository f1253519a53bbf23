"""Subnets for networks: whole, inside their base, overlapping nothing."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.errors import Exhausted
from weft.ipam.pools import any_of_size, clash, free_subnet, ula_base
from weft.model import IPNetwork


def nets(*texts: str) -> list[IPNetwork]:
    return [ip_network(text) for text in texts]


BASE = [(ip_network("172.18.0.0/16"), 16), (ip_network("192.168.0.0/16"), 20)]


@pytest.mark.parametrize(
    ("taken", "found"),
    [
        ([], "172.18.0.0/16"),
        (["172.18.0.0/16"], "192.168.0.0/20"),
        (["172.18.200.0/24"], "192.168.0.0/20"),
        (["172.16.0.0/12"], "192.168.0.0/20"),
        (["172.18.0.0/16", "192.168.0.0/24"], "192.168.16.0/20"),
        (["172.18.0.0/16", "192.168.0.0/24", "192.168.31.255/32"], "192.168.32.0/20"),
        (["172.18.0.0/16", "192.168.16.0/20"], "192.168.0.0/20"),
        (["172.18.0.0/16", "192.168.0.0/19", "192.168.8.0/21"], "192.168.32.0/20"),
        (["fd00::/8"], "172.18.0.0/16"),
    ],
)
def test_the_first_subnet_that_overlaps_nothing(taken: list[str], found: str):
    assert str(free_subnet(BASE, nets(*taken))) == found


def test_when_nothing_is_left_the_pools_are_named():
    with pytest.raises(Exhausted, match=r"172\.18\.0\.0/16 in /16s.*--subnet"):
        free_subnet(BASE, nets("0.0.0.0/0"))


def test_a_base_of_billions_is_searched_by_its_gaps():
    taken = [ip_network((int(ip_network("fd00::/48").network_address) + (n << 64), 64)) for n in range(500)]
    assert str(free_subnet([(ip_network("fd00::/48"), 64)], taken)) == "fd00:0:0:1f4::/64"


small = st.builds(
    lambda number, prefix: ip_network((int(ip_network("10.0.0.0/8").network_address) + number, prefix), strict=False),
    st.integers(0, 0x1FFF),
    st.integers(19, 32),
)


@given(st.lists(small, max_size=40), st.integers(20, 28))
def test_against_trying_them_all(taken: list[IPv4Network], prefix: int):
    base = IPv4Network("10.0.0.0/19")
    free = [s for s in base.subnets(new_prefix=prefix) if not any(s.overlaps(t) for t in taken)]
    if free:
        assert free_subnet([(base, prefix)], taken) == free[0]
    else:
        with pytest.raises(Exhausted):
            free_subnet([(base, prefix)], taken)


def test_a_hosts_ipv6_prefix_is_local_random_and_the_same_for_ever():
    assert ula_base("one") == ula_base("one") != ula_base("two")
    assert ula_base("one").prefixlen == 48
    assert ula_base("one").subnet_of(IPv6Network("fd00::/8"))


def test_any_subnet_of_a_size():
    assert [any_of_size(n) for n in nets("0.0.0.0/24", "::/64", "10.0.0.0/24", "0.0.0.0/0", "::/0")] == [
        True,
        True,
        False,
        False,
        False,
    ]


def test_a_clash_names_the_other():
    others = [(ip_network("10.0.0.0/24"), "network 'blue'"), (ip_network("fd00::/8"), "a route of this host")]
    assert clash(ip_network("10.0.0.128/25"), others) == others[0]
    assert clash(ip_network("fd12::/64"), others) == others[1]
    assert clash(ip_network("10.0.1.0/24"), others) is None
