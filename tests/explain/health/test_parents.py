"""The links that networks branch off from."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network

from tests.explain.health.hosts import HOST, host, levels, own
from tests.explain.worlds import FRONT
from weft.explain.health.facts import HostRoute, Link, NetworkUse
from weft.explain.health.host import check_forwarding, check_overlap
from weft.explain.health.parents import check_parents

LAN = NetworkUse(network=replace(FRONT, name="lan"), link=None, mtu=0, members=1, parent="eth0", forwarded=())
ROUTE = HostRoute(destination=ip_network("10.7.0.0/24"), link="eth0")


def test_one_that_is_up_is_fine():
    found = list(check_parents(host(links=(Link(name="eth0", group=0, mtu=1500),)), own(networks=(LAN,))))
    assert [(f.level, f.what) for f in found] == [("ok", "eth0 is up, the parent of network lan")]


def test_one_that_is_down_or_gone_is_told_with_all_who_need_it():
    more = replace(LAN, network=replace(FRONT, name="more"))
    down = list(check_parents(host(links=(Link(name="eth0", group=0, mtu=1500, up=False),)), own(networks=(LAN,))))
    assert levels(down) == ["warning"]
    assert down[0].mend == ("ip link set eth0 up",)
    gone = list(check_parents(HOST, own(networks=(more, LAN))))
    assert [(f.level, f.what) for f in gone] == [("error", "eth0 is gone, the parent of networks lan, more")]


def test_a_bridge_network_has_none():
    assert list(check_parents(HOST, own())) == []


def test_host_and_containers_may_be_in_one_subnet_there():
    assert list(check_overlap(host(routes=(ROUTE,)), own(networks=(LAN,)))) == []
    elsewhere = replace(ROUTE, link="eth1")
    assert levels(list(check_overlap(host(routes=(elsewhere,)), own(networks=(LAN,))))) == ["warning"]
    routed = replace(ROUTE, on_link=False)
    assert levels(list(check_overlap(host(routes=(routed,)), own(networks=(LAN,))))) == ["warning"]


def test_the_host_need_not_forward_for_it():
    shut = host(sysctls={"net.ipv4.ip_forward": "0", "net.ipv6.conf.all.forwarding": "0"})
    assert levels(list(check_forwarding(shut, own(networks=(LAN,))))) == ["ok"]
