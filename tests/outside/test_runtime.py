"""The runtime as the daemon uses it: it may be a new one at any time, and the supervisor may be killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.shim.boxes import Boxes, eventually
from tests.shim.foreground import FILES
from weft.errors import Conflict, Invalid
from weft.outside.runtime import ShimRuntime, exit_code_of
from weft.shim import client, linux


@pytest.fixture
def boxes() -> Iterator[Boxes]:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    with Boxes() as made:
        yield made


def another(boxes: Boxes) -> ShimRuntime:
    """What a restarted daemon has."""
    return ShimRuntime(f"{boxes.place}/run", f"{boxes.place}/state")


def test_start_returns_the_supervisor(boxes: Boxes) -> None:
    sandbox = boxes.sandbox("sleep", "60")
    shim = boxes.runtime.start(sandbox, FILES)
    assert boxes.runtime.pids(sandbox.id) == (shim, boxes.runtime.pids(sandbox.id)[1])  # type: ignore[index]
    assert Path(f"/proc/{shim}/comm").read_text() == "weft-shim\n"
    assert boxes.runtime.exit_of(sandbox.id) is None


def test_a_second_start_is_refused(boxes: Boxes) -> None:
    sandbox = boxes.start("sleep", "60")
    with pytest.raises(Conflict, match="already running"):
        boxes.runtime.start(sandbox, FILES)


@pytest.mark.parametrize(
    ("argv", "reason", "code"),
    [
        ("nonesuch", "cannot execute 'nonesuch': no such file or directory", 127),
        ("/etc/passwd", "cannot execute '/etc/passwd': permission denied", 126),
    ],
)
def test_a_start_that_fails_says_why_and_can_be_tried_again(boxes: Boxes, argv: str, reason: str, code: int) -> None:
    sandbox = boxes.sandbox(argv)
    for _ in range(2):
        with pytest.raises(Invalid) as refusal:
            boxes.runtime.start(sandbox, FILES)
        assert refusal.value.message == reason
        assert exit_code_of(reason) == code
        assert boxes.runtime.pids(sandbox.id) is None
        assert boxes.runtime.exit_of(sandbox.id) is None


def test_a_directory_that_is_not_there_is_a_reason(boxes: Boxes) -> None:
    with pytest.raises(Invalid, match="cannot change to directory '/nonesuch': no such file or directory"):
        boxes.start("true", cwd="/nonesuch")


def test_a_namespace_that_is_not_there_is_a_reason(boxes: Boxes) -> None:
    sandbox = boxes.sandbox("true")
    object.__setattr__(sandbox, "key", f"{boxes.place}/nonesuch")
    with pytest.raises(Invalid, match="cannot prepare the container: No such file or directory"):
        boxes.runtime.start(sandbox, FILES)


def test_another_runtime_knows_all_of_it(boxes: Boxes) -> None:
    sandbox = boxes.start("sh", "-c", "trap 'exit 5' TERM; echo ready; while :; do sleep 0.02; done")
    eventually(lambda: boxes.logs(sandbox).stdout)
    runtime = another(boxes)
    assert runtime.pids(sandbox.id) == boxes.runtime.pids(sandbox.id)
    runtime.signal(sandbox.id, signal.SIGTERM)
    boxes.end(sandbox)
    exited = another(boxes).exit_of(sandbox.id)
    assert exited is not None
    assert exited.code == 5
    assert abs(exited.at - time.time()) < 5
    assert runtime.pids(sandbox.id) is None


def test_the_container_survives_the_daemon(boxes: Boxes) -> None:
    """The starter, its session and its process group are killed; the container answers still."""
    sandbox = boxes.sandbox("sleep", "60")
    command = [*boxes.command(sandbox)]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True) as starter:
        eventually(lambda: boxes.runtime.pids(sandbox.id))
        os.killpg(starter.pid, signal.SIGKILL)
    assert boxes.execute(sandbox, "echo", "here").stdout == "here\n"


def test_pidfd_tells_the_end_and_exit_of_knows_it_then(boxes: Boxes) -> None:
    sandbox = boxes.start("sh", "-c", "exit 8")
    assert boxes.end(sandbox).code == 8
    assert boxes.runtime.pidfd(sandbox.id) is None


def test_a_killed_supervisor_takes_the_container_along(boxes: Boxes) -> None:
    sandbox = boxes.start("sleep", "60")
    shim, init = boxes.runtime.pids(sandbox.id) or (0, 0)
    os.kill(shim, signal.SIGKILL)
    exited = boxes.end(sandbox)
    assert exited.code == 137
    assert linux.start_time(init) == 0
    assert boxes.runtime.pids(sandbox.id) is None
    assert another(boxes).exit_of(sandbox.id) == exited  # and stays as it is
    with pytest.raises(Conflict):
        client.execute(boxes.console(sandbox), ["true"])


def test_another_process_with_the_pid_is_not_taken_for_it(boxes: Boxes) -> None:
    sandbox = boxes.start("true")
    boxes.end(sandbox)
    path = Path(boxes.runtime.console(sandbox.id)).with_name("status.json")
    path.write_text(f'{{"shim_pid": {os.getpid()}, "shim_start": 1, "pid": {os.getpid()}, "pid_start": 1}}\n')
    assert boxes.runtime.pids(sandbox.id) is None
    with pytest.raises(Conflict):
        boxes.runtime.signal(sandbox.id, 0)
    assert boxes.runtime.exit_of(sandbox.id).code == 137  # type: ignore[union-attr]


def test_files_are_replaced_in_place(boxes: Boxes) -> None:
    sandbox = boxes.start("sleep", "60")
    for content in ("127.0.0.1 localhost\n10.9.0.3 a-much-longer-name\n", "short\n"):
        another(boxes).write_files(sandbox.id, {"hosts": content})
        assert boxes.execute(sandbox, "cat", "/etc/hosts").stdout == content


def test_kill_ends_it_and_says_how(boxes: Boxes) -> None:
    sandbox = boxes.start("sh", "-c", "trap '' TERM INT; while :; do sleep 1; done")
    begun = time.time()
    for _ in range(2):
        end = another(boxes).kill(sandbox.id)
        assert end is not None
        assert end.code == 137
        assert begun - 1 < end.at < time.time() + 1
        assert boxes.runtime.pids(sandbox.id) is None
    assert os.path.exists(boxes.runtime.log(sandbox.id))


def test_kill_of_one_that_has_ended_says_how_that_was(boxes: Boxes) -> None:
    sandbox = boxes.start("sh", "-c", "exit 3")
    boxes.end(sandbox)
    end = boxes.runtime.kill(sandbox.id)
    assert end is not None
    assert end.code == 3


def test_kill_of_what_never_ran(boxes: Boxes) -> None:
    assert boxes.runtime.kill(boxes.sandbox("sleep", "60").id) is None


def test_discard_ends_it_and_leaves_nothing(boxes: Boxes) -> None:
    sandbox = boxes.start("sh", "-c", "trap '' TERM INT; while :; do sleep 1; done")
    shim, init = boxes.runtime.pids(sandbox.id) or (0, 0)
    for _ in range(2):
        another(boxes).discard(sandbox.id)
        assert linux.start_time(shim) == linux.start_time(init) == 0
        assert not os.path.exists(os.path.dirname(boxes.runtime.log(sandbox.id)))
        assert not os.path.exists(os.path.dirname(boxes.runtime.console(sandbox.id)))


def test_discard_of_what_never_ran(boxes: Boxes) -> None:
    sandbox = boxes.sandbox("true")
    console = boxes.runtime.prepare(sandbox.id)
    assert boxes.runtime.prepare(sandbox.id) == console
    for _ in range(2):
        boxes.runtime.discard(sandbox.id)
        assert not os.path.exists(console)


def test_it_can_run_again_and_its_log_goes_on(boxes: Boxes) -> None:
    sandbox = boxes.sandbox("sh", "-c", "echo run; exit 2")
    for _ in range(2):
        boxes.runtime.start(sandbox, FILES)
        assert boxes.end(sandbox).code == 2
    assert boxes.logs(sandbox).stdout == "run\nrun\n"


def test_a_long_run_directory(boxes: Boxes) -> None:
    """A socket's address ends at 107 bytes, a path does not."""
    runtime = ShimRuntime(f"{boxes.place}/{'long' * 30}", f"{boxes.place}/state")
    sandbox = boxes.sandbox("sleep", "60")
    try:
        runtime.start(sandbox, FILES)
        assert client.execute(runtime.console(sandbox.id), ["true"]) == 0
    finally:
        runtime.discard(sandbox.id)


def test_a_supervisor_is_small(boxes: Boxes) -> None:
    """What one container more costs, both its processes; pages of Python itself are shared with all the others."""
    shim, init = boxes.runtime.pids(boxes.start("sleep", "60").id) or (0, 0)
    assert sum(_private(pid) for pid in (shim, init)) < 9 << 10


def test_a_supervisor_imports_no_more_than_it_must() -> None:
    """Each of these costs every container's start milliseconds, and its life kilobytes."""
    heavy = {"json", "re", "enum", "socket", "signal", "typing", "dataclasses", "subprocess", "asyncio", "site"}
    code = "import sys, weft.shim.supervisor; print(*sys.modules)"
    src = str(Path(linux.__file__).parents[2])
    command = [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.append({src!r}); {code}"]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert not heavy & set(loaded)
    assert "weft.shim.supervisor" in loaded


def _private(pid: int) -> int:
    """Kilobytes that the process shares with nobody."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))
