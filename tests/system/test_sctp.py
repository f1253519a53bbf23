"""Ports published for SCTP: from everywhere, over both families, as for TCP; but without a relay.

A kernel without SCTP refuses such a port by name (tests/kernel/test_ports.py).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.daemons import Weftd
from tests.hosts import Namespace
from tests.kinds import needs_protocol
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
from weft.errors import Conflict

pytestmark = [pytest.mark.root, pytest.mark.full_kernel]

NOBODY = (REFUSED, SILENCE)


@dataclass(frozen=True)
class World:
    weftd: Weftd
    people: dict[str, str]
    """Who asks, to the network namespace."""

    def ask(self, who: str, address: str, port: int) -> str:
        return ask(self.weftd.host, Question(self.people[who], address, port, "sctp"))[0]


@pytest.fixture(scope="module")
def world(weftd: Weftd, outside: Namespace) -> Iterator[World]:
    """web, on a dual network, publishes; neighbour is beside it, stranger on another network."""
    needs_protocol("sctp")
    networks = weftd.client.networks
    networks.create("dual", ipv6=True, pools=["10.46.0.0/24", "fd46::/64"])
    networks.create("other", ipv6=True, pools=["10.9.0.0/24", "fd09::/64"])
    made = {
        "web": _create(
            weftd,
            "web",
            "dual",
            Publish(80, 8001, proto="sctp"),
            Publish(80, 8002, proto="sctp", host_ip="127.0.0.1"),
            Publish(80, 8003, proto="sctp", host_ip=SECOND4),
            Publish(80, 8004, proto="sctp", host_ip=HOST6),
        ),
        "neighbour": _create(weftd, "neighbour", "dual"),
        "stranger": _create(weftd, "stranger", "other"),
    }
    people = {name: container.netns for name, container in made.items()}
    people |= {"outside": outside.path, "host": ""}
    with listening(weftd, Listener("web", made["web"].netns, "sctp")):
        yield World(weftd, people)


def _create(weftd: Weftd, name: str, network: str, *ports: Publish) -> Container:
    return weftd.client.containers.create(name=name, networks=[network], ports=ports)


@pytest.mark.parametrize(
    ("who", "address", "port", "answer"),
    [
        ("outside", HOST4, 8001, f"web {OUTSIDE4}"),
        ("outside", SECOND4, 8001, f"web {OUTSIDE4}"),
        ("outside", HOST6, 8001, f"web {OUTSIDE6}"),
        ("host", HOST4, 8001, "web "),
        ("host", HOST6, 8001, "web "),
        ("host", "127.0.0.1", 8001, "web "),
        ("neighbour", HOST4, 8001, "web "),
        ("neighbour", HOST6, 8001, "web "),
        ("stranger", HOST4, 8001, "web "),
        ("stranger", HOST6, 8001, "web "),
        ("stranger", "10.9.0.1", 8001, "web "),
        # Its own port, over the host.
        ("web", HOST4, 8001, "web "),
        ("web", HOST6, 8001, "web "),
        # Within the network, by its own address.
        ("neighbour", "10.46.0.2", 80, "web "),
        ("neighbour", "fd46::2", 80, "web "),
        # On one address alone.
        ("host", "127.0.0.1", 8002, "web "),
        ("outside", HOST4, 8002, NOBODY),
        ("outside", SECOND4, 8003, f"web {OUTSIDE4}"),
        ("outside", HOST4, 8003, NOBODY),
        ("outside", HOST6, 8004, f"web {OUTSIDE6}"),
        ("outside", HOST4, 8004, NOBODY),
        # Not published.
        ("outside", HOST4, 80, NOBODY),
        ("outside", "10.46.0.2", 80, NOBODY),
        ("outside", "fd46::2", 80, NOBODY),
        ("stranger", "10.46.0.2", 80, NOBODY),
        # What cannot be rewritten, weftd relays for TCP and UDP alone.
        ("host", "::1", 8001, NOBODY),
    ],
)
def test_a_port_answers_where_it_was_published(
    world: World, who: str, address: str, port: int, answer: str | tuple[str, ...]
) -> None:
    said = world.ask(who, address, port)
    assert said in NOBODY if answer is NOBODY else said.startswith(answer)


def test_the_same_number_of_another_protocol_is_somebody_elses(world: World) -> None:
    made = _create(world.weftd, "tcp", "dual", Publish(80, 8001))
    with listening(world.weftd, Listener("tcp", made.netns)):
        assert ask(world.weftd.host, Question(world.people["outside"], HOST4, 8001)) == [f"tcp {OUTSIDE4}"]
        assert world.ask("outside", HOST4, 8001) == f"web {OUTSIDE4}"
    world.weftd.client.containers.remove("tcp")


def test_a_port_is_published_once(world: World) -> None:
    with pytest.raises(Conflict, match="port 8001/sctp is already published by container 'web'"):
        _create(world.weftd, "late", "dual", Publish(80, 8001, proto="sctp"))


def test_a_port_that_another_program_serves_is_refused(world: World) -> None:
    serve = (
        "import socket, sys\n"
        "s = socket.socket(socket.AF_INET6, socket.SOCK_STREAM, 132)\n"
        "s.bind(('::', 8050)); s.listen(); print('ready', flush=True); sys.stdin.read()"
    )
    with world.weftd.host.popen([sys.executable, "-c", serve], stdin=-1, stdout=-1) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        with pytest.raises(Conflict, match=r"port 8050/sctp is taken on this host by python.* \(pid \d+\)"):
            _create(world.weftd, "late", "dual", Publish(80, 8050, proto="sctp"))
    _create(world.weftd, "late", "dual", Publish(80, 8050, proto="sctp"))
    world.weftd.client.containers.remove("late")


def test_a_reserved_port_is_refused_to_other_programs(world: World) -> None:
    bind = "import socket; socket.socket(socket.AF_INET, socket.SOCK_STREAM, 132).bind(('0.0.0.0', {}))"
    done = world.weftd.host.run([sys.executable, "-c", bind.format(8001)], check=False)
    assert "Address already in use" in done.stderr
    assert world.weftd.host.run([sys.executable, "-c", bind.format(8051)], check=False).returncode == 0


def test_an_association_ends_with_its_port_and_the_port_is_free(world: World) -> None:
    made = _create(world.weftd, "brief", "dual", Publish(80, 8030, proto="sctp"))
    with listening(world.weftd, Listener("brief", made.netns, "sctp")):
        assert world.ask("outside", HOST4, 8030) == f"brief {OUTSIDE4}"
        world.weftd.client.containers.remove("brief")
        assert world.ask("outside", HOST4, 8030) in NOBODY
    again = _create(world.weftd, "again", "dual", Publish(80, 8030, proto="sctp"))
    with listening(world.weftd, Listener("again", again.netns, "sctp")):
        assert world.ask("outside", HOST4, 8030) == f"again {OUTSIDE4}"
        assert world.ask("outside", HOST6, 8030) == f"again {OUTSIDE6}"
    world.weftd.client.containers.remove("again")


def test_every_way_in_works_after_a_restart(world: World) -> None:
    world.weftd.restart()
    for who, address in (("outside", HOST4), ("outside", HOST6), ("host", "127.0.0.1"), ("web", HOST4)):
        assert world.ask(who, address, 8001).startswith("web ")
