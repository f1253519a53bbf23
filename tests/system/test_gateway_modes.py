"""Gateway modes with real packets: who reaches a container at its own address, and under which address it leaves."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.daemons import Weftd
from tests.hosts import Namespace, PrivateHost, needs_namespaces
from tests.system.people import (
    HOST4,
    HOST6,
    OUTSIDE4,
    OUTSIDE6,
    REFUSED,
    SECOND4,
    SILENCE,
    Listener,
    Question,
    ask,
    listening,
    outside_of,
    pings,
)
from weft.client import Publish
from weft.errors import Conflict, Invalid

pytestmark = pytest.mark.root

SECOND6 = "2001:db8::10"
FRIEND4, FRIEND6 = "198.51.100.2", "2001:db8:f::2"
NETWORKS: dict[str, dict[str, object]] = {
    "nat": {},
    "open": {"options": {"gateway-mode": "nat-unprotected"}},
    "routed": {"options": {"gateway-mode": "routed"}},
    "mixed": {"options": {"com.docker.network.bridge.gateway_mode_ipv6": "routed"}},
    "trust": {"options": {"trusted-interfaces": "friendly"}},
    "snat": {"options": {"snat-ipv4": SECOND4, "snat-ipv6": SECOND6}},
    "within": {"options": {"gateway-mode": "routed", "trusted-interfaces": "friendly"}, "internal": True},
    "isolated": {"options": {"gateway-mode": "isolated"}, "internal": True},
}
NUMBER = {name: number for number, name in enumerate(NETWORKS, 1)}
PUBLISHED = {"nat": 8001, "open": 8002, "mixed": 8004, "trust": 8005, "snat": 8006}


def addresses(name: str, host: int = 11) -> tuple[str, str]:
    return f"10.{NUMBER[name]}.0.{host}", f"fd0{NUMBER[name]}::{host}"


@dataclass(frozen=True)
class World:
    weftd: Weftd
    people: dict[str, str]
    """Who asks, to the network namespace."""

    def ask(self, who: str, address: str, port: int, proto: str = "tcp") -> str:
        return ask(self.weftd.host, Question(self.people[who], address, port, proto))[0]


@pytest.fixture(scope="module")
def friend(host: PrivateHost) -> Iterator[Namespace]:
    """A neighbour by another interface, which some networks trust."""
    with host.container() as friend:
        host.run(f"ip link add friendly type veth peer name eth0 netns /proc/{friend.pid}/ns/net")
        host.run("ip address add 198.51.100.1/24 dev friendly")
        host.run("ip address add 2001:db8:f::1/64 dev friendly nodad")
        host.run(f"ip address add {SECOND6}/128 dev lo nodad")
        host.run("ip link set friendly up")
        friend.run(f"ip address add {FRIEND4}/24 dev eth0")
        friend.run(f"ip address add {FRIEND6}/64 dev eth0 nodad")
        friend.run("ip link set eth0 up")
        friend.run("ip route add default via 198.51.100.1")
        friend.run("ip -6 route add default via 2001:db8:f::1")
        yield friend


@pytest.fixture(scope="module")
def weftd(host: PrivateHost, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Weftd]:
    with Weftd(host, tmp_path_factory.mktemp("weftd"), settings=("--accept-mark", "0x20/0xf0")) as weftd:
        yield weftd


@pytest.fixture(scope="module")
def world(weftd: Weftd, outside: Namespace, friend: Namespace) -> Iterator[World]:
    """A container on each network, which listens on the ports 80 and 81 and publishes 80; a second one on isolated."""
    outside.run(f"ip -6 route add {SECOND6}/128 via {HOST6}")
    people = {"outside": outside.path, "friend": friend.path, "host": ""}
    for name, wish in NETWORKS.items():
        pools = [f"10.{NUMBER[name]}.0.0/24", f"fd0{NUMBER[name]}::/64"]
        weftd.client.networks.create(name, ipv6=True, pools=pools, **wish)
        ports = (
            [Publish(80, PUBLISHED.get(name, 80), proto=p) for p in ("tcp", "udp")] if not wish.get("internal") else []
        )
        people[name] = container(weftd, name, name, ports)
    people["isolated2"] = container(weftd, "isolated2", "isolated", [], 12)
    everybody = [
        Listener(name, path, proto, port)
        for name, path in people.items()
        for proto in ("tcp", "udp")
        for port in (80, 81)
    ]
    with listening(weftd, *everybody):
        yield World(weftd, people)


def container(weftd: Weftd, name: str, network: str, ports: list[Publish], host: int = 11) -> str:
    ipv4, ipv6 = addresses(network, host)
    wish = {"network": network, "ip": ipv4, "ip6": ipv6}
    made: str = weftd.client.containers.create(name=name, networks=[wish], ports=ports).netns
    return made


REACHED: dict[tuple[str, str], tuple[str, ...]] = {
    # (who asks, at whose own addresses): "4" and "6" with the port that answers; everything else is silence.
    ("outside", "open"): ("4:80", "4:81", "6:80", "6:81"),
    ("outside", "routed"): ("4:80", "6:80"),
    ("outside", "mixed"): ("6:80",),
    ("nat", "open"): ("4:80", "4:81", "6:80", "6:81"),
    ("nat", "routed"): ("4:80", "6:80"),
    ("nat", "mixed"): ("6:80",),
    ("friend", "open"): ("4:80", "4:81", "6:80", "6:81"),
    ("friend", "routed"): ("4:80", "6:80"),
    ("friend", "mixed"): ("6:80",),
    ("friend", "trust"): ("4:80", "4:81", "6:80", "6:81"),
    **{("host", name): ("4:80", "4:81", "6:80", "6:81") for name in NETWORKS if name != "isolated"},
    ("isolated2", "isolated"): ("4:80", "4:81", "6:80", "6:81"),
}


@pytest.mark.statement(4, 5, 7)
@pytest.mark.parametrize(
    ("who", "proto"),
    [("outside", "tcp"), ("outside", "udp"), ("friend", "tcp"), ("nat", "udp"), ("host", "tcp"), ("isolated2", "udp")],
)
def test_who_reaches_a_container_at_its_own_address(world: World, who: str, proto: str) -> None:
    asked = [
        (name, f"{address_family}:{port}", Question(world.people[who], address, port, proto))
        for name in NETWORKS
        if name != who
        for address_family, address in zip("46", addresses(name), strict=True)
        for port in (80, 81)
    ]
    said = ask(world.weftd.host, *(question for _, _, question in asked))
    reached: dict[tuple[str, str], tuple[str, ...]] = {}
    for (name, what, _), answer in zip(asked, said, strict=True):
        if answer.startswith(f"{name} "):
            reached[who, name] = (*reached.get((who, name), ()), what)
        else:
            assert answer == SILENCE, (who, name, what)
    assert reached == {pair: found for pair, found in REACHED.items() if pair[0] == who}


def test_who_is_reached_directly_sees_who_asks(world: World) -> None:
    for name in ("open", "routed"):
        for address, asker in zip(addresses(name), (OUTSIDE4, OUTSIDE6), strict=True):
            assert world.ask("outside", address, 80) == f"{name} {asker}"
        for address, asker in zip(addresses(name), addresses("nat"), strict=True):
            assert world.ask("nat", address, 80) == f"{name} {asker}"


@pytest.mark.parametrize(
    ("who", "seen4", "seen6"),
    [
        ("nat", HOST4, HOST6),
        ("open", HOST4, HOST6),
        ("routed", *addresses("routed")),
        ("mixed", HOST4, addresses("mixed")[1]),
        ("trust", HOST4, HOST6),
        ("snat", SECOND4, SECOND6),
    ],
)
def test_under_which_address_a_container_leaves(world: World, who: str, seen4: str, seen6: str) -> None:
    for proto in ("tcp", "udp"):
        assert world.ask(who, OUTSIDE4, 80, proto) == f"outside {seen4}"
        assert world.ask(who, OUTSIDE6, 80, proto) == f"outside {seen6}"


@pytest.mark.statement(8, 9)
@pytest.mark.parametrize("who", ["within", "isolated"])
def test_an_internal_network_leads_nowhere_whatever_its_mode(world: World, who: str) -> None:
    gateway4, gateway6 = addresses(who, 1)
    added = world.weftd.sandbox(who, "ip", "route", "add", "default", "via", gateway4, check=False)
    world.weftd.sandbox(who, "ip", "-6", "route", "add", "default", "via", gateway6, check=False)
    assert added.returncode == 0
    for address in (OUTSIDE4, OUTSIDE6, *addresses("open")):
        assert world.ask(who, address, 80) == SILENCE


@pytest.mark.statement(7)
@pytest.mark.parametrize(("who", "answers"), [("nat", False), ("open", True), ("routed", True), ("isolated", False)])
def test_pings_from_outside(world: World, who: str, answers: bool) -> None:
    assert pings(world.weftd.host, world.people["outside"], addresses(who)) == [answers, answers]


def test_pings_are_routed_by_family(world: World) -> None:
    assert pings(world.weftd.host, world.people["outside"], addresses("mixed")) == [False, True]
    assert pings(world.weftd.host, world.people["friend"], addresses("trust")) == [True, True]
    assert pings(world.weftd.host, world.people["outside"], addresses("trust")) == [False, False]


def test_published_ports_of_the_host(world: World) -> None:
    for name in ("nat", "open", "trust", "snat"):
        assert world.ask("outside", HOST4, PUBLISHED[name]) == f"{name} {OUTSIDE4}"
        assert world.ask("outside", HOST6, PUBLISHED[name]) == f"{name} {OUTSIDE6}"
        for who, at in (("host", "127.0.0.1"), ("host", "::1"), (name, HOST4), (name, HOST6), ("routed", HOST4)):
            assert world.ask(who, at, PUBLISHED[name]).startswith(f"{name} "), (name, who, at)
    assert world.ask("outside", HOST4, PUBLISHED["mixed"]) == f"mixed {OUTSIDE4}"


def test_a_routed_port_takes_no_port_of_the_host(world: World) -> None:
    for address in (HOST4, HOST6):
        assert world.ask("friend", address, 81) == f"host {FRIEND4 if '.' in address else FRIEND6}"
        assert world.ask("friend", address, 80).startswith("host "), "the host's own program has it"
    made = world.weftd.client.containers.create(name="second", networks=["routed"], ports=[Publish(80, 80)])
    with listening(world.weftd, Listener("second", made.netns)):
        assert world.ask("outside", made.endpoints[0].ipv4.split("/")[0], 80) == f"second {OUTSIDE4}"
        assert world.ask("outside", addresses("routed")[0], 80) == f"routed {OUTSIDE4}"
    world.weftd.client.containers.remove("second", force=True)
    assert world.ask("outside", addresses("routed")[0], 80) == f"routed {OUTSIDE4}"


def test_what_is_published_on_127_0_0_1_is_opened_to_nobody_outside(world: World) -> None:
    ports = [Publish(80, 8090, host_ip="127.0.0.1")]
    made = world.weftd.client.containers.create(name="private", networks=["routed"], ports=ports)
    own = made.endpoints[0].ipv4.split("/")[0]
    with listening(world.weftd, Listener("private", made.netns)):
        assert world.ask("host", own, 80).startswith("private ")
        for who in ("outside", "nat"):
            assert world.ask(who, own, 80) == SILENCE
    world.weftd.client.containers.remove("private", force=True)


def test_routed_ports_stay_on_their_network_and_others_go_with_the_gateway(world: World) -> None:
    weftd = world.weftd
    made = weftd.client.containers.create(name="mover", networks=["routed"], ports=[Publish(80, 8095)])
    routed = made.endpoints[0].ipv4.split("/")[0]
    with listening(weftd, Listener("mover", made.netns)):
        assert world.ask("outside", routed, 80).startswith("mover ")
        assert world.ask("outside", HOST4, 8095) == REFUSED
        weftd.client.networks.connect("nat", "mover", gw_priority=5)
        assert world.ask("outside", HOST4, 8095).startswith("mover ")
        assert world.ask("nat", routed, 80).startswith("mover "), "a routed port does not move"
        weftd.client.networks.disconnect("nat", "mover")
        assert world.ask("outside", HOST4, 8095) == REFUSED
        assert world.ask("outside", routed, 80).startswith("mover ")
    weftd.client.containers.remove("mover", force=True)


def test_a_port_of_the_host_that_is_taken_refuses_the_connection(world: World) -> None:
    weftd = world.weftd
    weftd.client.containers.create(name="late", networks=["routed"], ports=[Publish(80, PUBLISHED["nat"])])
    with pytest.raises(Conflict, match=f"port {PUBLISHED['nat']}/tcp is already published by container 'nat'"):
        weftd.client.networks.connect("nat", "late")
    weftd.client.containers.remove("late", force=True)
    assert world.ask("outside", HOST4, PUBLISHED["nat"]).startswith("nat ")


HEAR = """
import socket
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); s.bind(("::", 7000)); s.settimeout(1.5)
print("ready", flush=True)
try: print(s.recv(100).decode())
except TimeoutError: print("nothing")
"""


@pytest.mark.statement(9)
@pytest.mark.parametrize(("who", "heard"), [("nat", "hello"), ("isolated2", "nothing")])
@pytest.mark.parametrize("address", [HOST4, HOST6])
def test_nothing_reaches_the_host_on_an_isolated_network(world: World, who: str, heard: str, address: str) -> None:
    """Not even from who knows the bridge's MAC: a host takes packets for any of its addresses on any link."""
    weftd = world.weftd
    bridge = weftd.client.networks.get(who.rstrip("2")).bridge
    (link,) = json.loads(weftd.host.run(f"ip -j address show dev {bridge}").stdout)
    assert bool(link["addr_info"]) == (who == "nat")
    version = "-4" if "." in address else "-6"
    weftd.sandbox(who, "ip", version, "route", "replace", address, "dev", "eth0")
    mac = link["address"]
    weftd.sandbox(who, "ip", version, "neigh", "replace", address, "lladdr", mac, "dev", "eth0", "nud", "permanent")
    with weftd.host.popen([sys.executable, "-c", HEAR], stdout=subprocess.PIPE) as listener:
        assert listener.stdout is not None
        assert listener.stdout.readline() == "ready\n"
        send = f"import socket; socket.socket(socket.AF_INET{'6' if ':' in address else ''}, socket.SOCK_DGRAM).sendto"
        weftd.sandbox(who, sys.executable, "-c", f"{send}(b'hello', ('{address}', 7000))")
        assert listener.stdout.readline() == f"{heard}\n"
    weftd.sandbox(who, "ip", version, "route", "delete", address, "dev", "eth0")


@pytest.mark.statement(14)
def test_a_mark_of_the_user_s_lets_packets_through(world: World) -> None:
    host = world.weftd.host
    host.run("nft add table inet mine")
    host.run(["nft", "add chain inet mine early { type filter hook prerouting priority raw - 10; }"])
    try:
        for mark, answer in (("0x20", "nat"), ("0x25", "nat"), ("0x10", SILENCE)):
            host.run("nft flush chain inet mine early")
            host.run(["nft", f'add rule inet mine early iifname "uplink" tcp dport 81 meta mark set {mark}'])
            for address in addresses("nat"):
                assert world.ask("outside", address, 81).startswith(answer), mark
                assert world.ask("outside", address, 80) == SILENCE
            for address in addresses("within"):
                assert world.ask("outside", address, 81) == SILENCE, "an internal network stays closed"
    finally:
        host.run("nft delete table inet mine")


@pytest.mark.parametrize("trouble", ["restart", "flush"])
def test_modes_outlive_trouble(world: World, trouble: str) -> None:
    if trouble == "restart":
        world.weftd.restart()
    else:
        world.weftd.host.run("nft flush ruleset")
        world.weftd.host.run("sleep 0.6")
    test_who_reaches_a_container_at_its_own_address(world, "outside", "tcp")
    test_under_which_address_a_container_leaves(world, "snat", SECOND4, SECOND6)


def test_refusals(world: World) -> None:
    client = world.weftd.client
    with pytest.raises(Invalid, match="isolated is for internal networks"):
        client.networks.create("x", options={"gateway-mode": "isolated"})
    with pytest.raises(Invalid, match="cannot publish 80/tcp"):
        client.containers.create(name="x", networks=["isolated"], ports=[Publish(80, 8099)])
    client.networks.create("inhibited", pools=["10.77.0.0/24"], options={"inhibit-ipv4": "true"})
    with pytest.raises(Invalid, match="cannot publish 80/tcp"):
        client.containers.create(name="x", networks=["inhibited"], ports=[Publish(80, 8099)])
    client.networks.remove("inhibited")


def test_a_network_s_host_binding_is_where_its_ports_go(tmp_path: Path) -> None:
    needs_namespaces()
    with PrivateHost() as host, outside_of(host) as outside, Weftd(host, tmp_path) as weftd:
        weftd.client.networks.create("local", options={"host-binding": "127.0.0.1"})
        made = weftd.client.containers.create(name="web", networks=["local"], ports=[Publish(80, 8080)])
        assert [port.host_ip for port in made.ports] == ["127.0.0.1"]
        with listening(weftd, Listener("web", made.netns)):
            said = ask(host, Question("", "127.0.0.1", 8080), Question(outside.path, HOST4, 8080))
        assert said[0].startswith("web ")
        assert said[1] == REFUSED
