"""What is told of containers: their ends, and what is done with them, to Docker's clients and to weft's own."""

from __future__ import annotations

import json
import re
import socket
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.docker.conftest import World
from tests.docker.streams import Screen, begin, exec_id, head_of, rest_of, run, sleeping
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


# Commands in containers


@pytest.fixture
def c(world: World) -> str:
    """The id of a container that runs."""
    return str(world.weftd.client.containers.run(["sleep", "600"], name="c", labels={"tier": "front"}).id)


def execs(world: World, begun: str, *filters: str, count: int, client: str = "docker") -> list[dict[str, Any]]:
    """What is told of commands, once that is so much: their ends are told when they are noticed."""
    wanted = filters or ("event=exec_create", "event=exec_start", "event=exec_detach", "event=exec_die")
    eventually(lambda: len(told(world, begun, *wanted)) >= count, within=10)
    return told(world, begun, *wanted, client=client)


def test_a_command_from_its_making_to_its_end(world: World, c: str, begun: str, client: str):
    run(world, "exec", "c", "sh", "-c", "exit 3", client=client)
    create, start, die = execs(world, begun, count=3, client=client)
    assert [e["Action"] for e in (create, start, die)] == [
        "exec_create: sh -c exit 3",
        "exec_start: sh -c exit 3",
        "exec_die",
    ]
    assert {e["Actor"]["ID"] for e in (create, start, die)} == {c}
    ident = create["Actor"]["Attributes"]["execID"]
    assert re.fullmatch("[0-9a-f]{64}", ident)
    common = {"image": "", "name": "c", "tier": "front", "execID": ident}
    assert [e["Actor"]["Attributes"] for e in (create, start, die)] == [common, common, {**common, "exitCode": "3"}]
    old = world.ask(
        "GET", f'/events?since={begun}&until={time.time():f}&filters={{"event":["exec_die"]}}', version="1.41"
    )
    assert (old.json["status"], old.json["id"], old.json["from"]) == ("exec_die", c, "")


def test_a_command_without_arguments_is_told_as_docker_does(world: World, c: str, begun: str):
    run(world, "exec", "c", "true")
    assert [e["Action"] for e in execs(world, begun, count=3)] == [
        "exec_create: true ",
        "exec_start: true ",
        "exec_die",
    ]


def test_commands_are_found_by_the_beginning_of_what_is_told(world: World, c: str, begun: str, client: str):
    for word in ("one", "two"):
        run(world, "exec", "c", "echo", word)

    def found(*filters: str) -> list[str]:
        return [event["Action"] for event in told(world, begun, *filters, client=client)]

    eventually(lambda: len(told(world, begun, "event=exec_die")) == 2, within=10)
    assert found("event=exec_create") == ["exec_create: echo one", "exec_create: echo two"]
    assert found("event=exec_start: echo two") == ["exec_start: echo two"]
    ends = ["exec_start: echo one", "exec_die", "exec_start: echo two", "exec_die"]
    assert found("event=exec_start", "event=exec_die", "container=c") == ends
    assert found("event=exec") == []
    assert found("event=start", "event=die") == []


@pytest.mark.parametrize("flags", [(), ("-d",)], ids=["", "in the background"])
def test_of_what_cannot_start_no_end_is_told(world: World, c: str, begun: str, flags: tuple[str, ...]):
    run(world, "exec", *flags, "c", "nonesuch")
    run(world, "exec", "c", "true")
    told = [e["Action"] for e in execs(world, begun, count=5)]
    assert told == [
        "exec_create: nonesuch ",
        "exec_start: nonesuch ",
        "exec_create: true ",
        "exec_start: true ",
        "exec_die",
    ]


def test_a_command_in_the_background(world: World, c: str, begun: str):
    run(world, "exec", "-d", "c", "sh", "-c", "sleep 0.2; exit 4")
    assert short(execs(world, begun, count=3)[-1]) == "exec_die 4"


def test_a_command_whose_client_is_lost(world: World, c: str, begun: str):
    ident = exec_id(world, "c", "sleep", "63", AttachStdout=True)
    with begin(world, ident):
        eventually(lambda: sleeping("63"), within=5)
    assert short(execs(world, begun, count=3)[-1]) == "exec_die 129"


def test_a_command_that_is_left_goes_on(world: World, c: str, begun: str):
    ident = exec_id(world, "c", "sleep", "1.5", AttachStdin=True, AttachStdout=True, Tty=True)
    with begin(world, ident, tty=True) as sock:
        eventually(lambda: sleeping("1.5"), within=5)
        sock.sendall(b"\x10\x11")
        rest_of(sock, b"")
    told = [e for e in execs(world, begun, count=4) if e["Actor"]["Attributes"]["execID"] == ident]
    assert [short(event) for event in told][2:] == ["exec_detach", "exec_die 0"]


def test_with_its_container_a_command_ends_and_has_the_name_of_then(world: World, c: str, begun: str):
    run(world, "exec", "-d", "c", "sleep", "64")
    world.docker("rename", "c", "d")
    world.docker("rm", "-f", "d")
    assert [short(e) for e in execs(world, begun, count=3)][-1] == "exec_die 137"
    assert [e["Actor"]["Attributes"]["name"] for e in execs(world, begun, count=3)] == ["c", "c", "d"]


def test_the_library_hears_of_commands(world: World, c: str, begun: str):
    docker = pytest.importorskip("docker", reason="the Docker SDK for Python is not installed")
    sdk = docker.DockerClient(base_url=f"unix://{world.weftd.socket}", timeout=20)
    try:
        stream = sdk.events(decode=True, filters={"event": ["exec_create", "exec_die"], "container": "c"}, since=begun)
        assert sdk.containers.get("c").exec_run(["sh", "-c", "exit 5"]).exit_code == 5
        create, die = next(stream), next(stream)
        stream.close()
    finally:
        sdk.close()
    assert create["Action"] == "exec_create: sh -c exit 5"
    assert die["Actor"]["Attributes"]["exitCode"] == "5"


# What else is done with them


def test_looks_are_told(world: World, c: str, begun: str, client: str):
    world.docker("top", "c", client=client)
    world.docker("top", "c", "-o", "pid", client=client)
    world.refusal("top", "c", "-o", "comm", client=client)
    world.docker("rename", "c", "d", client=client)
    common = {"image": "", "name": "c", "tier": "front"}
    renamed = {**common, "name": "d", "oldName": "/c"}
    found = told(world, begun, "event=top", "event=rename", client=client)
    assert [e["Actor"]["Attributes"] for e in found] == [common, common, renamed]


def test_a_terminal_that_is_attached_and_resized(world: World, begun: str):
    world.weftd.cli("run", "-d", "-i", "-t", "--name", "shell", "--", "sh")
    with Screen(world, "attach", "shell", rows=20, columns=90) as screen:
        screen.type(b"stty size\n")
        screen.until(b"20 90\r\n")
        screen.resize(30, 80)
        eventually(lambda: told(world, begun, "event=resize")[-1]["Actor"]["Attributes"]["height"] == "30", within=10)
    resize = told(world, begun, "event=resize")[-1]["Actor"]["Attributes"]
    assert resize == {"image": "", "name": "shell", "height": "30", "width": "80"}
    world.docker("kill", "shell")
    (attach,) = told(world, begun, "event=attach", "event=detach")  # the client has hung up, and not detached
    assert attach["Actor"]["Attributes"] == {"image": "", "name": "shell"}


@pytest.mark.parametrize(("keys", "typed"), [("", b"\x10\x11"), ("ctrl-a,x", b"\x01x")], ids=["usual", "own"])
def test_a_terminal_that_is_left(world: World, begun: str, keys: str, typed: bytes):
    # On the wire: the CLI keeps the keys to itself and hangs up.
    world.weftd.cli("run", "-d", "-i", "-t", "--name", "shell", "--", "sh")
    query = f"stream=1&stdin=1&stdout=1&detachKeys={keys}"
    request = f"POST /containers/shell/attach?{query} HTTP/1.1\r\nHost: docker\r\n\r\n"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(10)
        sock.connect(world.weftd.socket)
        sock.sendall(request.encode())
        head_of(sock)
        assert told(world, begun, "event=detach") == []
        sock.sendall(typed)
        rest_of(sock, b"")
    found = told(world, begun, "event=attach", "event=detach")
    assert [e["Action"] for e in found] == ["attach", "detach"]
    assert [e["Actor"]["Attributes"] for e in found] == [{"image": "", "name": "shell"}] * 2
    assert world.weftd.client.containers.get("shell").state == "running"


def test_the_end_of_what_is_attached_to_is_no_detachment(world: World, begun: str, client: str):
    world.weftd.client.containers.create(name="c", process={"argv": ["echo", "out"]})
    assert run(world, "start", "-a", "c", client=client).stdout == b"out\n"
    found = [event["Action"] for event in told(world, begun, "container=c", client=client)]
    assert found == ["create", "attach", "start", "die"]


# weft's own


def test_weft_shows_commands_and_its_filters_know_them_apart(world: World, begun: str, c: str):
    run(world, "exec", "c", "sh", "-c", "echo one\nexit 3")
    ident = execs(world, begun, count=3)[0]["Actor"]["Attributes"]["execID"]

    def shown(*filters: str) -> list[str]:
        words = [word for text in filters for word in ("--filter", text)]
        lines = world.weftd.cli("events", "--since", begun, "--follow=false", *words).stdout.splitlines()
        return [line.split(" ", 1)[1] for line in lines]

    assert shown("action=exec") == [
        f"container exec_create c (exec={ident[:12]}, command=sh -c echo one exit 3)",
        f"container exec_start c (exec={ident[:12]}, command=sh -c echo one exit 3)",
        f"container exec_die c (exec={ident[:12]}, code=3)",
    ]
    assert shown("action=start", "type=container") == ["container start c"]
    assert shown("action=die") == []
    (create,) = [e for e in world.weftd.client.events(since=float(begun), follow=False) if e.action == "exec_create"]
    assert (create.attributes, create.details) == ({"exec": ident}, {"command": "sh -c echo one\nexit 3"})
