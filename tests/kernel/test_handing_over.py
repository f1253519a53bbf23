"""Frames that programs on ports hand over: to whom, how far, and what is left when somebody goes.

What comes to a bridge meets a chain that drops all IPv4. So who is answered all the same was reached past the bridge.
"""

from __future__ import annotations

import json
import socket
from dataclasses import replace
from ipaddress import ip_address

import pytest

from tests.hosts import in_private_host
from tests.kernel.test_bridged_frames import set_switch
from tests.kernel.world import BRIDGE, NETWORK, World, has_gone, link_names, sh
from tests.kinds import needs_programs
from weft.firewall.guard_program import neighbour_key
from weft.kernel import programs
from weft.kernel.linux import LinuxKernel
from weft.plan import Guard, Plan, Veth

WALL = "add table bridge wall; add chain bridge wall tall { type filter hook prerouting priority 0; }; \
add rule bridge wall tall ether type ip drop"


@pytest.fixture(autouse=True)
def kernel_with_programs() -> None:
    needs_programs()


def apart() -> World:
    world = World()
    world.kernel.keep_bridged_frames_apart()
    return world


def guarded(world: World, number: int, *, bridge: str = BRIDGE.name) -> tuple[Plan, Guard]:
    plan = world.container(number)
    (pair,) = (item for item in plan if isinstance(item, Veth))
    own = (ip_address(f"10.1.0.{number + 1}"), ip_address(f"fd00:1::{number + 1:x}"))
    guard = Guard(pair.name, pair.mac, own, bridge)
    return (*plan, guard), guard


def build_wall() -> None:
    sh(f"nft '{WALL}'")


def reaches(world: World, address: str, number: int = 1) -> bool:
    return "1 received" in sh(f"ping -c1 -W0.3 {address} || true", world.pin(number))


def keys(world: World) -> list[bytes]:
    shared = world.kernel._guards._neighbours
    assert shared is not None
    return programs.keys_of(shared.table)


def index(link: str) -> int:
    return socket.if_nametoindex(link)


def two(world: World) -> tuple[Plan, Plan]:
    plans = guarded(world, 1)[0], guarded(world, 2)[0]
    for plan in plans:
        world.kernel.ensure(plan)
    return plans


@pytest.mark.parametrize("address", ["10.1.0.3", "10.1.0.1"])
@in_private_host
def test_neighbours_and_the_host_are_reached_past_the_bridge(address: str):
    world = apart()
    two(world)
    assert reaches(world, address)
    build_wall()
    assert reaches(world, address)


@in_private_host
def test_on_no_bridge_of_its_own_a_port_hands_nothing_over():
    world = apart()
    for number in (1, 2):
        world.kernel.ensure(guarded(world, number, bridge="")[0])
    assert reaches(world, "10.1.0.3")
    build_wall()
    assert not reaches(world, "10.1.0.3")


@in_private_host
def test_where_others_are_asked_about_bridged_frames_they_still_are():
    world = apart()
    set_switch("1")
    for plan in two(world):
        assert world.kernel.missing(plan) == ()
    build_wall()
    assert not reaches(world, "10.1.0.3")
    for asked in (0, 1):
        set_switch(f"{asked}")
        for plan in (guarded(world, 1)[0], guarded(world, 2)[0]):
            assert len(world.kernel.missing(plan)) == 1
            world.kernel.ensure(plan)
        assert reaches(world, "10.1.0.3") == (not asked)


@in_private_host
def test_it_can_be_had_and_given_up_while_the_container_runs():
    world = apart()
    two(world)
    build_wall()
    _, one = guarded(world, 1)
    for wanted, heard in ((replace(one, bridge=""), False), (one, True)):
        assert world.kernel.missing((wanted,)) == (wanted,)
        world.kernel.ensure((wanted,))
        assert world.kernel.missing((wanted,)) == ()
        assert reaches(world, "10.1.0.3") == heard


@in_private_host
def test_who_leaves_is_handed_nothing_any_more():
    world = apart()
    _, other = two(world)
    assert len(keys(world)) == 3  # the host is one
    pair = next(item for item in other if isinstance(item, Veth))
    world.kernel.remove(other)
    assert neighbour_key(index(BRIDGE.name), pair.mac) not in keys(world)
    assert not reaches(world, "10.1.0.3")
    world.kernel.ensure(other)
    sh("ip neighbour flush dev eth0", world.pin(1))
    assert reaches(world, "10.1.0.3")


@in_private_host
def test_with_the_network_all_that_was_known_of_it_goes():
    world = apart()
    for plan in two(world):
        world.kernel.remove(plan)
    for _ in range(2):
        world.kernel.remove(NETWORK)
    assert keys(world) == []


@in_private_host
def test_the_next_weftd_goes_on_with_what_ports_know():
    world = apart()
    (one, other) = two(world)
    pair = next(item for item in other if isinstance(item, Veth))
    world.kernel.close()
    sh(f"ip link del {pair.name}")
    assert has_gone(lambda: pair.name in link_names())
    world.kernel = LinuxKernel(world.run_dir)
    assert world.kernel.missing(one) == ()
    assert len(keys(world)) == 2  # and knows nothing of the port that went meanwhile
    third, _ = guarded(world, 3)
    world.kernel.ensure(third)
    build_wall()
    assert reaches(world, "10.1.0.4")
    assert reaches(world, "10.1.0.2", number=3)


@in_private_host
def test_the_bridge_knows_where_a_container_is_that_it_hears_nothing_of():
    world = apart()
    plan, guard = guarded(world, 1)
    world.kernel.ensure(plan)
    known = [entry for entry in json.loads(sh(f"bridge -j fdb show dev {guard.port}")) if entry["mac"] == guard.mac]
    assert {entry["state"] for entry in known} == {"static"}  # one, or one more for the default VLAN
    sh(f"bridge fdb del {guard.mac} dev {guard.port} master")
    assert world.kernel.missing(plan) == (guard,)
    world.kernel.ensure(plan)
    assert world.kernel.missing(plan) == ()


@in_private_host
def test_the_same_mac_on_another_bridge_is_somebody_else():
    world = apart()
    two(world)
    away = replace(BRIDGE, name="wb-00000000beef", mac="02:77:00:00:be:ef")
    plan, guard = guarded(world, 4, bridge=away.name)
    twin = guarded(world, 2)[1].mac
    moved = tuple(replace(item, master=away.name, mac=twin) if isinstance(item, Veth) else item for item in plan[:-1])
    world.kernel.ensure((away, *moved, replace(guard, mac=twin)))
    build_wall()
    assert reaches(world, "10.1.0.3")


@in_private_host
def test_a_bridge_that_others_made_anew_is_learned_anew():
    world = apart()
    one, other = two(world)
    sh(f"ip link del {BRIDGE.name}")
    world.kernel.ensure(NETWORK)
    for plan in (one, other):
        world.kernel.ensure(plan)
        assert world.kernel.missing(plan) == ()
    build_wall()
    assert reaches(world, "10.1.0.3")
    assert reaches(world, "10.1.0.1")


@in_private_host
def test_what_is_handed_over_is_limited_on_the_way_out_of_the_port():
    world = apart()
    two(world)
    port = guarded(world, 2)[1].port
    sh(f"tc qdisc add dev {port} root pfifo limit 100")
    assert reaches(world, "10.1.0.3")
    (queue,) = json.loads(sh(f"tc -j -s qdisc show dev {port} root"))
    assert queue["packets"] > 0


@in_private_host
def test_a_port_that_was_unplugged_is_guarded_all_the_same_and_known_once_it_is_back():
    world = apart()
    plan, guard = guarded(world, 1)
    world.kernel.ensure(plan)
    sh(f"ip link set {guard.port} nomaster; tc qdisc del dev {guard.port} ingress")
    world.kernel.ensure((guard,))
    assert "weft_guard" in sh(f"tc filter show dev {guard.port} ingress")
    assert guard in world.kernel.missing(plan)
    world.kernel.ensure(plan)
    assert world.kernel.missing(plan) == ()
