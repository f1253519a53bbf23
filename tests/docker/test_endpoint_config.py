"""What Docker's clients may say of a container's interface beyond its addresses and names."""

from __future__ import annotations

import json

import pytest

from tests.audits import assert_consistent
from tests.docker.conftest import World
from tests.waiting import eventually

pytestmark = pytest.mark.root

SYSCTLS = "com.docker.network.endpoint.sysctls"


@pytest.fixture
def front(clean: World) -> World:
    clean.docker("network", "create", "--ipv6", "front")
    clean.container("c", "bridge")
    return clean


def inside(world: World, *command: str) -> str:
    return world.weftd.sandbox("c", *command).stdout


def test_link_local_addresses_are_on_the_interface(front: World):
    given = ("--link-local-ip", "169.254.7.7", "--link-local-ip", "fe80::77")
    front.docker("network", "connect", *given, "front", "c")
    shown = inside(front, "ip", "-o", "address", "show", "eth1")
    assert "169.254.7.7/16" in shown
    assert "fe80::77/64" in shown
    front.container("d", "bridge")
    front.docker("network", "connect", "--link-local-ip", "169.254.7.8", "--link-local-ip", "fe80::78", "front", "d")
    for address in ("169.254.7.8", "fe80::78%eth1"):
        inside(front, "ping", "-c1", "-W2", address)  # the bridge lets them pass for the containers' own
    assert_consistent(front.weftd)
    front.weftd.restart()
    assert_consistent(front.weftd)


def test_switches_of_the_interface_are_set_and_kept(front: World):
    switches = "net.ipv4.conf.IFNAME.log_martians=1,net.ipv6.conf.IFNAME.accept_ra=2"
    option = f'"{SYSCTLS}={switches}"'  # the client reads it as a line of comma-separated values
    front.docker("network", "connect", "--driver-opt", option, "front", "c")
    assert inside(front, "sysctl", "-n", "net.ipv4.conf.eth1.log_martians") == "1\n"
    assert inside(front, "sysctl", "-n", "net.ipv6.conf.eth1.accept_ra") == "2\n"
    assert "log_martians = 1" in front.weftd.cli("explain", "c").stdout
    assert_consistent(front.weftd)


def test_limits_of_bandwidth_are_taken_and_shown_as_given(front: World):
    front.docker(
        "network", "connect", "--driver-opt", "bandwidth-in=10mbit", "--driver-opt", "bandwidth-out=1MB/s", "front", "c"
    )
    assert "rate 8Mbit" in inside(front, "tc", "qdisc", "show", "dev", "eth1")
    shown = front.docker("inspect", "-f", "{{json .NetworkSettings.Networks.front.DriverOpts}}", "c").stdout
    assert json.loads(shown) == {"bandwidth-in": "10mbit", "bandwidth-out": "1MB/s"}
    assert_consistent(front.weftd)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--link-local-ip", "10.1.1.1"), "not link-local"),
        (("--driver-opt", f"{SYSCTLS}=net.ipv4.ip_forward=1"), "is not an interface's"),
        (("--driver-opt", f"{SYSCTLS}=net.ipv4.conf.IFNAME.nix=1"), "the kernel has no such switch"),
        (("--driver-opt", f"{SYSCTLS}=net.ipv4.conf.IFNAME.log_martians"), "is not KEY=VALUE"),
        (("--driver-opt", "speed=1"), "unknown option 'speed'"),
        (("--driver-opt", "bandwidth-in=fast"), "option bandwidth-in: 'fast' is no rate"),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(front: World, arguments: tuple[str, ...], why: str):
    assert why in front.refusal("network", "connect", *arguments, "front", "c")
    eventually(lambda: "eth1" not in inside(front, "ip", "-o", "link"), within=5)
    assert_consistent(front.weftd)
