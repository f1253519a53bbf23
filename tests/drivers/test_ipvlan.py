"""From options and records to plans: what an ipvlan network is, and who may share a parent."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Interface, ip_address, ip_network

import pytest

from weft.drivers import claim_on_parent
from weft.drivers.driver import WayOut
from weft.drivers.ipvlan import IpvlanDriver, Options, read
from weft.drivers.parents import Claim, Uplink, refuse_shared_parent
from weft.errors import Conflict, Invalid
from weft.model import Endpoint, Network, Pool, Sandbox
from weft.plan import Address, Child, Dummy, Parent, Vlan

NETWORK = Network(
    id="0123456789ab" + "c" * 52,
    name="lan",
    driver="ipvlan",
    pools=(Pool(subnet=ip_network("192.168.50.0/24"), gateway=ip_address("192.168.50.1")),),
    options={"parent": "eth0"},
)
ROUTED = replace(NETWORK, pools=(Pool(subnet=ip_network("10.3.0.0/24")),))
SANDBOX = Sandbox(id="5" * 64, name="web", key="/n")
ENDPOINT = Endpoint(
    id="e" * 64, network=NETWORK.id, sandbox=SANDBOX.id, ifname="eth0", mac="", ipv4=IPv4Interface("192.168.50.2/24")
)
DRIVER = IpvlanDriver()


@pytest.mark.parametrize(
    ("raw", "wanted"),
    [
        ({}, Options()),
        ({"parent": "eth0.10"}, Options(Uplink("eth0.10", "eth0", 10))),
        ({"ipvlan_mode": "l3s", "ipvlan_flag": "vepa"}, Options(mode="l3s", flag="vepa")),
        ({"mode": "l3", "flag": "private", "mtu": "1400"}, Options(mode="l3", flag="private", mtu=1400)),
    ],
)
def test_options_in_dockers_words_and_ours(raw: dict[str, str], wanted: Options):
    assert read(raw) == wanted


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ({"mode": "bridge"}, "none of l2, l3, l3s"),
        ({"flag": "passthru"}, "none of bridge, private, vepa"),
        (
            {"host-access": "true"},
            "unknown option 'host-access' for driver ipvlan; it knows bandwidth-in, bandwidth-in-burst, bandwidth-out, "
            "bandwidth-out-burst, flag, mode, mtu, parent, vlan",
        ),
        ({"parent": "lo"}, "lo leads nowhere"),
    ],
)
def test_refusals_name_the_option(raw: dict[str, str], words: str):
    with pytest.raises(Invalid, match=words):
        DRIVER.accept(raw)


def test_an_interface_shares_the_parents_mac():
    network = replace(NETWORK, options={"parent": "eth0", "flag": "private", "mtu": "1400"})
    child, address = DRIVER.endpoint(network, ENDPOINT, SANDBOX)
    assert child == Child("/n", "eth0", "eth0", "ipvlan", "l2", "private", mtu=1400)
    assert address == Address("/n", "eth0", IPv4Interface("192.168.50.2/24"))
    claim = claim_on_parent(network)
    assert claim is not None
    assert not claim.own_macs


def test_the_way_out_is_the_router_or_where_the_host_routes_the_link():
    assert DRIVER.way_out(NETWORK, ENDPOINT, 4) == WayOut(ip_address("192.168.50.1"))
    assert DRIVER.way_out(NETWORK, ENDPOINT, 6) is None
    assert DRIVER.way_out(ROUTED, ENDPOINT, 4) is None, "no router was named"
    for mode in ("l3", "l3s"):
        routed = replace(ROUTED, options={"parent": "eth0", "mode": mode})
        assert DRIVER.way_out(routed, ENDPOINT, 4) == WayOut(None)
        assert DRIVER.way_out(replace(routed, internal=True), ENDPOINT, 4) is None
        with pytest.raises(Invalid, match=f"in mode {mode} the way out is the link itself"):
            DRIVER.check(replace(NETWORK, options=routed.options))


def test_the_parent_is_made_if_need_be():
    alone = DRIVER.settled(replace(NETWORK, options={}))
    assert alone.internal
    assert DRIVER.network(alone) == (Dummy("wd-0123456789ab", 1500), Parent("wd-0123456789ab", "ipvlan"))
    assert DRIVER.links(alone) == ("wd-0123456789ab",)
    tagged = replace(NETWORK, options={"parent": "eth0", "vlan": "7"})
    assert DRIVER.network(tagged) == (Vlan("eth0.7", "eth0", 7), Parent("eth0.7", "ipvlan"))
    assert DRIVER.network(NETWORK) == (Parent("eth0", "ipvlan"),)


MACVLAN = Claim(parent="eth0", kind="macvlan", mode="")
PASSTHRU = Claim(parent="eth0", kind="macvlan", mode="", alone=True)
L2 = Claim(parent="eth0", kind="ipvlan", mode="mode l2, flag bridge")
L3 = Claim(parent="eth0", kind="ipvlan", mode="mode l3, flag bridge")


@pytest.mark.parametrize(
    ("claim", "there", "words"),
    [
        (MACVLAN, L2, r"parent eth0 is network 'old''s \(ipvlan, mode l2, flag bridge\): a link carries either"),
        (L2, MACVLAN, r"parent eth0 is network 'old''s \(macvlan\): a link carries either"),
        (PASSTHRU, MACVLAN, "passthru needs a parent alone"),
        (MACVLAN, PASSTHRU, "passthru needs a parent alone"),
        (L2, L3, "have one mode and flag"),
    ],
)
def test_what_does_not_share_a_parent(claim: Claim, there: Claim, words: str):
    old = replace(NETWORK, name="old")
    with pytest.raises(Conflict, match=words):
        refuse_shared_parent(NETWORK, claim, [(old, there)])
    refuse_shared_parent(NETWORK, claim, [(old, replace(there, parent="eth1"))])


@pytest.mark.parametrize(("claim", "there"), [(MACVLAN, MACVLAN), (L2, L2), (L3, L3)])
def test_what_shares_a_parent(claim: Claim, there: Claim):
    refuse_shared_parent(NETWORK, claim, [(NETWORK, there)])


@pytest.mark.parametrize("mode", ["l2", "l3"])
def test_what_a_container_receives_can_be_held_to_a_rate(mode: str):
    network = replace(NETWORK, options={**NETWORK.options, "mode": mode})
    DRIVER.accept_endpoint(network, {"bandwidth-in": "10mbit"})


def test_in_mode_l3s_it_cannot_and_what_can_is_said():
    network = replace(NETWORK, options={"parent": "eth0", "mode": "l3s"})
    DRIVER.accept_endpoint(network, {"bandwidth-out": "10mbit"})
    with pytest.raises(Invalid, match="in mode l3s what a container receives comes to it past its own link"):
        DRIVER.accept_endpoint(network, {"bandwidth-in": "10mbit"})
    with pytest.raises(Invalid, match="or mode l2 or l3"):
        DRIVER.check(replace(network, pools=(), options={**network.options, "bandwidth-in": "10mbit"}))
