"""Networks in a VLAN of the LAN: the sub-interface is weft's only if weft made it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.audits import assert_consistent
from tests.daemons import Weftd
from tests.hosts import PrivateHost
from tests.kinds import needs_link_kind
from tests.system.lan import TAGGED4, Lan, lan_of, tag
from tests.system.people import pings
from tests.waiting import PACE
from weft.errors import Conflict

pytestmark = [pytest.mark.root, pytest.mark.full_kernel]

SUBNET = "192.168.60.0/24"
LIMIT = 3.0 * PACE
"""Seconds until a network is whole again."""


@pytest.fixture
def lan(private_host: PrivateHost) -> Iterator[Lan]:
    needs_link_kind("vlan")
    with lan_of(private_host) as lan:
        tag(lan)
        yield lan


@pytest.fixture
def weftd(lan: Lan, tmp_path: Path) -> Iterator[Weftd]:
    with Weftd(lan.host, tmp_path) as weftd:
        yield weftd


def make(weftd: Weftd, name: str, subnet: str, **options: str) -> None:
    weftd.client.networks.create(name, driver="macvlan", pools=[subnet], options=options)


def is_there(weftd: Weftd) -> bool:
    return weftd.host.run("ip link show eth0.10", check=False).returncode == 0


@pytest.mark.parametrize("options", [{"parent": "eth0.10"}, {"parent": "eth0", "vlan": "10"}])
def test_it_is_made_shared_and_removed_with_the_last_network(weftd: Weftd, options: dict[str, str]) -> None:
    make(weftd, "ten", SUBNET, **options)
    make(weftd, "more", "192.168.61.0/24", **options)
    link = json.loads(weftd.host.run("ip -d -j link show eth0.10").stdout)[0]
    assert link["linkinfo"]["info_data"]["id"] == 10
    web = weftd.client.containers.create(name="web", networks=["ten", "more"])
    assert pings(weftd.host, web.netns, [TAGGED4]) == [True]
    assert_consistent(weftd)
    weftd.client.containers.remove("web")
    weftd.client.networks.remove("ten")
    assert is_there(weftd)
    assert_consistent(weftd)
    weftd.client.networks.remove("more")
    assert not is_there(weftd)
    assert_consistent(weftd)


def test_one_that_was_there_stays_as_it_was(weftd: Weftd) -> None:
    weftd.host.run("ip link add link eth0 name eth0.10 type vlan id 10")
    weftd.host.run("ip address add 192.168.60.5/24 dev eth0.10")
    weftd.host.run("ip link set eth0.10 up")
    before = weftd.host.run("ip -4 -o address show eth0.10").stdout
    make(weftd, "ten", SUBNET, parent="eth0.10")
    web = weftd.client.containers.create(name="web", networks=["ten"])
    assert pings(weftd.host, web.netns, [TAGGED4]) == [True]
    weftd.restart()
    weftd.client.containers.remove("web")
    weftd.client.networks.remove("ten")
    assert weftd.host.run("ip -4 -o address show eth0.10").stdout == before
    assert_consistent(weftd)


def test_another_vlan_of_that_name_is_not_taken_for_it(weftd: Weftd) -> None:
    weftd.host.run("ip link add link eth0 name eth0.10 type vlan id 11")
    with pytest.raises(Conflict, match="it is VLAN 11, not 10"):
        make(weftd, "ten", SUBNET, parent="eth0.10")
    assert is_there(weftd)
    assert_consistent(weftd)


def test_a_parent_that_is_down_is_named(weftd: Weftd) -> None:
    weftd.host.run("ip link set eth0 down")
    with pytest.raises(Conflict, match="eth0 is down"):
        make(weftd, "ten", SUBNET, parent="eth0.10")
    assert not is_there(weftd)
    assert_consistent(weftd)


def test_it_comes_back_with_what_it_is_of(lan: Lan, weftd: Weftd) -> None:
    make(weftd, "ten", SUBNET, parent="eth0.10")
    weftd.client.containers.create(name="web", networks=["ten"])
    weftd.host.run("ip link del eth0.10")
    assert_consistent(weftd, within=LIMIT)
    weftd.host.run("ip link del eth0")
    lan.plug_host()
    assert_consistent(weftd, within=LIMIT)


def test_killed_it_is_swept_if_no_record_asks_for_it(weftd: Weftd) -> None:
    weftd.kill()
    weftd.host.run("ip link add link eth0 name eth0.10 group 2003134068 type vlan id 10")
    weftd.start()
    assert not is_there(weftd)
    assert_consistent(weftd)
