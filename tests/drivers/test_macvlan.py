"""From options and records to plans: what a macvlan network is, before any kernel hears of it."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Interface, IPv6Interface, ip_address, ip_interface, ip_network

import pytest

from weft import names
from weft.drivers import claim_on_parent, driver_named
from weft.drivers.driver import WayOut
from weft.drivers.macvlan import MODES, MacvlanDriver, Options, host_addresses, read
from weft.drivers.parents import Uplink
from weft.errors import Conflict, Invalid
from weft.model import Endpoint, Network, Pool, Sandbox
from weft.plan import HOST, Address, Child, Detour, Dummy, Parent, Route, Shaper, Sysctl, Vlan, describe

POOL4 = Pool(subnet=ip_network("192.168.50.0/24"), gateway=ip_address("192.168.50.1"))
POOL6 = Pool(subnet=ip_network("fd50::/64"))
NETWORK = Network(
    id="0123456789ab" + "c" * 52,
    name="lan",
    driver="macvlan",
    pools=(POOL4, POOL6),
    options={"parent": "eth0"},
)
SANDBOX = Sandbox(id="5" * 64, name="web", key="/run/weft/netns/555555555555")
ENDPOINT = Endpoint(
    id="e" * 64,
    network=NETWORK.id,
    sandbox=SANDBOX.id,
    ifname="eth0",
    mac="02:42:c0:a8:32:02",
    ipv4=IPv4Interface("192.168.50.2/24"),
    ipv6=IPv6Interface("fd50::2/64"),
)
SHIM = "ws-0123456789ab"
DRIVER = MacvlanDriver()


def with_options(**options: str) -> Network:
    return replace(NETWORK, options={key.replace("_", "-"): value for key, value in options.items()})


@pytest.mark.parametrize(
    ("raw", "wanted"),
    [
        ({}, Options()),
        ({"parent": "eth0"}, Options(Uplink("eth0"))),
        ({"parent": "eth0.10"}, Options(Uplink("eth0.10", "eth0", 10))),
        ({"parent": "eth0", "vlan": "10"}, Options(Uplink("eth0.10", "eth0", 10))),
        ({"parent": "eth0.10", "vlan": "20"}, Options(Uplink("eth0.10.20", "eth0.10", 20))),
        ({"parent": "wan.home"}, Options(Uplink("wan.home"))),
        ({"macvlan_mode": "vepa"}, Options(mode="vepa")),
        ({"mode": "passthru"}, Options(mode="passthru")),
        ({"mtu": "1400"}, Options(mtu=1400)),
        ({"com.docker.network.driver.mtu": "1400"}, Options(mtu=1400)),
        ({"host-access": "true"}, Options(host_access=True)),
        ({"host-access": "false"}, Options()),
        (
            {"host-access": "10.0.0.9, fd00::9"},
            Options(host_access=True, host_addresses=(ip_address("10.0.0.9"), ip_address("fd00::9"))),
        ),
    ],
)
def test_options_in_dockers_words_and_ours(raw: dict[str, str], wanted: Options):
    assert read(raw) == wanted


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (
            {"parnet": "eth0"},
            "unknown option 'parnet' for driver macvlan; it knows bandwidth-in, bandwidth-in-burst, bandwidth-out, "
            "bandwidth-out-burst, host-access, mode, mtu, parent, vlan",
        ),
        ({"parent": "lo"}, "lo leads nowhere"),
        ({"parent": "wb-0123456789ab"}, "is weft's own"),
        ({"parent": "eth0 eth1"}, "cannot be the name of a link"),
        ({"parent": "a-name-of-sixteen"}, "cannot be the name of a link"),
        ({"parent": "eth0.0"}, "0 is not between 1 and 4094"),
        ({"parent": "eth0.4095"}, "4095 is not between 1 and 4094"),
        ({"vlan": "10"}, "of which link"),
        ({"parent": "enp0s31f6abcde", "vlan": "10"}, "longer than the 15 characters"),
        ({"mode": "l2"}, "none of bridge, private, vepa, passthru"),
        ({"mode": "bridge", "macvlan_mode": "bridge"}, "says again"),
        ({"mtu": "67"}, "67 is not between"),
        ({"host-access": "perhaps"}, "neither true nor false"),
        ({"host-access": "10.0.0"}, "is not an IP address"),
        ({"host-access": "10.0.0.1,10.0.0.2"}, "more than one address of a family"),
        *(({"host-access": "true", "mode": mode}, "needs mode bridge") for mode in MODES[1:]),
    ],
)
def test_refusals_name_the_option(raw: dict[str, str], words: str):
    with pytest.raises(Invalid, match=words):
        DRIVER.accept(raw)


def test_the_parent_is_the_hosts_and_only_looked_at():
    assert DRIVER.network(NETWORK) == (Parent("eth0", "macvlan"),)
    assert DRIVER.links(NETWORK) == ()


def test_a_vlan_is_made_on_the_parent():
    network = with_options(parent="eth0.10")
    assert DRIVER.network(network) == (Vlan("eth0.10", "eth0", 10), Parent("eth0.10", "macvlan"))
    assert DRIVER.links(network) == ("eth0.10",)


def test_without_a_parent_there_is_a_link_that_leads_nowhere():
    network = DRIVER.settled(with_options())
    assert network.internal
    assert DRIVER.network(network) == (Dummy("wd-0123456789ab", 1500), Parent("wd-0123456789ab", "macvlan"))
    assert DRIVER.way_out(network, ENDPOINT, 4) is None


def test_an_interface_branches_off_with_its_own_mac():
    child, *addresses = DRIVER.endpoint(NETWORK, ENDPOINT, SANDBOX)
    assert child == Child(SANDBOX.key, "eth0", "eth0", "macvlan", "bridge", mac=ENDPOINT.mac)
    assert addresses == [Address(SANDBOX.key, "eth0", a) for a in ENDPOINT.addresses]


def test_the_way_out_is_the_router_that_was_named():
    assert DRIVER.way_out(NETWORK, ENDPOINT, 4) == WayOut(ip_address("192.168.50.1"))
    assert DRIVER.way_out(NETWORK, ENDPOINT, 6) is None, "no router was named"
    assert not DRIVER.has_gateway({}, 4)
    assert DRIVER.publishes(NETWORK, 4) is None


def test_the_host_has_a_link_of_its_own_if_asked_for():
    network = DRIVER.settled(with_options(parent="eth0", host_access="192.168.50.9"))
    assert host_addresses(network) == (ip_address("192.168.50.9"),), "of the families that were named"
    parent, shim, *rest = DRIVER.network(network)
    assert parent == Parent("eth0", "macvlan")
    assert shim == Child(HOST, SHIM, "eth0", "macvlan", "bridge", mac="02:42:c0:a8:32:09")
    assert Address(HOST, SHIM, ip_interface("192.168.50.9/32")) in rest
    assert {i.key for i in rest if isinstance(i, Sysctl)} == {
        f"net.ipv4.conf.{SHIM}.arp_ignore",
        f"net.ipv4.conf.{SHIM}.arp_announce",
    }
    assert DRIVER.links(network) == (SHIM,)
    ways = [i for i in DRIVER.endpoint(network, ENDPOINT, SANDBOX) if isinstance(i, Route)]
    assert ways == [Route(HOST, ip_network("192.168.50.2/32"), SHIM)]


def test_the_hosts_address_is_the_first_free_one_or_the_one_set_aside():
    network = DRIVER.settled(with_options(parent="eth0", host_access="true"))
    assert host_addresses(network) == (ip_address("192.168.50.2"), ip_address("fd50::1"))
    again = DRIVER.settled(network)
    assert again == network, "what is settled stays"
    with pytest.raises(Invalid, match=r"10.0.0.1 is not in 192.168.50.0/24 or fd50::/64"):
        DRIVER.settled(with_options(parent="eth0", host_access="10.0.0.1"))
    with pytest.raises(Conflict, match="reserved"):
        DRIVER.settled(with_options(parent="eth0", host_access="192.168.50.1"))


def test_passthru_takes_the_parent_whole():
    claim = claim_on_parent(with_options(parent="eth0", mode="passthru"))
    assert claim is not None
    assert (claim.alone, claim.own_macs) == (True, False)
    assert claim_on_parent(replace(NETWORK, driver="bridge", options={})) is None


def test_internal_and_a_parent_do_not_go_together():
    with pytest.raises(Invalid, match="its parent eth0 leads out"):
        DRIVER.check(replace(NETWORK, internal=True))
    DRIVER.check(replace(with_options(), internal=True))


def test_items_read_as_commands():
    plan = (
        Vlan("eth0.10", "eth0", 10),
        Dummy("wd-1", 1500),
        Child("/n", "eth0", "eth0.10", "macvlan", "bridge", mac="02:42:0a:00:00:02", mtu=1400),
        Child("/n", "eth1", "eth1", "ipvlan", "l3", "private"),
        Child(HOST, "ws-1", "eth0", "macvlan", "bridge"),
    )
    assert describe(plan) == (
        "ip link show eth0.10 || ip link add link eth0 name eth0.10 group 2003134068 type vlan id 10",
        "ip link set eth0.10 addrgenmode none up",
        "ip link add wd-1 mtu 1500 group 2003134068 type dummy",
        "ip link set wd-1 addrgenmode none up",
        "ip link add link eth0.10 name weft0 netns /n address 02:42:0a:00:00:02 mtu 1400 group 2003134076 "
        "type macvlan mode bridge",
        "nsenter --net=/n ip link set weft0 name eth0",
        "nsenter --net=/n ip link set eth0 addrgenmode none up",
        "ip link add link eth1 name weft0 netns /n group 2003134076 type ipvlan mode l3 private",
        "nsenter --net=/n ip link set weft0 name eth1",
        "nsenter --net=/n ip link set eth1 addrgenmode none up",
        "ip link add link eth0 name ws-1 group 2003134068 type macvlan mode bridge",
        "sysctl -w net.ipv6.conf.ws-1.accept_ra=0",
        "ip link set ws-1 addrgenmode none up",
    )


def test_it_is_found_by_name():
    assert driver_named("macvlan").name == "macvlan"


def test_what_a_container_receives_is_led_through_a_link_beside_its_own_and_held_there():
    beside = names.detour(ENDPOINT.id)
    limited = replace(ENDPOINT, options={"bandwidth-in": "20mbit", "bandwidth-out": "10mbit"})
    plan = DRIVER.endpoint(NETWORK, limited, SANDBOX)
    assert [item for item in plan if isinstance(item, Detour)] == [Detour(SANDBOX.key, "eth0", beside)]
    shapers = [(item.netns, item.link, item.rate) for item in plan if isinstance(item, Shaper)]
    assert shapers == [(SANDBOX.key, beside, 20_000_000), (SANDBOX.key, "eth0", 10_000_000)]


def test_without_a_limit_to_what_it_receives_there_is_no_link_beside_it():
    limited = replace(ENDPOINT, options={"bandwidth-out": "10mbit"})
    plan = DRIVER.endpoint(NETWORK, limited, SANDBOX)
    assert [type(item) for item in plan if isinstance(item, Detour | Shaper)] == [Shaper]


def test_a_network_s_limits_are_its_containers_s():
    network = replace(NETWORK, options={**NETWORK.options, "bandwidth-in": "20mbit"})
    DRIVER.check(network)
    rates = [item.rate for item in DRIVER.endpoint(network, ENDPOINT, SANDBOX) if isinstance(item, Shaper)]
    assert rates == [20_000_000]
    free = replace(ENDPOINT, options={"bandwidth-in": "none"})
    assert not any(isinstance(item, Shaper | Detour) for item in DRIVER.endpoint(network, free, SANDBOX))
    with pytest.raises(Invalid, match="1000 bytes are less than one packet"):
        DRIVER.check(replace(network, options={**network.options, "bandwidth-in-burst": "1kB"}))
