"""Programs on ports: put there before the port is up, told from others, mended, replaced, taken away."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from tests.hosts import in_private_host, needs_root
from tests.kernel.world import BRIDGE, World, has_gone, link_names, sh
from tests.kinds import needs_programs
from weft import names
from weft.errors import NotFound
from weft.kernel.linux import LinuxKernel
from weft.plan import Guard, Plan, Veth

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def programs() -> None:
    needs_programs()


def guarded(world: World, number: int = 1) -> tuple[Plan, Guard]:
    plan = world.container(number)
    (pair,) = (item for item in plan if isinstance(item, Veth))
    own = (ip_address(f"10.1.0.{number + 1}"), ip_address(f"fd00:1::{number + 1:x}"))
    guard = Guard(pair.name, pair.mac, own)
    return (*plan, guard), guard


def filters(port: str) -> list[dict[str, Any]]:
    """Of the port's ingress, those that are no mere holders of others."""
    listed = json.loads(sh(f"tc -j filter show dev {port} ingress") or "[]")
    return [options for each in listed if (options := each.get("options")) and "handle" in options]


def speaks(world: World, address: str, number: int = 1) -> bool:
    """Whether the container is heard from that address."""
    netns = world.pin(number)
    sh(f"ip address replace {address}/24 dev eth0", netns)
    try:
        return "1 received" in sh(f"ping -c1 -W0.3 -I {address} 10.1.0.1 || true", netns)
    finally:
        if address != f"10.1.0.{number + 1}":
            sh(f"ip address del {address}/24 dev eth0", netns)


@in_private_host
def test_what_is_not_its_own_does_not_come_out_of_the_port():
    world = World()
    plan, guard = guarded(world)
    for _ in range(2):
        world.kernel.ensure(plan)
        assert world.kernel.missing(plan) == ()
        (made,) = filters(guard.port)
        assert (made["bpf_name"], made["direct-action"]) == ("weft_guard", True)
    assert speaks(world, "10.1.0.2")
    assert not speaks(world, "10.1.0.77")


@in_private_host
def test_what_is_right_is_left_as_it_is():
    world = World()
    plan, guard = guarded(world)
    world.kernel.ensure(plan)
    before = filters(guard.port)
    world.kernel.ensure(plan)
    # Another weftd finds it right as well, though it has loaded none itself.
    later = LinuxKernel(world.run_dir)
    assert later.missing(plan) == ()
    later.ensure(plan)
    assert filters(guard.port) == before


@pytest.mark.parametrize(
    "damage",
    [
        "tc filter del dev {port} ingress",
        "tc qdisc del dev {port} ingress",
        "tc filter del dev {port} ingress; "
        "tc filter add dev {port} ingress pref 1 handle 1 bpf da bytecode '1,6 0 0 0' 2>/dev/null || true",
        "ip link del {port}",
    ],
)
@in_private_host
def test_what_others_did_to_it_is_seen_and_put_right(damage: str):
    world = World()
    plan, guard = guarded(world)
    world.kernel.ensure(plan)
    sh(damage.format(port=guard.port))
    assert guard in world.kernel.missing(plan)
    world.kernel.ensure(plan)
    assert world.kernel.missing(plan) == ()
    assert speaks(world, "10.1.0.2")
    assert not speaks(world, "10.1.0.77")


@in_private_host
def test_other_addresses_take_the_place_of_those_before():
    world = World()
    plan, guard = guarded(world)
    world.kernel.ensure(plan)
    more = replace(guard, addresses=(*guard.addresses, ip_address("10.1.0.77")))  # of another shape
    other = replace(guard, addresses=(ip_address("10.1.0.77"), guard.addresses[1]))  # of the same
    for wanted, heard in ((more, (True, True)), (other, (False, True)), (guard, (True, False))):
        assert world.kernel.missing((wanted,)) == (wanted,)
        world.kernel.ensure((wanted,))
        assert world.kernel.missing((wanted,)) == ()
        assert (speaks(world, "10.1.0.2"), speaks(world, "10.1.0.77")) == heard
        assert len(filters(guard.port)) == 1


@in_private_host
def test_taking_it_away_leaves_the_port_as_it_was():
    world = World()
    plan, guard = guarded(world)
    world.kernel.ensure(plan)
    for _ in range(2):
        world.kernel.remove((guard,))
        assert "ingress" not in sh(f"tc qdisc show dev {guard.port}")
    assert speaks(world, "10.1.0.77")
    world.kernel.ensure((guard,))
    world.kernel.remove(plan)
    world.kernel.remove(plan)
    assert has_gone(lambda: guard.port in link_names())
    assert world.kernel._guards._written == {}


@in_private_host
def test_what_others_have_at_the_port_stays():
    world = World()
    plan, guard = guarded(world)
    world.kernel.ensure(plan[:-1])
    sh(f"tc qdisc add dev {guard.port} clsact; tc filter add dev {guard.port} ingress pref 7 u32 match u32 0 0")
    world.kernel.ensure(plan)
    assert world.kernel.missing(plan) == ()
    assert not speaks(world, "10.1.0.77")
    world.kernel.remove((guard,))
    assert "pref 7 u32" in sh(f"tc filter show dev {guard.port} ingress")


@in_private_host
def test_without_its_port_it_is_refused_by_name():
    with pytest.raises(NotFound, match="cannot guard port wv-7: there is no such link"):
        World().kernel.ensure((Guard("wv-7", "02:42:0a:01:00:07", (ip_address("10.1.0.7"),)),))


@pytest.mark.parametrize("kind", ["as before", "of another shape", "of no guard"])
@in_private_host
def test_a_container_from_a_spare_is_guarded_as_any_other(kind: str):
    world = World()
    world.kernel = LinuxKernel(world.run_dir, spares=1)
    first, _ = guarded(world, 9)
    world.kernel.ensure(first)  # the next is expected to be like it
    world.kernel.prepare()
    beginning = world.kernel.offer(BRIDGE.name)
    assert beginning is not None
    link = names.veth(names.new_id(beginning))
    assert len(filters(link)) == 1  # it lets nothing pass yet
    plan, guard = guarded(world)
    guard = replace(guard, port=link)
    if kind == "of another shape":
        guard = replace(guard, addresses=guard.addresses[:1])
    made = tuple(replace(item, name=link) if isinstance(item, Veth) else item for item in plan[:-1])
    wanted = made if kind == "of no guard" else (*made, guard)
    world.kernel.ensure(wanted)
    assert world.kernel.missing(wanted) == ()
    assert len(filters(link)) == (kind != "of no guard")
    assert speaks(world, "10.1.0.2")
    assert speaks(world, "10.1.0.77") == (kind == "of no guard")


@in_private_host
def test_where_rules_are_wanted_no_program_is_left():
    world = World()
    plan, guard = guarded(world)
    world.kernel.ensure(plan)
    rules = LinuxKernel(world.run_dir, programs=False)
    assert not rules.guards_by_programs()
    assert rules.missing(plan) == (guard,)
    for _ in range(2):
        rules.ensure(plan)
        assert rules.missing(plan) == ()
        assert filters(guard.port) == []
    assert world.kernel.missing(plan) == (guard,)


@in_private_host
def test_a_spare_s_link_that_was_deleted_is_made_anew_and_guarded():
    world = World()
    world.kernel = LinuxKernel(world.run_dir, spares=1)
    world.kernel.ensure(guarded(world, 9)[0])
    world.kernel.prepare()
    beginning = world.kernel.offer(BRIDGE.name)
    assert beginning is not None
    link = names.veth(names.new_id(beginning))
    sh(f"ip link del {link}")
    plan, guard = guarded(world)
    made = tuple(replace(item, name=link) if isinstance(item, Veth) else item for item in plan[:-1])
    wanted = (*made, replace(guard, port=link))
    world.kernel.ensure(wanted)
    assert world.kernel.missing(wanted) == ()
    assert not speaks(world, "10.1.0.77")


def test_in_a_user_namespace_the_rules_do_it():
    needs_root("as anybody else one is in a user namespace anyway")
    script = """
import subprocess
from tests.kernel.world import World
from tests.kernel.test_guards import guarded
world = World()
plan, guard = guarded(world)
assert not world.kernel.guards_by_programs()
world.kernel.ensure(plan)
assert world.kernel.missing(plan) == ()
assert "ingress" not in subprocess.run(["tc", "qdisc", "show"], capture_output=True, text=True).stdout
from tests.engine.house import house
from weft.engine.specs import NetworkSpec
made = house()
made.controller.networks.create(NetworkSpec(name="front"))
assert "chain suspects" in subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True).stdout
print("done")
"""
    unshare = ["unshare", "--user", "--map-root-user", "--net", "--mount"]
    done = subprocess.run(
        [*unshare, sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": f"{ROOT}/src:{ROOT}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == "done\n", done.stderr
