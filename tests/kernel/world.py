"""A host with a firewall, one network and a container on it: what the kernel room's tests start from."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Callable
from ipaddress import ip_address, ip_interface, ip_network
from typing import Any

from tests.waiting import PACE
from weft import names
from weft.firewall.ruleset import ruleset
from weft.kernel.linux import LinuxKernel
from weft.plan import (
    HOST,
    Address,
    Bridge,
    Item,
    Loopback,
    Netns,
    NftElement,
    Plan,
    Route,
    SandboxTable,
    Sysctl,
    Veth,
)

RULES = ruleset(ipv6=True)
BRIDGE = Bridge("wb-0123456789ab", "02:77:01:23:45:67", 1400)
NETWORK: Plan = (
    NftElement("subnets4", (ip_network("10.1.0.0/24"),)),
    NftElement("subnets6", (ip_network("fd00:1::/64"),)),
    NftElement("bridges", (BRIDGE.name,)),
    BRIDGE,
    Address(HOST, BRIDGE.name, ip_interface("10.1.0.1/24")),
    Address(HOST, BRIDGE.name, ip_interface("fd00:1::1/64")),
    Sysctl(HOST, f"net.ipv4.conf.{BRIDGE.name}.route_localnet", "1", "for the test"),
    NftElement("same", (BRIDGE.name, BRIDGE.name)),
)


class World:
    """To be made in a private host (`tests.hosts.in_private_host`)."""

    def __init__(self) -> None:
        self.run_dir = tempfile.mkdtemp(prefix="weft-")
        self.kernel = LinuxKernel(self.run_dir)
        self.kernel.replace_firewall(RULES, ())
        self.kernel.ensure(NETWORK)

    def pin(self, number: int) -> str:
        return names.pin(self.run_dir, f"{number:012x}")

    def endpoint(self, number: int, *, ifname: str = "eth0", isolated: bool = False) -> Plan:
        """One network interface in container `number`, .2 for the first."""
        netns, host = self.pin(number), number + 1
        return (
            Veth(f"wv-{number:04x}{ifname}", BRIDGE.name, netns, ifname, f"02:42:0a:01:00:{host:02x}", 1400, isolated),
            Address(netns, ifname, ip_interface(f"10.1.0.{host}/24")),
            Address(netns, ifname, ip_interface(f"fd00:1::{host:x}/64")),
            Route(netns, ip_network("0.0.0.0/0"), ifname, ip_address("10.1.0.1")),
            Route(netns, ip_network("::/0"), ifname, ip_address("fd00:1::1")),
            Route(netns, ip_network("10.77.0.0/16"), ifname),
        )

    def container(self, number: int, *, source: str | None = None) -> Plan:
        """A whole container with one interface and published ports."""
        netns = self.pin(number)
        target4, target6 = ip_address(f"10.1.0.{number + 1}"), ip_address(f"fd00:1::{number + 1:x}")
        return (
            Netns(netns, source),
            Loopback(netns),
            SandboxTable(netns, names.NAMESERVER_PORT, ipv6=True),
            Sysctl(netns, "net.ipv4.ip_unprivileged_port_start", "0", "for the test"),
            *self.endpoint(number),
            NftElement("ports4", ("tcp", 8000 + number), (target4, 80)),
            NftElement("ports6", ("udp", 8000 + number), (target6, 80)),
            NftElement("addr_ports4", (ip_address("127.0.0.1"), "tcp", 9000 + number), (target4, 80)),
            NftElement("addr_ports6", (ip_address("fd00::9"), "sctp", 9000 + number), (target6, 80)),
        )


def sh(command: str, netns: str = HOST) -> str:
    """Run a shell command on the host or in a namespace; what it prints."""
    argv = ["sh", "-ec", command]
    if netns:
        argv = ["nsenter", f"--net={netns}", *argv]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=20 * PACE, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


def ip(command: str, netns: str = HOST) -> Any:
    """`ip -j` read as JSON."""
    return json.loads(sh(f"ip -j -d {command}", netns) or "[]")


def elements(name: str, family: str = "inet") -> Any:
    """The elements of a set or map, as nft lists them."""
    place = f"{family} weft {name}"
    for part in json.loads(sh(f"nft -j list set {place} 2>/dev/null || nft -j list map {place}"))["nftables"]:
        for body in part.values():
            if body.get("name") == name:
                return body.get("elem", [])
    raise AssertionError(f"no set {name}")


def link_names(netns: str = HOST) -> set[str]:
    return {link["ifname"] for link in ip("link", netns)}


def snapshot(*namespaces: str) -> str:
    """All that plans make, as the tools list it: equal if nothing changed."""
    listed = [sh("ip -o address; ip -o link; ip route; ip -6 route", netns) for netns in ("", *namespaces)]
    rules = [sh("nft -a list ruleset", netns) for netns in ("", *namespaces)]
    return "\n".join(listed + rules)


def one(plan: Plan, kind: type[Item]) -> Item:
    return next(item for item in plan if isinstance(item, kind))


def has_gone(is_there: Callable[[], bool], *, tries: int = 100) -> bool:
    """Whether something ends soon that the kernel ends in its own time."""
    for _ in range(tries):
        if not is_there():
            return True
        time.sleep(0.02 * PACE)
    return False
