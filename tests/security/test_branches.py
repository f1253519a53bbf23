"""Containers on the LAN itself, by macvlan and ipvlan: what holds where weft's rules see none of their packets."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.daemons import Weftd
from tests.enter import inside, network
from tests.hosts import PrivateHost
from tests.kinds import needs_link_kind
from tests.system.frames import ALL_NODES_MAC, ETH_P_IP, ETH_P_IPV6, put_on_wire, router_advertisement, udp4
from tests.system.lan import HOST4, HOST6, NAS4, NAS6, Lan, lan_of
from tests.system.people import pings
from tests.waiting import PACE, eventually
from weft.client import Container

SUBNET4, SUBNET6 = "192.168.50.0/24", "2001:db8:51::/64"
SHIM4 = "192.168.50.130"
OWN = 7777
"""A port of the host's own, on 127.0.0.1."""

pytestmark = pytest.mark.root

both = pytest.mark.parametrize("driver", ["macvlan", pytest.param("ipvlan", marks=pytest.mark.full_kernel)])


@dataclass(frozen=True)
class World:
    driver: str
    lan: Lan
    weftd: Weftd

    def network(self, name: str, *pools: str, **options: str) -> None:
        wish = {"parent": "eth0", **{key.replace("_", "-"): value for key, value in options.items()}}
        ipv4, ipv6 = (any(sign in pool for pool in pools) for sign in ".:")
        self.weftd.client.networks.create(
            name, driver=self.driver, ipv4=ipv4, ipv6=ipv6, pools=list(pools), options=wish
        )

    def join(self, name: str, network: str) -> Container:
        return self.weftd.client.containers.create(name=name, networks=[network])

    def shim(self, name: str) -> str:
        return f"ws-{self.weftd.client.networks.get(name).id[:12]}"


@pytest.fixture
def world(private_host: PrivateHost, tmp_path: Path, driver: str) -> Iterator[World]:
    needs_link_kind(driver)
    with lan_of(private_host) as lan, Weftd(private_host, tmp_path) as weftd:
        yield World(driver, lan, weftd)


@pytest.mark.statement(10)
@both
def test_a_router_on_the_lan_gives_nobody_an_address(world: World) -> None:
    access = {"host_access": "true"} if world.driver == "macvlan" else {}
    world.network("lan", SUBNET4, **access)
    world.network("lan6", SUBNET6)
    web, six = world.join("web", "lan"), world.join("six", "lan6")

    def advertise() -> None:
        with network(world.lan.nas.path):
            for _ in range(3):
                put_on_wire("eth0", ETH_P_IPV6, ALL_NODES_MAC, router_advertisement("2001:db8:bad::"))

    host = world.weftd.host
    inside(host, advertise)
    eventually(lambda: "2001:db8:bad" in host.run("ip -6 address show eth0").stdout, says="who listens hears it")
    time.sleep(0.2 * PACE)
    if access:
        assert host.run(f"ip -6 address show {world.shim('lan')}").stdout == ""
    for container, expected in ((web, ""), (six, "2001:db8:51::1")):
        inner = ["nsenter", f"--net={container.netns}"]
        addresses = json.loads(host.run([*inner, "ip", "-6", "-j", "address", "show", "dev", "eth0"]).stdout)
        assert " ".join(a["local"] for link in addresses for a in link.get("addr_info", ())) == expected
        assert "default" not in host.run([*inner, "ip", "-6", "route"]).stdout


@pytest.mark.statement(1)
@pytest.mark.parametrize("driver", ["macvlan"])
def test_the_host_s_loopback_is_not_reached_by_the_way_that_host_access_opens(world: World) -> None:
    """Nor where somebody lets that way speak to loopback addresses; without weft's rules it is reached then."""
    world.network("lan", SUBNET4, host_access=SHIM4)
    attacker = world.join("attacker", "lan")
    host, shim = world.weftd.host, world.shim("lan")
    (link,) = json.loads(host.run(f"ip -j link show {shim}").stdout)
    mac = bytes.fromhex(link["address"].replace(":", ""))
    own = (attacker.endpoints[0].ipv4 or "").split("/")[0]

    def heard() -> bool:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ear:
            ear.bind(("127.0.0.1", OWN))
            ear.settimeout(0.3 * PACE)
            with network(attacker.netns):
                for _ in range(3):
                    put_on_wire("eth0", ETH_P_IP, mac, udp4(own, "127.0.0.1", OWN))
            try:
                return bool(ear.recv(100))
            except TimeoutError:
                return False

    assert not inside(host, heard)
    host.run(f"sysctl -qw net.ipv4.conf.{shim}.route_localnet=1")
    assert not inside(host, heard)
    world.weftd.kill()
    host.run("nft delete table inet weft")
    assert inside(host, heard), "the attack is badly played"
    world.weftd.start()


@pytest.mark.statement(8)
@both
def test_without_a_parent_nothing_leads_out(world: World) -> None:
    """The same container does reach the LAN from a network with one."""
    world.weftd.client.networks.create("alone", driver=world.driver, ipv6=True, pools=["10.9.0.0/24", "fd09::/64"])
    world.network("lan", SUBNET4)
    shut, free = world.join("shut", "alone"), world.join("free", "lan")
    host = world.weftd.host
    for version in ("-4", "-6"):
        host.run(["nsenter", f"--net={shut.netns}", "ip", version, "route", "add", "default", "dev", "eth0"])
    assert pings(host, shut.netns, [NAS4, NAS6, HOST4, HOST6]) == [False] * 4
    assert pings(host, free.netns, [NAS4]) == [True]
