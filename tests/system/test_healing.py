"""Whatever somebody breaks is whole again within a second, is told, and nothing was opened for good."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.audits import complaints, resolve
from tests.daemons import Weftd
from tests.enter import inside, network
from tests.hosts import Namespace
from tests.system.people import HOST4, HOST6, OUTSIDE4, OUTSIDE6, Listener, Question, ask, listening
from weft.client import Container, Event, Publish

pytestmark = pytest.mark.root

LIMIT = 1.0
"""Seconds from the damage until all is as it was."""


@dataclass(frozen=True)
class World:
    weftd: Weftd
    outside: Namespace
    web: Container
    neighbour: Container
    bridge: str

    @property
    def veth(self) -> str:
        return f"wv-{self.web.endpoints[0].id[:12]}"

    def inside(self, command: str) -> None:
        self.weftd.host.run(["nsenter", f"--net={self.web.netns}", *command.split()])

    def host(self, command: str) -> None:
        self.weftd.host.run(command)

    def works(self) -> list[str]:
        """What its neighbour and those outside are told, over both families."""
        neighbour, outside = self.neighbour.netns, self.outside.path
        return ask(
            self.weftd.host,
            Question(neighbour, "10.5.0.2", 80),
            Question(neighbour, "fd05::2", 80),
            Question(outside, HOST4, 8080),
            Question(outside, HOST6, 8080),
        )


AS_IT_SHOULD_BE = ["web 10.5.0.3", "web fd05::3", f"web {OUTSIDE4}", f"web {OUTSIDE6}"]


@pytest.fixture(scope="module")
def world(weftd: Weftd, outside: Namespace) -> Iterator[World]:
    network = weftd.client.networks.create("front", ipv6=True, pools=["10.5.0.0/24", "fd05::/64"])
    web = weftd.client.containers.create(name="web", networks=["front"], ports=[Publish(80, 8080)])
    neighbour = weftd.client.containers.create(name="neighbour", networks=["front"])
    assert network.bridge is not None
    with listening(weftd, Listener("web", web.netns)):
        yield World(weftd, outside, web, neighbour, network.bridge)


DAMAGE = {
    "ruleset flushed": ("host", "nft flush ruleset"),
    "table deleted": ("host", "nft delete table inet weft"),
    "a chain flushed": ("host", "nft flush chain inet weft forward"),
    "a rule added": ("host", "nft insert rule inet weft forward accept"),
    "a published port deleted": ("host", "nft delete element inet weft ports4 {{ tcp . 8080 }}"),
    "a published port added": ("host", "nft add element inet weft ports4 {{ tcp . 8099 : 10.5.0.2 . 80 }}"),
    "a bridge's element deleted": ("host", 'nft delete element inet weft bridges {{ "{bridge}" }}'),
    "a subnet's element deleted": ("host", "nft delete element inet weft subnets4 {{ 10.5.0.0/24 }}"),
    "bridge deleted": ("host", "ip link del {bridge}"),
    "bridge down": ("host", "ip link set {bridge} down"),
    "bridge's address removed": ("host", "ip address del 10.5.0.1/24 dev {bridge}"),
    "bridge's addresses flushed": ("host", "ip address flush dev {bridge}"),
    "veth deleted": ("host", "ip link del {veth}"),
    "veth down": ("host", "ip link set {veth} down"),
    "veth off its bridge": ("host", "ip link set {veth} nomaster"),
    "eth0 deleted": ("web", "ip link del eth0"),
    "eth0 down": ("web", "ip link set eth0 down"),
    "address removed": ("web", "ip address del 10.5.0.2/24 dev eth0"),
    "addresses flushed": ("web", "ip address flush dev eth0"),
    "default route removed": ("web", "ip route del default"),
    "default route of IPv6 removed": ("web", "ip -6 route del default"),
    "lo down": ("web", "ip link set lo down"),
    "ruleset flushed inside": ("web", "nft flush ruleset"),
}


@pytest.mark.statement(20)
@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_mended_within_a_second_and_told(world: World, name: str) -> None:
    where, command = DAMAGE[name]
    assert world.works() == AS_IT_SHOULD_BE
    begun = time.time()
    run = world.host if where == "host" else world.inside
    run(command.format(bridge=world.bridge, veth=world.veth))
    until_whole(world.weftd, begun + LIMIT)
    assert world.works() == AS_IT_SHOULD_BE
    healed = _healed(world.weftd, begun)
    assert healed, "no event tells of it"
    assert healed[0].time - begun < LIMIT
    assert "restored what was missing" in world.weftd.log()


def until_whole(weftd: Weftd, deadline: float) -> None:
    while found := complaints(weftd):
        assert time.time() < deadline, "\n".join(found)
        time.sleep(0.02)


def _healed(weftd: Weftd, since: float) -> list[Event]:
    time.sleep(0.02)  # who asked is answered before events are told
    return [event for event in weftd.client.events(since=since, follow=False) if event.action == "heal"]


def test_all_of_it_at_once_is_mended_too(world: World) -> None:
    begun = time.time()
    world.host("nft flush ruleset")
    world.inside("ip link set eth0 down")
    world.host(f"ip link del {world.bridge}")
    until_whole(world.weftd, begun + LIMIT)
    assert world.works() == AS_IT_SHOULD_BE


def test_what_was_broken_while_weftd_was_away_is_mended_at_its_start(world: World) -> None:
    world.weftd.kill()
    world.host("nft flush ruleset")
    world.inside("ip link del eth0")
    world.weftd.start()
    until_whole(world.weftd, time.time() + LIMIT)
    assert world.works() == AS_IT_SHOULD_BE


@pytest.mark.statement(20)
def test_a_flow_that_came_in_while_the_rules_were_gone_is_not_let_through_for_ever(world: World) -> None:
    """Other tools' rules keep connection tracking alive during the gap, so the flow counts as established."""
    world.host("nft add table inet other")
    world.host("nft add chain inet other f { type filter hook forward priority 0; }")
    world.host("nft add rule inet other f ct state established accept")
    world.weftd.client.networks.create("apart", pools=["10.55.0.0/24"])
    apart = world.weftd.client.containers.create(name="apart", networks=["apart"])
    try:
        knock = [
            "python3",
            "-c",
            "import socket, sys, time\n"
            "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('', 4444)); s.settimeout(0.01)\n"
            "end = time.time() + 2.5; said = []\n"
            "while time.time() < end:\n"
            "    s.sendto(b'?', ('10.5.0.2', 80))\n"
            "    try: s.recv(10); said.append(time.time())\n"
            "    except TimeoutError: pass\n"
            "print(max(said, default=0))",
        ]
        with (
            listening(world.weftd, Listener("web", world.web.netns, "udp")),
            world.weftd.host.popen(["nsenter", f"--net={apart.netns}", *knock], stdout=-1) as knocking,
        ):
            time.sleep(0.3)
            damaged = time.time()
            world.host("nft delete table inet weft")
            assert knocking.stdout is not None
            last = float(knocking.stdout.read())
        assert last < damaged + LIMIT
    finally:
        world.host("nft delete table inet other")
        world.weftd.client.containers.remove("apart")
        world.weftd.client.networks.remove("apart")


def test_a_killed_resolver_is_revived(world: World) -> None:
    def ask_for_web() -> set[str]:
        with network(world.neighbour.netns):
            return resolve("web", seconds=LIMIT)

    for _ in range(3):
        begun = time.time()
        pid = world.weftd.resolver_pid
        world.weftd.host.run(["kill", "-9", str(pid)])
        assert inside(world.weftd.host, ask_for_web) == {"10.5.0.2"}
        assert world.weftd.resolver_pid != pid
        assert any(event.name == "resolver" for event in _healed(world.weftd, begun))
