"""Links that lose and delay packets: names resolve all the same, and weft leaves the queues that do it alone."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.audits import assert_consistent, resolve
from tests.daemons import Weftd
from tests.enter import inside, network
from tests.hosts import Namespace, PrivateHost
from tests.kinds import needs_qdisc
from tests.system.nameserver import ANSWER, answering
from tests.system.people import OUTSIDE4, Listener, Question, ask, listening
from tests.waiting import eventually
from weft.client import Container

pytestmark = [pytest.mark.root, pytest.mark.full_kernel]

BAD = "netem delay 100ms 40ms loss 20%"


@dataclass(frozen=True)
class World:
    weftd: Weftd
    outside: Namespace
    web: Container
    neighbour: Container

    @property
    def port(self) -> str:
        """The host's end of web's cable."""
        return f"wv-{self.web.endpoints[0].id[:12]}"

    def resolve(self, name: str) -> set[str]:
        """As neighbour does, who asks again as clients do."""

        def look() -> set[str]:
            with network(self.neighbour.netns):
                return resolve(name, seconds=10)

        return inside(self.weftd.host, look)

    def queues(self, link: str, container: Container | None = None) -> list[dict[str, object]]:
        prefix = ["nsenter", f"--net={container.netns}"] if container else []
        found = json.loads(self.weftd.host.run([*prefix, "tc", "-s", "-j", "qdisc", "show", "dev", link]).stdout)
        return [queue for queue in found if queue["kind"] == "netem"]


@pytest.fixture(scope="module")
def weftd(host: PrivateHost, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Weftd]:
    """It asks a name server outside, and looks at the kernel every second."""
    needs_qdisc("netem")
    settings = ("--dns", OUTSIDE4, "--audit-seconds", "1")
    with Weftd(host, tmp_path_factory.mktemp("weftd"), settings=settings) as weftd:
        yield weftd


@pytest.fixture(scope="module")
def world(weftd: Weftd, outside: Namespace) -> Iterator[World]:
    weftd.client.networks.create("front", ipv6=True, pools=["10.5.0.0/24", "fd05::/64"])
    web, neighbour = (weftd.client.containers.create(name=name, networks=["front"]) for name in ("web", "neighbour"))
    with answering(weftd, outside, OUTSIDE4), listening(weftd, Listener("web", web.netns)):
        yield World(weftd, outside, web, neighbour)


def test_names_of_the_world_resolve_over_an_uplink_that_loses_packets(world: World) -> None:
    assert world.resolve("at-first.example") == {ANSWER}
    world.weftd.host.run(f"tc qdisc add dev uplink root {BAD}")
    world.outside.run(f"tc qdisc add dev eth0 root {BAD}")
    try:
        for number in range(100):
            assert world.resolve(f"name-{number}.example") == {ANSWER}
            dropped = [queue["drops"] for queue in world.queues("uplink")]
            if number > 8 and dropped != [0]:
                break
        else:
            raise AssertionError("nothing was lost: the test has shown nothing")
    finally:
        world.weftd.host.run("tc qdisc del dev uplink root")
        world.outside.run("tc qdisc del dev eth0 root")


def test_neighbours_names_do_not_depend_on_the_containers_link(world: World) -> None:
    world.weftd.host.run(
        ["nsenter", f"--net={world.neighbour.netns}", *"tc qdisc add dev eth0 root netem loss 100%".split()]
    )
    try:
        assert ask(world.weftd.host, Question(world.neighbour.netns, "10.5.0.2", 80)) == ["nothing"]
        assert world.resolve("web") == {"10.5.0.2"}
        assert world.resolve("still.example") == {ANSWER}
    finally:
        world.weftd.host.run(["nsenter", f"--net={world.neighbour.netns}", *"tc qdisc del dev eth0 root".split()])


def test_queues_that_somebody_put_on_a_containers_link_are_left_alone(world: World) -> None:
    begun = time.time()
    world.weftd.host.run(f"tc qdisc add dev {world.port} root {BAD}")
    world.weftd.host.run(["nsenter", f"--net={world.web.netns}", *f"tc qdisc add dev eth0 root {BAD}".split()])
    bridge = world.weftd.client.networks.get("front").bridge
    world.weftd.host.run(f"tc qdisc add dev {bridge} root netem delay 5ms")

    def all_there() -> bool:
        return all((world.queues(world.port), world.queues("eth0", world.web), world.queues(str(bridge))))

    assert all_there()
    time.sleep(2.5)  # More than two looks at the kernel.
    world.weftd.cli("doctor", "--fix", check=False)
    world.weftd.restart()
    later = world.weftd.client.containers.create(name="later", networks=["front"])
    assert_consistent(world.weftd)
    assert all_there()
    assert [event for event in world.weftd.client.events(since=begun, follow=False) if event.action == "heal"] == []
    # Slowly, but it arrives.
    eventually(lambda: ask(world.weftd.host, Question(later.netns, "10.5.0.2", 80))[0].startswith("web "), within=20)


def test_what_else_is_damaged_on_such_a_link_is_mended_and_the_queue_kept(world: World) -> None:
    assert world.queues("eth0", world.web)
    world.weftd.host.run(["nsenter", f"--net={world.web.netns}", *"ip address flush dev eth0".split()])
    world.weftd.host.run(f"ip link set {world.port} nomaster")
    eventually(lambda: "10.5.0.2" in world.weftd.sandbox("web", "ip", "address", "show", "eth0").stdout, within=2)
    assert_consistent(world.weftd, within=2)
    assert world.queues("eth0", world.web)
    assert world.queues(world.port)
