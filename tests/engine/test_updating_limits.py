"""Networks edited in place: what is refused by name, changing nothing, and what a link that is not weft's allows."""

from __future__ import annotations

import json
from dataclasses import dataclass
from ipaddress import ip_network

import pytest

from tests.engine.house import House, house, shell
from tests.engine.test_subnets import join, net, pools
from tests.engine.test_updating import assert_agreed, port, update
from tests.hosts import in_private_host
from tests.kinds import needs_link_kind
from weft.engine.specs import ContainerSpec, EndpointSpec, NetworkSpec, PortSpec
from weft.errors import Conflict, Invalid, WeftError


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"bridge": "br9"}, "option bridge of network 'net' cannot change while the network is there: containers are"),
        ({"com.docker.network.container_iface_prefix": "lan"}, "option prefix of network 'net' cannot change"),
        ({"uplink": "eth9"}, "option uplink of network 'net' cannot change"),
        ({"ndp-proxy": "eth9"}, "option ndp-proxy of network 'net' cannot change"),
        ({"gateway-mode": "isolated"}, "isolated is for internal networks"),
        ({"mtu": "20"}, "option mtu"),
        ({"nonsense": "1"}, "unknown option 'nonsense' for driver bridge"),
        ({"icc": None}, "no such option of network 'net': 'icc'"),
        ({"bandwidth-in": "1mbit", "bandwidth-in-burst": "1000B"}, "less than one packet"),
    ],
)
@in_private_host
def test_what_cannot_be_is_refused_by_name_and_changes_nothing(options: dict[str, str | None], said: str):
    made = house()
    before = net(made, "10.7.0.0/24")
    join(made, "web")
    with pytest.raises(WeftError, match=said):
        update(made, options={"masquerade": "false", **options}, labels={"a": "b"})
    assert made.parts.records.network("net") == before
    assert_agreed(made)


@in_private_host
def test_an_isolated_network_stays_one():
    made = house()
    net(made, "10.7.0.0/24", internal=True, options={"gateway-mode": "isolated"})
    with pytest.raises(Conflict, match="gateway-mode-ipv4=isolated of network 'net' cannot change"):
        update(made, options={"gateway-mode": None})
    with pytest.raises(Invalid, match="make 'net' with --internal"):
        update(made, internal=False)
    assert update(made, ipv6=True).pools_of(6)[0].gateway is None
    assert_agreed(made)


@in_private_host
def test_a_container_that_cannot_follow_is_why_it_is_refused():
    made = house()
    net(made, "10.7.0.0/24")
    options = {"bandwidth-in": "1mbit", "bandwidth-in-burst": "2000B"}
    spec = EndpointSpec(network="net", options=options)
    made.controller.create_container(ContainerSpec(name="web", networks=(spec,)))
    with pytest.raises(
        Invalid, match=r"container 'web' on network 'net': option bandwidth-in-burst: 2000 bytes .* with MTU 9000"
    ):
        update(made, options={"mtu": "9000"})
    assert made.parts.records.network("net").options == {}
    assert_agreed(made)


@in_private_host
def test_presets_and_words_are_no_networks():
    made = house()
    made.parts.records.preset_names.add("common")
    made.controller.networks.create(NetworkSpec(name="from", pools=pools("10.7.0.0/24"), preset="common"))
    with pytest.raises(Conflict, match="network 'common' only holds configuration"):
        update(made, "common", labels={"a": "b"})
    with pytest.raises(Conflict, match="stands for the host's own network"):
        update(made, "host", labels={"a": "b"})
    with pytest.raises(Conflict, match="has the options and subnets of the configuration network 'common'"):
        update(made, "from", options={"mtu": "1400"})
    assert update(made, "from", labels={"a": "b"}).labels == {"a": "b"}


@in_private_host
def test_ports_of_a_routed_network_become_the_host_s_unless_somebody_has_them():
    made = house()
    net(made, "10.7.0.0/24", options={"gateway-mode": "routed"})
    made.network("other", pools=pools("10.9.0.0/24"))
    for name in ("one", "two"):
        made.container(name, "net", ports=[PortSpec(container_port=80, host_port=8080)])
    with pytest.raises(Conflict, match=r"8080/tcp of this host would be published by 'one' and 'two'; `weft port rm`"):
        update(made, options={"gateway-mode": "nat"})
    made.controller.remove_container("two")
    made.container("there", "other", ports=[PortSpec(container_port=80, host_port=8080)])
    with pytest.raises(Conflict, match="8080/tcp is already published by container 'there'"):
        update(made, options={"gateway-mode": "nat"})
    made.controller.remove_container("there")
    update(made, options={"gateway-mode": "nat"})
    one = made.parts.records.sandbox("one").id
    assert one in made.parts.records.holding
    assert_agreed(made)
    update(made, options={"gateway-mode": "routed"})
    assert one not in made.parts.records.holding
    assert_agreed(made)


@in_private_host
def test_a_bridge_that_was_there_keeps_what_it_had():
    made = house()
    shell("ip link add br0 mtu 1400 type bridge; ip address add 10.7.0.5/24 dev br0; ip link set br0 up")
    net(made, "10.7.0.0/24", options={"bridge": "br0"})
    endpoint = join(made, "web")
    update(made, add_pools=pools("10.8.0.0/24"), options={"mtu": "1300"})
    assert port(endpoint)["mtu"] == 1300
    assert {"10.7.0.5/24", "10.8.0.1/24"} <= _addresses("br0")
    update(made, remove_pools=(ip_network("10.8.0.0/24"),))
    assert "10.8.0.1/24" not in _addresses("br0")
    assert_agreed(made)


def _addresses(link: str) -> set[str]:
    (found,) = json.loads(shell(f"ip -j address show {link}"))
    return {f"{address['local']}/{address['prefixlen']}" for address in found["addr_info"]}


# Networks on a parent


@dataclass(frozen=True)
class Lan:
    made: House
    key: str

    def link(self) -> dict[str, object]:
        (found,) = json.loads(shell(f"nsenter --net={self.key} ip -d -j link show eth0"))
        return {**found["linkinfo"]["info_data"], "index": found["ifindex"], "mtu": found["mtu"]}


def lan(driver: str, **options: str) -> Lan:
    needs_link_kind(driver)
    shell("ip link add up0 mtu 1400 type veth peer name far; ip link set up0 up; ip link set far up")
    made = house()
    made.network("net", driver=driver, pools=pools("10.7.0.0/24"), options={"parent": "up0", **options})
    join(made, "web")
    return Lan(made, made.parts.records.sandbox("web").key)


@in_private_host
def test_macvlan_changes_its_mode_and_mtu_on_the_same_link():
    there = lan("macvlan")
    before = there.link()
    for mode in ("private", "vepa", "bridge"):
        update(there.made, options={"mode": mode})
        assert there.link() == {**before, "mode": mode}
        assert_agreed(there.made)
    update(there.made, options={"mtu": "1300"})
    assert there.link()["mtu"] == 1300
    for options, said in (
        ({"mtu": None}, "option mtu of network 'net' cannot change"),
        ({"mode": "passthru"}, "option mode of network 'net' cannot change"),
        ({"parent": "far"}, "option parent of network 'net' cannot change"),
        ({"host-access": "true"}, "option host-access of network 'net' cannot change"),
    ):
        with pytest.raises(Conflict, match=said):
            update(there.made, options=options)
    with pytest.raises(Invalid, match="cannot be internal"):
        update(there.made, internal=True)
    assert_agreed(there.made)


@pytest.mark.full_kernel
@in_private_host
def test_ipvlan_changes_its_mode_and_flag_on_the_same_link():
    there = lan("ipvlan")
    before = there.link()["index"]
    for options in ({"mode": "l3"}, {"mode": "l3s"}, {"mode": "l2", "flag": "private"}, {"flag": None}):
        update(there.made, options=options)
        assert there.link()["index"] == before
        assert_agreed(there.made)
    with pytest.raises(Conflict, match="option parent of network 'net' cannot change"):
        update(there.made, options={"parent": "far"})


@in_private_host
def test_without_a_parent_it_stays_internal():
    needs_link_kind("macvlan")
    made = house()
    made.network("net", driver="macvlan", pools=pools("10.7.0.0/24"))
    with pytest.raises(Conflict, match=r"whether network 'net' \(macvlan\) is internal follows from its parent"):
        update(made, internal=False)
