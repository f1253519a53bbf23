"""A LAN behind the host's eth0: a switch that is also the router, and a machine on it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from tests.hosts import Namespace, PrivateHost

HOST4, HOST6 = "192.168.50.5", "2001:db8:50::5"
ROUTER4, ROUTER6 = "192.168.50.1", "2001:db8:50::1"
NAS4, NAS6 = "192.168.50.77", "2001:db8:50::77"
BEYOND4, BEYOND6 = "198.51.100.9", "2001:db8:99::9"
"""Somewhere behind the router."""

TAGGED4 = "192.168.60.77"
"""The machine's address in VLAN 10."""


@dataclass(frozen=True)
class Lan:
    host: PrivateHost
    switch: Namespace
    nas: Namespace

    def plug_host(self) -> None:
        """Put a cable between the host's eth0 and the switch."""
        self.host.run(f"ip link add eth0 type veth peer name port0 netns /proc/{self.switch.pid}/ns/net")
        self.host.run(f"ip address add {HOST4}/24 dev eth0")
        self.host.run(f"ip address add {HOST6}/64 dev eth0 nodad")
        self.host.run("ip link set eth0 up")
        self.switch.run("ip link set port0 master br0 up")

    def reflect(self) -> None:
        """Send back out of the host's port what came in there: 802.1Qbg's reflective relay."""
        self.switch.run("bridge link set dev port0 hairpin on")

    def knows(self, address: str, mac: str) -> None:
        """The machine believes that an address is somebody else's."""
        self.nas.run(f"ip neigh replace {address} lladdr {mac} dev eth0 nud stale")


@contextlib.contextmanager
def lan_of(host: PrivateHost) -> Iterator[Lan]:
    with host.container() as switch, host.container() as nas:
        lan = Lan(host, switch, nas)
        switch.run("ip link add br0 type bridge mcast_snooping 0")
        switch.run(f"ip address add {ROUTER4}/24 dev br0")
        switch.run(f"ip address add {ROUTER6}/64 dev br0 nodad")
        switch.run(f"ip address add {BEYOND4}/32 dev lo")
        switch.run(f"ip address add {BEYOND6}/128 dev lo nodad")
        switch.run(f"ip link add port1 type veth peer name eth0 netns /proc/{nas.pid}/ns/net")
        switch.run("ip link set port1 master br0 up")
        switch.run("ip link set br0 up")
        nas.run(f"ip address add {NAS4}/24 dev eth0")
        nas.run(f"ip address add {NAS6}/64 dev eth0 nodad")
        nas.run("ip link set eth0 up")
        lan.plug_host()
        yield lan


def tag(lan: Lan, tag: int = 10) -> None:
    """The machine has an address in a VLAN, too; the switch passes tags on as they are."""
    lan.nas.run(f"ip link add link eth0 name eth0.{tag} type vlan id {tag}")
    lan.nas.run(f"ip address add {TAGGED4}/24 dev eth0.{tag}")
    lan.nas.run(f"ip link set eth0.{tag} up")
