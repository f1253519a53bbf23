"""Hosts whose own links are not plain ones: a VLAN for an uplink, dummies with addresses, routing domains (VRF)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from ipaddress import ip_network

import pytest

from tests.daemons import Weftd
from tests.hosts import Namespace, PrivateHost
from tests.kinds import needs_link_kind
from tests.system.people import REFUSED, SILENCE, Listener, Question, ask, listening
from weft.client import Publish

pytestmark = [pytest.mark.root, pytest.mark.full_kernel]

HOST4, HOST6 = "198.51.100.1", "2001:db8:7::1"
OUTSIDE4, OUTSIDE6 = "198.51.100.2", "2001:db8:7::2"
"""On VLAN 7 of the wire."""
SERVICE = "203.0.113.1"
"""Of a dummy, and announced as such hosts' addresses are: routed to from outside."""


@pytest.fixture(scope="module")
def beyond(host: PrivateHost, outside: Namespace) -> Namespace:
    """The outside, with a VLAN on the wire to it that the host has for its only way out."""
    needs_link_kind("vlan")
    for where, link, four, six in ((host, "uplink", HOST4, HOST6), (outside, "eth0", OUTSIDE4, OUTSIDE6)):
        where.run(f"ip link add link {link} name {link}.7 type vlan id 7")
        where.run(f"ip address add {four}/24 dev {link}.7")
        where.run(f"ip address add {six}/64 dev {link}.7 nodad")
        where.run(f"ip link set {link}.7 up")
    host.run(f"ip route add default via {OUTSIDE4} dev uplink.7")
    host.run(f"ip -6 route add default via {OUTSIDE6} dev uplink.7")
    return outside


@pytest.fixture(scope="module")
def world(beyond: Namespace, weftd: Weftd) -> Iterator[Weftd]:
    weftd.client.networks.create("front", ipv6=True, pools=["10.5.0.0/24", "fd05::/64"])
    web = weftd.client.containers.create(name="web", networks=["front"], ports=[Publish(80, 8080)])
    with listening(weftd, Listener("web", web.netns), Listener("world", beyond.path)):
        yield weftd


def test_ports_are_published_on_a_vlan(world: Weftd, beyond: Namespace) -> None:
    told = ask(world.host, *(Question(beyond.path, address, 8080) for address in (HOST4, HOST6)))
    assert told == [f"web {OUTSIDE4}", f"web {OUTSIDE6}"]


def test_containers_leave_by_a_vlan_under_its_address(world: Weftd) -> None:
    netns = world.client.containers.get("web").netns
    told = ask(world.host, *(Question(netns, address, 80) for address in (OUTSIDE4, OUTSIDE6)))
    assert told == [f"world {HOST4}", f"world {HOST6}"]


def test_nothing_but_published_ports_is_reached_over_a_vlan(world: Weftd, beyond: Namespace) -> None:
    beyond.run(f"ip route add 10.5.0.0/24 via {HOST4}")
    beyond.run(f"ip -6 route add fd05::/64 via {HOST6}")
    told = ask(world.host, *(Question(beyond.path, address, 80) for address in ("10.5.0.2", "fd05::2", HOST4, HOST6)))
    assert told == [SILENCE, SILENCE, REFUSED, REFUSED]


def test_the_hosts_links_are_left_alone(world: Weftd) -> None:
    before = world.host.run("ip -o link show uplink.7").stdout
    world.restart()
    world.cli("doctor", "--fix", check=False)
    assert world.host.run("ip -o link show uplink.7").stdout == before


def test_a_port_is_published_on_the_address_of_a_dummy(world: Weftd, beyond: Namespace) -> None:
    needs_link_kind("dummy")
    world.host.run("ip link add service type dummy")
    world.host.run(f"ip address add {SERVICE}/32 dev service")
    world.host.run("ip link set service up")
    beyond.run(f"ip route add {SERVICE}/32 via {HOST4}")
    made = world.client.containers.create(name="there", networks=["front"], ports=[Publish(80, 8081, host_ip=SERVICE)])
    with listening(world, Listener("there", made.netns)):
        told = ask(
            world.host,
            Question(beyond.path, SERVICE, 8081),
            Question(beyond.path, HOST4, 8081),
            Question("", SERVICE, 8081),
            Question(made.netns, SERVICE, 8081),
        )
    assert told[:2] == [f"there {OUTSIDE4}", REFUSED]
    assert all(word.startswith("there ") for word in told[2:])


def test_no_network_is_put_where_a_dummy_is(world: Weftd) -> None:
    needs_link_kind("dummy")
    world.host.run("ip link add elsewhere type dummy")
    world.host.run("ip address add 172.18.3.1/16 dev elsewhere")
    world.host.run("ip link set elsewhere up")
    (pool,) = world.client.networks.create("chosen").pools
    assert not ip_network(pool.subnet).overlaps(ip_network("172.18.0.0/16"))


def test_the_doctor_takes_no_offence_at_such_links(world: Weftd) -> None:
    """A routing domain has tables of its own: what leads there leads nobody else."""
    needs_link_kind("vrf")
    host = world.host
    host.run("ip link add apart type vrf table 77")
    host.run("ip link set apart up")
    host.run("ip link add within type dummy")
    host.run("ip link set within master apart up")
    host.run("ip address add 10.5.0.9/24 dev within")
    findings = json.loads(world.cli("doctor", "--json", check=False).stdout)["findings"]
    assert [f for f in findings if f["level"] in ("warning", "error") and f["check"] != "nameservers"] == []
    assert ask(host, Question("", "10.5.0.2", 80))[0].startswith("web ")
