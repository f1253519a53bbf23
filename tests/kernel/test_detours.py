"""What arrives by a link is led through another: made, told from others, mended, taken away."""

from __future__ import annotations

import json

import pytest

from tests.hosts import in_private_host
from tests.kernel.world import World, ip, sh
from weft import names
from weft.errors import Conflict, NotFound
from weft.plan import Detour, Plan, Shaper

BESIDE = "wi-0001"


def detoured(world: World) -> tuple[Plan, Detour]:
    """A container that receives so much a second."""
    netns = world.pin(1)
    detour = Detour(netns, "eth0", BESIDE)
    held = Shaper(netns, BESIDE, rate=5_000_000, burst=16_384, queue=47_634)
    return (*world.container(1), detour, held), detour


def passed(netns: str) -> int:
    """How many packets left by the link beside."""
    (shown,) = json.loads(sh(f"tc -s -j qdisc show dev {BESIDE}", netns))
    assert shown["kind"] == "tbf"
    return int(shown["packets"])


@in_private_host
def test_all_that_arrives_passes_it_and_nothing_that_leaves():
    world = World()
    plan, detour = detoured(world)
    for _ in range(2):
        world.kernel.ensure(plan)
        assert world.kernel.missing(plan) == ()
    link = ip(f"address show {BESIDE}", detour.netns)[0]
    assert (link["group"], link["addr_info"]) == (str(names.CHILD_GROUP), [])
    before = passed(detour.netns)
    assert "3 received" in sh("ping -c3 -i0.01 -W2 10.1.0.2")
    assert 3 <= passed(detour.netns) - before <= 5  # and ARP


@in_private_host
def test_what_describe_says_does_the_same():
    world = World()
    plan, _ = detoured(world)
    world.kernel.ensure(world.container(1))
    for item in plan[len(world.container(1)) :]:
        sh("; ".join(item.describe()))
    assert world.kernel.missing(plan) == ()


@pytest.mark.parametrize(
    "damage",
    [
        f"ip link del {BESIDE}",
        f"ip link set {BESIDE} down",
        "tc qdisc del dev eth0 ingress",
        "tc filter del dev eth0 ingress",
        "ip link add other up type ifb; tc filter del dev eth0 ingress; tc filter add dev eth0 ingress "
        "protocol all pref 1 u32 match u32 0 0 action mirred egress redirect dev other",
    ],
)
@in_private_host
def test_what_others_did_to_it_is_seen_and_put_right(damage: str):
    world = World()
    plan, detour = detoured(world)
    world.kernel.ensure(plan)
    sh(damage, detour.netns)
    assert detour in world.kernel.missing(plan)
    world.kernel.ensure(plan)
    assert world.kernel.missing(plan) == ()
    assert "1 received" in sh("ping -c1 -W2 10.1.0.2")


@in_private_host
def test_taking_it_away_leaves_the_link_as_it_was():
    world = World()
    plan, detour = detoured(world)
    world.kernel.ensure(plan)
    for _ in range(2):
        world.kernel.remove((detour,))
        assert BESIDE not in sh("ip link", detour.netns)
        assert "ingress" not in sh("tc qdisc show", detour.netns)
    assert "1 received" in sh("ping -c1 -W2 10.1.0.2")
    world.kernel.remove(plan)


@in_private_host
def test_somebody_else_s_link_of_that_name_and_ingress_stay():
    world = World()
    plan, detour = detoured(world)
    world.kernel.ensure(world.container(1))
    sh(f"ip link add {BESIDE} type ifb; tc qdisc add dev eth0 ingress", detour.netns)
    with pytest.raises(Conflict, match=f"a link named {BESIDE} exists in there and is not weft's"):
        world.kernel.ensure(plan)
    world.kernel.remove((detour,))
    assert BESIDE in sh("ip link", detour.netns)
    assert "ingress" in sh("tc qdisc show dev eth0", detour.netns)


@in_private_host
def test_without_its_link_it_is_refused_by_name():
    world = World()
    world.kernel.ensure(world.container(1))
    detour = Detour(world.pin(1), "eth7", BESIDE)
    with pytest.raises(NotFound, match=rf"cannot lead what arrives by eth7 in .* through {BESIDE}: there is no link"):
        world.kernel.ensure((detour,))
    assert BESIDE not in sh("ip link", detour.netns)
