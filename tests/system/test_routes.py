"""A network with a router on it: every container finds the way there, at once and after all that happens."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.audits import assert_consistent
from tests.daemons import Weftd
from tests.system.people import pings
from tests.waiting import eventually
from weft.client import Attachment

pytestmark = pytest.mark.root

BEYOND = ("10.9.0.1", "fd09::1")
"""Addresses behind the router."""


@pytest.fixture
def one(weftd: Weftd) -> Iterator[str]:
    """The namespace of `one`, on a network with a router that leads to BEYOND."""
    client = weftd.client
    families = ("--ipv6", "--subnet", "10.7.0.0/24,fd07::/64")
    weftd.cli("network", "create", *families, "--route", "10.9.0.0/16,10.7.0.5", "--route", "fd09::/64,fd07::5", "net")
    client.networks.create("back", pools=["10.8.0.0/24"], internal=True, routes=[("10.9.0.0/16", "10.8.0.5")])
    client.containers.create(name="router", networks=[Attachment("net", ip="10.7.0.5", ip6="fd07::5")])
    for address in BEYOND:
        weftd.sandbox("router", "ip", "address", "add", address, "dev", "lo")
    yield client.containers.create(name="one", networks=["net"]).netns
    assert_consistent(weftd)
    for container in client.containers.list(all=True):
        client.containers.remove(container, force=True)
    for each in client.networks.list():
        client.networks.remove(each)


def test_what_is_behind_the_router_is_reached_by_everyone(weftd: Weftd, one: str) -> None:
    assert pings(weftd.host, one, BEYOND) == [True, True]
    later = weftd.client.containers.create(name="later", networks=["net"])
    assert pings(weftd.host, later.netns, BEYOND) == [True, True]


def test_the_next_weftd_knows_it_and_a_lost_route_comes_back(weftd: Weftd, one: str) -> None:
    weftd.restart()
    for family, destination, router in (("-4", "10.9.0.0/16", "10.7.0.5"), ("-6", "fd09::/64", "fd07::5")):
        weftd.sandbox("one", "ip", family, "route", "del", destination)
        route = f"{destination} via {router} dev eth0"
        eventually(lambda wanted=route, ip=family: wanted in weftd.sandbox("one", "ip", ip, "route").stdout)
    assert pings(weftd.host, one, BEYOND) == [True, True]


def test_two_networks_with_the_same_route_are_no_error(weftd: Weftd, one: str) -> None:
    endpoint = weftd.client.networks.connect("back", "one", gw_priority=5)
    assert "10.9.0.0/16 via 10.8.0.5 dev eth1" in weftd.sandbox("one", "ip", "route").stdout
    assert pings(weftd.host, one, BEYOND) == [False, True], endpoint
    weftd.client.networks.disconnect("back", "one")
    assert pings(weftd.host, one, BEYOND) == [True, True]


def test_it_is_shown(weftd: Weftd, one: str) -> None:
    assert weftd.json("network", "inspect", "net")[0]["routes"] == [
        {"destination": "10.9.0.0/16", "gateway": "10.7.0.5"},
        {"destination": "fd09::/64", "gateway": "fd07::5"},
    ]
    network = " ".join(weftd.cli("explain", "--network", "net").stdout.split())
    assert "They reach 10.9.0.0/16 by way of 10.7.0.5, fd09::/64 by way of fd07::5." in network
    told = weftd.cli("explain", "one").stdout
    assert "✓ 10.9.0.0/16 via 10.7.0.5 dev eth0" in told


def test_a_route_by_way_of_a_stranger_is_refused(weftd: Weftd) -> None:
    words = ("network", "create", "--subnet", "10.6.0.0/24", "--route", "10.9.0.0/16,10.7.0.5", "net")
    refused = weftd.cli(*words, check=False)
    assert refused.returncode != 0
    assert "gateway 10.7.0.5 is in no subnet of network 'net'" in refused.stderr
    assert weftd.client.networks.list() == ()
