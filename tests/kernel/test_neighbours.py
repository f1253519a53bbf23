"""What others remember of a container is put right: tracked connections, neighbour caches."""

from __future__ import annotations

import json
import socket
import time
from ipaddress import ip_address, ip_network

import pytest

from tests.hosts import in_private_host
from tests.kernel.world import BRIDGE, World, ip, sh
from weft.engine.needs import Flow
from weft.errors import NotFound
from weft.model import PortBinding, Proto


def tracked(world: World) -> list[str]:
    return sh("conntrack -L 2>/dev/null; conntrack -L -f ipv6 2>/dev/null").splitlines()


def talk(address: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"hello", (address, port))


@in_private_host
def test_flows_of_an_address_are_forgotten():
    world = World()
    world.kernel.ensure(world.container(1) + world.container(2))
    for address in ("10.1.0.2", "10.1.0.3", "fd00:1::2", "fd00:1::3"):
        talk(address, 9)
    assert len(tracked(world)) >= 4
    for _ in range(2):
        world.kernel.forget_flows(addresses=[ip_address("10.1.0.2"), ip_address("fd00:1::2")])
        left = "\n".join(tracked(world))
        assert "10.1.0.2 " not in left
        assert "fd00:1::2 " not in left
        assert "dst=10.1.0.3 " in left
        assert "dst=fd00:1::3 " in left


@in_private_host
def test_flows_of_a_published_port_are_forgotten():
    world = World()
    sh("nft delete element inet weft bridges '{ \"none\" }' 2>/dev/null || true")
    world.kernel.ensure(world.container(1))
    sh("nft add element inet weft ports4 '{ udp . 7001 : 10.1.0.2 . 9, udp . 7002 : 10.1.0.2 . 9 }'")
    sh("ip address add 192.0.2.1/32 dev lo")
    talk("192.0.2.1", 7001)
    talk("192.0.2.1", 7002)
    talk("192.0.2.1", 7003)
    assert len([line for line in tracked(world) if "dport=700" in line]) == 3
    elsewhere = PortBinding(proto=Proto.UDP, container_port=9, host_port=7001, host_ip=ip_address("192.0.2.2"))
    world.kernel.forget_flows(ports=[elsewhere])
    assert len([line for line in tracked(world) if "dport=700" in line]) == 3
    world.kernel.forget_flows(ports=[PortBinding(proto=Proto.UDP, container_port=9, host_port=7001)])
    left = "\n".join(tracked(world))
    assert "dport=7001" not in left
    assert "dport=7002" in left
    assert "dport=7003" in left


@in_private_host
def test_flows_that_rules_would_not_have_let_through_are_distrusted():
    world = World()
    world.kernel.ensure(world.container(1))
    sh("ip address add 192.0.2.1/32 dev lo")
    sh("nft add element inet weft ports4 '{ udp . 7001 : 10.1.0.2 . 9 }'")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.bind(("192.0.2.1", 7777))
        sender.sendto(b"from elsewhere", ("10.1.0.2", 9))
    talk("10.1.0.2", 9)  # from the bridge's own address
    talk("192.0.2.1", 7001)
    subnets = [ip_network("10.1.0.0/24"), ip_network("fd00:1::/64")]
    for _ in range(2):
        world.kernel.distrust_flows(subnets, subnets)
        left = [line for line in tracked(world) if line.startswith("udp")]
        assert not any("sport=7777 dport=9 " in line for line in left)
        assert any("src=10.1.0.1 dst=10.1.0.2 " in line for line in left)
        assert any("dport=7001" in line for line in left)
    world.kernel.distrust_flows([], [])


@in_private_host
def test_flows_that_are_not_allowed_are_cut_by_who_began_them():
    world = World()
    world.kernel.ensure(world.container(1) + world.container(2))
    sh("ip address add 192.0.2.1/32 dev lo")
    sh("ip -6 address add 2001:db8::1/128 dev lo")
    asked = []

    def allowed(flow: Flow) -> bool:
        asked.append(flow)
        return flow.port == 7001

    for source, destination in (("192.0.2.1", "10.1.0.2"), ("2001:db8::1", "fd00:1::2"), ("10.1.0.1", "10.1.0.2")):
        for port in (7001, 7002):
            with socket.socket(socket.AF_INET6 if ":" in source else socket.AF_INET, socket.SOCK_DGRAM) as sender:
                sender.bind((source, port - 1000))
                sender.sendto(b"hello", (destination, port))
    world.kernel.cut_flows([ip_address("192.0.2.1"), ip_address("2001:db8::1")], allowed)
    ports = ("7001", "7002")
    left = {(line.split("src=")[1].split()[0], p) for line in tracked(world) for p in ports if f"dport={p}" in line}
    assert left == {
        ("10.1.0.1", "7001"),
        ("10.1.0.1", "7002"),
        ("192.0.2.1", "7001"),
        ("2001:db8::1", "7001"),
    }
    assert Flow(ip_address("2001:db8::1"), ip_address("fd00:1::2"), 17, 7002) in asked
    world.kernel.cut_flows([], lambda flow: False)
    assert "dport=7001" in "".join(tracked(world))


@in_private_host
def test_forgetting_nothing_is_quick():
    world = World()
    world.kernel.forget_flows()
    began = time.perf_counter()
    world.kernel.forget_flows(addresses=[ip_address("10.1.0.2")])
    assert time.perf_counter() - began < 0.05


def neighbour(address: str) -> str:
    found = json.loads(sh(f"ip -j neigh show {address} dev {BRIDGE.name}") or "[]")
    return found[0].get("lladdr", "") if found else ""


@in_private_host
def test_neighbours_learn_a_new_mac():
    world = World()
    world.kernel.ensure(world.container(1))
    for family, address in ((4, "10.1.0.2"), (6, "fd00:1::2")):
        sh(f"ping -{family} -c1 -W2 {address}")
        assert neighbour(address) == "02:42:0a:01:00:02"
    sh("ip link set eth0 address 02:00:00:00:00:77", world.pin(1))
    addresses = [ip_address("10.1.0.2"), ip_address("fd00:1::2")]
    time.sleep(1.1)  # The kernel does not change a neighbour within its locktime of one second.
    world.kernel.announce(world.pin(1), "eth0", "02:00:00:00:00:77", addresses)
    time.sleep(0.1)
    assert [neighbour(str(address)) for address in addresses] == ["02:00:00:00:00:77"] * 2


@in_private_host
def test_announcing_from_nowhere_is_refused():
    world = World()
    world.kernel.ensure(world.container(1))
    with pytest.raises(NotFound, match="announce eth7"):
        world.kernel.announce(world.pin(1), "eth7", "02:00:00:00:00:77", [ip_address("10.1.0.2")])
    with pytest.raises(NotFound):
        world.kernel.announce(world.pin(9), "eth0", "02:00:00:00:00:77", [ip_address("10.1.0.2")])
    assert ip("link show eth0", world.pin(1))
