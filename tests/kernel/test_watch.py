"""Drift wakes the watcher; what weft itself does every day does not."""

from __future__ import annotations

import os
import select
import socket

import pytest

from tests.hosts import Namespace, in_private_host
from tests.kernel.world import BRIDGE, NETWORK, World, one, sh
from weft.kernel.watch import Change, Watch
from weft.plan import Veth


def noticed(watch: Watch, *, wait: float = 0.15) -> list[Change]:
    """Everything that comes up until nothing does for a while."""
    changes: list[Change] = []
    while ready := select.select(watch.filenos(), [], [], wait)[0]:
        for fd in ready:
            changes += watch.read(fd)
    return changes


def wakes(watch: Watch) -> bool:
    return bool(select.select(watch.filenos(), [], [], 0.15)[0])


@in_private_host
def test_joins_and_leaves_wake_nobody():
    world, watch = World(), Watch()
    noticed(watch)
    plan = world.container(1)
    world.kernel.ensure(plan)
    assert not wakes(watch), "a join"
    world.kernel.ensure(NETWORK + plan)
    assert not wakes(watch), "ensuring again"
    second = world.endpoint(1, ifname="eth1")[:1]
    world.kernel.ensure(second)
    assert not wakes(watch), "a second interface"
    world.kernel.missing(plan)
    world.kernel.stats(world.pin(1))
    assert not wakes(watch), "reading"
    world.kernel.remove(plan + second)
    assert not wakes(watch), "a leave"


LIMIT, BUCKET = "tc qdisc replace dev", "root tbf rate 1mbit burst 9000b limit 9000b"

DRIFTS = {
    "link deleted": ("ip link delete $port", "link", False),
    "link down": ("ip link set $port down", "link", False),
    "link freed": ("ip link set $port nomaster", "link", False),
    "bridge down": (f"ip link set {BRIDGE.name} down", "link", False),
    "bridge deleted": (f"ip link delete {BRIDGE.name}", "link", False),
    "limit deleted": (f"{LIMIT} $port {BUCKET}; tc qdisc del dev $port root", "limit", False),
    "limit replaced": (f"{LIMIT} $port {BUCKET}; tc qdisc replace dev $port root pfifo", "limit", False),
    "inner limit deleted": (f"{LIMIT} eth0 {BUCKET}; tc qdisc del dev eth0 root", "limit", True),
    "address deleted": (f"ip address del 10.1.0.1/24 dev {BRIDGE.name}", "address", False),
    "v6 address deleted": (f"ip address del fd00:1::1/64 dev {BRIDGE.name}", "address", False),
    "ruleset flushed": ("nft flush ruleset", "firewall", False),
    "table deleted": ("nft delete table inet weft", "firewall", False),
    "element deleted": ("nft delete element inet weft ports4 '{ tcp . 8001 }'", "firewall", False),
    "rule added": ("nft insert rule inet weft forward accept", "firewall", False),
    "inner link deleted": ("ip link delete eth0", "link", True),
    "inner link down": ("ip link set eth0 down", "link", True),
    "inner address deleted": ("ip address del 10.1.0.2/24 dev eth0", "address", True),
    "inner route deleted": ("ip route del default", "route", True),
    "inner v6 route deleted": ("ip -6 route del default", "route", True),
    "inner rules flushed": ("nft flush ruleset", "firewall", True),
}


@pytest.mark.parametrize("drift", DRIFTS)
@in_private_host
def test_drift_is_noticed(drift: str):
    command, what, inside = DRIFTS[drift]
    world = World()
    plan = world.container(1)
    world.kernel.ensure(plan)
    watch = Watch()
    sh(command.replace("$port", one(plan, Veth).name), world.pin(1) if inside else "")
    where = world.kernel.nsid(world.pin(1)) if inside else None
    assert (what, where) in {(change.what, change.nsid) for change in noticed(watch)}


@in_private_host
def test_a_deleted_link_is_named():
    world = World()
    plan = world.container(1)
    world.kernel.ensure(plan)
    watch = Watch()
    sh(f"ip link delete {one(plan, Veth).name}")
    assert one(plan, Veth).name in {change.name for change in noticed(watch)}


@in_private_host
def test_namespaces_that_weft_has_nothing_to_do_with_are_not_heard():
    watch = Watch()
    with Namespace() as stranger:
        sh("ip link add x type bridge; ip link delete x; nft add table inet weft; nft flush ruleset", stranger.path)
        assert noticed(watch) == []


@in_private_host
def test_other_tables_are_not_ours():
    watch = Watch()
    sh("nft add table inet other; nft add chain inet other c; nft delete table inet other")
    assert noticed(watch) == []


@in_private_host
def test_too_much_at_once_is_said():
    watch = Watch()
    commands = "\n".join(f"link add wx-{n} type bridge\nlink delete wx-{n}" for n in range(30))
    for fd in watch.filenos():
        with socket.socket(fileno=os.dup(fd)) as same:
            same.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    sh(f"printf '{commands}' | ip -batch -")
    assert Change("overflow") in noticed(watch)


@in_private_host
def test_closing_ends_it():
    watch = Watch()
    watch.close()
    assert watch.filenos() == (-1, -1)
    another = Watch()
    sh("ip link add x type bridge; ip link delete x")
    assert noticed(another)
