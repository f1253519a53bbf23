"""Networks come and go while a container's process runs: its interfaces, names, ports and way out follow at once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.audits import assert_consistent, resolve
from tests.daemons import Weftd
from tests.enter import inside, network
from tests.hosts import Namespace
from tests.system.people import HOST4, OUTSIDE4, Listener, Question, ask, listening
from tests.waiting import eventually
from weft.client import Attachment, Container, Publish

pytestmark = pytest.mark.root


@pytest.fixture
def web(weftd: Weftd, outside: Namespace) -> Iterator[Container]:
    """A running process with a published port on network front; a neighbour there, and on networks back and third."""
    client = weftd.client
    for number, name in enumerate(("front", "back", "third"), start=1):
        client.networks.create(name, ipv6=True, pools=[f"10.{number}.0.0/24", f"fd0{number}::/64"])
        client.containers.create(name=f"in-{name}", networks=[name])
    web = client.containers.run(["sleep", "600"], name="web", networks=["front"], ports=[Publish(80, 8080)])
    with listening(weftd, Listener("web", web.netns)):
        yield web
    assert_consistent(weftd)
    for container in client.containers.list(all=True):
        client.containers.remove(container, force=True)
    for each in client.networks.list():
        client.networks.remove(each)


def _resolve(weftd: Weftd, who: str, *names: str) -> list[set[str]]:
    path = weftd.client.containers.get(who).netns

    def look_up() -> list[set[str]]:
        with network(path):
            return [resolve(name) for name in names]

    return inside(weftd.host, look_up)


def _way_out(weftd: Weftd, *, ipv6: bool = False) -> str:
    """The interface that the default route leads through, and its source address as the outside sees it."""
    family = ["-6"] if ipv6 else ["-4"]
    return weftd.sandbox("web", "ip", *family, "route", "show", "default").stdout


def test_connecting_gives_an_interface_names_and_neighbours_at_once(weftd: Weftd, web: Container) -> None:
    endpoint = weftd.client.networks.connect("back", "web", aliases=["shop"])
    assert endpoint.ifname == "eth1"
    assert _resolve(weftd, "in-back", "web", "shop") == [{"10.2.0.3"}, {"10.2.0.3"}]
    assert _resolve(weftd, "web", "in-back", "in-front") == [{"10.2.0.2"}, {"10.1.0.2"}]
    in_back = weftd.client.containers.get("in-back").netns
    assert ask(weftd.host, Question(in_back, "10.2.0.3", 80)) == ["web 10.2.0.2"]
    assert ask(weftd.host, Question(in_back, "fd02::3", 80)) == ["web fd02::2"]
    hosts = Path(f"{weftd.run_dir}/containers/{web.id[:12]}/hosts").read_text()
    assert "10.1.0.3" in hosts
    assert "10.2.0.3" in hosts


def test_disconnecting_takes_them_away_at_once(weftd: Weftd, web: Container) -> None:
    weftd.client.networks.connect("back", "web", aliases=["shop"])
    weftd.client.networks.disconnect("back", "web")
    assert _resolve(weftd, "in-back", "web", "shop") == [set(), set()]
    assert _resolve(weftd, "web", "in-back", "in-front") == [set(), {"10.1.0.2"}]
    in_back = weftd.client.containers.get("in-back").netns
    assert ask(weftd.host, Question(in_back, "10.2.0.3", 80)) == ["nothing"]
    hosts = Path(f"{weftd.run_dir}/containers/{web.id[:12]}/hosts").read_text()
    assert "10.2.0.3" not in hosts


def test_the_process_lives_through_it_and_its_port_stays_published(
    weftd: Weftd, web: Container, outside: Namespace
) -> None:
    from_outside = Question(outside.path, HOST4, 8080)
    for _ in range(3):
        weftd.client.networks.connect("back", "web")
        assert ask(weftd.host, from_outside) == [f"web {OUTSIDE4}"]
        weftd.client.networks.disconnect("back", "web")
        assert ask(weftd.host, from_outside) == [f"web {OUTSIDE4}"]
    assert weftd.client.containers.get("web").pid == web.pid


def test_the_way_out_and_the_published_ports_follow_the_gateway_s_priority(
    weftd: Weftd, web: Container, outside: Namespace
) -> None:
    outward = Question(web.netns, OUTSIDE4, 80)
    inward = Question(outside.path, HOST4, 8080)
    with listening(weftd, Listener("outside", outside.path)):
        for name, priority, link in (("back", 5, "eth1"), ("third", 9, "eth2")):
            weftd.client.networks.connect(name, "web", gw_priority=priority)
            assert f"dev {link}" in _way_out(weftd)
            assert f"dev {link}" in _way_out(weftd, ipv6=True)
            assert ask(weftd.host, outward, inward) == [f"outside {HOST4}", f"web {OUTSIDE4}"]
        for name, link in (("third", "eth1"), ("back", "eth0")):
            weftd.client.networks.disconnect(name, "web")
            assert f"dev {link}" in _way_out(weftd)
            assert f"dev {link}" in _way_out(weftd, ipv6=True)
            assert ask(weftd.host, outward, inward) == [f"outside {HOST4}", f"web {OUTSIDE4}"]


def test_without_any_network_it_has_no_way_out_and_comes_back(weftd: Weftd, web: Container, outside: Namespace) -> None:
    weftd.client.networks.disconnect("front", "web")
    assert weftd.client.containers.get("web").endpoints == ()
    eventually(lambda: _way_out(weftd) == "")
    assert ask(weftd.host, Question(outside.path, HOST4, 8080)) == ["refused"]
    assert_consistent(weftd)
    weftd.client.networks.connect("back", "web")
    assert "dev eth0" in _way_out(weftd)
    assert ask(weftd.host, Question(outside.path, HOST4, 8080)) == [f"web {OUTSIDE4}"]


def test_changes_are_remembered_over_a_restart(weftd: Weftd, web: Container) -> None:
    weftd.client.networks.connect("back", "web", gw_priority=3, aliases=["shop"])
    weftd.client.networks.connect("third", "web", ifname="lan0")
    before = weftd.client.containers.get("web")
    weftd.restart()
    assert weftd.client.containers.get("web") == before
    assert _resolve(weftd, "in-back", "shop") == [{"10.2.0.3"}]
    assert "dev eth1" in _way_out(weftd)


def test_a_container_s_own_wishes_are_heard_when_it_connects(weftd: Weftd, web: Container) -> None:
    wish = Attachment("back", ip="10.2.0.99", ip6="fd02::99", mac="02:aa:00:00:00:01", ifname="lan0")
    made = weftd.client.containers.create(name="wishful", networks=[wish])
    (endpoint,) = made.endpoints
    assert (endpoint.ipv4, endpoint.ipv6, endpoint.mac, endpoint.ifname) == (
        "10.2.0.99/24",
        "fd02::99/64",
        "02:aa:00:00:00:01",
        "lan0",
    )
    shown = weftd.sandbox("wishful", "ip", "address", "show", "lan0").stdout
    assert all(wanted in shown for wanted in ("10.2.0.99/24", "fd02::99/64", "02:aa:00:00:00:01"))
