"""Limits of bandwidth: put on a link, told from others, changed in place, taken away."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tests.hosts import in_private_host
from tests.kernel.world import World, sh
from weft.errors import NotFound
from weft.plan import HOST, Plan, Shaper, Veth, superseded

SLOW = Shaper(HOST, "wv-0001eth0", rate=5_000_000, burst=16_384, queue=47_634)


def limited(world: World) -> tuple[Plan, tuple[Shaper, Shaper]]:
    """A container whose interface is limited at both ends."""
    shapers = (SLOW, Shaper(world.pin(1), "eth0", rate=1_000_000_000, burst=1_250_000, queue=7_500_000))
    plan = world.container(1)
    at = next(i for i, item in enumerate(plan) if isinstance(item, Veth)) + 1
    return (*plan[:at], *shapers, *plan[at:]), shapers


def roots(netns: str = HOST) -> dict[str, tuple[str, dict[str, int]]]:
    """The root of every link that has one of its own, as tc shows it."""
    found = json.loads(sh("tc -j qdisc show", netns))
    return {q["dev"]: (q["kind"], q.get("options", {})) for q in found if q.get("root") and q["kind"] != "noqueue"}


@in_private_host
def test_both_ends_hold_their_rates_as_tc_shows_them():
    world = World()
    plan, (inward, outward) = limited(world)
    for _ in range(2):
        world.kernel.ensure(plan)
        assert world.kernel.missing(plan) == ()
    kind, shown = roots()["wv-0001eth0"]
    assert (kind, shown["rate"]) == ("tbf", inward.rate // 8)
    assert abs(shown["burst"] - inward.burst) <= 2
    kind, shown = roots(outward.netns)["eth0"]
    assert (kind, shown["rate"]) == ("tbf", outward.rate // 8)


@in_private_host
def test_what_describe_says_does_the_same():
    world = World()
    plan, shapers = limited(world)
    world.kernel.ensure(world.container(1))
    assert world.kernel.missing(plan) == shapers
    for shaper in shapers:
        sh("; ".join(shaper.describe()))
    assert world.kernel.missing(plan) == ()


@in_private_host
def test_without_limits_a_link_has_no_queue_at_all():
    world = World()
    world.kernel.ensure(world.container(1))
    assert roots() == {}
    assert roots(world.pin(1)) == {}


@in_private_host
def test_what_others_did_to_it_is_seen_and_put_right():
    world = World()
    plan, (inward, outward) = limited(world)
    world.kernel.ensure(plan)
    damages = (
        "tc qdisc del dev wv-0001eth0 root",
        "tc qdisc change dev wv-0001eth0 root tbf rate 6mbit burst 16384b limit 47634b",
        "tc qdisc change dev wv-0001eth0 root tbf rate 5mbit burst 20000b limit 47634b",
        "tc qdisc change dev wv-0001eth0 root tbf rate 5mbit burst 16384b limit 50000b",
        "tc qdisc replace dev wv-0001eth0 root pfifo",
    )
    for damage in damages:
        sh(damage)
        assert world.kernel.missing(plan) == (inward,), damage
        world.kernel.ensure(plan)
        assert world.kernel.missing(plan) == (), damage
    sh("tc qdisc del dev eth0 root", outward.netns)
    assert world.kernel.missing(plan) == (outward,)
    world.kernel.ensure(plan)
    assert world.kernel.missing(plan) == ()


@pytest.mark.parametrize("rate", [8_000, 5_000_001, 10**9, 40 * 10**9, 100 * 10**9])
@in_private_host
def test_any_rate_is_read_as_it_was_written(rate: int):
    world = World()
    world.kernel.ensure(world.container(1))
    for burst in (2_000, 16_384, min(64 * 2**20, 60 * rate // 8)):
        item = replace(SLOW, rate=rate, burst=burst, queue=burst + rate // 160)
        world.kernel.ensure((item,))
        assert world.kernel.missing((item,)) == ()


@in_private_host
def test_a_change_keeps_what_is_queued():
    world = World()
    world.kernel.ensure(world.container(1))
    slowest = replace(SLOW, rate=8_000, burst=2_000)
    world.kernel.ensure((slowest,))
    sh("ping -q -i 0.01 -c 20 -s 1000 -w 1 10.1.0.2 >/dev/null || true")
    (before,) = json.loads(sh("tc -j -s qdisc show dev wv-0001eth0"))
    assert before["qlen"] >= 3  # as many as ping's own buffer lets wait
    world.kernel.ensure((replace(slowest, rate=9_000),))
    (after,) = json.loads(sh("tc -j -s qdisc show dev wv-0001eth0"))
    # A frame a second leaves meanwhile, and on a slow machine more than one.
    assert after["qlen"] + after["packets"] >= before["qlen"] + before["packets"]
    assert (after["drops"], after["handle"]) == (before["drops"], before["handle"])


@in_private_host
def test_taking_it_away_leaves_the_link_and_somebody_else_s_queue():
    world = World()
    plan, shapers = limited(world)
    world.kernel.ensure(plan)
    for _ in range(2):
        world.kernel.remove(shapers)
        assert roots() == {}
        assert roots(world.pin(1)) == {}
    assert world.kernel.missing(world.container(1)) == ()
    sh("tc qdisc replace dev wv-0001eth0 root pfifo")
    world.kernel.remove(shapers)
    assert roots()["wv-0001eth0"][0] == "pfifo"
    world.kernel.remove(plan)


@in_private_host
def test_without_its_link_it_is_refused_by_name():
    world = World()
    with pytest.raises(NotFound, match=r"cannot limit what leaves by wv-0001eth0 on the host to 5000000 bit/s: there"):
        world.kernel.ensure((SLOW,))
    assert world.kernel.missing((SLOW,)) == (SLOW,)
    world.kernel.remove((SLOW,))


def test_two_of_one_link_are_the_same_thing():
    faster = replace(SLOW, rate=6_000_000)
    assert superseded((SLOW,), (faster,)) == ()
    assert superseded((SLOW,), ()) == (SLOW,)
