"""Untrusted text becomes a value, or a refusal that names the field."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.errors import Invalid
from weft.fields import read_address, read_bool, read_choice, read_int, read_network


@given(st.ip_addresses())
def test_every_address_is_read_as_it_is_written(address: ipaddress.IPv4Address | ipaddress.IPv6Address):
    assert read_address("ip", str(address)) == address


@given(st.ip_addresses(v=4), st.integers(0, 32))
def test_every_subnet_is_read_as_it_is_written_and_never_guessed(address: ipaddress.IPv4Address, prefix: int):
    text = f"{address}/{prefix}"
    meant = ipaddress.ip_network(text, strict=False)
    if text == str(meant):
        assert read_network("subnet", text) == meant
    else:
        with pytest.raises(Invalid, match=f"did you mean {meant}"):
            read_network("subnet", text)


@pytest.mark.parametrize("text", ["", "10.0.0", "10.0.0.256", "localhost", "10.0.0.1/24", "fd00:::1", "1"])
def test_what_is_no_address_is_refused(text: str):
    with pytest.raises(Invalid, match=r"gateway: .* is not an IP address"):
        read_address("gateway", text)


@pytest.mark.parametrize("text", ["", "blue", "10.0.0.0/33", "10.0.0.0/x", "/24", "fd00::/129"])
def test_what_is_no_subnet_is_refused(text: str):
    with pytest.raises(Invalid, match=r"subnet: .* is not a subnet"):
        read_network("subnet", text)


@pytest.mark.parametrize(
    ("text", "value"),
    [("true", True), ("1", True), ("YES", True), (" on ", True), ("false", False), ("0", False), ("No", False)],
)
def test_yes_and_no(text: str, value: bool):
    assert read_bool("internal", text) is value


@pytest.mark.parametrize("text", ["", "2", "ja", "truefalse"])
def test_neither_yes_nor_no(text: str):
    with pytest.raises(Invalid, match=r"internal: .* is neither true nor false"):
        read_bool("internal", text)


@pytest.mark.parametrize(("text", "words"), [("", "whole number"), ("1.5", "whole number"), ("0", "between 1 and 9")])
def test_numbers_have_bounds(text: str, words: str):
    assert read_int("mtu", "9", low=1, high=9) == 9
    with pytest.raises(Invalid, match=f"mtu: .*{words}"):
        read_int("mtu", text, low=1, high=9)


def test_a_choice_names_the_others():
    assert read_choice("log-level", "info", ("info", "debug")) == "info"
    with pytest.raises(Invalid, match="log-level: 'loud' is none of info, debug"):
        read_choice("log-level", "loud", ("info", "debug"))
