"""Published ports, from everywhere, over both families, to containers that have one of them or both."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.daemons import Weftd
from tests.hosts import Namespace
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
)
from weft.client import Container, Publish

pytestmark = pytest.mark.root

BOTH = ("tcp", "udp")
NOBODY = (REFUSED, SILENCE)
"""For datagrams this can be either: the kernel does not say "refused" as often as one asks."""


@dataclass(frozen=True)
class World:
    weftd: Weftd
    outside: Namespace
    people: dict[str, str]
    """Who asks, to the network namespace."""
    containers: dict[str, Container]

    def ask(self, who: str, address: str, port: int, proto: str = "tcp") -> str:
        return ask(self.weftd.host, Question(self.people[who], address, port, proto))[0]


@pytest.fixture(scope="module")
def world(weftd: Weftd, outside: Namespace) -> Iterator[World]:
    """web4, web6 and webd are on an IPv4, an IPv6 and a dual network, neighbour beside web4, stranger on another."""
    networks = weftd.client.networks
    networks.create("four", pools=["10.4.0.0/24"])
    networks.create("six", ipv4=False, ipv6=True, pools=["fd06::/64"])
    networks.create("dual", ipv6=True, pools=["10.46.0.0/24", "fd46::/64"])
    networks.create("other", ipv6=True, pools=["10.9.0.0/24", "fd09::/64"])
    made = {
        "web4": _publish(
            weftd,
            "web4",
            "four",
            *(Publish(80, 8001, proto=proto) for proto in BOTH),
            *(Publish(80, 8002, proto=proto, host_ip="127.0.0.1") for proto in BOTH),
            *(Publish(80, 8003, proto=proto, host_ip=SECOND4) for proto in BOTH),
            Publish(9000, 8100, container_port_end=9002, host_port_end=8102),
            Publish(80),
        ),
        "web6": _publish(weftd, "web6", "six", *(Publish(80, 8011, proto=proto) for proto in BOTH)),
        "webd": _publish(
            weftd,
            "webd",
            "dual",
            *(Publish(80, 8021, proto=proto) for proto in BOTH),
            Publish(80, 8022, host_ip="::1"),
            Publish(80, 8023, host_ip=HOST6),
        ),
        "neighbour": _publish(weftd, "neighbour", "four"),
        "stranger": _publish(weftd, "stranger", "other"),
    }
    people = {name: container.netns for name, container in made.items()}
    people |= {"outside": outside.path, "host": ""}
    listeners = [
        Listener(name, made[name].netns, proto) for name in ("web4", "web6", "webd", "stranger") for proto in BOTH
    ]
    listeners += [Listener(f"web4-{port}", made["web4"].netns, "tcp", port) for port in (9000, 9001, 9002)]
    with listening(weftd, *listeners):
        yield World(weftd, outside, people, made)


def _publish(weftd: Weftd, name: str, network: str, *ports: Publish) -> Container:
    return weftd.client.containers.create(name=name, networks=[network], ports=ports)


@pytest.mark.parametrize("proto", BOTH)
@pytest.mark.parametrize(
    ("who", "address", "port", "answer"),
    [
        # A container with IPv4 alone, published on every address.
        ("outside", HOST4, 8001, f"web4 {OUTSIDE4}"),
        ("outside", SECOND4, 8001, f"web4 {OUTSIDE4}"),
        ("outside", HOST6, 8001, "web4 "),  # through the relay
        ("host", HOST4, 8001, "web4 "),
        ("host", "127.0.0.1", 8001, "web4 "),
        ("host", "::1", 8001, "web4 "),
        ("host", HOST6, 8001, "web4 "),
        ("neighbour", HOST4, 8001, "web4 "),
        ("neighbour", "10.4.0.1", 8001, "web4 "),
        ("stranger", HOST4, 8001, "web4 "),
        ("stranger", "10.9.0.1", 8001, "web4 "),
        ("stranger", HOST6, 8001, "web4 "),
        ("web4", HOST4, 8001, "web4 "),
        # On 127.0.0.1 alone.
        ("host", "127.0.0.1", 8002, "web4 "),
        ("host", HOST4, 8002, NOBODY),
        ("outside", HOST4, 8002, NOBODY),
        ("neighbour", HOST4, 8002, NOBODY),
        ("neighbour", "10.4.0.1", 8002, NOBODY),
        # On one address alone.
        ("outside", SECOND4, 8003, f"web4 {OUTSIDE4}"),
        ("outside", HOST4, 8003, NOBODY),
        ("host", SECOND4, 8003, "web4 "),
        ("host", "127.0.0.1", 8003, NOBODY),
        ("stranger", SECOND4, 8003, "web4 "),
        # A container with IPv6 alone.
        ("outside", HOST6, 8011, f"web6 {OUTSIDE6}"),
        ("outside", HOST4, 8011, "web6 "),
        ("host", HOST6, 8011, "web6 "),
        ("host", "::1", 8011, "web6 "),
        ("host", HOST4, 8011, "web6 "),
        ("host", "127.0.0.1", 8011, "web6 "),
        ("stranger", HOST6, 8011, "web6 "),
        ("web6", HOST6, 8011, "web6 "),
        # A container with both.
        ("outside", HOST4, 8021, f"webd {OUTSIDE4}"),
        ("outside", HOST6, 8021, f"webd {OUTSIDE6}"),
        ("host", HOST4, 8021, "webd "),
        ("host", HOST6, 8021, "webd "),
        ("host", "127.0.0.1", 8021, "webd "),
        ("host", "::1", 8021, "webd "),
        ("stranger", HOST4, 8021, "webd "),
        ("stranger", HOST6, 8021, "webd "),
        ("stranger", "fd09::1", 8021, "webd "),
        ("neighbour", HOST4, 8021, "webd "),
        ("webd", HOST4, 8021, "webd "),
        ("webd", HOST6, 8021, "webd "),
    ],
)
def test_a_published_port_answers_where_it_was_published(
    world: World, who: str, address: str, port: int, proto: str, answer: str | tuple[str, ...]
) -> None:
    said = world.ask(who, address, port, proto)
    assert said in NOBODY if answer is NOBODY else said.startswith(answer)


@pytest.mark.parametrize(
    ("who", "address", "port", "answer"),
    [
        ("host", "::1", 8022, "webd "),
        ("host", HOST6, 8022, REFUSED),
        ("outside", HOST6, 8022, REFUSED),
        ("host", "127.0.0.1", 8022, REFUSED),
        ("outside", HOST6, 8023, f"webd {OUTSIDE6}"),
        ("outside", HOST4, 8023, REFUSED),
        ("host", HOST6, 8023, "webd "),
        ("host", "::1", 8023, REFUSED),
        ("outside", HOST4, 8100, f"web4-9000 {OUTSIDE4}"),
        ("outside", HOST4, 8102, f"web4-9002 {OUTSIDE4}"),
        ("host", "::1", 8101, "web4-9001 "),
        ("outside", HOST4, 8103, REFUSED),
        ("outside", HOST4, 80, REFUSED),
    ],
)
def test_a_port_of_one_address_or_of_a_range(world: World, who: str, address: str, port: int, answer: str) -> None:
    assert world.ask(who, address, port).startswith(answer)


@pytest.mark.statement(15)
def test_one_port_on_several_addresses_is_several_containers(world: World) -> None:
    """On each address of the host, of its loopback too, its own; and one container on all of them beside it."""
    places = {"127.0.0.1": "one", "127.0.0.2": "two", SECOND4: "three", HOST6: "four"}
    made = {
        name: _publish(
            world.weftd, name, "dual", *(Publish(80, 8040, proto=proto, host_ip=place) for proto in BOTH), Publish(80)
        )
        for place, name in places.items()
    }
    with listening(world.weftd, *(Listener(name, each.netns, proto) for name, each in made.items() for proto in BOTH)):
        for proto in BOTH:
            said = [world.ask("host", place, 8040, proto).split()[0] for place in places]
            assert said == list(places.values())
            assert world.ask("outside", SECOND4, 8040, proto) == f"three {OUTSIDE4}"
            assert world.ask("outside", HOST6, 8040, proto) == f"four {OUTSIDE6}"
            assert world.ask("outside", HOST4, 8040, proto) in NOBODY
        for name, each in made.items():
            (everywhere,) = [port.host_port for port in each.ports if port.host_port != 8040]
            assert world.ask("outside", HOST4, everywhere) == f"{name} {OUTSIDE4}"
    for name in made:
        world.weftd.client.containers.remove(name)


def test_an_ephemeral_port_is_told_and_answers(world: World) -> None:
    (port,) = [
        port.host_port
        for port in world.containers["web4"].ports
        if port.container_port == 80 and port.host_port not in (8001, 8002, 8003)
    ]
    assert world.ask("outside", HOST4, port) == f"web4 {OUTSIDE4}"
    assert world.ask("host", "::1", port).startswith("web4 ")


def test_a_removed_container_answers_no_more_and_its_port_is_free(world: World) -> None:
    made = _publish(world.weftd, "brief", "four", Publish(80, 8030))
    with listening(world.weftd, Listener("brief", made.netns)):
        assert world.ask("outside", HOST4, 8030) == f"brief {OUTSIDE4}"
        assert world.ask("host", "::1", 8030).startswith("brief ")
        world.weftd.client.containers.remove("brief")
        for who, address in (("outside", HOST4), ("host", "127.0.0.1"), ("host", "::1"), ("outside", HOST6)):
            assert world.ask(who, address, 8030) == REFUSED
    again = _publish(world.weftd, "again", "dual", Publish(80, 8030))
    with listening(world.weftd, Listener("again", again.netns)):
        assert world.ask("outside", HOST4, 8030) == f"again {OUTSIDE4}"
    world.weftd.client.containers.remove("again")


def test_every_way_in_works_after_a_restart(world: World) -> None:
    world.weftd.restart()
    for who, address in (("outside", HOST4), ("outside", HOST6), ("host", "127.0.0.1"), ("host", "::1")):
        assert world.ask(who, address, 8001).startswith("web4 ")
        assert world.ask(who, address, 8011).startswith("web6 ")
        assert world.ask(who, address, 8021).startswith("webd ")


def test_a_container_s_own_address_is_not_to_be_had_from_outside(world: World) -> None:
    for name, address in (("web4", "10.4.0.2"), ("webd", "10.46.0.2"), ("webd", "fd46::2"), ("web6", "fd06::2")):
        assert world.ask("host", address, 80).startswith(name)
        assert world.ask("outside", address, 80) == SILENCE
