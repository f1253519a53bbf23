"""Networks tied to a wire of the host's: by an uplink, by a VLAN of one, or by answers given there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.audits import assert_consistent
from tests.daemons import Weftd
from tests.hosts import Namespace, PrivateHost
from tests.kinds import needs_link_kind
from tests.system.people import HOST4, HOST6, OUTSIDE4, OUTSIDE6, Listener, Question, ask, listening, pings
from tests.waiting import eventually
from weft.client import Attachment

pytestmark = pytest.mark.root

LAN4, LAN6 = "10.20.0.200", "fd20::200"
"""A machine on the wire beyond eth1."""
SUBNETS = ("--subnet", "10.20.0.0/24", "--gateway", "10.20.0.250", "--ipv6", "--subnet", "fd20::/64")
OWN = ("--gateway", "fd20::250")


@pytest.fixture
def lan(host: PrivateHost) -> Iterator[Namespace]:
    with host.container() as lan:
        host.run(f"ip link add eth1 type veth peer name eth0 netns /proc/{lan.pid}/ns/net")
        host.run("ip link set eth1 up")
        lan.run(f"ip address add {LAN4}/24 dev eth0")
        lan.run(f"ip address add {LAN6}/64 dev eth0 nodad")
        lan.run("ip link set eth0 up")
        eventually(lambda: "tentative" not in host.run("ip address show eth1").stdout, within=5)
        yield lan
        host.run("ip link del eth1", check=False)


@pytest.fixture(autouse=True)
def clean(weftd: Weftd, lan: Namespace) -> Iterator[None]:
    """The wire outlives the networks on it."""
    yield
    assert_consistent(weftd)
    for container in weftd.client.containers.list(all=True):
        weftd.client.containers.remove(container, force=True)
    for each in weftd.client.networks.list():
        weftd.client.networks.remove(each)
    eventually(lambda: weftd.marks() == set())
    eventually(lambda: weftd.host.run("ip neigh show proxy").stdout == "")


def _eth1(host: PrivateHost) -> Any:
    return json.loads(host.run("ip -j address show eth1").stdout)[0]


def test_an_uplink_makes_the_network_one_with_the_wire(weftd: Weftd, lan: Namespace) -> None:
    before = _eth1(weftd.host)
    weftd.cli("network", "create", *SUBNETS, *OWN, "--opt", "uplink=eth1", "net")
    web = weftd.client.containers.create(name="web", networks=[Attachment("net", ip="10.20.0.9", ip6="fd20::9")])
    assert pings(weftd.host, web.netns, [LAN4, LAN6]) == [True, True]
    with listening(weftd, Listener("web", web.netns), Listener("lan", lan.path)):
        inward = [Question(lan.path, address, 80) for address in ("10.20.0.9", "fd20::9")]
        outward = [Question(web.netns, address, 80) for address in (LAN4, LAN6)]
        assert ask(weftd.host, *inward) == [f"web {LAN4}", f"web {LAN6}"]
        assert ask(weftd.host, *outward) == ["lan 10.20.0.9", "lan fd20::9"]
        weftd.restart()
        assert ask(weftd.host, *inward, *outward[:1]) == [f"web {LAN4}", f"web {LAN6}", "lan 10.20.0.9"]
    told = weftd.cli("explain", "--network", "net").stdout
    assert f"✓ eth1 is a port of {weftd.client.networks.get('net').bridge}" in told
    weftd.client.containers.remove("web", force=True)
    weftd.client.networks.remove("net")
    assert _eth1(weftd.host) == before


def test_an_uplink_that_was_taken_out_is_put_back(weftd: Weftd, lan: Namespace) -> None:
    weftd.cli("network", "create", *SUBNETS, *OWN, "--opt", "uplink=eth1", "net")
    web = weftd.client.containers.create(name="web", networks=["net"])
    weftd.host.run("ip link set eth1 down")
    eventually(lambda: pings(weftd.host, web.netns, [LAN4]) == [True], within=5)
    weftd.host.run("ip link set eth1 nomaster")
    told = weftd.cli("doctor", check=False).stdout
    assert "eth1 is a port of" in told
    weftd.cli("doctor", "--fix", check=False)
    assert pings(weftd.host, web.netns, [LAN4, LAN6]) == [True, True]


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("uplink=uplink", "uplink has the address 192.0.2.1/24, at which the host would answer no more"),
        ("uplink=eth9", "there is no link eth9 on this host to be the uplink of wb-"),
        ("uplink=lo", "option uplink: 'lo' is no link of the host's that leads anywhere"),
        ("vlan=10", "option vlan=10 needs the link whose frames bear that tag: uplink=LINK"),
        ("vlan=4095", "option vlan: 4095 is not between 1 and 4094"),
        ("ndp-proxy=eth9", "there is no link eth9"),
    ],
)
def test_what_cannot_be_leaves_everything_as_it_was(weftd: Weftd, outside: Namespace, option: str, said: str) -> None:
    before = weftd.host.run("ip -j address").stdout
    refused = weftd.cli("network", "create", *SUBNETS, *OWN, "--opt", option, "net", check=False)
    assert refused.returncode != 0
    assert said in refused.stderr
    assert weftd.client.networks.list() == ()
    assert weftd.host.run("ip -j address").stdout == before


def test_two_networks_have_no_uplink_in_common(weftd: Weftd, lan: Namespace) -> None:
    weftd.cli("network", "create", *SUBNETS, *OWN, "--opt", "uplink=eth1", "net")
    refused = weftd.cli("network", "create", "--opt", "uplink=eth1", "other", check=False)
    assert "eth1 belongs to wb-" in refused.stderr
    assert _eth1(weftd.host)["master"] == weftd.client.networks.get("net").bridge


@pytest.mark.full_kernel
def test_a_vlan_of_an_uplink(weftd: Weftd, lan: Namespace) -> None:
    needs_link_kind("vlan")
    lan.run("ip link add link eth0 name tagged type vlan id 10")
    lan.run("ip address add 10.21.0.1/24 dev tagged")
    lan.run("ip address add fd21::1/64 dev tagged nodad")
    lan.run("ip link set tagged up")
    before = _eth1(weftd.host)
    words = ("--subnet", "10.21.0.0/24", "--gateway", "10.21.0.250", "--ipv6", "--subnet", "fd21::/64")
    weftd.cli("network", "create", *words, "--gateway", "fd21::250", "--opt", "uplink=eth1", "--opt", "vlan=10", "net")
    web = weftd.client.containers.create(name="web", networks=["net"])
    assert pings(weftd.host, web.netns, ["10.21.0.1", "fd21::1"]) == [True, True]
    weftd.restart()
    assert pings(weftd.host, web.netns, ["10.21.0.1", "fd21::1"]) == [True, True]
    weftd.client.containers.remove("web", force=True)
    weftd.client.networks.remove("net")
    assert _eth1(weftd.host) == before


def test_the_host_answers_for_addresses_of_the_outer_subnet(weftd: Weftd, outside: Namespace) -> None:
    outside.run("ip route del default")
    outside.run("ip -6 route del default")
    subnets = ("--subnet", "192.0.2.128/26", "--ipv6", "--subnet", "2001:db8::1:0/112")
    plain = weftd.cli("network", "create", *subnets, "--opt", "masquerade=false", "net", check=False)
    assert "subnet 192.0.2.128/26 overlaps a route of this host (192.0.2.0/24)" in plain.stderr
    answering = ("--opt", "ndp-proxy=uplink", "--opt", "arp-proxy=uplink")
    weftd.cli("network", "create", *subnets, "--opt", "masquerade=false", *answering, "net")
    web = weftd.client.containers.create(
        name="web", networks=[Attachment("net", ip="192.0.2.140", ip6="2001:db8::1:9")]
    )
    with listening(weftd, Listener("outside", outside.path)):
        outward = [Question(web.netns, address, 80) for address in (OUTSIDE4, OUTSIDE6)]
        expected = ["outside 192.0.2.140", "outside 2001:db8::1:9"]
        assert ask(weftd.host, *outward) == expected
        # Gone with the link, and back with the next look at it.
        weftd.host.run("ip link set uplink down")
        eventually(lambda: weftd.host.run("ip neigh show proxy").stdout.count("uplink") == 2)
        weftd.host.run("ip link set uplink up")
        weftd.host.run(f"ip address replace {HOST6}/64 dev uplink nodad")
        eventually(lambda: ask(weftd.host, *outward) == expected, within=8)
        weftd.restart()
        assert ask(weftd.host, *outward) == expected
    assert "✓ the host answers on uplink for 2001:db8::1:9" in weftd.cli("explain", "web").stdout
    assert "overlaps" not in weftd.cli("doctor", check=False).stdout
    weftd.client.containers.remove("web", force=True)
    eventually(lambda: weftd.host.run("ip neigh show proxy").stdout == "")
    outside.run(f"ip route add default via {HOST4}")
    outside.run(f"ip -6 route add default via {HOST6}")
