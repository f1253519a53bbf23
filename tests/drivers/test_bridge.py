"""From options and records to plans: what a bridge network is, before any kernel hears of it."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Interface, IPv6Interface, ip_address, ip_interface, ip_network

import pytest

from weft.drivers import driver_named
from weft.drivers.bridge import BridgeDriver, Options, bridge_mac, read_options
from weft.errors import Invalid, NotFound
from weft.model import Endpoint, Network, Pool, Sandbox
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


@pytest.mark.parametrize(
    ("raw", "read"),
    [
        ({}, Options()),
        ({"mtu": "1400"}, Options(mtu=1400)),
        ({"com.docker.network.driver.mtu": "1400"}, Options(mtu=1400)),
        ({"icc": "false"}, Options(icc=False)),
        ({"com.docker.network.bridge.enable_icc": "false"}, Options(icc=False)),
        ({"masquerade": "0"}, Options(masquerade=False)),
        ({"anti-spoof": "false"}, Options(anti_spoof=False)),
        ({"com.docker.network.bridge.enable_ip_masquerade": "false"}, Options(masquerade=False)),
    ],
)
def test_options_in_dockers_words_and_ours(raw: dict[str, str], read: Options):
    assert read_options(raw) == read


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ({"mut": "1400"}, "unknown option 'mut' for driver bridge; it knows anti-spoof, icc, masquerade, mtu"),
        ({"mtu": "67"}, "option mtu: 67 is not between"),
        ({"mtu": "big"}, "option mtu: 'big' is not a whole number"),
        ({"icc": "maybe"}, "option icc: 'maybe' is neither true nor false"),
        ({"mtu": "1400", "com.docker.network.driver.mtu": "1300"}, "says again"),
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
        "outbound": f'"{BRIDGE}"',
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
