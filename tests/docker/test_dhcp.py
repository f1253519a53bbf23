"""The IPAM driver dhcp, asked for as Docker's clients do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docker.conftest import World
from tests.kinds import needs_link_kind
from tests.system.dhcp import Dnsmasq, dnsmasq
from tests.waiting import eventually

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("clean")]


@pytest.fixture
def server(world: World, tmp_path: Path) -> Iterator[Dnsmasq]:
    """On the LAN behind the host's eth0."""
    needs_link_kind("macvlan")
    with world.host.container() as lan:
        world.host.run(f"ip link add eth0 type veth peer name far0 netns /proc/{lan.pid}/ns/net")
        world.host.run("ip link set eth0 up")
        lan.run("ip address add 192.168.50.1/24 dev far0")
        lan.run("ip link set far0 up")
        with dnsmasq(lan, "far0", tmp_path / "dnsmasq") as server:
            yield server
        world.host.run("ip link del eth0")


def create(world: World, *options: str, client: str = "docker") -> None:
    asked = ("-d", "macvlan", "--ipam-driver", "dhcp", "-o", "parent=eth0", *options)
    world.docker("network", "create", *asked, "lan", client=client)


def test_made_and_shown_and_joined_and_left(world: World, server: Dnsmasq, client: str) -> None:
    create(world, client=client)
    assert world.inspect("lan", client)["IPAM"] == {
        "Driver": "dhcp",
        "Options": {},
        "Config": [{"Subnet": "192.168.50.0/24", "Gateway": "192.168.50.1"}],
    }
    world.container("web", "none")
    world.docker("network", "connect", "lan", "web", client=client)
    (member,) = world.inspect("lan", client)["Containers"].values()
    (lease,) = server.leases
    assert (member["IPv4Address"], member["MacAddress"]) == (f"{lease['address']}/24", lease["mac"])
    assert lease["name"] == "web"
    world.docker("network", "disconnect", "lan", "web", client=client)
    eventually(lambda: server.leases == [], within=3)


def test_a_preset_says_so_for_others(world: World, server: Dnsmasq) -> None:
    asked = ("--ipam-driver", "dhcp", "-o", "parent=eth0")
    world.docker("network", "create", "--config-only", *asked, "common")
    assert world.inspect("common")["IPAM"]["Driver"] == "dhcp"
    world.docker("network", "create", "-d", "macvlan", "--config-from", "common", "lan")
    assert world.inspect("lan")["IPAM"]["Config"][0]["Subnet"] == "192.168.50.0/24"
    world.docker("network", "rm", "lan")
    world.docker("network", "rm", "common")


def test_what_cannot_be_is_refused(world: World) -> None:
    said = world.refusal("network", "create", "--ipam-driver", "dhcp", "front")
    assert said.startswith(
        "network 'front': IPAM driver dhcp asks a server of the LAN, which a bridge network is not on"
    )
    said = world.refusal("network", "create", "--ipam-driver", "infoblox", "front")
    assert said == 'plugin "infoblox" not found: there are default (weft itself) and dhcp (the LAN)'
