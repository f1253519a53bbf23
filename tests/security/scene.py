"""A host with something to lose, whichever engine made its containers, and those who are after it.

Two networks of both families, one that is internal and one of IPv4 alone; `web` publishes ports, on every address and
on the host's loopback. Around them: a machine on the host's wire that has routes to all of it, a second one on another
wire, and containers whose root is the attacker.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from tests.hosts import Namespace, PrivateHost
from tests.system.people import HOST4, HOST6, OUTSIDE4, Listener, listening, outside_of

FRIEND4, FRIEND6 = "198.51.100.2", "2001:db8:f::2"
"""The machine on the second wire."""

PUBLISHED, LOCAL, LOCAL2, LOCAL6 = 8080, 8082, 8083, 8084
"""The host's ports: for everybody, on 127.0.0.1, on 127.0.0.2, on ::1."""

OPEN, SHUT, INNER = 80, 81, 82
"""web's ports: published for everybody, not published, published on the host's loopback alone."""

NETWORKS = {
    "a": ("10.1.0.0/24", "fd01::/64"),
    "b": ("10.2.0.0/24", "fd02::/64"),
    "inner": ("10.3.0.0/24", "fd03::/64"),
    "four": ("10.4.0.0/24",),
}
ADDRESSES = {
    "web": ("10.1.0.11", "fd01::11"),
    "beside": ("10.1.0.12", "fd01::12"),
    "stranger": ("10.2.0.11", "fd02::11"),
    "inside": ("10.3.0.11", "fd03::11"),
    "liar": ("10.4.0.11",),
    "plain": ("10.4.0.12",),
}
HOMES = {"web": "a", "beside": "a", "stranger": "b", "inside": "inner", "liar": "four", "plain": "four"}
GATEWAYS = {"beside": ("10.1.0.1", "fd01::1"), "stranger": ("10.2.0.1", "fd02::1"), "inside": ("10.3.0.1", "fd03::1")}

PORTS = (
    ("", PUBLISHED, OPEN),
    ("127.0.0.1", LOCAL, INNER),
    ("127.0.0.2", LOCAL2, INNER),
    ("::1", LOCAL6, INNER),
)
"""What web publishes: host's address, host's port, own port."""


class Engine(Protocol):
    """What makes networks and containers on a private host."""

    host: PrivateHost

    @property
    def environment(self) -> dict[str, str]: ...

    def network(self, name: str, pools: Sequence[str], *, internal: bool) -> None: ...

    def container(
        self, name: str, network: str, addresses: Sequence[str], ports: Sequence[tuple[str, int, int]]
    ) -> str:
        """The path of its network namespace."""


@dataclass(frozen=True)
class Scene:
    engine: Engine
    outside: Namespace
    paths: dict[str, str]
    """Everybody's network namespace; the host's is ""."""

    @property
    def host(self) -> PrivateHost:
        return self.engine.host

    def run(self, who: str, command: str, *, check: bool = True) -> str:
        """What a command says in somebody's network namespace."""
        prefix = ["nsenter", f"--net={self.paths[who]}"] if self.paths[who] else []
        return self.host.run([*prefix, *command.split()], check=check).stdout

    def link_to(self, name: str) -> str:
        """The host's link on the wire or network that somebody is on."""
        if name == "outside":
            return "uplink"
        own = f"{ADDRESSES[name][0].rpartition('.')[0]}.1"
        listed = json.loads(self.host.run("ip -j -4 address").stdout)
        return next(
            str(link["ifname"]) for link in listed if any(a.get("local") == own for a in link.get("addr_info", ()))
        )

    def mac_of(self, link: str) -> bytes:
        (found,) = json.loads(self.host.run(f"ip -j link show {link}").stdout)
        return bytes.fromhex(found["address"].replace(":", ""))


@contextlib.contextmanager
def wires(host: PrivateHost) -> Iterator[tuple[Namespace, Namespace]]:
    """The machine on the host's wire and the one on another, both with routes through the host. To be there first."""
    with outside_of(host) as outside, host.container() as friend:
        host.run(f"ip link add friendly type veth peer name eth0 netns /proc/{friend.pid}/ns/net")
        host.run("ip address add 198.51.100.1/24 dev friendly")
        host.run("ip address add 2001:db8:f::1/64 dev friendly nodad")
        host.run("ip link set friendly up")
        friend.run(f"ip address add {FRIEND4}/24 dev eth0")
        friend.run(f"ip address add {FRIEND6}/64 dev eth0 nodad")
        friend.run("ip link set eth0 up")
        friend.run("ip route add default via 198.51.100.1")
        friend.run("ip -6 route add default via 2001:db8:f::1")
        yield outside, friend


@contextlib.contextmanager
def scene_of(engine: Engine, outside: Namespace, friend: Namespace) -> Iterator[Scene]:
    paths = {"outside": outside.path, "friend": friend.path, "host": ""}
    for name, pools in NETWORKS.items():
        engine.network(name, pools, internal=name == "inner")
    for name, addresses in ADDRESSES.items():
        paths[name] = engine.container(name, HOMES[name], addresses, PORTS if name == "web" else ())
    scene = Scene(engine, outside, paths)
    _prepare_attackers(scene)
    everybody = [
        Listener(name, path, proto, port)
        for name, path in paths.items()
        if name != "host"
        for proto in ("tcp", "udp")
        for port in (OPEN, SHUT)
    ]
    with listening(engine, *everybody):  # type: ignore[arg-type]
        yield scene


def _prepare_attackers(scene: Scene) -> None:
    """Containers take routes of their own: to their neighbours' networks by way of the host, at whatever address."""
    for name, (gateway4, gateway6) in GATEWAYS.items():
        for version, gateway in (("-4", gateway4), ("-6", gateway6)):
            scene.run(name, f"ip {version} route replace default via {gateway} dev eth0")
    scene.run("stranger", f"ip route replace 10.1.0.11/32 via {HOST4} dev eth0 onlink")
    scene.run("stranger", f"ip -6 route replace fd01::11/128 via {HOST6} dev eth0 onlink")


RESOLV_CONF = f"nameserver {OUTSIDE4}\n"
