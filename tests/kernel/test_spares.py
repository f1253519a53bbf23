"""A container made from a spare is like any other; spares that nobody takes leave nothing behind."""

from __future__ import annotations

import select
import socket
from dataclasses import replace

import pytest

from tests.hosts import in_private_host
from tests.kernel.world import BRIDGE, World, has_gone, link_names, one, sh, snapshot
from weft import names
from weft.errors import NotFound
from weft.kernel.linux import LinuxKernel
from weft.kernel.watch import Watch
from weft.plan import Plan, SandboxTable, Veth


class Prepared(World):
    """A world whose kernel has one spare ready, for a container like the world's."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel = LinuxKernel(self.run_dir, spares=1)
        first = self.container(9)
        self.kernel.ensure(first)
        self.kernel.remove(first)
        self.kernel.flush()
        assert has_gone(lambda: link_names() != {"lo", BRIDGE.name})
        assert not self.kernel.prepare()
        (self.spare,) = link_names() - {"lo", BRIDGE.name}

    def offered(self, number: int = 1) -> Plan:
        """A container's plan whose link is named as was offered."""
        beginning = self.kernel.offer(BRIDGE.name)
        assert beginning is not None
        link = names.veth(names.new_id(beginning))
        assert link == self.spare
        return tuple(replace(item, name=link) if isinstance(item, Veth) else item for item in self.container(number))


@in_private_host
def test_a_container_from_a_spare_is_like_any_other():
    world = Prepared()
    plan = world.offered()
    world.kernel.ensure(plan)
    assert link_names() == {"lo", BRIDGE.name, world.spare}
    assert world.kernel.missing(plan) == ()
    assert "1 received" in sh("ping -c1 -W2 10.1.0.1", world.pin(1))
    from_spare = snapshot(world.pin(1))
    world.kernel.ensure(plan)
    assert snapshot(world.pin(1)) == from_spare
    world.kernel.remove(plan)
    assert has_gone(lambda: world.spare in link_names())
    world.kernel.ensure(plan)
    assert len(snapshot(world.pin(1)).splitlines()) == len(from_spare.splitlines())
    world.kernel.remove(plan)
    world.kernel.remove(plan)
    assert has_gone(lambda: link_names() != {"lo", BRIDGE.name})


@in_private_host
def test_it_brings_the_name_servers_sockets():
    world = Prepared()
    plan = world.offered()
    world.kernel.ensure(plan)
    udp, tcp = (socket.socket(fileno=fd) for fd in world.kernel.open_nameserver(world.pin(1)))
    assert udp.getsockname() == tcp.getsockname() == (str(names.NAMESERVER), names.NAMESERVER_PORT)
    sh("printf question | nc -u -w1 127.0.0.11 53", world.pin(1))
    assert udp.recv(100) == b"question"
    udp.close()
    tcp.close()
    for fd in world.kernel.open_nameserver(world.pin(1)):
        socket.socket(fileno=fd).close()
    world.kernel.remove(plan)
    with pytest.raises(NotFound):
        world.kernel.open_nameserver(world.pin(1))


@pytest.mark.parametrize("change", ["table", "isolated"])
@in_private_host
def test_what_is_wanted_otherwise_is_made_otherwise(change: str):
    world = Prepared()
    wanted = world.offered()
    if change == "table":
        wanted = tuple(replace(item, ipv6=False) if isinstance(item, SandboxTable) else item for item in wanted)
    else:
        wanted = tuple(replace(item, isolated=True) if isinstance(item, Veth) else item for item in wanted)
    world.kernel.ensure(wanted)
    assert world.kernel.missing(wanted) == ()


@in_private_host
def test_a_spare_that_somebody_deleted_is_done_without():
    world = Prepared()
    plan = world.offered()
    sh(f"ip link delete {world.spare}")
    world.kernel.ensure(plan)
    assert world.kernel.missing(plan) == ()


@in_private_host
def test_other_plans_do_not_touch_a_spare():
    world = Prepared()
    plan = world.container(1)
    world.kernel.ensure(plan)
    assert world.kernel.missing(plan) == ()
    assert link_names() == {"lo", BRIDGE.name, world.spare, one(plan, Veth).name}
    assert world.kernel.sweep((BRIDGE.name,), ()) == (one(plan, Veth).name, world.pin(1))
    assert link_names() == {"lo", BRIDGE.name, world.spare}


@in_private_host
def test_an_offer_not_taken_is_void_and_closing_leaves_nothing():
    world = Prepared()
    assert world.kernel.offer(BRIDGE.name)
    assert world.kernel.offer(BRIDGE.name) not in (None, world.spare.removeprefix("wv-"))
    assert has_gone(lambda: world.spare in link_names())
    assert not world.kernel.prepare()
    world.kernel.close()
    assert has_gone(lambda: link_names() != {"lo", BRIDGE.name})


@in_private_host
def test_a_spare_is_a_port_already_where_the_last_container_went_and_is_taken_there_first():
    world = Prepared()
    world.kernel.ensure(world.offered())
    sh("ip link add other up type bridge")
    world.kernel.prepare()
    (plugged,) = link_names() - {"lo", BRIDGE.name, "other", world.spare}
    state = sh(f"ip -d link show {plugged}")
    assert f"master {BRIDGE.name}" in state
    assert "state DOWN" in state
    assert world.kernel.offer("other") == plugged.removeprefix("wv-")
    plan = tuple(
        replace(item, name=plugged, master="other") if isinstance(item, Veth) else item for item in world.container(2)
    )
    world.kernel.ensure(plan)
    assert world.kernel.missing(plan) == ()
    assert "master other" in sh(f"ip link show {plugged}")


@in_private_host
def test_a_spare_does_not_keep_the_last_port_of_a_bridge_from_a_container():
    world = Prepared()
    world.kernel.ensure(world.offered())
    world.kernel.prepare()
    there = len(sh(f"ip -o link show master {BRIDGE.name}").splitlines())
    assert there == 2
    dummies = "".join(f"link add d{i} master {BRIDGE.name} type veth\n" for i in range(1023 - there))
    sh(f"printf '{dummies}' | ip -batch -")
    plan = world.container(2)  # its link is not named as a spare's
    world.kernel.ensure(plan)
    assert world.kernel.missing(plan) == ()


@in_private_host
def test_spares_wake_nobody():
    world, watch = Prepared(), Watch()
    world.kernel.ensure(world.offered())
    world.kernel.prepare()
    world.kernel.offer(BRIDGE.name)
    world.kernel.offer(BRIDGE.name)
    assert [watch.read(fd) for fd in select.select(watch.filenos(), [], [], 0.2)[0]] == []
