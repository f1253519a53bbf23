"""From options and records to plans: what a bridge network is, before any kernel hears of it."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Interface, IPv6Interface, ip_address, ip_interface, ip_network

import pytest

from weft.drivers import driver_named
from weft.drivers.bridge import BridgeDriver, bridge_mac
from weft.drivers.bridge_options import FamilyOptions, Options, read_options
from weft.drivers.driver import Advertise
from weft.errors import Invalid, NotFound
from weft.model import Borrowed, Endpoint, Network, Pool, Sandbox
from weft.plan import HOST, Address, Bridge, Mac, NftElement, Plan, Sysctl, Veth

NETWORK = Network(
    id="0123456789ab" + "c" * 52,
    name="blue",
    driver="bridge",
    pools=(Pool(subnet=ip_network("10.7.0.0/24"), gateway=ip_address("10.7.0.1")),),
)
POOL6 = Pool(subnet=ip_network("fd07::/64"), gateway=ip_address("fd07::1"))
BOTH = replace(NETWORK, pools=(*NETWORK.pools, POOL6))
ONLY6 = replace(NETWORK, pools=(POOL6,))
BRIDGE = "wb-0123456789ab"

SANDBOX = Sandbox(id="5" * 64, name="web", key="/run/weft/netns/555555555555")
ENDPOINT = Endpoint(
    id="e" * 64,
    network=NETWORK.id,
    sandbox=SANDBOX.id,
    ifname="eth0",
    mac="02:42:0a:07:00:02",
    ipv4=IPv4Interface("10.7.0.2/24"),
)


def with_options(**options: str) -> Network:
    return replace(NETWORK, options=options)


def elements(plan: Plan) -> dict[str, str]:
    """Set or map to the text of its element."""
    return {item.name: item.text() for item in plan if isinstance(item, NftElement)}


def switches(plan: Plan) -> list[str]:
    return [f"{item.key}={item.value}" for item in plan if isinstance(item, Sysctl)]


def test_a_driver_is_found_by_name_or_the_nearest_is_named():
    assert driver_named("bridge").name == "bridge"
    with pytest.raises(NotFound, match="did you mean 'bridge'"):
        driver_named("bridgee")


NO_MASQUERADE = FamilyOptions(masquerade=False)
V4, V6 = ip_address("192.0.2.9"), ip_address("2001:db8::9")
DOCKERS = "com.docker.network.bridge."


@pytest.mark.parametrize(
    ("ours", "dockers", "value", "read"),
    [
        ("mtu", "com.docker.network.driver.mtu", "1400", Options(mtu=1400)),
        ("icc", f"{DOCKERS}enable_icc", "false", Options(icc=False)),
        ("masquerade", f"{DOCKERS}enable_ip_masquerade", "0", Options(ipv4=NO_MASQUERADE, ipv6=NO_MASQUERADE)),
        ("bridge", f"{DOCKERS}name", "br0.7", Options(bridge="br0.7")),
        ("gateway-mode-ipv4", f"{DOCKERS}gateway_mode_ipv4", "routed", Options(ipv4=FamilyOptions("routed"))),
        ("gateway-mode-ipv6", f"{DOCKERS}gateway_mode_ipv6", "isolated", Options(ipv6=FamilyOptions("isolated"))),
        ("inhibit-ipv4", f"{DOCKERS}inhibit_ipv4", "true", Options(inhibit_ipv4=True)),
        ("host-binding", f"{DOCKERS}host_binding_ipv4", "192.0.2.9", Options(host_binding=V4)),
        ("host-binding", f"{DOCKERS}host_binding_ipv4", "2001:db8::9", Options(host_binding=V6)),
        ("trusted-interfaces", f"{DOCKERS}trusted_host_interfaces", "eth1:wg0", Options(trusted=("eth1", "wg0"))),
        ("default-bridge", f"{DOCKERS}default_bridge", "true", Options()),
        ("snat-ipv4", "com.docker.network.host_ipv4", "192.0.2.9", Options(ipv4=FamilyOptions(source=V4))),
        ("snat-ipv6", "com.docker.network.host_ipv6", "2001:db8::9", Options(ipv6=FamilyOptions(source=V6))),
        ("prefix", "com.docker.network.container_iface_prefix", "lan", Options(prefix="lan")),
        ("advertise-count", "com.docker.network.advertise_addr_nmsgs", "0", Options(advertise=Advertise(0, 1000))),
        ("advertise-interval", "com.docker.network.advertise_addr_ms", "100", Options(advertise=Advertise(3, 100))),
    ],
)
def test_options_in_dockers_words_and_ours(ours: str, dockers: str, value: str, read: Options):
    assert read_options({ours: value}) == read
    assert read_options({dockers: value}) == read
    with pytest.raises(Invalid, match="says again"):
        read_options({ours: value, dockers: value})


@pytest.mark.parametrize(
    ("raw", "read"),
    [
        ({}, Options()),
        ({"anti-spoof": "false"}, Options(anti_spoof=False)),
        ({"trusted-interfaces": "eth1,wg0,eth1"}, Options(trusted=("eth1", "wg0"))),
        ({"gateway-mode": "routed"}, Options(ipv4=FamilyOptions("routed"), ipv6=FamilyOptions("routed"))),
        (
            {"gateway-mode": "routed", "gateway-mode-ipv4": "nat-unprotected"},
            Options(ipv4=FamilyOptions("nat-unprotected"), ipv6=FamilyOptions("routed")),
        ),
        ({"masquerade": "no", "masquerade-ipv6": "yes"}, Options(ipv4=NO_MASQUERADE)),
    ],
)
def test_what_is_said_of_one_family_goes_first(raw: dict[str, str], read: Options):
    assert read_options(raw) == read


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ({"mut": "1400"}, "unknown option 'mut' for driver bridge; it knows advertise-count, .* trusted-interfaces"),
        ({"mtu": "67"}, "option mtu: 67 is not between"),
        ({"mtu": "big"}, "option mtu: 'big' is not a whole number"),
        ({"icc": "maybe"}, "option icc: 'maybe' is neither true nor false"),
        ({"gateway-mode": "bridged"}, "'bridged' is none of nat, nat-unprotected, routed, isolated"),
        ({"snat-ipv4": "2001:db8::9"}, "option snat-ipv4: 2001:db8::9 is not an IPv4 address"),
        ({"snat-ipv4": "0.0.0.0"}, "nobody outside answers to 0.0.0.0"),
        ({"snat-ipv6": "::1"}, "nobody outside answers to ::1"),
        ({"host-binding": "localhost"}, "'localhost' is not an IP address"),
        ({"bridge": "wb-0123456789ab"}, "names that begin with wb- or wv- are weft's own"),
        ({"bridge": "a-name-of-sixteen"}, "is no interface's name"),
        ({"bridge": 'x"'}, "is no interface's name"),
        ({"bridge": "tcp"}, "is no interface's name"),
        ({"bridge": "lo"}, "is no interface's name"),
        ({"trusted-interfaces": "eth*"}, "'eth\\*' is no interface's name"),
        ({"prefix": "0eth"}, "is not the beginning of an interface's name"),
        ({"advertise-count": "4"}, "option advertise-count: 4 is not between 0 and 3"),
        ({"advertise-interval": "99"}, "option advertise-interval: 99 is not between 100 and 2000"),
        ({"default-bridge": "docker0"}, "option default-bridge: 'docker0' is neither true nor false"),
    ],
)
def test_what_is_not_understood_is_refused_before_anything_is_made(raw: dict[str, str], words: str):
    with pytest.raises(Invalid, match=words):
        BridgeDriver().accept(raw)


def test_a_network_is_a_bridge_with_the_gateways_address():
    plan = BridgeDriver().network(NETWORK)
    assert Bridge(BRIDGE, bridge_mac(NETWORK), 1500) in plan
    assert [item for item in plan if isinstance(item, Address)] == [Address(HOST, BRIDGE, ip_interface("10.7.0.1/24"))]
    assert switches(plan) == [f"net.ipv4.conf.{BRIDGE}.route_localnet=1", "net.ipv4.ip_forward=1"]


def test_the_firewall_knows_of_it_before_the_bridge_is_there():
    plan = BridgeDriver().network(NETWORK)
    kinds = [type(item) for item in plan]
    assert kinds.index(Bridge) > max(i for i, kind in enumerate(kinds) if kind is NftElement)
    assert elements(plan) == {
        "subnets4": "10.7.0.0/24",
        "bridges": f'"{BRIDGE}"',
        "same": f'"{BRIDGE}" . "{BRIDGE}"',
        "outbound": f'ipv4 . "{BRIDGE}"',
    }


def test_it_is_closed_before_it_is_open():
    names = list(elements(BridgeDriver().network(BOTH)))
    assert names.index("subnets4") < names.index("bridges") < names.index("same")
    assert names.index("subnets6") < names.index("bridges")


def test_an_internal_network_leads_nowhere():
    plan = BridgeDriver().network(replace(BOTH, internal=True))
    assert elements(plan)["internal"] == f'"{BRIDGE}"'
    assert "outbound" not in elements(plan)
    assert not any("forward" in switch for switch in switches(plan))


def test_without_icc_containers_do_not_meet_at_either_layer():
    network = with_options(icc="false")
    assert "same" not in elements(BridgeDriver().network(network))
    assert port_of(BridgeDriver().endpoint(network, ENDPOINT, SANDBOX)).isolated


def test_without_masquerade_packets_leave_under_their_own_address():
    assert "outbound" not in elements(BridgeDriver().network(with_options(masquerade="false")))


def test_both_families():
    plan = BridgeDriver().network(BOTH)
    gateways = [str(item.address) for item in plan if isinstance(item, Address)]
    assert gateways == ["10.7.0.1/24", "fd07::1/64", "fe80::1/64"]
    assert "net.ipv6.conf.all.forwarding=1" in switches(plan)


def test_ipv6_alone_asks_nothing_of_ipv4():
    plan = BridgeDriver().network(ONLY6)
    assert switches(plan) == ["net.ipv6.conf.all.forwarding=1"]
    assert "subnets4" not in elements(plan)


def port_of(plan: Plan) -> Veth:
    (pair,) = (item for item in plan if isinstance(item, Veth))
    return pair


def test_an_endpoint_is_a_pair_and_its_addresses():
    endpoint = replace(ENDPOINT, ipv6=IPv6Interface("fd07::2/64"))
    assert BridgeDriver().endpoint(with_options(mtu="1400"), endpoint, SANDBOX) == (
        NftElement("senders4", ("wv-eeeeeeeeeeee", Mac(ENDPOINT.mac), ip_address("10.7.0.2")), family="bridge"),
        NftElement("senders6", ("wv-eeeeeeeeeeee", Mac(ENDPOINT.mac), ip_address("fd07::2")), family="bridge"),
        Veth(
            name="wv-eeeeeeeeeeee",
            master=BRIDGE,
            netns=SANDBOX.key,
            peer="eth0",
            mac="02:42:0a:07:00:02",
            mtu=1400,
        ),
        Address(SANDBOX.key, "eth0", ip_interface("10.7.0.2/24")),
        Address(SANDBOX.key, "eth0", ip_interface("fd07::2/64")),
    )


def test_a_container_may_send_from_link_local_addresses_that_were_asked_for():
    endpoint = replace(ENDPOINT, link_local=(ip_interface("169.254.7.7/16"), ip_interface("fe80::7/64")))
    plan = BridgeDriver().endpoint(BOTH, endpoint, SANDBOX)
    senders = [item.text().rpartition(" ")[2] for item in plan if isinstance(item, NftElement)]
    assert senders == ["10.7.0.2", "169.254.7.7", "fe80::7"]


def test_a_network_may_do_without_the_guard():
    network = with_options(**{"anti-spoof": "false"})
    assert elements(BridgeDriver().endpoint(network, ENDPOINT, SANDBOX)) == {"unguarded": '"wv-eeeeeeeeeeee"'}
    assert not BridgeDriver().guards(network)
    assert BridgeDriver().guards(NETWORK)


def test_what_a_port_may_send_is_known_before_there_is_the_port():
    plan = BridgeDriver().endpoint(NETWORK, ENDPOINT, SANDBOX)
    assert [type(item) for item in plan] == [NftElement, Veth, Address]


def test_the_mtu_is_the_same_at_both_ends():
    network = with_options(mtu="9000")
    (bridge,) = (item for item in BridgeDriver().network(network) if isinstance(item, Bridge))
    assert bridge.mtu == port_of(BridgeDriver().endpoint(network, ENDPOINT, SANDBOX)).mtu == 9000


def test_a_bridges_mac_is_fixed_local_and_its_own():
    other = replace(NETWORK, id="f" * 64)
    assert bridge_mac(NETWORK) == bridge_mac(NETWORK) == "02:77:01:23:45:67"
    assert bridge_mac(other) != bridge_mac(NETWORK)


def test_plans_are_the_same_each_time():
    driver = BridgeDriver()
    assert driver.network(BOTH) == driver.network(BOTH)
    assert driver.endpoint(BOTH, ENDPOINT, SANDBOX) == driver.endpoint(BOTH, ENDPOINT, SANDBOX)


# Gateway modes


def mixed(**options: str) -> Network:
    return replace(BOTH, options={name.replace("_", "-"): value for name, value in options.items()})


def test_each_family_has_a_mode_of_its_own():
    driver, network = BridgeDriver(), mixed(gateway_mode_ipv6="routed")
    made = elements(driver.network(network))
    assert (made["outbound"], made["routed"]) == (f'ipv4 . "{BRIDGE}"', f'ipv6 . "{BRIDGE}"')
    assert "subnets6" not in made
    assert [driver.publishes(network, version) for version in (4, 6)] == ["nat", "routed"]
    endpoint = replace(ENDPOINT, ipv6=IPv6Interface("fd07::2/64"))
    assert [driver.way_out(network, endpoint, version) is not None for version in (4, 6)] == [True, True]


def test_what_is_reached_at_every_port_is_published_on_the_host_as_well():
    driver, network = BridgeDriver(), mixed(gateway_mode="nat-unprotected")
    assert "subnets4" not in elements(driver.network(network))
    assert [driver.publishes(network, version) for version in (4, 6)] == ["nat", "nat"]


def test_an_isolated_network_has_nothing_on_the_host():
    driver = BridgeDriver()
    network = replace(mixed(gateway_mode="isolated"), internal=True, pools=tuple(p for p in BOTH.pools))
    driver.check(network)
    plan = driver.network(network)
    assert not [item for item in plan if isinstance(item, Address)]
    assert switches(plan) == [f"net.ipv4.conf.{BRIDGE}.rp_filter=1", f"net.ipv6.conf.{BRIDGE}.disable_ipv6=1"]
    assert not any(driver.has_gateway(network.options, version) for version in (4, 6))
    assert [driver.publishes(network, version) for version in (4, 6)] == [None, None]


def test_one_family_alone_can_be_isolated():
    network = replace(mixed(gateway_mode_ipv4="isolated"), internal=True)
    BridgeDriver().check(network)
    plan = BridgeDriver().network(network)
    assert [str(item.address) for item in plan if isinstance(item, Address)] == ["fd07::1/64", "fe80::1/64"]
    assert switches(plan) == [f"net.ipv4.conf.{BRIDGE}.rp_filter=1"]
    assert BridgeDriver().has_gateway(network.options, 6)


def test_only_internal_networks_can_be_isolated():
    with pytest.raises(Invalid, match="gateway mode isolated is for internal networks: make 'blue' with --internal"):
        BridgeDriver().check(mixed(gateway_mode_ipv6="isolated"))
    BridgeDriver().check(replace(NETWORK, options={"gateway-mode-ipv6": "isolated"}))  # which it does not have


def test_with_another_router_the_host_has_no_address_and_leads_no_port_in():
    driver, network = BridgeDriver(), mixed(inhibit_ipv4="true")
    plan = driver.network(network)
    assert [str(item.address) for item in plan if isinstance(item, Address)] == ["fd07::1/64", "fe80::1/64"]
    assert [driver.publishes(network, version) for version in (4, 6)] == [None, "nat"]
    way = driver.way_out(network, ENDPOINT, 4)
    assert way is not None
    assert str(way.via) == "10.7.0.1"


def test_trusted_interfaces_come_with_every_subnet():
    plan = BridgeDriver().network(mixed(trusted_interfaces="eth1"))
    found = [item.text() for item in plan if isinstance(item, NftElement) and item.name.startswith("trusted")]
    assert found == ['"eth1" . 10.7.0.0/24', '"eth1" . fd07::/64']


# A bridge with a name of its own


def test_a_bridge_of_the_users_choice_is_made_and_swept_like_any():
    driver, network = BridgeDriver(), mixed(bridge="lan0.7")
    assert (driver.link(network), driver.links(network)) == ("lan0.7", ("lan0.7",))
    plan = driver.network(network)
    (bridge,) = (item for item in plan if isinstance(item, Bridge))
    assert (bridge.name, bridge.borrowed) == ("lan0.7", False)
    assert "net.ipv4.conf.lan0/7.route_localnet=1" in switches(plan)
    assert port_of(driver.endpoint(network, ENDPOINT, SANDBOX)).master == "lan0.7"


def test_a_bridge_that_was_there_keeps_its_addresses_and_is_nobody_elses_to_sweep():
    borrowed = Borrowed(addresses=(ip_interface("10.7.0.1/16"), ip_interface("fe80::1/64")))
    driver, network = BridgeDriver(), replace(mixed(bridge="br0"), borrowed=borrowed)
    assert (driver.link(network), driver.links(network)) == ("br0", ())
    plan = driver.network(network)
    (bridge,) = (item for item in plan if isinstance(item, Bridge))
    assert bridge.borrowed
    assert [str(item.address) for item in plan if isinstance(item, Address)] == ["fd07::1/64"]
    (switch,) = (item for item in plan if isinstance(item, Sysctl) and "br0" in item.key)
    assert switch.before == "0"


def test_a_bridge_of_the_host_s_cannot_be_isolated_from_it():
    network = replace(mixed(bridge="br0", gateway_mode="isolated"), internal=True, borrowed=Borrowed())
    with pytest.raises(Invalid, match="br0 is there already, as the host's"):
        BridgeDriver().check(network)


def test_manners():
    found = BridgeDriver().manners(mixed(prefix="lan", host_binding="127.0.0.1", advertise_count="2"))
    assert (found.prefix, str(found.host_binding), found.advertise) == ("lan", "127.0.0.1", Advertise(2, 1000))
