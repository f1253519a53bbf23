"""Uplinks, VLANs and proxied addresses: put in place, told from what is not, taken away, and nothing else touched."""

from __future__ import annotations

import json
import subprocess
from ipaddress import ip_address
from typing import Any

import pytest

from tests.hosts import in_private_host
from tests.kernel.world import BRIDGE, World
from tests.kernel.world import sh as shell
from tests.kinds import needs_link_kind
from weft.errors import Conflict, Exhausted, NotFound, WeftError
from weft.plan import ProxyNeighbour, Uplink, Vlan

UPLINK = Uplink("eth1", BRIDGE.name)
TAGGED = Vlan("wl-0123456789ab", "eth1", 10)
ANSWERS = (ProxyNeighbour("eth1", ip_address("fd00:1::2")), ProxyNeighbour("eth1", ip_address("10.1.0.2")))


def wired() -> World:
    """A world with a free link, eth1, that has been up for a while."""
    world = World()
    shell("ip link add eth1 type veth peer name far")
    shell("ip link set eth1 up; ip link set far up")
    return world


def eth1() -> Any:
    return json.loads(shell("ip -j -d address show eth1"))[0]


def held() -> Any:
    """Every link with its master and its addresses, but for those that the kernel itself gives it when it has time."""
    shown = json.loads(shell("ip -j address"))
    return [
        (link["ifname"], link.get("master"), [a["local"] for a in link["addr_info"] if a["scope"] != "link"])
        for link in shown
    ]


@in_private_host
def test_an_uplink_is_a_port_and_then_as_it_was():
    world = wired()
    before = held()
    assert world.kernel.missing((UPLINK,)) == (UPLINK,)
    for _ in range(2):
        world.kernel.ensure((UPLINK,))
        assert eth1()["master"] == BRIDGE.name
        assert world.kernel.missing((UPLINK,)) == ()
    for _ in range(2):
        world.kernel.remove((UPLINK,))
        assert held() == before


@in_private_host
def test_one_that_was_down_is_set_up_and_a_lost_one_put_back():
    world = wired()
    shell("ip link set eth1 down")
    world.kernel.ensure((UPLINK,))
    assert world.kernel.missing((UPLINK,)) == ()
    for damage in ("ip link set eth1 nomaster", "ip link set eth1 down"):
        shell(damage)
        assert world.kernel.missing((UPLINK,)) == (UPLINK,)
        world.kernel.ensure((UPLINK,))
        assert world.kernel.missing((UPLINK,)) == ()


@pytest.mark.parametrize(
    ("before", "kind", "said"),
    [
        ("ip link del eth1", NotFound, "there is no link eth1 on this host to be the uplink of wb-0123456789ab"),
        (
            "ip link add br0 type bridge; ip link set eth1 master br0",
            Conflict,
            "eth1 belongs to br0 already: take it out with `ip link set eth1 nomaster`, or name another uplink",
        ),
        (
            "ip address add 192.0.2.7/24 dev eth1",
            Conflict,
            "eth1 has the address 192.0.2.7/24, at which the host would answer no more as a port of a bridge: take it "
            "away with `ip address del 192.0.2.7/24 dev eth1`, or name another uplink",
        ),
        (
            "ip address add 2001:db8::7/64 dev eth1",
            Conflict,
            "eth1 has the address 2001:db8::7/64, at which the host would answer no more as a port of a bridge: take "
            "it away with `ip address del 2001:db8::7/64 dev eth1`, or name another uplink",
        ),
    ],
)
@in_private_host
def test_a_link_in_use_is_left_alone(before: str, kind: type[WeftError], said: str):
    world = wired()
    shell(before)
    untouched = held()
    with pytest.raises(kind) as refused:
        world.kernel.ensure((UPLINK,))
    assert str(refused.value) == said
    world.kernel.remove((UPLINK,))
    assert held() == untouched


@in_private_host
def test_proxied_addresses_come_and_go():
    world = wired()
    assert world.kernel.missing(ANSWERS) == ANSWERS
    for _ in range(2):
        world.kernel.ensure(ANSWERS)
        assert world.kernel.missing(ANSWERS) == ()
    shown = shell("ip neigh show proxy")
    assert "fd00:1::2 dev eth1" in shown
    assert "10.1.0.2 dev eth1" in shown
    shell("ip neigh del proxy fd00:1::2 dev eth1")
    assert world.kernel.missing(ANSWERS) == (ANSWERS[0],)
    for _ in range(2):
        world.kernel.remove(ANSWERS)
        assert shell("ip neigh show proxy") == ""
    with pytest.raises(NotFound, match="there is no link eth9 on this host to answer for fd00:1::2 on"):
        world.kernel.ensure((ProxyNeighbour("eth9", ip_address("fd00:1::2")),))


@in_private_host
def test_only_weft_s_own_proxies_are_swept():
    world = wired()
    shell("ip neigh add proxy fd00:9::9 dev eth1; ip neigh add proxy 10.9.0.9 dev eth1")
    world.kernel.ensure(ANSWERS)
    assert world.kernel.sweep((BRIDGE.name,), (), ANSWERS) == ()
    gone = world.kernel.sweep((BRIDGE.name,), (), ANSWERS[:1])
    assert gone == ("proxy 10.1.0.2 on eth1",)
    shown = shell("ip neigh show proxy")
    assert [address in shown for address in ("fd00:9::9", "10.9.0.9", "fd00:1::2", "10.1.0.2")] == [True] * 3 + [False]


@in_private_host
def test_a_vlan_comes_and_goes_as_a_port():
    needs_link_kind("vlan")
    world = wired()
    plan = (TAGGED, Uplink(TAGGED.name, BRIDGE.name))
    before = held()
    for _ in range(2):
        world.kernel.ensure(plan)
        assert world.kernel.missing(plan) == ()
    shown = json.loads(shell(f"ip -j -d link show {TAGGED.name}"))[0]
    assert (shown["link"], shown["linkinfo"]["info_data"]["id"], shown["master"]) == ("eth1", 10, BRIDGE.name)
    other = Vlan("wl-fedcba987654", "eth1", 10)
    with pytest.raises(Conflict, match="another link has that name, or is that VLAN already"):
        world.kernel.ensure((other,))
    assert world.kernel.missing((Vlan(TAGGED.name, "eth1", 11),)) != ()
    assert world.kernel.sweep((BRIDGE.name, TAGGED.name), ()) == ()
    for _ in range(2):
        world.kernel.remove(plan)
        assert subprocess.run(["ip", "link", "show", TAGGED.name], capture_output=True, check=False).returncode
        assert held() == before


@in_private_host
def test_a_vlan_that_cannot_be_is_refused_with_the_reason():
    world = wired()
    with pytest.raises(NotFound, match="no such link on this host: 'eth9'; did you mean 'eth1'"):
        world.kernel.ensure((Vlan(TAGGED.name, "eth9", 10),))
    needs_link_kind("vlan")
    shell("ip link set eth1 down")
    with pytest.raises(Conflict, match="cannot make wl-0123456789ab: eth1 is down; `ip link set eth1 up`"):
        world.kernel.ensure((TAGGED,))


@in_private_host
def test_a_bridge_that_is_full_refuses_with_the_limit_and_the_way_out():
    world = World()
    ports = "".join(f"link add d{i} master {BRIDGE.name} type veth\n" for i in range(1023))
    shell(f"printf '{ports}' | ip -batch -")
    with pytest.raises(Exhausted) as refused:
        world.kernel.ensure(world.container(1))
    assert str(refused.value) == (
        f"bridge {BRIDGE.name} is full: a Linux bridge has at most 1,023 ports, one per container; make another "
        "network, and connect to both whoever must be reached from both"
    )
