"""Limits of bandwidth: from options to what holds them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from tests.drivers.test_bridge import ENDPOINT, NETWORK, SANDBOX, with_options
from weft.drivers.bandwidth import Bandwidth, Limit, read_bandwidth
from weft.drivers.bridge import BridgeDriver
from weft.errors import Invalid
from weft.model import Network
from weft.names import veth
from weft.plan import HOST, Address, Shaper, Veth, describe

DRIVER = BridgeDriver()
OUTER = veth(ENDPOINT.id)


def limits(network: Network, **options: str) -> dict[str, Shaper]:
    """What limits an endpoint with these options, by link."""
    given = {name.replace("_", "-"): value for name, value in options.items()}
    DRIVER.accept_endpoint(network, given)
    plan = DRIVER.endpoint(network, replace(ENDPOINT, options=given), SANDBOX)
    kinds = [type(item) for item in plan]
    found = {item.link: item for item in plan if isinstance(item, Shaper)}
    if found:  # between the link, which they are put on, and its first address
        assert kinds.index(Veth) < kinds.index(Shaper) < kinds.index(Address)
    return found


def make(network: Network) -> None:
    DRIVER.accept(network.options)
    DRIVER.check(network)


def test_nothing_said_is_no_limit():
    assert limits(NETWORK) == {}
    assert limits(NETWORK, bandwidth_in="none") == {}


def test_each_direction_is_held_where_packets_set_out():
    found = limits(NETWORK, bandwidth_in="10mbit", bandwidth_out="1gbit")
    assert found == {
        OUTER: Shaper(HOST, OUTER, 10_000_000, burst=16_384, queue=16_384 + 62_500),
        "eth0": Shaper(SANDBOX.key, "eth0", 1_000_000_000, burst=1_250_000, queue=7_500_000),
    }
    assert list(limits(NETWORK, bandwidth_in="10mbit")) == [OUTER]
    assert list(limits(NETWORK, bandwidth_out="10mbit")) == ["eth0"]


def test_they_read_as_tc_writes_them():
    found = limits(NETWORK, bandwidth_in="10mbit", bandwidth_out="5mbit", bandwidth_out_burst="20kB")
    assert describe(tuple(found.values())) == (
        f"tc qdisc replace dev {OUTER} root tbf rate 10000000bit burst 16384b limit 78884b",
        f"nsenter --net={SANDBOX.key} tc qdisc replace dev eth0 root tbf rate 5000000bit burst 20000b limit 51250b",
    )


def test_a_network_s_options_are_those_of_every_endpoint_that_says_nothing_else():
    network = with_options(**{"bandwidth-in": "10mbit", "bandwidth-in-burst": "64KiB", "bandwidth-out": "5mbit"})
    make(network)
    assert {link: (item.rate, item.burst) for link, item in limits(network).items()} == {
        OUTER: (10_000_000, 65_536),
        "eth0": (5_000_000, 16_384),
    }
    assert limits(network, bandwidth_in="1gbit")[OUTER].burst == 1_250_000
    assert limits(network, bandwidth_in_burst="32KiB")[OUTER].burst == 32_768
    assert list(limits(network, bandwidth_in="none")) == ["eth0"]


def test_a_burst_holds_two_packets_of_any_size():
    jumbo = with_options(**{"mtu": "65535", "bandwidth-in": "1mbit"})
    assert limits(jumbo)[OUTER].burst == 2 * (65_535 + 18)


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("8kbit", 8_000),
        ("500kbit", 500_000),
        ("10mbit", 10_000_000),
        ("10Mbit/s", 10_000_000),
        ("1.5mbit", 1_500_000),
        ("8000bit", 8_000),
        ("100gbit", 100_000_000_000),
        ("2MB/s", 16_000_000),
        ("2MiB/s", 16_777_216),
        ("1000B/s", 8_000),
        ("4kB/s", 32_000),
        ("4KB/s", 32_000),
        ("1GB/s", 8_000_000_000),
    ],
)
def test_a_rate(text: str, rate: int):
    assert read_bandwidth({"bandwidth-out": text}) == Bandwidth(outward=Limit(rate))


@pytest.mark.parametrize(
    ("options", "why"),
    [
        *(
            ({"bandwidth-in": text}, f"option bandwidth-in: {text!r} is no rate; write 500kbit, 10mbit")
            for text in ("", "10", "10mbps", "10Mb", "10mb/s", "mbit", "-1mbit", "1e3kbit", "10 mbit", "1tbit", "2MB")
        ),
        ({"bandwidth-in": "7kbit"}, "option bandwidth-in: 7kbit is not between 8kbit and 100gbit"),
        ({"bandwidth-out": "0mbit"}, "option bandwidth-out: 0mbit is not between"),
        ({"bandwidth-out": "101gbit"}, "is not between"),
        ({"bandwidth-in-burst": "64KiB"}, "option bandwidth-in-burst: a burst of what? Give bandwidth-in as well"),
        ({"bandwidth-in": "none", "bandwidth-in-burst": "64KiB"}, "a burst of what?"),
        ({"bandwidth-in": "1mbit", "bandwidth-in-burst": "64"}, "'64' is no size; write 32KiB, 64kB or 1MB"),
        ({"bandwidth-in": "1mbit", "bandwidth-in-burst": "65MiB"}, "65MiB is not between 1B and 64MiB"),
        ({"bandwidth-in": "1mbit", "bandwidth-in-burst": "8MB"}, "8MB at 1mbit last for more than a minute"),
        (
            {"bandwidth-in": "1mbit", "bandwidth-in-burst": "1kB"},
            "option bandwidth-in-burst: 1000 bytes are less than one packet, and none would pass: with MTU 1500, at "
            "least 1518B",
        ),
    ],
)
def test_what_is_no_limit_is_refused_by_name(options: Mapping[str, str], why: str):
    with pytest.raises(Invalid) as of_endpoint:
        DRIVER.accept_endpoint(NETWORK, options)
    assert why in of_endpoint.value.message
    with pytest.raises(Invalid) as of_network:
        make(with_options(**options))
    assert why in of_network.value.message


def test_an_unknown_option_is_refused_with_those_there_are():
    with pytest.raises(Invalid) as refused:
        DRIVER.accept_endpoint(NETWORK, {"mtu": "1400"})
    assert refused.value.message == (
        "unknown option 'mtu' for an endpoint of driver bridge; it knows bandwidth-in, bandwidth-in-burst, "
        "bandwidth-out, bandwidth-out-burst"
    )
