"""Packets made by hand: for the host's loopback, and from a router that nobody asked for."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from tests.daemons import Weftd
from tests.enter import inside, network
from tests.hosts import Namespace
from tests.system.frames import (
    ALL_NODES_MAC,
    ETH_P_IP,
    ETH_P_IPV6,
    put_on_wire,
    router_advertisement,
    syn4,
    udp4,
)
from tests.system.people import OUTSIDE4, outside_of
from weft.client import Container, Publish

pytestmark = pytest.mark.root

OWN_PORT, PUBLISHED = 7777, 8002
"""Of a service of the host's on 127.0.0.1, and of a port published there."""


@dataclass(frozen=True)
class World:
    weftd: Weftd
    outside: Namespace
    web: Container
    attacker: Container


@pytest.fixture
def world(weftd: Weftd) -> Iterator[World]:
    """web publishes a port on 127.0.0.1; the attacker is beside it, and others outside."""
    client = weftd.client
    client.networks.create("front", pools=["10.6.0.0/24"], options={"anti-spoof": "false"})  # or no trick would leave
    ports = [Publish(80, PUBLISHED, proto=proto, host_ip="127.0.0.1") for proto in ("tcp", "udp")]
    web = client.containers.create(name="web", networks=["front"], ports=ports)
    attacker = client.containers.create(name="attacker", networks=["front"])
    with outside_of(weftd.host) as outside:
        yield World(weftd, outside, web, attacker)
    for name in ("web", "attacker"):
        client.containers.remove(name)
    client.networks.remove("front")
    weftd.host.run("ip link del uplink", check=False)


class _Ears:
    """What arrives at the host's own loopback service, and at the published container, by either protocol."""

    def __init__(self, web: str) -> None:
        self.open: list[socket.socket] = []
        with network(web):
            self._listen("0.0.0.0", 80)
        self._listen("127.0.0.1", OWN_PORT)

    def _listen(self, address: str, port: int) -> None:
        for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
            ear = socket.socket(socket.AF_INET, kind)
            ear.bind((address, port))
            if kind == socket.SOCK_STREAM:
                ear.listen(8)
            ear.setblocking(False)
            self.open.append(ear)

    def heard(self) -> int:
        """How many datagrams and connections."""
        count = 0
        for ear in self.open:
            try:
                ear.recv(100) if ear.type == socket.SOCK_DGRAM else ear.accept()[0].close()
                count += 1
            except BlockingIOError:
                pass
        return count


def _attack(world: World, where: str, link: str, mac: bytes, source: str) -> tuple[int, bool]:
    """How much was heard of datagrams and connections to 127.0.0.1, and whether a connection was answered."""

    def attack() -> tuple[int, bool]:
        ears = _Ears(world.web.netns)
        with network(where):
            answers = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)
            answers.settimeout(0.3)
            for port in (OWN_PORT, PUBLISHED):
                put_on_wire(link, ETH_P_IP, mac, udp4(source, "127.0.0.1", port))
                put_on_wire(link, ETH_P_IP, mac, syn4(source, "127.0.0.1", port))
        return ears.heard() + (time.sleep(0.2) or ears.heard()), _is_accepted(answers)

    return inside(world.weftd.host, attack)


def _is_accepted(answers: socket.socket) -> bool:
    """Whether a SYN was answered by SYN and ACK."""
    try:
        while True:
            packet = answers.recv(200)
            if packet[20 + 13] & 0x12 == 0x12:
                return True
    except TimeoutError:
        return False


@pytest.mark.parametrize("trick", ["", "uplink"])
def test_the_host_s_loopback_is_not_reached_from_a_wire(world: World, trick: str) -> None:
    """Not even where somebody lets the wire speak to loopback addresses, as some proxies do."""
    if trick:
        world.weftd.host.run(f"sysctl -qw net.ipv4.conf.{trick}.route_localnet=1")
    mac = _mac(world.weftd, "uplink")
    assert _attack(world, world.outside.path, "eth0", mac, OUTSIDE4) == (0, False)


def test_the_host_s_loopback_is_not_reached_from_a_container(world: World) -> None:
    bridge = world.weftd.client.networks.get("front").bridge
    assert bridge is not None
    (source, _, _) = (world.attacker.endpoints[0].ipv4 or "").partition("/")
    mac = _mac(world.weftd, bridge)
    assert _attack(world, world.attacker.netns, "eth0", mac, source) == (0, False)


def test_the_ears_hear_what_may_be_heard(world: World) -> None:
    """So that the tests above can fail."""

    def knock() -> int:
        ears = _Ears(world.web.netns)
        for port in (OWN_PORT, PUBLISHED):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
                asker.sendto(b"?", ("127.0.0.1", port))
            socket.create_connection(("127.0.0.1", port), timeout=2).close()
        return ears.heard()

    assert inside(world.weftd.host, knock) == 4


def _mac(weftd: Weftd, link: str) -> bytes:
    (found,) = json.loads(weftd.host.run(f"ip -j link show {link}").stdout)
    return bytes.fromhex(found["address"].replace(":", ""))


def test_a_rogue_router_gives_nobody_an_address(world: World) -> None:
    weftd = world.weftd
    bridge = weftd.client.networks.get("front").bridge
    weftd.client.networks.create("six", ipv6=True, pools=["10.66.0.0/24", "fd66::/64"])
    try:
        weftd.client.networks.connect("six", "web")
        with weftd.host.container() as canary:
            weftd.host.run(
                f"ip link add canary master {bridge} type veth peer name eth0 netns /proc/{canary.pid}/ns/net"
            )
            weftd.host.run("ip link set canary up")
            canary.run("ip link set eth0 up")
            _advertise(world.weftd, world.attacker.netns, lambda: "fd00:bad" in _ipv6(canary.run))
            assert "fd00:bad" in _ipv6(canary.run), "nobody believed it, so nothing was proved"
            assert "fd00:bad" not in _ipv6(lambda command: weftd.sandbox("web", *command.split()))
            assert "fd00:bad" not in _ipv6(weftd.host.run)
    finally:
        weftd.client.networks.disconnect("six", "web")
        weftd.client.networks.remove("six")
        weftd.host.run("ip link del canary", check=False)


def _advertise(weftd: Weftd, where: str, believed: Callable[[], bool]) -> None:
    def send() -> None:
        with network(where):
            put_on_wire("eth0", ETH_P_IPV6, ALL_NODES_MAC, router_advertisement("fd00:bad::"))

    for _ in range(20):
        inside(weftd.host, send)
        if believed():
            break
        time.sleep(0.1)
    time.sleep(0.1)


def _ipv6(run: Callable[[str], object]) -> str:
    return "".join(run(f"ip -6 {what} show").stdout for what in ("address", "route"))  # type: ignore[attr-defined]
