"""What is told of containers: their ends, and what is done with them, to Docker's clients and to weft's own."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.docker.conftest import World
from tests.waiting import eventually

pytestmark = pytest.mark.root

OBEYS = ("sh", "-c", "trap 'exit 3' TERM; echo ready; while :; do sleep 0.05; done")
DEAF = ("sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done")


@pytest.fixture(autouse=True)
def _clean(clean: World) -> None:
    """Every test has the world for itself."""


@pytest.fixture
def begun() -> str:
    """The moment before all that a test does."""
    return f"{time.time():.6f}"


def started(world: World, argv: tuple[str, ...], **options: Any) -> str:
    """A container that is ready for signals; its id."""
    ident = str(world.weftd.client.containers.run(argv, name="c", **options).id)
    eventually(lambda: world.lines("logs", "c"), within=10)
    return ident


def told(world: World, begun: str, *filters: str, client: str = "docker") -> list[dict[str, Any]]:
    """By Docker's stream, oldest first."""
    words = [word for text in filters for word in ("--filter", text)]
    window = ("--since", begun, "--until", f"{time.time():.6f}")
    lines = world.lines("events", *window, *words, "--format", "{{json .}}", client=client)
    return [json.loads(line) for line in lines]


def told_by_weft(world: World, begun: str) -> list[str]:
    """By weft's own stream: actions of the container, with what is said of them."""
    events = world.weftd.client.events(since=float(begun), follow=False)
    return [" ".join([e.action, *e.attributes.values()]) for e in events if e.type == "container"]


def short(event: dict[str, Any]) -> str:
    attributes = event["Actor"]["Attributes"]
    words = (event["Action"], attributes.get("signal"), attributes.get("exitCode"))
    return " ".join(word for word in words if word is not None)


# Ends

ENDS: dict[str, tuple[tuple[str, ...], dict[str, bool], tuple[str, ...], list[str]]] = {
    "stop": (OBEYS, {}, ("stop", "-t", "9"), ["kill 15", "die 3", "stop"]),
    "stop of the deaf": (DEAF, {}, ("stop", "-t", "1"), ["kill 15", "kill 9", "die 137", "stop"]),
    "stop of one that removes itself": (
        OBEYS,
        {"auto_remove": True},
        ("stop", "-t", "9"),
        ["kill 15", "die 3", "stop", "destroy"],
    ),
    "kill": (OBEYS, {}, ("kill",), ["kill 9", "die 137"]),
    "kill with a signal": (OBEYS, {}, ("kill", "-s", "TERM"), ["kill 15", "die 3"]),
    "rm -f": (OBEYS, {}, ("rm", "-f"), ["kill 9", "die 137", "destroy"]),
    "rm -f of one that removes itself": (
        OBEYS,
        {"auto_remove": True},
        ("rm", "-f"),
        ["kill 9", "die 137", "destroy"],
    ),
}


@pytest.mark.parametrize("tool", ["docker", "weft"])
@pytest.mark.parametrize("end", ENDS)
def test_an_end_is_told_in_order_to_everybody(world: World, begun: str, end: str, tool: str):
    argv, options, words, expected = ENDS[end]
    started(world, argv, **options)
    {"docker": world.docker, "weft": world.weftd.cli}[tool](*words, "c")
    eventually(lambda: len(told(world, begun, "container=c")) >= 2 + len(expected), within=10)
    assert [short(event) for event in told(world, begun, "container=c")] == ["create", "start", *expected]
    assert told_by_weft(world, begun) == ["create", "start", *expected]


def test_rm_by_force_says_all_that_goes(world: World, begun: str, client: str):
    ident = started(world, OBEYS, labels={"tier": "front"}, networks=[])
    time.sleep(1)
    world.docker("rm", "-f", "c", client=client)
    kill, die, leaving, destroy = told(world, begun, client=client)[-4:]
    assert [event["Action"] for event in (kill, die, leaving, destroy)] == ["kill", "die", "disconnect", "destroy"]
    assert leaving["Actor"]["Attributes"] == {"container": ident, "name": "bridge", "type": "bridge"}
    common = {"image": "", "name": "c", "tier": "front"}
    assert {event["Actor"]["ID"] for event in (kill, die, destroy)} == {ident}
    assert kill["Actor"]["Attributes"] == {**common, "signal": "9"}
    assert destroy["Actor"]["Attributes"] == common
    seconds = int(die["Actor"]["Attributes"].pop("execDuration"))
    assert 1 <= seconds < 20
    assert die["Actor"]["Attributes"] == {**common, "exitCode": "137"}


def test_what_was_never_started_or_has_ended_is_destroyed_and_no_more(world: World, begun: str):
    world.weftd.client.containers.create(name="made", process={"argv": ["sleep", "60"]})
    world.container("lent")
    world.weftd.client.containers.run(["true"], name="over")
    world.weftd.client.containers.wait("over")
    moment = f"{time.time():.6f}"
    world.docker("rm", "-f", "made", "lent", "over")
    assert [short(event) for event in told(world, moment, "type=container")] == ["destroy"] * 3


def test_a_stop_that_nobody_waits_for_is_none(world: World, begun: str):
    started(world, OBEYS)
    world.weftd.cli("kill", "-s", "TERM", "c")
    assert world.docker("wait", "c").stdout == "3\n"
    assert [short(event) for event in told(world, begun, "container=c")][-1] == "die 3"


def test_kill_returns_when_it_has_ended(world: World, client: str):
    for _ in range(5):
        started(world, OBEYS)
        world.docker("kill", "c", client=client)
        world.docker("rm", "c", client=client)


@pytest.mark.parametrize("condition", ["", "not-running", "next-exit", "removed"])
@pytest.mark.parametrize(
    ("end", "code"),
    [(("kill",), 137), (("stop", "-t", "9"), 3), (("rm", "-f"), 137)],
    ids=["kill", "stop", "rm"],
)
def test_who_waits_hears_of_every_end(world: World, waiting: Waiting, condition: str, end: tuple[str, ...], code: int):
    started(world, OBEYS)
    heard = waiting(f"?condition={condition}")
    world.docker(*end, "c")
    if condition == "removed" and end[0] != "rm":
        world.docker("rm", "c")
    assert heard() == {"StatusCode": code}


Waiting = Callable[[str], Callable[[], object]]


@pytest.fixture
def waiting(world: World) -> Iterator[Waiting]:
    """Has somebody wait for c in the way of a query, and tells what they hear in the end."""
    script = (
        "import http.client, json, socket, sys\n"
        "line = http.client.HTTPConnection('docker', timeout=20)\n"
        "line.sock = socket.socket(socket.AF_UNIX)\n"
        "line.sock.connect(sys.argv[1])\n"
        "line.request('POST', f'/containers/c/wait{sys.argv[2]}')\n"
        "answer = line.getresponse()\n"
        "print('waits', flush=True)\n"
        "print(answer.read().decode(), flush=True)\n"
    )
    waiters = []

    def wait(query: str) -> Callable[[], object]:
        waiter = world.host.popen([sys.executable, "-c", script, world.weftd.socket, query], stdout=-1)
        waiters.append(waiter)
        assert waiter.stdout is not None
        assert waiter.stdout.readline() == "waits\n"
        return lambda: json.loads(waiter.communicate(timeout=20)[0])

    yield wait
    for waiter in waiters:
        waiter.kill()
        waiter.communicate()
