"""A network edited while its containers talk: who is there sees what it should at once, and connections go on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.audits import assert_consistent
from tests.daemons import Weftd
from tests.enter import inside
from tests.hosts import Namespace
from tests.system.edits import ECHO, connected, echoing, front, talks, update
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
from tests.waiting import PACE
from weft.client import Container, Publish
from weft.errors import Conflict

pytestmark = pytest.mark.root


@pytest.fixture
def web(weftd: Weftd, outside: Namespace) -> Iterator[Container]:
    with front(weftd, outside) as web:
        yield web


@pytest.fixture
def near(weftd: Weftd, web: Container) -> Container:
    return weftd.client.containers.get("near")


CHANGES: dict[str, dict[str, object]] = {
    "label": {"labels": {"tier": "web"}},
    "smaller": {"options": {"mtu": "1280"}},
    "larger": {"options": {"mtu": "9000"}},
    "usual": {"options": {"mtu": None}},
    "masquerade off": {"options": {"masquerade": "false"}},
    "masquerade on": {"options": {"masquerade": "true"}},
    "anti-spoof off": {"options": {"anti-spoof": "false"}},
    "anti-spoof on": {"options": {"anti-spoof": "true"}},
    "limits": {"options": {"bandwidth-in": "1gbit", "bandwidth-out": "1gbit"}},
    "no limits": {"options": {"bandwidth-in": None, "bandwidth-out": None}},
    "subnet": {"add_pools": ["10.2.0.0/24", "fd02::/64"]},
    "no subnet": {"remove_pools": ["10.2.0.0/24", "fd02::/64"]},
    "route": {"add_routes": [("10.99.0.0/16", "10.1.0.12")]},
    "trusted": {"options": {"trusted-interfaces": "uplink"}},
    "open": {"options": {"gateway-mode": "nat-unprotected"}},
    "closed": {"options": {"gateway-mode": None}},
    "name": {"name": "shop"},
    "old name": {"name": "front"},
}


def test_connections_of_every_kind_go_on_whatever_changes(
    weftd: Weftd, web: Container, near: Container, outside: Namespace
) -> None:
    def talk() -> list[tuple[str, list[bool]]]:
        streams = [
            connected(outside.path, HOST4, 7007),
            connected(outside.path, HOST6, 7007),
            connected(near.netns, "10.1.0.11", ECHO),
            connected(near.netns, "fd01::11", ECHO),
            connected(web.netns, OUTSIDE4, ECHO),
            connected(web.netns, OUTSIDE6, ECHO),
        ]
        said = [("before", [talks(stream) for stream in streams])]
        name = "front"
        for what, change in CHANGES.items():
            name = weftd.client.networks.update(name, **change).name
            said.append((what, [talks(stream) for stream in streams]))
        return said

    with echoing(weftd, web.netns, outside.path):
        said = inside(weftd.host, talk, seconds=120)
    assert said == [(what, [True] * 6) for what in ("before", *CHANGES)]


def test_the_mtu_holds_inside_and_outside_for_who_is_there_and_who_comes(
    weftd: Weftd, web: Container, near: Container
) -> None:
    def fits(size: int) -> bool:
        ping = ["ping", "-c1", "-W1", "-q", "-M", "do", "-s", str(size - 28), "10.1.0.12"]
        return weftd.sandbox("web", *ping, check=False).returncode == 0

    assert fits(1500)
    weftd.cli("network", "update", "front", "--opt", "mtu=1300")
    assert "mtu 1300" in weftd.sandbox("web", "ip", "link", "show", "eth0").stdout
    bridge = weftd.client.networks.get("front").bridge
    assert "mtu 1300" in weftd.host.run(f"ip link show {bridge}").stdout
    assert fits(1300)
    assert not fits(1301)
    weftd.client.containers.create(name="late", networks=["front"])
    assert "mtu 1300" in weftd.sandbox("late", "ip", "link", "show", "eth0").stdout
    update(weftd, options={"mtu": "9000"})
    assert fits(9000)


def test_neighbours_are_parted_and_brought_together_at_once(weftd: Weftd, web: Container, near: Container) -> None:
    def reached() -> list[str]:
        return ask(weftd.host, Question(near.netns, "10.1.0.11", 80), Question(near.netns, "fd01::11", 80))

    together = ["web 10.1.0.12", "web fd01::12"]
    assert reached() == together
    for _ in range(2):
        update(weftd, options={"icc": "false"})
        assert reached() == [SILENCE, SILENCE]
        assert ask(weftd.host, Question("", "10.1.0.11", 80)) == ["web 10.1.0.1"], "the host reaches both"
        update(weftd, options={"icc": None})
        assert reached() == together


def test_a_connection_of_neighbours_waits_until_they_may_talk_again(
    weftd: Weftd, web: Container, near: Container
) -> None:
    def talk() -> list[bool]:
        stream = connected(near.netns, "10.1.0.11", ECHO)
        said = [talks(stream, size=10)]
        update(weftd, options={"icc": "false"})
        said.append(talks(stream, size=10, patience=0.5))
        update(weftd, options={"icc": "true"})
        stream.settimeout(10 * PACE)
        return [*said, stream.recv(16) == b"x" * 10]

    with echoing(weftd, web.netns):
        assert inside(weftd.host, talk) == [True, False, True]


def test_with_ipv6_added_who_comes_has_both_families_and_who_is_there_once_it_is_connected_anew(
    weftd: Weftd, web: Container, outside: Namespace
) -> None:
    client = weftd.client
    client.networks.create("old", pools=["10.5.0.0/24"])
    first = client.containers.create(name="first", networks=["old"], ports=[Publish(80, 8081)])
    (shown,) = weftd.json("network", "update", "old", "--ipv6", "--format", "json")
    assert shown["ipv6"]
    gateway = shown["pools"][1]["gateway"]
    assert first.endpoints == client.containers.get("first").endpoints
    assert "inet6" not in weftd.sandbox("first", "ip", "address", "show", "eth0").stdout
    second = client.containers.create(name="second", networks=["old"], ports=[Publish(80, 8082)])
    assert second.endpoints[0].ipv6 is not None
    own = second.endpoints[0].ipv6.partition("/")[0]
    with listening(weftd, Listener("first", first.netns), Listener("second", second.netns)):
        assert pings(weftd.host, "/proc/self/ns/net", [gateway, own]) == [True, True]
        for host, asker in ((HOST4, OUTSIDE4), (HOST6, OUTSIDE6)):
            assert ask(weftd.host, Question(outside.path, host, 8082)) == [f"second {asker}"]
        with listening(weftd, Listener("there", outside.path, port=81)):
            assert ask(weftd.host, Question(second.netns, OUTSIDE6, 81)) == [f"there {HOST6}"]
        client.networks.disconnect("old", "first")
        client.networks.connect("old", "first")
        assert ask(weftd.host, Question(first.netns, own, 80))[0].startswith("second fd")
        assert ask(weftd.host, Question(outside.path, HOST6, 8081)) == [f"first {OUTSIDE6}"]


def test_an_added_subnet_is_room_for_more_and_all_are_neighbours_at_once(weftd: Weftd, web: Container) -> None:
    client = weftd.client
    client.networks.create("small", pools=["10.5.0.0/30"])
    first = client.containers.create(name="first", networks=["small"])
    refused = weftd.cli("run", "-d", "--network", "small", "--", "true", check=False)
    assert "no address is left in 10.5.0.0/30" in refused.stderr
    weftd.cli("network", "update", "small", "--add-subnet", "10.6.0.0/24", "--gateway", "10.6.0.254")
    second = client.containers.create(name="second", networks=["small"])
    assert second.endpoints[0].ipv4 == "10.6.0.1/24"
    assert second.endpoints[0].gateway4 == "10.6.0.254"
    with listening(weftd, Listener("first", first.netns), Listener("second", second.netns)):
        assert ask(
            weftd.host,
            Question(first.netns, "10.6.0.1", 80),
            Question(second.netns, "10.5.0.2", 80),
            Question(second.netns, OUTSIDE4, 80),
        ) == ["second 10.5.0.2", "first 10.6.0.1", f"outside {HOST4}"]
    with pytest.raises(Conflict, match=r"10\.6\.0\.0/24 of network 'small' is in use by second"):
        client.networks.update("small", remove_pools=["10.6.0.0/24"])
    client.containers.remove("second", force=True)
    client.networks.update("small", remove_pools=["10.6.0.0/24"])
    assert "10.6.0" not in weftd.sandbox("first", "ip", "route").stdout


def test_whoever_looks_sees_it_at_once(weftd: Weftd, web: Container) -> None:
    weftd.cli("network", "update", "front", "--opt", "mtu=1300", "--add-subnet", "10.2.0.0/24", "--label", "a=b")
    explained = weftd.cli("explain", "web").stdout
    assert "MTU 1300" in explained
    assert "10.2.0.0/24" in explained
    assert "✗" not in explained
    (shown,) = weftd.json("network", "inspect", "front")
    assert (shown["options"], shown["labels"]) == ({"mtu": "1300"}, {"a": "b"})
    told = weftd.cli("events", "--follow=false", "--filter", "action=update").stdout
    assert "changes=label:a=b option:mtu=1300 +10.2.0.0/24" in told


@pytest.mark.parametrize("count", [50])
def test_of_many_containers_each_follows(weftd: Weftd, web: Container, count: int) -> None:
    client = weftd.client
    for number in range(count):
        client.containers.create(name=f"c{number}", networks=["front"])
    update(weftd, options={"mtu": "1300", "icc": "false"}, add_pools=["10.2.0.0/24"])
    assert_consistent(weftd)
    for number in range(count):
        assert "mtu 1300" in weftd.sandbox(f"c{number}", "ip", "link", "show", "eth0").stdout
