"""A container that lies about who it is: on a network with anti-spoof nobody hears it, on one without everybody does.

Every trick is played on both, so that no test passes because the trick was badly played. And all of them against both
ways to guard: programs on the ports, and the rules that stand in where the kernel takes none.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import pytest

from tests.audits import assert_consistent
from tests.daemons import Weftd
from tests.enter import inside, network
from tests.hosts import Namespace, PrivateHost, needs_namespaces
from tests.kinds import needs_programs
from tests.system.forgeries import (
    ETH_P_8021AD,
    ETH_P_8021Q,
    ETH_P_ARP,
    ETH_P_EXPERIMENT,
    EVERYBODY,
    UNSPECIFIED,
    Station,
    advertisement,
    arp,
    echo6,
    frame,
    offer,
    redirect,
    router_advertisement,
    solicitation,
    udp6,
)
from tests.system.frames import ETH_P_IP, ETH_P_IPV6, udp4
from tests.system.people import HOST4, OUTSIDE4, SILENCE, Listener, Question, ask, listening, pings
from tests.waiting import eventually
from weft.client import Publish

pytestmark = pytest.mark.root

PROGRAMS, RULES = "programs", "rules"
GUARDED, OPEN = "guarded", "open"
FOREIGN4, FOREIGN6 = "203.0.113.7", "2001:db8:bad::7"
STRANGER = "02:00:00:00:00:99"
PORT = 7


@dataclass(frozen=True)
class Scene:
    """A network of three containers and the host."""

    weftd: Weftd
    bridge: str
    me: Station
    """The liar."""
    victim: Station
    other: Station
    """Whom the liar wants to be taken for."""
    gateway: Station
    paths: dict[str, str]
    """Network namespaces of me, victim and other."""

    def send(self, *frames: bytes) -> None:
        def put() -> None:
            with network(self.paths["me"]):
                _put(frames)

        inside(self.weftd.host, put)

    def arrives(self, lie: bytes, where: str, *, in_pieces: bool = False) -> bool:
        """Whether the frame arrives at the victim, or on the host's end of the bridge. An honest one follows it."""

        def play() -> bool:
            with network(self.paths.get(where, "/proc/self/ns/net")):
                wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0003))
            wire.bind(("eth0" if where in self.paths else self.bridge, 0))
            wire.settimeout(5)
            target = self.gateway if where == "host" else self.victim
            honest = frame(target.mac, self.me.mac, ETH_P_IP, udp4(self.me.ip, target.ip, PORT, os.urandom(16)))
            with wire, network(self.paths["me"]):
                _put([lie], in_pieces=in_pieces)
                _put([honest])
                return _hears(wire, lie, honest)

        return inside(self.weftd.host, play)


def _put(frames: tuple[bytes, ...] | list[bytes], *, in_pieces: bool = False) -> None:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as wire:
        wire.bind(("eth0", 0))
        if in_pieces:  # as a virtual machine's: what the header says is at least kept together is all that is
            wire.setsockopt(263, 15, 1)  # SOL_PACKET, PACKET_VNET_HDR
        for each in frames:
            wire.send(struct.pack("=BBHHHH", 0, 0, 14, 0, 0, 0) + each if in_pieces else each)


def _hears(wire: socket.socket, lie: bytes, honest: bytes) -> bool:
    """VLAN tags are kept beside a frame that was received: it is compared from behind them, where there are any."""
    payload = lie[14:].lstrip(b"\0")[-28:]
    heard = False
    while True:
        got = wire.recv(1 << 14)
        if got[:12] == honest[:12] and got[14:] == honest[14:]:
            return heard
        heard = heard or (got[:12] == lie[:12] and got.endswith(payload))


@pytest.fixture(scope="module", params=[PROGRAMS, RULES])
def way(request: pytest.FixtureRequest) -> str:
    if request.param == PROGRAMS:
        needs_programs()
    return str(request.param)


@pytest.fixture(scope="module")
def host(way: str) -> Iterator[PrivateHost]:
    needs_namespaces()
    with PrivateHost() as host:
        yield host


@pytest.fixture(scope="module")
def weftd(host: PrivateHost, way: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Weftd]:
    with Weftd(host, tmp_path_factory.mktemp("weftd"), settings=("--guard", way)) as weftd:
        yield weftd


@pytest.fixture(scope="module")
def scenes(weftd: Weftd, outside: Namespace) -> Iterator[dict[str, Scene]]:
    scenes = {}
    for number, name in ((1, GUARDED), (2, OPEN)):
        options = {} if name == GUARDED else {"anti-spoof": "false"}
        made = weftd.client.networks.create(
            name, ipv6=True, pools=[f"10.{number}.0.0/24", f"fd0{number}::/64"], options=options
        )
        paths, stations = {}, {}
        for last, who in enumerate(("me", "victim", "other"), start=11):
            ports = [Publish(80, 8000 + number)] if who == "victim" else []
            wish = {"network": name, "ip": f"10.{number}.0.{last}", "ip6": f"fd0{number}::{last}"}
            container = weftd.client.containers.create(name=f"{name}-{who}", networks=[wish], ports=ports)
            paths[who] = container.netns
            stations[who] = Station(container.endpoints[0].mac, wish["ip"], wish["ip6"])
        bridge = made.bridge or ""
        (link,) = json.loads(weftd.host.run(f"ip -j link show {bridge}").stdout)
        gateway = Station(link["address"], f"10.{number}.0.1", f"fd0{number}::1")
        scenes[name] = Scene(weftd, bridge, **stations, gateway=gateway, paths=paths)
    listeners = [Listener(f"{n}-{w}", scenes[n].paths[w]) for n in scenes for w in ("victim", "other")]
    everybody = [*listeners, Listener("outside", outside.path), Listener("outside", outside.path, "udp")]
    with listening(weftd, *everybody):
        yield scenes


both = pytest.mark.parametrize("kind", [GUARDED, OPEN])

Lie = Callable[[Scene], bytes]


def to_victim(protocol: int, payload: bytes, s: Scene, source: str = "", *, tags: tuple[int, ...] = ()) -> bytes:
    return frame(s.victim.mac, source or s.me.mac, protocol, payload, tags=tags)


def to_all(protocol: int, payload: bytes, s: Scene, source: str = "") -> bytes:
    return frame(EVERYBODY, source or s.me.mac, protocol, payload)


HEARD_BY_THE_VICTIM: dict[str, Lie] = {
    "ARP: the neighbour's address": lambda s: to_victim(ETH_P_ARP, arp(s.me.mac, s.other.ip, s.victim), s),
    "ARP: the gateway's address": lambda s: to_victim(ETH_P_ARP, arp(s.me.mac, s.gateway.ip, s.victim), s),
    "ARP: the gateway's address, asking": lambda s: to_all(
        ETH_P_ARP, arp(s.me.mac, s.gateway.ip, s.victim, reply=False), s
    ),
    "ARP: an address of nobody's": lambda s: to_victim(ETH_P_ARP, arp(s.me.mac, FOREIGN4, s.victim), s),
    "ARP: the neighbour's MAC within": lambda s: to_victim(ETH_P_ARP, arp(s.other.mac, s.me.ip, s.victim), s),
    "ARP: the neighbour's MAC without": lambda s: to_victim(
        ETH_P_ARP, arp(s.me.mac, s.me.ip, s.victim), s, s.other.mac
    ),
    "ARP: the neighbour in all": lambda s: to_victim(ETH_P_ARP, arp(s.other.mac, s.other.ip, s.victim), s, s.other.mac),
    "ARP: as IEEE 802 says it": lambda s: to_victim(ETH_P_ARP, arp(s.me.mac, s.gateway.ip, s.victim, hardware=6), s),
    "ARP: behind a VLAN tag": lambda s: to_victim(
        ETH_P_ARP, arp(s.me.mac, s.gateway.ip, s.victim), s, tags=(ETH_P_8021Q,)
    ),
    "ARP: behind two": lambda s: to_victim(
        ETH_P_ARP, arp(s.me.mac, s.gateway.ip, s.victim), s, tags=(ETH_P_8021AD, ETH_P_8021Q)
    ),
    "IPv4: the neighbour's address": lambda s: to_victim(ETH_P_IP, udp4(s.other.ip, s.victim.ip, 80), s),
    "IPv4: the gateway's address": lambda s: to_victim(ETH_P_IP, udp4(s.gateway.ip, s.victim.ip, 80), s),
    "IPv4: behind a VLAN tag": lambda s: to_victim(ETH_P_IP, udp4(s.other.ip, s.victim.ip, 80), s, tags=(ETH_P_8021Q,)),
    "IPv4: no address": lambda s: to_victim(ETH_P_IP, udp4("0.0.0.0", s.victim.ip, 80), s),
    "IPv4: the neighbour's MAC": lambda s: to_victim(ETH_P_IP, udp4(s.me.ip, s.victim.ip, 80), s, s.other.mac),
    "IPv4: the neighbour's MAC and address": lambda s: to_victim(
        ETH_P_IP, udp4(s.other.ip, s.victim.ip, 80), s, s.other.mac
    ),
    "IPv6: the neighbour's address": lambda s: to_victim(ETH_P_IPV6, udp6(s.other.ip6, s.victim.ip6, 9, 80), s),
    "IPv6: the neighbour's address, in ICMPv6": lambda s: to_victim(ETH_P_IPV6, echo6(s.other.ip6, s.victim.ip6), s),
    "IPv6: a link-local address": lambda s: to_victim(ETH_P_IPV6, udp6("fe80::7", s.victim.ip6, 9, 80), s),
    "IPv6: the neighbour's MAC": lambda s: to_victim(ETH_P_IPV6, udp6(s.me.ip6, s.victim.ip6, 9, 80), s, s.other.mac),
    "IPv6: the neighbour's MAC and address": lambda s: to_victim(
        ETH_P_IPV6, udp6(s.other.ip6, s.victim.ip6, 9, 80), s, s.other.mac
    ),
    "NDP: advertises the neighbour's address": lambda s: to_victim(
        ETH_P_IPV6, advertisement(s.me.ip6, s.other.ip6, s.me.mac, s.victim.ip6), s
    ),
    "NDP: advertises it under its address": lambda s: to_victim(
        ETH_P_IPV6, advertisement(s.other.ip6, s.other.ip6, s.me.mac, s.victim.ip6), s
    ),
    "NDP: advertises the gateway's address": lambda s: to_victim(
        ETH_P_IPV6, advertisement(s.me.ip6, s.gateway.ip6, s.me.mac, s.victim.ip6), s
    ),
    "NDP: advertises it in fragments": lambda s: to_victim(
        ETH_P_IPV6, advertisement(s.me.ip6, s.gateway.ip6, s.me.mac, s.victim.ip6, fragment_at=8), s
    ),
    "NDP: solicits under the neighbour's address": lambda s: to_victim(
        ETH_P_IPV6, solicitation(s.other.ip6, s.victim.ip6, s.me.mac, s.victim.ip6), s
    ),
    "NDP: probes for the neighbour's address": lambda s: to_victim(
        ETH_P_IPV6, solicitation(UNSPECIFIED, s.other.ip6, s.me.mac, s.victim.ip6), s
    ),
    "NDP: advertises a router": lambda s: to_victim(ETH_P_IPV6, router_advertisement(s.me.ip6, s.victim.ip6), s),
    "NDP: advertises a router from a link-local address": lambda s: to_victim(
        ETH_P_IPV6, router_advertisement("fe80::bad", s.victim.ip6), s
    ),
    "NDP: advertises a router behind options": lambda s: to_victim(
        ETH_P_IPV6, router_advertisement(s.me.ip6, s.victim.ip6, options_before=True), s
    ),
    "NDP: advertises a router behind a VLAN tag": lambda s: to_victim(
        ETH_P_IPV6, router_advertisement(s.me.ip6, s.victim.ip6), s, tags=(ETH_P_8021Q,)
    ),
    "NDP: redirects": lambda s: to_victim(ETH_P_IPV6, redirect(s.me.ip6, s.victim.ip6, s.me.ip6, FOREIGN6), s),
    "DHCP: an offer": lambda s: to_all(ETH_P_IP, offer(s.me.ip, "255.255.255.255", "10.9.9.9"), s),
    "DHCP: an offer to one": lambda s: to_victim(ETH_P_IP, offer(s.me.ip, s.victim.ip, "10.9.9.9"), s),
    "DHCP: an offer behind a VLAN tag": lambda s: to_victim(
        ETH_P_IP, offer(s.me.ip, s.victim.ip, "10.9.9.9"), s, tags=(ETH_P_8021Q,)
    ),
    "DHCP: an offer of the gateway's": lambda s: to_victim(ETH_P_IP, offer(s.gateway.ip, s.victim.ip, "10.9.9.9"), s),
    "DHCPv6: an answer": lambda s: to_victim(ETH_P_IPV6, udp6(s.me.ip6, s.victim.ip6, 547, 546), s),
    "another protocol": lambda s: to_victim(ETH_P_EXPERIMENT, b"hello?", s),
}

HEARD_BY_THE_HOST: dict[str, Lie] = {
    "ARP: the neighbour's address": lambda s: frame(
        s.gateway.mac, s.me.mac, ETH_P_ARP, arp(s.me.mac, s.other.ip, s.gateway)
    ),
    "IPv4: the neighbour's address": lambda s: frame(
        s.gateway.mac, s.me.mac, ETH_P_IP, udp4(s.other.ip, s.gateway.ip, 80)
    ),
    "IPv4: an address from outside": lambda s: frame(s.gateway.mac, s.me.mac, ETH_P_IP, udp4(FOREIGN4, OUTSIDE4, 80)),
    "IPv6: an address from outside": lambda s: frame(
        s.gateway.mac, s.me.mac, ETH_P_IPV6, udp6(FOREIGN6, s.gateway.ip6, 9, 80)
    ),
    "NDP: advertises the neighbour's address": lambda s: frame(
        s.gateway.mac, s.me.mac, ETH_P_IPV6, advertisement(s.me.ip6, s.other.ip6, s.me.mac, s.gateway.ip6)
    ),
    "NDP: advertises a router": lambda s: frame(
        s.gateway.mac, s.me.mac, ETH_P_IPV6, router_advertisement(s.me.ip6, s.gateway.ip6)
    ),
    "DHCP: an offer": lambda s: frame(EVERYBODY, s.me.mac, ETH_P_IP, offer(s.me.ip, "255.255.255.255", "10.9.9.9")),
}


@both
@pytest.mark.parametrize("lie", HEARD_BY_THE_VICTIM)
def test_a_neighbour_hears_no_lies(scenes: dict[str, Scene], kind: str, lie: str) -> None:
    scene = scenes[kind]
    assert scene.arrives(HEARD_BY_THE_VICTIM[lie](scene), "victim") == (kind == OPEN)


@both
@pytest.mark.parametrize("lie", HEARD_BY_THE_HOST)
def test_the_host_hears_no_lies(scenes: dict[str, Scene], kind: str, lie: str) -> None:
    scene = scenes[kind]
    assert scene.arrives(HEARD_BY_THE_HOST[lie](scene), "host") == (kind == OPEN)


@pytest.mark.parametrize(
    "honest",
    [
        lambda s: to_victim(ETH_P_ARP, arp(s.me.mac, s.me.ip, s.victim), s),
        lambda s: to_all(ETH_P_ARP, arp(s.me.mac, s.me.ip, s.me, reply=False), s),
        lambda s: to_victim(ETH_P_IPV6, advertisement(s.me.ip6, s.me.ip6, s.me.mac, s.victim.ip6), s),
        lambda s: to_victim(ETH_P_IPV6, solicitation(s.me.ip6, s.victim.ip6, s.me.mac, s.victim.ip6), s),
        lambda s: to_victim(ETH_P_IPV6, echo6(s.me.ip6, s.victim.ip6), s),
        lambda s: to_victim(ETH_P_IP, udp4(s.me.ip, s.victim.ip, 67), s),
    ],
)
def test_the_truth_is_heard(scenes: dict[str, Scene], honest: Lie) -> None:
    assert scenes[GUARDED].arrives(honest(scenes[GUARDED]), "victim")


def test_what_the_kernel_keeps_in_pieces_is_looked_into(weftd: Weftd, way: str, scenes: dict[str, Scene]) -> None:
    """Of a frame like these only the first 14 bytes are in one piece."""
    scene = scenes[GUARDED]
    for path in scene.paths.values():
        weftd.host.run(["nsenter", f"--net={path}", "ip", "link", "set", "eth0", "mtu", "9000"])
    for name in (scene.bridge, *_fdb(scene).values()):
        weftd.host.run(["ip", "link", "set", name, "mtu", "9000"])
    payload = os.urandom(5000)
    told = {
        "truth": udp4(scene.me.ip, scene.victim.ip, PORT, payload),
        "lie": udp4(scene.other.ip, scene.victim.ip, PORT, payload),
        "DHCP": udp4(scene.me.ip, scene.victim.ip, 68, payload),
    }
    told6 = {
        "truth": udp6(scene.me.ip6, scene.victim.ip6, 9, PORT, payload),
        "lie": udp6(scene.other.ip6, scene.victim.ip6, 9, PORT, payload),
        "DHCP": udp6(scene.me.ip6, scene.victim.ip6, 9, 546, payload),
    }
    try:
        for kind, packets in ((ETH_P_IP, told), (ETH_P_IPV6, told6)):
            for what, packet in packets.items():
                sent = to_victim(kind, packet, scene)
                if way == RULES and (kind, what) == (ETH_P_IPV6, "DHCP"):
                    continue  # the rules miss it: docs/spoofing.md
                assert scene.arrives(sent, "victim", in_pieces=True) == (what == "truth"), what
    finally:
        weftd.cli("doctor", "--fix", check=False)


@pytest.mark.parametrize("length", [14, 20, 33, 41])
def test_what_is_cut_short_is_not_passed_on_unread(scenes: dict[str, Scene], length: int) -> None:
    scene = scenes[GUARDED]
    for lie in ("ARP: the neighbour's address", "IPv4: the neighbour's address", "IPv6: the neighbour's address"):
        assert not scene.arrives(HEARD_BY_THE_VICTIM[lie](scene)[:length], "victim")


def test_who_floods_while_it_is_connected_gets_nothing_through(weftd: Weftd, scenes: dict[str, Scene]) -> None:
    """Its lies are sent from before it is on the network until it is: none finds the port open and unguarded."""
    scene, client = scenes[GUARDED], weftd.client
    made = client.containers.create(name="late", networks=[{"network": OPEN}])
    lie = to_all(ETH_P_ARP, arp(STRANGER, scene.gateway.ip, scene.victim), scene, STRANGER)
    try:
        for _ in range(5):
            heard, sent = _flooded(scene, made.netns, lie, lambda: client.networks.connect(GUARDED, "late"))
            client.networks.disconnect(GUARDED, "late")
            assert sent > 0
            assert heard == 0
    finally:
        client.containers.remove("late", force=True)


def _flooded(scene: Scene, path: str, lie: bytes, connect: Callable[[], object]) -> tuple[int, int]:
    """How many of the lies the victim hears, and how many were sent by eth1 while `connect` made that."""
    flood = subprocess.Popen(
        [*scene.weftd.host.prefix, sys.executable, "-m", "tests.system.flood", path, scene.paths["victim"], lie.hex()],
        env=scene.weftd.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert flood.stdin is not None
    assert flood.stdout is not None
    assert flood.stdout.readline() == "ready\n"
    connect()
    heard, sent = map(int, flood.communicate(timeout=20)[0].split())
    return heard, sent


# What the lies would do


@both
@pytest.mark.parametrize("as_whom", ["other", "gateway"])
def test_nobody_s_traffic_is_drawn_to_the_liar(weftd: Weftd, scenes: dict[str, Scene], kind: str, as_whom: str) -> None:
    scene = scenes[kind]
    truth: Station = getattr(scene, as_whom)
    weftd.sandbox(f"{kind}-victim", "ip", "neigh", "flush", "all")  # of what other tests told it
    weftd.sandbox(f"{kind}-victim", "sysctl", "-qw", "net.ipv4.neigh.eth0.locktime=0")  # it listens at any time
    assert pings(weftd.host, scene.paths["victim"], (truth.ip, truth.ip6)) == [True, True]
    scene.send(
        to_victim(ETH_P_ARP, arp(scene.me.mac, truth.ip, scene.victim), scene),
        to_victim(ETH_P_IPV6, advertisement(truth.ip6, truth.ip6, scene.me.mac, scene.victim.ip6), scene),
    )
    believed = {truth.mac if kind == GUARDED else scene.me.mac}
    try:
        assert {_neighbour(scene, truth.ip), _neighbour(scene, truth.ip6)} == believed
    finally:
        weftd.sandbox(f"{kind}-victim", "ip", "neigh", "flush", "all")


def _neighbour(scene: Scene, address: str) -> str:
    """The MAC that the victim has for an address."""
    command = ["nsenter", f"--net={scene.paths['victim']}", "ip", "-j", "neigh", "show", address]
    (found,) = json.loads(scene.weftd.host.run(command).stdout)
    return str(found["lladdr"])


@both
def test_a_false_source_is_not_masqueraded(
    weftd: Weftd, outside: Namespace, scenes: dict[str, Scene], kind: str
) -> None:
    """Not the neighbour's, which would lead answers to it."""
    scene = scenes[kind]

    def play() -> list[str]:
        with network(outside.path):
            ear = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            ear.bind(("0.0.0.0", 5353))
            ear.settimeout(5)
        with ear, network(scene.paths["me"]):
            told = (udp4(source, OUTSIDE4, 5353, payload) for source, payload in sources)
            _put([frame(scene.gateway.mac, scene.me.mac, ETH_P_IP, packet) for packet in told])
            heard = []
            while "honest" not in heard:
                payload, (sender, _) = ear.recvfrom(100)
                assert sender == HOST4
                heard.append(payload.decode())
            return heard

    sources = ((scene.other.ip, b"false"), (scene.me.ip, b"honest"))
    assert inside(weftd.host, play) == (["honest"] if kind == GUARDED else ["false", "honest"])


@both
def test_the_bridge_is_not_taught_where_others_are(weftd: Weftd, scenes: dict[str, Scene], kind: str) -> None:
    """A frame under the neighbour's MAC would lead the bridge's next frame for it to the liar."""
    scene = scenes[kind]
    assert pings(weftd.host, scene.paths["other"], [scene.victim.ip]) == [True]
    right = _port_of(scene, scene.other.mac)
    scene.send(
        to_all(ETH_P_ARP, arp(scene.other.mac, scene.other.ip, scene.other, reply=False), scene, scene.other.mac)
    )
    try:
        assert (_port_of(scene, scene.other.mac) == right) == (kind == GUARDED)
    finally:
        assert pings(weftd.host, scene.paths["other"], [scene.victim.ip]) == [True]


@pytest.mark.parametrize("protected", [True, False])
def test_nor_by_frames_that_no_rule_sees(weftd: Weftd, way: str, scenes: dict[str, Scene], protected: bool) -> None:
    """The bridge keeps what is sent to 01:80:c2:00:00:0x to itself, and would learn from it. Programs see it all."""
    scene = scenes[GUARDED]
    bridge = ("ip", "link", "set", scene.bridge, "type", "bridge", "no_linklocal_learn")
    assert pings(weftd.host, scene.paths["other"], [scene.victim.ip]) == [True]
    right = _port_of(scene, scene.other.mac)
    if not protected:
        weftd.host.run([*bridge, "0"])
    try:
        scene.send(frame("01:80:c2:00:00:0e", scene.other.mac, 0x88CC, b"a neighbour"))
        assert (_port_of(scene, scene.other.mac) == right) == (protected or way == PROGRAMS)
    finally:
        weftd.host.run([*bridge, "1"])
        assert pings(weftd.host, scene.paths["other"], [scene.victim.ip]) == [True]


@both
def test_the_bridge_s_memory_is_not_flooded(weftd: Weftd, scenes: dict[str, Scene], kind: str) -> None:
    """A bridge that remembers no more sends everything to everybody."""
    scene = scenes[kind]
    macs = [f"02:00:00:00:{number >> 8:02x}:{number & 255:02x}" for number in range(512)]
    scene.send(*(to_victim(ETH_P_IP, udp4(scene.me.ip, scene.victim.ip, PORT), scene, each) for each in macs))
    known = set(_fdb(scene))
    assert len(known & set(macs)) == (0 if kind == GUARDED else len(macs))


def _port_of(scene: Scene, mac: str) -> str:
    return _fdb(scene)[mac]


def _fdb(scene: Scene) -> dict[str, str]:
    """The port that the bridge sends frames for each MAC to."""
    listed = json.loads(scene.weftd.host.run(f"bridge -j fdb show br {scene.bridge}").stdout)
    return {entry["mac"]: entry["ifname"] for entry in listed if "self" not in entry.get("flags", [])}


# Who is honest


def _meets_everybody(scene: Scene, name: str) -> bool:
    """Both families, a neighbour, the host, the outside, and a published port by way of the host."""
    questions = [(scene.victim.ip, 80), (scene.victim.ip6, 80), (OUTSIDE4, 80), (HOST4, 8001)]
    said = ask(scene.weftd.host, *(Question(scene.paths["me"], address, port) for address, port in questions))
    reached = [answer.split()[0] for answer in said]
    met = reached == [f"{name}-victim", f"{name}-victim", "outside", f"{GUARDED}-victim"]
    return met and all(pings(scene.weftd.host, scene.paths["me"], [scene.gateway.ip, scene.gateway.ip6]))


@both
def test_honest_traffic_is_not_touched(scenes: dict[str, Scene], kind: str) -> None:
    assert _meets_everybody(scenes[kind], kind)


def test_published_ports_are_reached_from_outside_and_by_their_own_container(
    weftd: Weftd, outside: Namespace, scenes: dict[str, Scene]
) -> None:
    victim = scenes[GUARDED].paths["victim"]
    said = ask(weftd.host, Question(outside.path, HOST4, 8001), Question(victim, HOST4, 8001))
    assert [answer.split()[0] for answer in said] == [f"{GUARDED}-victim"] * 2


def test_large_packets_pass_in_fragments(weftd: Weftd, scenes: dict[str, Scene]) -> None:
    scene = scenes[GUARDED]
    for address in (scene.victim.ip, scene.victim.ip6, scene.gateway.ip6):
        weftd.sandbox(f"{GUARDED}-me", "ping", "-c1", "-W2", "-s4000", address)


def test_it_holds_while_weftd_is_away_and_after_it_came_back(weftd: Weftd, scenes: dict[str, Scene]) -> None:
    scene = scenes[GUARDED]
    lie = HEARD_BY_THE_VICTIM["ARP: the gateway's address"](scene)
    weftd.kill()
    try:
        assert not scene.arrives(lie, "victim")
        assert _meets_everybody(scene, GUARDED)
    finally:
        weftd.start()
    assert not scene.arrives(lie, "victim")
    assert _meets_everybody(scene, GUARDED)
    assert_consistent(weftd)


def test_it_is_back_after_a_flush(weftd: Weftd, way: str, scenes: dict[str, Scene]) -> None:
    scene = scenes[GUARDED]
    lie = HEARD_BY_THE_VICTIM["IPv6: the neighbour's address"](scene)
    weftd.host.run("nft delete table bridge weft")
    if way == PROGRAMS:
        assert not scene.arrives(lie, "victim")
    eventually(lambda: not scene.arrives(lie, "victim"), within=2)
    assert _meets_everybody(scene, GUARDED)
    assert_consistent(weftd)


def test_a_program_that_was_taken_away_is_back_at_once(weftd: Weftd, way: str, scenes: dict[str, Scene]) -> None:
    if way != PROGRAMS:
        pytest.skip("there are none")
    scene = scenes[GUARDED]
    lie = HEARD_BY_THE_VICTIM["IPv6: the neighbour's address"](scene)
    for damage in ("tc filter del dev {} ingress", "tc qdisc del dev {} ingress"):
        weftd.host.run(damage.format(_port_of(scene, scene.me.mac)))
        eventually(lambda: not scene.arrives(lie, "victim"), within=2)
    assert_consistent(weftd)


def test_a_port_that_nothing_is_known_of_sends_nothing(weftd: Weftd, way: str, scenes: dict[str, Scene]) -> None:
    if way != RULES:
        pytest.skip("a program's own addresses are where nobody but programs can look")
    scene = scenes[GUARDED]
    weftd.kill()
    try:
        weftd.host.run("nft flush set bridge weft senders4")
        assert pings(weftd.host, scene.paths["me"], [scene.victim.ip, scene.victim.ip6]) == [False, True]
    finally:
        weftd.start()
    eventually(lambda: pings(weftd.host, scene.paths["me"], [scene.victim.ip]) == [True], within=5)


def test_a_mac_of_its_own_choice_a_second_network_and_an_end(weftd: Weftd, scenes: dict[str, Scene]) -> None:
    client, scene = weftd.client, scenes[GUARDED]
    wish = {"network": OPEN, "mac": "02:aa:bb:cc:dd:ee"}
    made = client.containers.create(name="late", networks=[wish])
    try:
        assert pings(weftd.host, made.netns, [scenes[OPEN].victim.ip, scenes[OPEN].victim.ip6]) == [True, True]
        second = client.networks.connect(GUARDED, "late", mac="02:aa:bb:cc:dd:ff")
        assert second.mac == "02:aa:bb:cc:dd:ff"
        assert pings(weftd.host, made.netns, [scene.victim.ip, scene.victim.ip6]) == [True, True]
        # An address of its other network is none of its own here.
        own4 = (second.ipv4 or "").partition("/")[0]
        (other4, _, _) = (made.endpoints[0].ipv4 or "").partition("/")
        assert _hears_of(scene, made.netns, second.mac, own4, own4)
        assert not _hears_of(scene, made.netns, second.mac, other4, own4)
        client.networks.disconnect(GUARDED, "late")
        assert second.mac not in weftd.host.run("nft list table bridge weft").stdout
    finally:
        client.containers.remove("late", force=True)
    assert_consistent(weftd)


def _hears_of(scene: Scene, path: str, mac: str, source: str, own: str) -> bool:
    """Whether the victim hears somebody on the network, at eth1, who says that it is `source`."""

    def play() -> bool:
        with network(scene.paths["victim"]):
            ear = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            ear.bind(("0.0.0.0", 5354))
            ear.settimeout(5)
        with ear, network(path), socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as wire:
            wire.bind(("eth1", 0))
            for address, payload in ((source, b"it"), (own, b"end")):
                wire.send(frame(scene.victim.mac, mac, ETH_P_IP, udp4(address, scene.victim.ip, 5354, payload)))
            heard = []
            while b"end" not in heard:
                heard.append(ear.recv(100))
            return b"it" in heard

    return inside(scene.weftd.host, play)


def test_its_own_address_survives_duplicate_address_detection(weftd: Weftd, scenes: dict[str, Scene]) -> None:
    scene = scenes[GUARDED]
    weftd.sandbox(f"{GUARDED}-me", "ip", "-6", "address", "replace", f"{scene.me.ip6}/64", "dev", "eth0")
    eventually(lambda: pings(weftd.host, scene.paths["me"], [scene.victim.ip6]) == [True], within=5)


def test_who_changes_its_mac_inside_is_silenced_and_told_so(weftd: Weftd, scenes: dict[str, Scene]) -> None:
    scene = scenes[GUARDED]
    weftd.sandbox(f"{GUARDED}-me", "ip", "link", "set", "eth0", "address", STRANGER)
    said = ask(weftd.host, Question(scene.paths["me"], scene.victim.ip, 80))
    told = weftd.cli("explain", f"{GUARDED}-me", "--to", f"{GUARDED}-victim:80", check=False).stdout
    weftd.cli("doctor", "--fix", check=False)
    assert said == [SILENCE]
    assert f"MAC {STRANGER}" in told
    assert "the bridge drops" in " ".join(told.split())
    eventually(lambda: _meets_everybody(scene, GUARDED), within=5)


def test_from_one_way_to_the_other_and_back_nothing_is_opened(weftd: Weftd, way: str, scenes: dict[str, Scene]) -> None:
    if way != PROGRAMS:
        pytest.skip("once is enough")
    scene = scenes[GUARDED]
    lie = HEARD_BY_THE_VICTIM["IPv4: the neighbour's address"](scene)
    for other in (RULES, PROGRAMS):
        weftd.kill()
        weftd.settings = ("--guard", other)
        weftd.start()
        assert not scene.arrives(lie, "victim")
        hooked = "chain suspects" in weftd.host.run("nft list table bridge weft").stdout
        assert hooked == (other == RULES)
        # The programs go when all has been compared.
        port = _port_of(scene, scene.me.mac)
        eventually(partial(_has_program, weftd, port, wanted=other == PROGRAMS), within=5)
        assert not scene.arrives(lie, "victim")
        assert _meets_everybody(scene, GUARDED)
        assert_consistent(weftd)


def _has_program(weftd: Weftd, port: str, *, wanted: bool) -> bool:
    return ("weft_guard" in weftd.host.run(f"tc filter show dev {port} ingress").stdout) == wanted


def test_where_nobody_wants_the_guard_it_costs_nothing(weftd: Weftd, way: str, scenes: dict[str, Scene]) -> None:
    """Must be the last: the networks go."""
    client = weftd.client
    for container in client.containers.list(all=True):
        client.containers.remove(container, force=True)
    client.networks.remove(GUARDED)
    assert "chain suspects" not in weftd.host.run("nft list table bridge weft").stdout
    client.networks.create(GUARDED)
    hooked = "chain suspects" in weftd.host.run("nft list table bridge weft").stdout
    assert hooked == (way == RULES)
