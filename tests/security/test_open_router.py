"""A host that routed nothing before weft came does not become everybody's router because containers need forwarding."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.daemons import Weftd
from tests.hosts import Namespace, PrivateHost

pytestmark = pytest.mark.root

NETS = {"left": ("192.0.2", "2001:db8:1:"), "right": ("198.51.100", "2001:db8:2:")}


def _neighbour(host: PrivateHost, name: str) -> Namespace:
    """A machine on a wire of its own, which takes the host for its router."""
    net4, net6 = NETS[name]
    there = host.container()
    host.run(f"ip link add {name} type veth peer name eth0 netns /proc/{there.pid}/ns/net")
    host.run(f"ip address add {net4}.1/24 dev {name}")
    host.run(f"ip address add {net6}:1/64 dev {name} nodad")
    host.run(f"ip link set {name} up")
    there.run(f"ip address add {net4}.2/24 dev eth0")
    there.run(f"ip address add {net6}:2/64 dev eth0 nodad")
    there.run("ip link set eth0 up")
    there.run(f"ip route add default via {net4}.1")
    there.run(f"ip -6 route add default via {net6}:1")
    return there


def _passes(left: Namespace) -> list[bool]:
    net4, net6 = NETS["right"]
    pings = (["ping", "-c2", "-W1", "-q", address] for address in (f"{net4}.2", f"{net6}:2"))
    return [left.run(ping, check=False).returncode == 0 for ping in pings]


@pytest.mark.statement(13)
@pytest.mark.parametrize("routed_before", [False, True])
def test_neighbours_are_routed_to_each_other_only_if_they_were_before(
    private_host: PrivateHost, tmp_path: Path, *, routed_before: bool
) -> None:
    with ExitStack() as stack:
        left, _ = (stack.enter_context(_neighbour(private_host, name)) for name in NETS)
        switch = int(routed_before)
        private_host.run(f"sysctl -w net.ipv4.ip_forward={switch} net.ipv6.conf.all.forwarding={switch}")
        assert _passes(left) == [routed_before, routed_before]
        weftd = stack.enter_context(Weftd(private_host, tmp_path))
        weftd.client.networks.create("front", ipv6=True)
        assert private_host.run("sysctl -n net.ipv4.ip_forward net.ipv6.conf.all.forwarding").stdout == "1\n1\n"
        assert _passes(left) == [routed_before, routed_before]
        weftd.restart()
        assert _passes(left) == [routed_before, routed_before]
