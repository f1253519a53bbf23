"""Networks that branch off from a link of the host, asked for as Docker's clients do."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.docker.conftest import World
from tests.kinds import needs_link_kind

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("clean")]


@pytest.fixture
def wired(world: World) -> Iterator[World]:
    """The host has a link eth0 with an address, which is up."""
    needs_link_kind("macvlan")
    world.host.run("ip link add eth0 type veth peer name far0")
    world.host.run("ip address add 192.168.50.5/24 dev eth0")
    world.host.run("ip link set eth0 up")
    world.host.run("ip link set far0 up")
    yield world
    world.host.run("ip link del eth0")


def create(world: World, *options: str, name: str = "lan", client: str = "docker") -> str:
    address = ("--subnet", "192.168.50.0/24", "--gateway", "192.168.50.1")
    return world.docker("network", "create", "-d", "macvlan", *address, *options, name, client=client).stdout.strip()


def test_made_and_shown_and_removed(wired: World, client: str):
    create(wired, "-o", "parent=eth0", "-o", "macvlan_mode=private", client=client)
    document = wired.inspect("lan", client)
    assert (document["Driver"], document["Internal"]) == ("macvlan", False)
    assert document["Options"] == {"parent": "eth0", "macvlan_mode": "private"}
    assert document["IPAM"]["Config"] == [{"Subnet": "192.168.50.0/24", "Gateway": "192.168.50.1"}]
    assert wired.lines("network", "ls", "-q", "--filter", "driver=macvlan", client=client)
    wired.docker("network", "rm", "lan", client=client)


def test_the_hosts_address_is_an_auxiliary_one(wired: World):
    create(wired, "-o", "parent=eth0", "-o", "host-access=192.168.50.9")
    assert wired.inspect("lan")["IPAM"]["Config"][0]["AuxiliaryAddresses"] == {"host-access": "192.168.50.9"}


def test_without_a_parent_it_is_internal(wired: World):
    wired.docker("network", "create", "-d", "macvlan", "alone")
    assert wired.inspect("alone")["Internal"]


REFUSED = {
    "eth1": ("parent=eth1", "no such link on this host: 'eth1'; did you mean 'eth0'?"),
    "lo": ("parent=lo", "option parent: lo leads nowhere; name a link of the host such as eth0, or none"),
    "mode": ("macvlan_mode=l2", "option mode: 'l2' is none of bridge, private, vepa, passthru"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_says_why(wired: World, name: str):
    option, message = REFUSED[name]
    asked = ("network", "create", "-d", "macvlan", "-o", option, "lan")
    assert wired.refusal(*asked) == message


def test_a_parent_that_another_has_to_itself(wired: World):
    create(wired, "-o", "parent=eth0", "-o", "macvlan_mode=passthru")
    said = wired.refusal("network", "create", "-d", "macvlan", "-o", "parent=eth0", "more")
    assert (
        said == "parent eth0 is network 'lan''s (macvlan): passthru needs a parent alone; take another, or a VLAN of it"
    )
