"""Networks on a bridge of the user's choice: one that weft makes and takes away, or one that it leaves as it was."""

from __future__ import annotations

import json
from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from tests.engine.house import House, house, shell
from tests.hosts import in_private_host
from tests.kernel.world import has_gone
from weft.engine import plans
from weft.engine.specs import ContainerSpec, EndpointSpec, PoolSpec
from weft.errors import Conflict, NotFound
from weft.kernel.links import SPARE_GROUP
from weft.kernel.linux import LinuxKernel


def bridge(name: str) -> dict[str, Any]:
    """All that the tools tell of it, but what counts or ages."""
    (link,) = json.loads(shell(f"ip -j -d link show {name}"))
    (listed,) = json.loads(shell(f"ip -j -d address show {name}"))
    told = {key: link[key] for key in ("flags", "mtu", "address", "group", "operstate", "ifindex")}
    told["kind"] = {k: v for k, v in link["linkinfo"]["info_data"].items() if not k.endswith("timer")}
    # The kernel makes a link-local one by itself, once there is a carrier.
    told["addresses"] = [
        (own["local"], own["prefixlen"], own["scope"])
        for own in listed["addr_info"]
        if own["scope"] != "link" or own["local"] == "fe80::1"
    ]
    told["ports"] = shell(f"ls /sys/class/net/{name}/brif 2>/dev/null || true").split() or [
        port["ifname"] for port in json.loads(shell(f"ip -j link show master {name}"))
    ]
    told["switches"] = shell(f"sysctl net.ipv4.conf.{name} net.ipv6.conf.{name} | grep -v stable_secret")
    return told


def subnet(text: str, **more: object) -> tuple[PoolSpec, ...]:
    return (PoolSpec(subnet=ip_network(text), **more),)  # type: ignore[arg-type]


def container(made: House, name: str, network: str) -> str:
    return str(made.container(name, network).key)


@in_private_host
def test_a_bridge_that_weft_makes_is_gone_with_its_network():
    made = house()
    made.network("lan", options={"bridge": "lan0"}, ipv6=True)
    netns = container(made, "web", "lan")
    assert "1 received" in shell(f"nsenter --net={netns} ping -c1 -W2 {gateway(made, 'lan')}")
    assert made.explain_network("lan").wrong == 0
    made.controller.remove_container("web", force=True)
    made.controller.networks.remove("lan")
    made.converge.sweep()
    assert has_gone(lambda: "wv-" in shell("ip -o link"))
    assert json.loads(shell("ip -j link show")) == [json.loads(shell("ip -j link show lo"))[0]]


def gateway(made: House, network: str) -> str:
    (pool,) = made.parts.records.network(network).pools_of(4)
    assert pool is not None
    return str(pool.gateway)


@in_private_host
def test_a_bridge_with_a_name_of_its_own_is_healed_and_swept():
    made = house()
    network = made.network("lan", options={"bridge": "lan0"})
    container(made, "web", "lan")
    made.kernel.sweep(*made.converge.asked_for())
    assert shell("ip -o link show lan0")
    shell("ip link set lan0 down; ip address flush dev lan0")
    assert made.converge.heal_network(network.id)
    assert made.kernel.missing(plans.network_plan(network)) == ()
    shell("ip link delete lan0")
    assert made.converge.heal_network(network.id)
    assert made.converge.heal_sandbox(made.parts.records.sandbox("web").id)
    assert made.kernel.sweep((), ()) != ()
    assert "lan0" not in shell("ip -o link")


@in_private_host
def test_a_daemon_that_comes_later_knows_the_bridge_for_its_own():
    made = house()
    network = made.network("lan", options={"bridge": "lan0"})
    later = LinuxKernel(made.config.run_dir)
    assert later.sweep(("lan0",), ()) == ()
    assert later.missing(plans.network_plan(network)) == ()
    assert later.borrow("lan0") is None, "what a network of weft's left behind is not somebody else's"


HOSTS_BRIDGES = {
    "empty": "ip link add br0 type bridge; ip link set br0 up",
    "with a MAC": "ip link add br0 address 02:00:00:00:00:77 type bridge; ip link set br0 up",
    "with addresses": "ip link add br0 type bridge; ip link set br0 up; ip address add 10.20.0.5/24 dev br0;"
    " ip address add 10.20.0.6/24 dev br0; ip -6 address add fd20::5/64 dev br0 nodad",
    "with a port": "ip link add br0 type bridge; ip link add port type veth peer name far;"
    " ip link set port master br0 up; ip link set far up; ip link set br0 up",
    "with a port of a high MAC": "ip link add br0 type bridge; ip link add port address fe:f0:00:00:00:01 type veth"
    " peer name far; ip link set port master br0 up; ip link set far up; ip link set br0 up",
    "of another kind": "ip link add br0 mtu 1400 type bridge stp_state 0 forward_delay 0 ageing_time 1000"
    " mcast_snooping 0; ip link set br0 up; sysctl -qw net.ipv4.conf.br0.route_localnet=1",
}


@pytest.mark.parametrize("kind", HOSTS_BRIDGES)
@in_private_host
def test_a_bridge_of_the_host_s_is_left_as_it_was_found(kind: str):
    shell(HOSTS_BRIDGES[kind])
    shell(
        "sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1; sleep 0.3"
    )  # until its link-local address is there, and its carrier
    before = bridge("br0")
    made = house()
    made.network("lan", options={"bridge": "br0"}, ipv6=True, pools=(*subnet("10.20.0.0/24"), *subnet("fd20::/64")))
    used = bridge("br0")
    same = ("address", "group", "ifindex", "mtu")
    assert [used[key] for key in same] == [before[key] for key in same]
    for number in range(6):
        netns = container(made, f"c{number}", "lan")
        assert [bridge("br0")[key] for key in same] == [before[key] for key in same]
        assert "1 received" in shell(f"nsenter --net={netns} ping -c1 -W2 {gateway(made, 'lan')}")
    assert made.explain_network("lan").wrong == 0
    made.kernel.sweep(*made.converge.asked_for())
    for number in range(6):
        made.controller.remove_container(f"c{number}", force=True)
    made.controller.networks.remove("lan")
    made.kernel.flush()
    assert has_gone(lambda: "wv-" in shell("ip -o link"))
    after = bridge("br0")
    assert {**after, "operstate": 0, "flags": set(after["flags"]) - {"NO-CARRIER", "LOWER_UP"}} == {
        **before,
        "operstate": 0,
        "flags": set(before["flags"]) - {"NO-CARRIER", "LOWER_UP"},
    }
    assert "wb-" not in shell("nft list ruleset")
    assert "br0" not in shell("nft list ruleset")


@in_private_host
def test_what_was_made_ahead_does_not_stay_plugged_into_the_host_s_bridge():
    shell(HOSTS_BRIDGES["empty"])
    made = house(spares=2)
    made.network("lan", options={"bridge": "br0"})
    made.controller.prepare()
    container(made, "web", "lan")
    made.controller.prepare()
    made.controller.remove_container("web", force=True)
    made.controller.networks.remove("lan")
    made.kernel.flush()
    made.controller.prepare()
    assert has_gone(lambda: json.loads(shell("ip -j link show master br0")) != [])
    assert json.loads(shell(f"ip -j link show group {SPARE_GROUP}")) != []


@in_private_host
def test_its_own_address_is_the_gateway_and_never_a_container_s():
    shell(HOSTS_BRIDGES["with addresses"])
    made = house()
    network = made.network(
        "lan", options={"bridge": "br0"}, pools=subnet("10.20.0.0/24", ip_range=ip_network("10.20.0.4/30"))
    )
    (pool,) = network.pools_of(4)
    assert str(pool.gateway) == "10.20.0.5"
    assert pool.aux == {"br0": ip_address("10.20.0.6")}
    spec = ContainerSpec(name="thief", networks=(EndpointSpec(network="lan", ipv4=ip_address("10.20.0.6")),))
    with pytest.raises(Conflict, match=r"10\.20\.0\.6"):
        made.controller.create_container(spec)


@in_private_host
def test_with_another_router_on_it_the_host_adds_no_address():
    shell(HOSTS_BRIDGES["with addresses"])
    made = house()
    wish = subnet("10.20.0.0/24", gateway=ip_address("10.20.0.1"))
    made.network("lan", options={"bridge": "br0", "inhibit-ipv4": "true"}, pools=wish)
    assert "10.20.0.1/" not in shell("ip address show br0")
    netns = container(made, "web", "lan")
    assert "default via 10.20.0.1" in shell(f"nsenter --net={netns} ip route")
    assert "10.20.0.2" in shell(f"nsenter --net={netns} ip address")


@in_private_host
def test_what_will_not_do_is_refused_and_not_touched():
    shell("ip link add up0 type bridge; ip link set up0 up; ip link add down0 type bridge; ip link add v0 type veth")
    made = house()
    with pytest.raises(Conflict, match="bridge down0 is down, and not weft's to change: ip link set down0 up"):
        made.network("lan", options={"bridge": "down0"})
    with pytest.raises(Conflict, match="v0 is there already, and no bridge"):
        made.network("lan", options={"bridge": "v0"})
    made.network("lan", options={"bridge": "up0"})
    with pytest.raises(Conflict, match="bridge up0 is that of network 'lan'"):
        made.network("second", options={"com.docker.network.bridge.name": "up0"})
    assert shell("ip -o link show up down0; true") == ""


@in_private_host
def test_a_bridge_that_somebody_made_in_the_place_of_weft_s_is_not_taken_over():
    made = house()
    network = made.network("lan", options={"bridge": "lan0"})
    shell("ip link delete lan0; ip link add lan0 type bridge; ip link set lan0 up")
    before = bridge("lan0")
    with pytest.raises(Conflict, match="exists and is no bridge of weft's"):
        made.kernel.ensure(plans.network_plan(network))
    assert bridge("lan0")["address"] == before["address"]
    assert made.kernel.sweep((), ()) == ()


@in_private_host
def test_a_bridge_of_the_host_s_that_is_gone_is_missed_and_named():
    shell(HOSTS_BRIDGES["empty"])
    made = house()
    network = made.network("lan", options={"bridge": "br0"})
    shell("ip link delete br0")
    assert made.kernel.missing(plans.network_plan(network))
    with pytest.raises(NotFound, match="bridge br0 is gone; it was there before weft's network"):
        made.kernel.ensure(plans.network_plan(network))
    made.controller.networks.remove("lan")


@in_private_host
def test_interfaces_are_called_as_the_network_wants():
    made = house()
    made.network("a", options={"prefix": "lan"})
    made.network("b")
    made.container("web", "a", "b")
    found = sorted(e.ifname for e in made.parts.records.endpoints_of(made.parts.records.sandbox("web").id))
    assert found == ["eth0", "lan0"]
    assert made.explain("web").wrong == 0


@in_private_host
def test_the_doctor_names_what_the_options_count_on():
    made = house()
    made.network("a", options={"snat-ipv4": "192.0.2.9", "trusted-interfaces": "eth7"})
    told = {finding.what for finding in made.examine().findings}
    assert "packets from network a leave under 192.0.2.9, which is no address of this host" in told
    assert "network a trusts interface eth7, which is not there" in told
    shell("ip address add 192.0.2.9/32 dev lo; ip link add eth7 type bridge")
    told = {finding.what for finding in made.examine().findings}
    assert not any("192.0.2.9" in what or "eth7" in what for what in told)
