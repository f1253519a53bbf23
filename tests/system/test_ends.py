"""Containers that end by themselves: noticed within a second, cleaned up, and told; also while weftd is away."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.audits import assert_consistent, resolve
from tests.daemons import Weftd
from tests.enter import inside, network
from tests.waiting import eventually
from weft.client import Publish

pytestmark = pytest.mark.root

SLEEPER = ["sleep", "600"]
PORT = Publish(80, 8070)

End = Callable[[Weftd], None]


@pytest.fixture(scope="module")
def house(weftd: Weftd) -> Weftd:
    """A network with a neighbour on it, and a place for namespaces that `ip netns` makes."""
    weftd.host.run("mkdir -p /run/netns")
    weftd.host.run("mount -t tmpfs tmpfs /run/netns")
    weftd.client.networks.create("front")
    weftd.client.containers.create(name="neighbour", networks=["front"])
    return weftd


def _attached_to_a_process(weftd: Weftd) -> End:
    namespace = weftd.host.container()
    weftd.client.containers.create(name="x", networks=["front"], ports=[PORT], pid=namespace.pid)
    return lambda _: namespace.close()


def _attached_to_a_path(weftd: Weftd) -> End:
    weftd.host.run("ip netns add there")
    weftd.client.containers.create(name="x", networks=["front"], ports=[PORT], netns="/run/netns/there")
    return lambda weftd: weftd.host.run("ip netns del there") and None


def _attached_to_a_path_where_another_is_now(weftd: Weftd) -> End:
    weftd.host.run("ip netns add there")
    weftd.client.containers.create(name="x", networks=["front"], ports=[PORT], netns="/run/netns/there")

    def end(weftd: Weftd) -> None:
        weftd.host.run("ip netns del there")
        weftd.host.run("ip netns add there")

    return end


def _running(weftd: Weftd, *, argv: list[str] = SLEEPER, auto_remove: bool = False) -> int:
    """The pid of a container's first process."""
    made = weftd.client.containers.run(argv, name="x", networks=["front"], ports=[PORT], auto_remove=auto_remove)
    assert made.pid is not None
    return made.pid


def _run_with_rm(weftd: Weftd) -> End:
    pid = _running(weftd, auto_remove=True)
    return lambda _: os.kill(pid, signal.SIGKILL)


FORGOTTEN = {
    "its process died": _attached_to_a_process,
    "its path was unbound": _attached_to_a_path,
    "another namespace is at its path": _attached_to_a_path_where_another_is_now,
    "it was run with --rm": _run_with_rm,
}


@pytest.mark.parametrize("away", [False, True], ids=["", "while weftd was away"])
@pytest.mark.parametrize("name", FORGOTTEN)
def test_it_is_gone_with_all_that_it_had(house: Weftd, name: str, away: bool) -> None:
    end = FORGOTTEN[name](house)
    container = house.client.containers.get("x")
    begun = time.time()
    if away:
        house.kill()
    end(house)
    if away:
        house.start()
    eventually(lambda: "x" not in {c.name for c in house.client.containers.list(all=True)})
    eventually(lambda: not os.path.exists(f"/proc/{house.pid}/root{container.netns}"))
    assert_consistent(house)
    assert _ask(house, "neighbour", "x") == set()
    told = eventually_told(house, container.id, begun)
    assert told[-1] == "destroy"
    assert ("die" in told) == (name == "it was run with --rm")
    # Its name, address and port are free.
    house.client.containers.create(name="x", networks=["front"], ports=[PORT])
    house.client.containers.remove("x")
    house.host.run("ip netns del there", check=False)


@pytest.mark.parametrize("away", [False, True], ids=["", "while weftd was away"])
@pytest.mark.parametrize(
    ("how", "code"), [("exit", 3), ("killed", 137), ("terminated", 143), ("its supervisor was killed", 137)]
)
def test_a_process_that_ended_leaves_its_exit_code_and_nothing_else(
    house: Weftd, how: str, code: int, away: bool
) -> None:
    go = Path(house.run_dir) / "go"
    waiting = ["sh", "-c", f"while ! test -e {go}; do sleep 0.02; done; exit 3"]
    pid = _running(house, argv=waiting)
    made = house.client.containers.get("x")
    supervisor = _supervisor(house, made.id)
    begun = time.time()
    if away:
        house.kill()
    match how:
        case "exit":
            go.touch()
        case "killed":
            os.kill(pid, signal.SIGKILL)
        case "terminated":
            os.kill(pid, signal.SIGTERM)
        case _:
            os.kill(supervisor, signal.SIGKILL)
    try:
        eventually(lambda: not _is_alive(pid))
        if away:
            house.start()
        eventually(lambda: house.client.containers.get("x").state == "exited")
        ended = house.client.containers.get("x")
        assert ended.exit is not None
        assert ended.exit.code == code
        assert ended.endpoints == ()
        assert house.client.containers.wait("x") == code
        eventually(lambda: not os.path.exists(f"/proc/{house.pid}/root{made.netns}"))
        assert "die" in eventually_told(house, made.id, begun)
        assert_consistent(house)
        assert _ask(house, "neighbour", "x") == set()
        house.client.containers.create(name="y", networks=["front"], ports=[PORT])
        house.client.containers.remove("y")
    finally:
        go.unlink(missing_ok=True)
        house.client.containers.remove("x")
    assert_consistent(house)


def test_a_second_end_is_told_once(house: Weftd) -> None:
    begun = time.time()
    pid = _running(house, auto_remove=True)
    ident = house.client.containers.get("x").id
    os.kill(pid, signal.SIGKILL)
    assert eventually_told(house, ident, begun).count("die") == 1


def _ask(weftd: Weftd, who: str, name: str) -> set[str]:
    path = weftd.client.containers.get(who).netns

    def ask() -> set[str]:
        with network(path):
            return resolve(name)

    return inside(weftd.host, ask)


def eventually_told(weftd: Weftd, ident: str, since: float) -> list[str]:
    """The actions of a container's events, once its end is among them."""

    def told() -> list[str]:
        return [e.action for e in weftd.client.events(since=since, follow=False) if e.id == ident]

    eventually(lambda: {"die", "destroy", "end"} & set(told()))
    return told()


def _supervisor(weftd: Weftd, ident: str) -> int:
    pid: int = json.loads(Path(f"{weftd.run_dir}/containers/{ident[:12]}/status.json").read_text())["shim_pid"]
    return pid


def _is_alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"
