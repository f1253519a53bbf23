"""Who talks in these tests: listeners in containers, an outside world beyond the host, and askers anywhere."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tests.daemons import Weftd
from tests.enter import inside, network
from tests.hosts import Namespace, PrivateHost
from tests.system.answerer import SCTP
from tests.waiting import PACE

SILENCE = "nothing"
REFUSED = "refused"

HOST4, HOST6 = "192.0.2.1", "2001:db8::1"
SECOND4 = "192.0.2.10"
"""The host's other address on the same wire."""
OUTSIDE4, OUTSIDE6 = "192.0.2.2", "2001:db8::2"

PATIENCE = 0.3 * PACE
"""Seconds until silence counts as such."""


@dataclass(frozen=True)
class Listener:
    name: str
    """What it answers with."""
    netns: str
    """A container's; "" is the host's."""
    proto: str = "tcp"
    port: int = 80
    address: str = "::"
    """Of both families, unless one is given."""


@contextlib.contextmanager
def listening(weftd: Weftd, *listeners: Listener) -> Iterator[None]:
    wanted = json.dumps([vars(listener) for listener in listeners])
    with weftd.host.popen(
        [sys.executable, "-P", "-m", "tests.system.answerer", wanted],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=weftd.environment,
    ) as program:
        assert program.stdin is not None
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
        yield
        program.stdin.close()
        program.wait(5 * PACE)


@contextlib.contextmanager
def outside_of(host: PrivateHost) -> Iterator[Namespace]:
    """A neighbour of the host on a wire, which knows the way to every container and takes the host for its router."""
    with host.container() as outside:
        host.run(f"ip link add uplink type veth peer name eth0 netns /proc/{outside.pid}/ns/net")
        host.run(f"ip address add {HOST4}/24 dev uplink")
        host.run(f"ip address add {SECOND4}/24 dev uplink")
        host.run(f"ip address add {HOST6}/64 dev uplink nodad")
        host.run("ip link set uplink up")
        outside.run(f"ip address add {OUTSIDE4}/24 dev eth0")
        outside.run(f"ip address add {OUTSIDE6}/64 dev eth0 nodad")
        outside.run("ip link set eth0 up")
        outside.run(f"ip route add default via {HOST4}")
        outside.run(f"ip -6 route add default via {HOST6}")
        yield outside


@dataclass(frozen=True)
class Question:
    netns: str
    """Where the asker is; "" is the host."""
    address: str
    port: int
    proto: str = "tcp"


def ask(host: PrivateHost, *questions: Question) -> list[str]:
    """What each asker is told: "NAME ASKER-AS-SEEN", or `REFUSED`, or `SILENCE`."""

    def ask_all() -> list[str]:
        answers = []
        for question in questions:
            with network(question.netns or "/proc/self/ns/net"):
                answers.append(_ask(question))
        return answers

    return inside(host, ask_all)


def ask_at_once(host: PrivateHost, *questions: Question) -> list[str]:
    """As `ask`, all at the same time: silence is waited for once. A thread can be in a network of its own."""

    def ask_one(question: Question) -> str:
        with network(question.netns or "/proc/self/ns/net"):
            return _ask(question)

    def ask_all() -> list[str]:
        with ThreadPoolExecutor(len(questions)) as pool:
            return list(pool.map(ask_one, questions))

    return inside(host, ask_all)


def _ask(question: Question) -> str:
    family = socket.AF_INET6 if ":" in question.address else socket.AF_INET
    kind = socket.SOCK_DGRAM if question.proto == "udp" else socket.SOCK_STREAM
    with socket.socket(family, kind, SCTP if question.proto == "sctp" else 0) as asker:
        asker.settimeout(PATIENCE)
        try:
            asker.connect((question.address, question.port))
            if question.proto == "udp":
                asker.send(b"?")
            return asker.recv(200).decode() or REFUSED
        except (ConnectionRefusedError, ConnectionResetError):
            return REFUSED
        except OSError:  # no answer, or no route
            return SILENCE


def pings(host: PrivateHost, netns: str, addresses: Sequence[str]) -> list[bool]:
    """Which addresses answer an ICMP echo."""
    return [
        host.run(["nsenter", f"--net={netns}", "ping", "-c1", "-W1", "-q", address], check=False).returncode == 0
        for address in addresses
    ]
