"""Which options may change while a network is there; of each the driver says so."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network

import pytest

from weft.drivers import driver_named
from weft.drivers.bridge_options import SPELLINGS
from weft.errors import Conflict
from weft.model import Network, Pool

VALUES = {
    "advertise-count": "2",
    "advertise-interval": "200",
    "anti-spoof": "false",
    "bandwidth-in": "10mbit",
    "bandwidth-in-burst": "64KiB",
    "bandwidth-out": "10mbit",
    "bandwidth-out-burst": "64KiB",
    "default-bridge": "true",
    "gateway-mode": "routed",
    "gateway-mode-ipv4": "nat-unprotected",
    "gateway-mode-ipv6": "routed",
    "host-binding": "127.0.0.1",
    "icc": "false",
    "inhibit-ipv4": "true",
    "masquerade": "false",
    "masquerade-ipv4": "false",
    "masquerade-ipv6": "false",
    "mtu": "1400",
    "snat-ipv4": "192.0.2.1",
    "snat-ipv6": "2001:db8::1",
    "trusted-interfaces": "lan0",
}
"""Of the bridge's options: what may change, with a value."""
FIXED = {"bridge": "br0", "prefix": "lan", "uplink": "eth1", "vlan": "5", "ndp-proxy": "eth1", "arp-proxy": "eth1"}

BRIDGE = Network(
    id="0123456789ab" + "c" * 52,
    name="blue",
    driver="bridge",
    pools=(Pool(subnet=ip_network("10.7.0.0/24")), Pool(subnet=ip_network("fd07::/64"))),
)


def change(network: Network, before: dict[str, str], after: dict[str, str]) -> None:
    driver = driver_named(network.driver)
    driver.check_change(replace(network, options=before), replace(network, options=after))


def test_every_option_is_of_one_kind_or_the_other():
    assert VALUES.keys() | FIXED.keys() == set(SPELLINGS.values())


@pytest.mark.parametrize("option", VALUES)
def test_these_come_and_go(option: str):
    rate = {option.removesuffix("-burst"): "10mbit"} if option.endswith("-burst") else {}
    change(BRIDGE, rate, {**rate, option: VALUES[option]})
    change(BRIDGE, {**rate, option: VALUES[option]}, rate)


@pytest.mark.parametrize("option", FIXED)
def test_these_stay(option: str):
    given = {option: FIXED[option], **({"uplink": "eth1"} if option == "vlan" else {})}
    for before, after in (({}, given), (given, {}), (given, {**given, option: "7" if option == "vlan" else "br1"})):
        with pytest.raises(Conflict, match=r"of network 'blue' cannot change while the network is there: .*; make"):
            change(BRIDGE, before, after)
    change(BRIDGE, given, {**given, "mtu": "1400"})


def test_whether_the_host_is_on_it_is_asked_of_families_that_stay():
    isolated = {"gateway-mode-ipv6": "isolated"}
    with pytest.raises(Conflict, match="gateway-mode-ipv6=isolated"):
        change(BRIDGE, {}, isolated)
    without = replace(BRIDGE, pools=BRIDGE.pools[:1])
    change(without, {}, isolated)
    driver = driver_named("bridge")
    driver.check_change(without, replace(BRIDGE, options=isolated))


PARENT = {"parent": "eth0", "mtu": "1400"}


@pytest.mark.parametrize("driver", ["macvlan", "ipvlan"])
def test_a_parent_stays_and_so_does_that_there_is_an_mtu(driver: str):
    lan = replace(BRIDGE, driver=driver)
    change(lan, PARENT, {**PARENT, "mtu": "1300"})
    change(lan, {"parent": "eth0", "vlan": "10"}, {"parent": "eth0.10"})
    for after in ({**PARENT, "parent": "eth1"}, {**PARENT, "vlan": "10"}, {"mtu": "1400"}, {"parent": "eth0"}):
        with pytest.raises(Conflict, match=r"option (parent|mtu) of network 'blue' cannot change"):
            change(lan, PARENT, after)


def test_modes_change_as_far_as_the_kernel_lets_them():
    macvlan, ipvlan = replace(BRIDGE, driver="macvlan"), replace(BRIDGE, driver="ipvlan")
    change(macvlan, PARENT, {**PARENT, "mode": "private"})
    change(ipvlan, PARENT, {**PARENT, "mode": "l3", "flag": "private"})
    for before, after in (("bridge", "passthru"), ("passthru", "vepa")):
        with pytest.raises(Conflict, match="option mode of network 'blue' cannot change"):
            change(macvlan, {**PARENT, "mode": before}, {**PARENT, "mode": after})
    with pytest.raises(Conflict, match="option host-access of network 'blue' cannot change"):
        change(macvlan, PARENT, {**PARENT, "host-access": "true"})
