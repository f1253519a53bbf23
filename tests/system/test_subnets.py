"""A network of several subnets, as its containers, the outside world and the next weftd see it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.audits import assert_consistent, resolve
from tests.daemons import Weftd
from tests.enter import inside, network
from tests.hosts import Namespace
from tests.system.people import (
    HOST4,
    HOST6,
    OUTSIDE4,
    OUTSIDE6,
    SILENCE,
    Listener,
    Question,
    ask,
    listening,
    pings,
)
from tests.waiting import eventually
from weft.client import Attachment, Publish

pytestmark = pytest.mark.root

SUBNETS = ("--subnet", "10.7.0.0/29", "--subnet", "10.8.0.0/24", "--ipv6", "--subnet", "fd07::/64,fd08::/64")


@pytest.fixture
def netns(weftd: Weftd) -> Iterator[dict[str, str]]:
    """The namespaces of `one` in the first subnets, and of `two` in the second, which has a published port."""
    client = weftd.client
    weftd.cli("network", "create", *SUBNETS, "--gateway", "10.8.0.254,fd08::1", "net")
    client.containers.create(name="one", networks=["net"])
    asked = Attachment("net", ip="10.8.0.9", ip6="fd08::9")
    client.containers.create(name="two", networks=[asked], ports=[Publish(80, 8080)])
    yield {name: client.containers.get(name).netns for name in ("one", "two")}
    assert_consistent(weftd)
    for container in client.containers.list(all=True):
        client.containers.remove(container, force=True)
    for each in client.networks.list():
        client.networks.remove(each)
    eventually(lambda: weftd.marks() == set())


def test_neighbours_in_different_subnets_talk_directly(weftd: Weftd, netns: dict[str, str], outside: Namespace) -> None:
    with listening(weftd, Listener("one", netns["one"]), Listener("two", netns["two"])):
        there = [Question(netns["one"], address, 80) for address in ("10.8.0.9", "fd08::9")]
        back = [Question(netns["two"], address, 80) for address in ("10.7.0.2", "fd07::2")]
        assert ask(weftd.host, *there) == ["two 10.7.0.2", "two fd07::2"]
        assert ask(weftd.host, *back) == ["one 10.8.0.9", "one fd08::9"]
        # Not by way of the host: its own addresses may be gone.
        bridge = weftd.client.networks.get("net").bridge
        weftd.host.run(f"ip link set {bridge} down")
        weftd.host.run(f"ip link set {bridge} up")
        assert ask(weftd.host, *there) == ["two 10.7.0.2", "two fd07::2"]
    assert " lladdr 02:42:0a:08:00:09 " in weftd.sandbox("one", "ip", "neigh").stdout


def test_each_finds_the_other_by_name(weftd: Weftd, netns: dict[str, str], outside: Namespace) -> None:
    def look_up() -> list[set[str]]:
        with network(netns["one"]):
            return [resolve("two"), resolve("two", qtype=28)]

    assert inside(weftd.host, look_up) == [{"10.8.0.9"}, {"fd08::9"}]


def test_both_reach_the_host_and_the_world_by_their_own_subnet_s_gateway(
    weftd: Weftd, netns: dict[str, str], outside: Namespace
) -> None:
    for name, gateways in {"one": ("10.7.0.1", "fd07::1"), "two": ("10.8.0.254", "fd08::1")}.items():
        shown = weftd.sandbox(name, "ip", "route").stdout + weftd.sandbox(name, "ip", "-6", "route").stdout
        for gateway in gateways:
            assert f"default via {gateway} dev eth0" in shown
        assert pings(weftd.host, netns[name], gateways) == [True, True]
    with listening(weftd, Listener("outside", outside.path)):
        for name in ("one", "two"):
            outward = [Question(netns[name], address, 80) for address in (OUTSIDE4, OUTSIDE6)]
            assert ask(weftd.host, *outward) == [f"outside {HOST4}", f"outside {HOST6}"]


def test_a_port_of_one_in_the_second_subnet_is_published(
    weftd: Weftd, netns: dict[str, str], outside: Namespace
) -> None:
    with listening(weftd, Listener("two", netns["two"])):
        inward = [Question(outside.path, address, 8080) for address in (HOST4, HOST6)]
        assert ask(weftd.host, *inward) == [f"two {OUTSIDE4}", f"two {OUTSIDE6}"]
        direct = [Question(outside.path, address, 80) for address in ("10.8.0.9", "fd08::9")]
        assert ask(weftd.host, *direct) == [SILENCE, SILENCE]


def test_nothing_changes_with_the_next_weftd_and_a_lost_route_comes_back(
    weftd: Weftd, netns: dict[str, str], outside: Namespace
) -> None:
    weftd.restart()
    with listening(weftd, Listener("two", netns["two"])):
        there = [Question(netns["one"], address, 80) for address in ("10.8.0.9", "fd08::9")]
        assert ask(weftd.host, *there) == ["two 10.7.0.2", "two fd07::2"]
        weftd.sandbox("one", "ip", "route", "del", "10.8.0.0/24")
        eventually(lambda: "10.8.0.0/24 dev eth0" in weftd.sandbox("one", "ip", "route").stdout)
        assert ask(weftd.host, *there) == ["two 10.7.0.2", "two fd07::2"]


def test_when_the_first_is_full_the_second_goes_on(weftd: Weftd, netns: dict[str, str]) -> None:
    made = [weftd.client.containers.create(name=f"c{number}", networks=["net"]) for number in range(6)]
    addresses = [str(container.endpoints[0].ipv4) for container in made]
    assert addresses == [f"10.7.0.{number}/29" for number in range(3, 7)] + ["10.8.0.10/24", "10.8.0.11/24"]
    assert pings(weftd.host, netns["one"], ["10.8.0.10", "10.8.0.11", "10.7.0.6"]) == [True, True, True]


def test_explain_says_where_both_are(weftd: Weftd, netns: dict[str, str]) -> None:
    told = weftd.cli("explain", "one", "--to", "two").stdout
    assert "next door to each other (10.7.0.0/29 and 10.8.0.0/24)" in told
    assert "✗" not in told
    assert "✓ 10.8.0.0/24 dev eth0" in weftd.cli("explain", "one").stdout
