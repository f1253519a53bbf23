"""Every kernel name follows from an id."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft import names

IFNAMSIZ = 15


def test_ids_are_dockers_and_never_the_same():
    made = {names.new_id() for _ in range(1000)}
    assert len(made) == 1000
    assert {len(ident) for ident in made} == {64}
    assert {names.short(ident) for ident in made} == {ident[:12] for ident in made}


def test_no_word_is_the_beginning_of_an_id():
    made = [names.new_id() for _ in range(1000)]
    assert {ident[0] for ident in made} == set("0123456789")
    assert names.new_id("db").startswith("db")  # who gives the beginning means it


def test_a_short_id_is_not_a_number():
    assert not any(names.short(names.new_id()).isdecimal() for _ in range(5000))


def test_link_names_fit_the_kernel_and_say_whose_they_are():
    ident = names.new_id()
    for link in (names.bridge(ident), names.veth(ident)):
        assert len(link) <= IFNAMSIZ
        assert names.is_ours(link)
    assert names.bridge(ident) != names.veth(ident)


@pytest.mark.parametrize("link", ["docker0", "eth0", "veth0123", "br-012345678901", "wlan0", "wg0", "weft", ""])
def test_other_peoples_links_are_not_ours(link: str):
    assert not names.is_ours(link)


def test_a_pin_lies_in_the_run_directory():
    assert names.pin("/run/weft", "0123456789abcdef") == "/run/weft/netns/0123456789ab"


@pytest.mark.parametrize(
    ("address", "mac"),
    [("172.18.0.2", "02:42:ac:12:00:02"), ("255.255.255.255", "02:42:ff:ff:ff:ff"), ("fd00::2", "02:43:00:00:00:02")],
)
def test_a_mac_is_made_from_the_address(address: str, mac: str):
    assert names.mac_of(ip_address(address)) == mac


@given(st.ip_addresses())
def test_a_mac_is_one_that_a_host_may_have(address: IPv4Address | IPv6Address):
    first = int(names.mac_of(address)[:2], 16)
    assert first & 1 == 0, "unicast"
    assert first & 2 == 2, "locally administered"


@given(st.sets(st.ip_addresses(v=4), min_size=2, max_size=50))
def test_two_ipv4_addresses_never_share_a_mac(addresses: set[IPv4Address]):
    assert len({names.mac_of(address) for address in addresses}) == len(addresses)
