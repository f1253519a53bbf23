"""weft's containers, started, stopped, renamed and removed by Docker's own clients."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.audits import resolve
from tests.docker.conftest import World
from tests.enter import inside, network
from tests.waiting import eventually
from weft.client import Container
from weft.errors import NotFound
from weft.shim.client import find

pytestmark = pytest.mark.root

SLEEP = ("sleep", "60")


@pytest.fixture(autouse=True)
def _clean(clean: World) -> None:
    """Every test has the world for itself."""


def ended(world: World, script: str, **options: Any) -> Container:
    made = world.weftd.client.containers.run(["sh", "-c", script], **options)
    world.weftd.client.containers.wait(made)
    return world.weftd.client.containers.get(made)


def names(world: World, *arguments: str) -> list[str]:
    return world.lines("ps", *arguments, "--format", "{{.Names}}")


def state(world: World, name: str) -> dict[str, Any]:
    found = world.ask("GET", f"/containers/{name}/json").json["State"]
    assert isinstance(found, dict)
    return found


@contextlib.contextmanager
def waiting(world: World, query: str = "") -> Iterator[Callable[[], object]]:
    """Somebody waits for c, and has been told so; what they hear when it is over."""
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(10)
        line.connect(world.weftd.socket)
        line.sendall(f"POST /containers/c/wait{query} HTTP/1.1\r\nHost: docker\r\n\r\n".encode())
        assert line.recv(65536).startswith(b"HTTP/1.1 200")

        def heard() -> object:
            return json.loads(line.recv(65536).splitlines()[1])  # behind the length of the chunk

        line.settimeout(0.3)
        with pytest.raises(TimeoutError):
            line.recv(1)
        line.settimeout(10)
        yield heard


def test_start_of_one_that_was_made(world: World, client: str):
    made = world.weftd.client.containers.create(name="made", process={"argv": ["sleep", "60"]})
    assert world.docker("start", "made", client=client).stdout == "made\n"
    assert world.weftd.client.containers.get(made).state == "running"
    assert world.ask("POST", "/containers/made/start").status == 304


def test_start_of_what_cannot_run_or_has_run(world: World):
    world.weftd.client.containers.create(name="made", process={"argv": ["/no/such/program"]})
    answer = world.ask("POST", "/containers/made/start")
    assert (answer.status, "no such file" in answer.message) == (400, True)
    ended(world, "exit 0", name="job")
    for verb in ("start", "restart"):
        answer = world.ask("POST", f"/containers/job/{verb}")
        assert (answer.status, "lives once" in answer.message) == (501, True)


def test_stop_and_what_is_stopped(world: World, client: str):
    world.weftd.client.containers.run(SLEEP, name="c")
    assert world.docker("stop", "c", client=client).stdout == "c\n"
    assert state(world, "c")["ExitCode"] == 128 + signal.SIGTERM
    assert world.docker("stop", "c", client=client).stdout == "c\n"
    assert world.ask("POST", "/containers/c/stop").status == 304


def test_stop_is_patient_as_long_as_it_is_told(world: World):
    deaf = ["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done"]
    world.weftd.client.containers.run(deaf, name="deaf")
    eventually(lambda: world.lines("logs", "deaf"), within=10)
    begun = time.monotonic()
    world.docker("stop", "-t", "1", "deaf")
    assert 0.9 < time.monotonic() - begun < 8
    assert state(world, "deaf")["ExitCode"] == 128 + signal.SIGKILL


def test_stop_with_another_signal(world: World):
    world.weftd.client.containers.run(SLEEP, name="c")
    assert world.ask("POST", "/containers/c/stop?signal=SIGINT&t=20").status == 204
    assert state(world, "c")["ExitCode"] == 128 + signal.SIGINT


@pytest.mark.parametrize(("spelling", "number"), [("KILL", 9), ("sigusr1", 10), ("12", 12), ("SIGRTMIN+2", 36)])
def test_kill_by_name_and_number(world: World, spelling: str, number: int):
    world.weftd.client.containers.run(SLEEP, name="c")
    assert world.docker("kill", "-s", spelling, "c").stdout == "c\n"
    assert world.docker("wait", "c").stdout == f"{128 + number}\n"


def test_kill_refuses(world: World):
    made = ended(world, "exit 0", name="c")
    assert world.refusal("kill", "c").endswith(f"cannot kill container: c: container {made.id} is not running")
    answer = world.ask("POST", "/containers/c/kill?signal=NOSUCH")
    assert (answer.status, answer.message) == (400, "invalid signal: NOSUCH")
    world.container("lent")
    assert world.ask("POST", "/containers/lent/kill").status == 409


def test_wait_waits_and_tells(world: World, client: str):
    world.weftd.client.containers.run(["sh", "-c", "sleep 0.5; exit 7"], name="c")
    assert world.docker("wait", "c", client=client).stdout == "7\n"
    assert world.docker("wait", "c", client=client).stdout == "7\n"


def test_wait_begins_to_answer_at_once(world: World):
    world.weftd.client.containers.run(SLEEP, name="c")
    with waiting(world) as heard:
        world.docker("kill", "c")
        assert heard() == {"StatusCode": 137}


def test_wait_for_removal_outlasts_the_end(world: World):
    ended(world, "exit 5", name="c")
    with waiting(world, "?condition=removed") as heard:
        world.docker("rm", "c")
        assert heard() == {"StatusCode": 5}


def test_wait_for_one_that_removes_itself(world: World):
    world.weftd.client.containers.run(SLEEP, name="c", auto_remove=True)
    assert world.ask("GET", "/containers/c/json").json["HostConfig"]["AutoRemove"] is True
    with waiting(world) as heard:
        world.docker("kill", "-s", "TERM", "c")
        assert heard() == {"StatusCode": 143}
    assert names(world, "-a") == []


def test_wait_for_the_next_exit_of_one_that_has_yet_to_start(world: World):
    world.weftd.client.containers.create(name="c", process={"argv": ["sh", "-c", "exit 4"]})
    assert world.ask("POST", "/containers/c/wait").json == {"StatusCode": 0}  # it does not run
    with waiting(world, "?condition=next-exit") as heard:
        world.docker("start", "c")
        assert heard() == {"StatusCode": 4}
    assert world.ask("POST", "/containers/c/wait?condition=never").status == 400


# Names


def test_rename_frees_the_old_name_and_neighbours_find_the_new_one(world: World, client: str):
    world.weftd.client.networks.create("blue", pools=["10.7.0.0/24"])
    run = world.weftd.client.containers.run
    old = run(SLEEP, name="old", networks=[{"network": "blue", "ip": "10.7.0.9", "aliases": ["db"]}])
    neighbour = run(SLEEP, name="neighbour", networks=["blue"])
    begun = f"{time.time():.6f}"
    world.docker("rename", "old", "new", client=client)

    def look() -> list[set[str]]:
        with network(neighbour.netns):
            return [resolve(name) for name in ("new", "db", old.id[:12], "old")]

    assert inside(world.host, look) == [{"10.7.0.9"}] * 3 + [set()]
    assert names(world) == ["neighbour", "new"]
    told = ("--since", begun, "--until", f"{time.time():.6f}", "--filter", "event=rename", "--filter", "container=new")
    assert world.lines("events", *told, "--format", "{{.Actor.Attributes.oldName}}") == ["/old"]
    run(SLEEP, name="old", networks=["blue"])
    assert names(world, "--filter", "name=^old$") == ["old"]


def test_rename_refuses(world: World):
    world.container("a")
    other = world.container("b")
    taken = (
        f'Error when allocating new name: Conflict. The container name "/b" is already in use by container "{other}". '
        "You have to remove (or rename) that container to be able to reuse that name."
    )
    for path, status, message in (
        ("a/rename?name=b", 409, taken),
        ("a/rename?name=", 400, "Neither old nor new names may be empty"),
        ("a/rename?name=a", 400, "Renaming a container with the same name as its current name"),
    ):
        answer = world.ask("POST", f"/containers/{path}")
        assert (answer.status, answer.message) == (status, message)
    answer = world.ask("POST", "/containers/a/rename?name=no%20good")
    assert (answer.status, "not valid" in answer.message) == (400, True)


def test_a_name_lasts(world: World):
    world.weftd.client.containers.run(SLEEP, name="old")
    world.weftd.cli("rename", "old", "new")
    world.weftd.restart()
    assert names(world) == ["new"]
    assert find(world.weftd.run_dir, "new").name == "new"  # as it is found while weftd is away
    with pytest.raises(NotFound):
        find(world.weftd.run_dir, "old")


# Their ends


def test_rm_spares_what_runs(world: World, client: str):
    world.weftd.client.containers.run(SLEEP, name="c")
    world.container("lent")
    for name in ("c", "lent"):
        reason = "container is running: stop the container before removing or force remove"
        assert world.refusal("rm", name, client=client).endswith(f'cannot remove container "/{name}": {reason}')
    assert world.docker("rm", "-f", "-v", "c", "lent", client=client).stdout == "c\nlent\n"
    assert names(world, "-a") == []


def test_rm_of_one_that_has_ended(world: World):
    made = ended(world, "exit 0", name="c")
    world.docker("rm", made.id[:5])
    assert names(world, "-a") == []
    assert world.refusal("rm", "c").endswith("No such container: c")


def test_prune_takes_those_that_have_ended(world: World, client: str):
    world.weftd.client.containers.run(SLEEP, name="runs")
    kept = ended(world, "exit 0", name="kept", labels={"keep": "1"})
    gone = ended(world, "exit 0", name="gone")
    young = world.lines("container", "prune", "-f", "--filter", "until=1h", client=client)
    assert young[-1].startswith("Total reclaimed space: 0")
    said = world.lines("container", "prune", "-f", "--filter", "label!=keep", client=client)
    assert said[:2] == ["Deleted Containers:", gone.id]
    assert names(world, "-a") == ["kept", "runs"]
    assert world.ask("POST", "/containers/prune").json == {"ContainersDeleted": [kept.id], "SpaceReclaimed": 0}
    assert world.ask("POST", "/containers/prune").json == {"ContainersDeleted": None, "SpaceReclaimed": 0}


def test_an_id_that_several_begin_with_is_no_reference(world: World):
    ids = [world.container(f"c{number}") for number in range(17)]
    first = next(ident[0] for ident in ids if sum(other.startswith(ident[0]) for other in ids) > 1)
    answer = world.ask("GET", f"/containers/{first}/json")
    assert (answer.status, answer.message) == (400, f"Multiple IDs found with provided prefix: {first}")
