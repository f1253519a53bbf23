"""A container that is a router nobody asked for: on a network where it may send as whom it likes."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.daemons import Weftd
from tests.enter import inside, network
from tests.system.frames import ALL_NODES_MAC, ETH_P_IPV6, put_on_wire, router_advertisement

pytestmark = pytest.mark.root


@pytest.mark.statement(10, 11)
def test_a_rogue_router_gives_nobody_an_address(weftd: Weftd) -> None:
    """The network is one without anti-spoof, or the lie would not leave; a canary on the bridge shows that it does."""
    weftd.client.networks.create("loose", pools=["10.6.0.0/24"], options={"anti-spoof": "false"})
    weftd.client.networks.create("six", ipv6=True, pools=["10.66.0.0/24", "fd66::/64"])
    bridge = weftd.client.networks.get("loose").bridge
    weftd.client.containers.create(name="believer", networks=["loose", "six"])
    router = weftd.client.containers.create(name="router", networks=["loose"])
    with weftd.host.container() as canary:
        weftd.host.run(f"ip link add canary master {bridge} type veth peer name eth0 netns /proc/{canary.pid}/ns/net")
        weftd.host.run("ip link set canary up")
        canary.run("ip link set eth0 up")
        _advertise(weftd, router.netns, lambda: "fd00:bad" in _ipv6(canary.run))
        assert "fd00:bad" in _ipv6(canary.run), "nobody believed it, so nothing was proved"
        assert "fd00:bad" not in _ipv6(lambda command: weftd.sandbox("believer", *command.split()))
        assert "fd00:bad" not in _ipv6(weftd.host.run)


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
