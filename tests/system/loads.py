"""Fifty containers on five networks that talk all the time, and what came of it."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.daemons import Weftd
from tests.hosts import Namespace
from tests.system.people import HOST4, HOST6
from weft.client import Attachment, Container, Publish

NETWORKS, EACH = 5, 10
ECHO, TRAP, PUBLISHED, LOOPBACK = 7, 666, 8000, 8500
"""Ports: of the echo server, where nothing may arrive, and the first that is published, everywhere or on 127.0.0.1."""

Talker = dict[str, Any]


@dataclass
class Outcome:
    """Of all talkers of one group."""

    sent: int = 0
    lost: int = 0
    caught: int = 0
    outage: float = 0.0
    """Seconds from the first question of a talker that went unanswered to its last."""
    slowest: float = 0.0
    failures: list[str] = field(default_factory=list)


@dataclass
class Conversation:
    """Filled when it has ended."""

    outcomes: dict[str, Outcome] = field(default_factory=dict)

    def __getitem__(self, group: str) -> Outcome:
        return self.outcomes[group]

    def __str__(self) -> str:
        return "\n".join(f"{group}: {outcome}" for group, outcome in self.outcomes.items())


def populate(weftd: Weftd) -> list[list[Container]]:
    """The containers of each network. Odd networks have IPv6, too. The first two of each publish the echo port, the
    third the trap on 127.0.0.1."""
    containers = []
    for n in range(NETWORKS):
        pools = [f"10.1{n}.0.0/24", *([f"fd1{n}::/64"] if n % 2 else [])]
        weftd.client.networks.create(f"net{n}", pools=pools, ipv6=bool(n % 2))
        containers.append([_join(weftd, n, c) for c in range(EACH)])
    return containers


def _join(weftd: Weftd, n: int, c: int) -> Container:
    wish = Attachment(f"net{n}", ip=f"10.1{n}.0.{10 + c}", ip6=f"fd1{n}::{10 + c:x}" if n % 2 else None)
    ports = []
    if c < 2:
        ports = [Publish(ECHO, PUBLISHED + 10 * n + c)]
    elif c == 2:
        ports = [Publish(TRAP, LOOPBACK + n, host_ip="127.0.0.1", proto=proto) for proto in ("tcp", "udp")]
    return weftd.client.containers.create(name=f"c{n}-{c}", networks=[wish], ports=ports)


def talkers(containers: Sequence[Sequence[Container]], outside: Namespace) -> tuple[list[Talker], list[Talker]]:
    """Those who serve and are reached, and those who attack."""
    served: list[Talker] = []
    attacks: list[Talker] = []
    for n, network in enumerate(containers):
        for c, container in enumerate(network):
            path, neighbour = container.netns, network[(c + 1) % EACH]
            served.append(_talker("echo", "echo", path, port=ECHO))
            served.append(_talker("ping", "ping", path, to=f"10.1{n}.0.{10 + (c + 1) % EACH}", every=0.05))
            served.append(
                _talker("query", "names", path, to=neighbour.name, expect=f"10.1{n}.0.{10 + (c + 1) % EACH}", every=0.1)
            )
            attacks.append(_talker("trap", "trap", path, port=TRAP))
            if n % 2:
                served.append(_talker("ping", "ping", path, to=f"fd1{n}::{10 + (c + 1) % EACH:x}", every=0.1))
        for c in range(2):
            port = PUBLISHED + 10 * n + c
            served.append(_talker("stream", "streams from outside", outside.path, to=HOST4, port=port, every=0.02))
            served.append(_talker("stream", "streams from the host", "", to="127.0.0.1", port=port, every=0.04))
            served.append(_talker("connect", "connections", outside.path, to=HOST4, port=port, every=0.05))
            if n % 2:
                served.append(_talker("stream", "streams from outside", outside.path, to=HOST6, port=port, every=0.02))
        attacks += _attacks(containers, n, outside)
    return served, attacks


def _attacks(containers: Sequence[Sequence[Container]], n: int, outside: Namespace) -> Iterator[Talker]:
    other = (n + 1) % NETWORKS
    for c in (0, 3):
        yield _talker("attack", "across networks", containers[n][c].netns, to=f"10.1{other}.0.{10 + c}", port=TRAP)
        yield _talker("attack", "from outside", outside.path, to=f"10.1{n}.0.{10 + c}", port=TRAP)
    if n % 2:
        yield _talker("attack", "from outside", outside.path, to=f"fd1{n}::a", port=TRAP)
    yield _talker("attack", "unpublished port", outside.path, to=HOST4, port=TRAP)
    yield _talker("attack", "published on 127.0.0.1", outside.path, to=HOST4, port=LOOPBACK + n)
    yield _talker("attack", "published on 127.0.0.1", containers[other][5].netns, to=HOST4, port=LOOPBACK + n)


def _talker(kind: str, group: str, netns: str, **details: Any) -> Talker:
    return {"kind": kind, "group": group, "netns": netns, "every": 0.01, **details}


@contextlib.contextmanager
def conversation(weftd: Weftd, *parts: Sequence[Talker]) -> Iterator[Conversation]:
    """All talk while the body runs; one program for each part."""
    talk = Conversation()
    with contextlib.ExitStack() as stack:
        programs = [stack.enter_context(_program(weftd, part)) for part in parts]
        for program in programs:
            assert program.stdout is not None
            assert program.stdout.readline() == "ready\n"
        yield talk
        for program in programs:
            assert program.stdin is not None
            program.stdin.close()
        for program in programs:
            assert program.stdout is not None
            _add_up(talk, json.loads(program.stdout.read()))


@contextlib.contextmanager
def _program(weftd: Weftd, part: Sequence[Talker]) -> Iterator[subprocess.Popen[str]]:
    with tempfile.NamedTemporaryFile("w") as file:
        json.dump(part, file)
        file.flush()
        command = [sys.executable, "-P", "-m", "tests.system.load", file.name]
        pipe = subprocess.PIPE
        with weftd.host.popen(command, stdin=pipe, stdout=pipe, env=weftd.environment) as program:
            try:
                yield program
            finally:
                program.kill()


def _add_up(talk: Conversation, found: Sequence[dict[str, Any]]) -> None:
    for one in found:
        outcome = talk.outcomes.setdefault(one["group"], Outcome())
        for name in ("sent", "lost", "caught"):
            setattr(outcome, name, getattr(outcome, name) + one.get(name, 0))
        outcome.outage = max(outcome.outage, one.get("outage", 0.0))
        outcome.slowest = max(outcome.slowest, one.get("slowest", 0.0))
        outcome.failures += one.get("failures", [])
