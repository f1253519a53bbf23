"""Containers on the LAN behind the host's eth0 that share its MAC."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.audits import assert_consistent
from tests.daemons import Weftd
from tests.hosts import PrivateHost
from tests.kinds import needs_link_kind
from tests.system.lan import BEYOND4, HOST4, NAS4, NAS6, ROUTER4, Lan, lan_of
from tests.system.people import SILENCE, Listener, Question, ask, listening, pings
from tests.waiting import PACE
from weft.client import Container
from weft.errors import Conflict, Invalid

pytestmark = [pytest.mark.root, pytest.mark.full_kernel]

SUBNET4, SUBNET6 = "192.168.50.0/24", "2001:db8:50::/64"
ROUTED4 = "10.3.0.0/24"
"""For the modes in which the host routes."""
LIMIT = 3.0 * PACE
"""Seconds until a network is whole again after its parent is back."""


@pytest.fixture
def lan(private_host: PrivateHost) -> Iterator[Lan]:
    needs_link_kind("ipvlan")
    with lan_of(private_host) as lan:
        yield lan


@pytest.fixture
def weftd(lan: Lan, tmp_path: Path) -> Iterator[Weftd]:
    with Weftd(lan.host, tmp_path) as weftd:
        yield weftd


def make(weftd: Weftd, name: str = "lan", pools: list[object] | None = None, **options: str) -> None:
    asked = pools or [{"subnet": SUBNET4, "gateway": ROUTER4, "ip_range": "192.168.50.128/25"}]
    weftd.client.networks.create(name, driver="ipvlan", pools=asked, options={"parent": "eth0", **options})


def join(weftd: Weftd, name: str, *networks: object, **options: object) -> Container:
    return weftd.client.containers.create(name=name, networks=networks or ["lan"], **options)


def reaches(weftd: Weftd, netns: str, *addresses: str) -> list[bool]:
    return pings(weftd.host, netns, addresses)


def mac_of_parent(weftd: Weftd) -> str:
    return str(json.loads(weftd.host.run("ip -j link show eth0").stdout)[0]["address"])


def test_the_lan_and_a_container_reach_each_other(lan: Lan, weftd: Weftd) -> None:
    pools = [{"subnet": SUBNET4, "gateway": ROUTER4}, {"subnet": SUBNET6}]
    weftd.client.networks.create("lan", driver="ipvlan", ipv6=True, pools=pools, options={"parent": "eth0"})
    web = join(weftd, "web", {"network": "lan", "ip": "192.168.50.200", "ip6": "2001:db8:50::200"})
    assert reaches(weftd, web.netns, NAS4, NAS6, BEYOND4) == [True] * 3
    with listening(weftd, Listener("web", web.netns)):
        answers = ask(
            weftd.host,
            Question(lan.nas.path, "192.168.50.200", 80),
            Question(lan.nas.path, "2001:db8:50::200", 80),
            Question("", "192.168.50.200", 80),
        )
    assert answers == [f"web {NAS4}", f"web {NAS6}", SILENCE]
    assert mac_of_parent(weftd) in lan.nas.run("ip neigh show 192.168.50.200").stdout
    assert_consistent(weftd)
    with pytest.raises(Invalid, match="containers have that of eth0"):
        join(weftd, "db", {"network": "lan", "mac": "02:00:00:00:00:09"})


@pytest.mark.statement(17)
def test_who_remembers_another_mac_is_told_that_of_the_parent(lan: Lan, weftd: Weftd) -> None:
    make(weftd)
    lan.knows("192.168.50.200", "02:00:00:00:00:99")
    join(weftd, "web", {"network": "lan", "ip": "192.168.50.200"})
    end = time.monotonic() + 1 * PACE
    while mac_of_parent(weftd) not in (known := lan.nas.run("ip neigh show 192.168.50.200").stdout):
        assert time.monotonic() < end, known
        time.sleep(0.01)


@pytest.mark.parametrize("mode", ["l3", "l3s"])
def test_where_the_host_routes_the_way_out_is_the_link(lan: Lan, weftd: Weftd, mode: str) -> None:
    lan.nas.run(f"ip route add {ROUTED4} via {HOST4}")
    make(weftd, "routed", [ROUTED4], ipvlan_mode=mode)
    web, db = join(weftd, "web", "routed"), join(weftd, "db", "routed")
    address = (db.endpoints[0].ipv4 or "").split("/")[0]
    assert weftd.host.run(["nsenter", f"--net={web.netns}", "ip", "route", "show", "default"]).stdout.split() == [
        *("default", "dev", "eth0", "proto", "static", "scope", "link")
    ]
    assert reaches(weftd, web.netns, address, NAS4) == [True, True]
    with listening(weftd, Listener("web", web.netns)):
        own = (web.endpoints[0].ipv4 or "").split("/")[0]
        assert ask(weftd.host, Question(lan.nas.path, own, 80)) == [f"web {NAS4}"]
    assert_consistent(weftd)


@pytest.mark.parametrize("flag", ["bridge", "private", "vepa"])
def test_a_flag_says_who_reaches_whom(weftd: Weftd, flag: str) -> None:
    make(weftd, ipvlan_flag=flag)
    web = join(weftd, "web")
    join(weftd, "db", {"network": "lan", "ip": "192.168.50.201"})
    assert reaches(weftd, web.netns, "192.168.50.201", NAS4) == [flag == "bridge", True]
    assert_consistent(weftd)


def test_who_may_share_a_parent(weftd: Weftd) -> None:
    make(weftd)
    make(weftd, "more", ["192.168.51.0/24"])
    with pytest.raises(Conflict, match="have one mode and flag"):
        make(weftd, "routed", [ROUTED4], mode="l3")
    with pytest.raises(Conflict, match="a link carries either macvlan or ipvlan"):
        weftd.client.networks.create("mac", driver="macvlan", pools=["10.9.0.0/24"], options={"parent": "eth0"})
    with pytest.raises(Invalid, match="in mode l3 the way out is the link itself"):
        make(weftd, "gate", [{"subnet": ROUTED4, "gateway": "10.3.0.1"}], mode="l3")


def test_without_a_parent_it_is_internal(weftd: Weftd) -> None:
    assert weftd.client.networks.create("alone", driver="ipvlan", pools=["10.9.0.0/24"]).internal
    web, db = join(weftd, "web", "alone"), join(weftd, "db", "alone")
    address = (db.endpoints[0].ipv4 or "").split("/")[0]
    assert reaches(weftd, web.netns, address, NAS4) == [True, False]
    for name in ("web", "db"):
        weftd.client.containers.remove(name)
    weftd.client.networks.remove("alone")
    assert_consistent(weftd)


def test_an_address_is_had_again_at_once(weftd: Weftd) -> None:
    make(weftd)
    for _ in range(3):
        web = join(weftd, "web", {"network": "lan", "ip": "192.168.50.200"})
        assert reaches(weftd, web.netns, NAS4) == [True]
        weftd.client.containers.remove("web")


def test_what_is_lost_comes_back(lan: Lan, weftd: Weftd) -> None:
    make(weftd)
    web = join(weftd, "web")
    weftd.host.run(["nsenter", f"--net={web.netns}", "ip", "link", "del", "eth0"])
    assert_consistent(weftd, within=LIMIT)
    weftd.host.run("ip link del eth0")
    time.sleep(0.3 * PACE)
    lan.plug_host()
    assert_consistent(weftd, within=LIMIT)
    weftd.restart()
    assert_consistent(weftd)
    end = time.monotonic() + LIMIT
    while not all(reaches(weftd, web.netns, NAS4)):
        assert time.monotonic() < end
