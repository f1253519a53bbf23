"""docker exec: streams, exit codes and ends, with stock clients."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.docker.conftest import OVER_BOTH, World
from tests.docker.streams import Screen, begin, exec_id, inspect, processes, run, sleeping
from tests.waiting import eventually

pytestmark = [pytest.mark.root, OVER_BOTH]

MEGABYTES = os.urandom(10 << 20)


# Streams and exit codes


def test_output_and_errors_come_apart_and_the_code_comes_back(world: World, box: str, client: str):
    done = run(world, "exec", box, "sh", "-c", "echo out; echo err >&2; exit 3", client=client)
    assert (done.stdout, done.stderr, done.returncode) == (b"out\n", b"err\n", 3)


def test_input_is_passed_on_to_its_end(world: World, box: str, client: str):
    done = run(world, "exec", "-i", box, "wc", "-c", stdin=b"x" * 1000, client=client)
    assert (done.stdout.strip(), done.returncode) == (b"1000", 0)


def test_without_i_there_is_no_input(world: World, box: str):
    assert run(world, "exec", box, "cat", stdin=b"not for it").stdout == b""


def test_megabytes_are_intact_both_ways(world: World, box: str):
    done = run(world, "exec", "-i", box, "cat", stdin=MEGABYTES)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout) == len(MEGABYTES)
    assert hashlib.sha256(done.stdout).digest() == hashlib.sha256(MEGABYTES).digest()


def test_environment_directory_and_user(world: World, box: str):
    script = "echo $FROM $MORE $PWD $(id -u):$(id -g)"
    done = run(world, "exec", "-e", "MORE=a b", "-w", "/usr", "-u", "65534:65533", box, "sh", "-c", script)
    assert done.stdout == b"box a b /usr 65534:65533\n", done.stderr


def test_input_that_nobody_reads_is_no_error(world: World, box: str):
    done = run(world, "exec", "-i", box, "echo", "done", stdin=MEGABYTES)
    assert (done.stdout, done.stderr, done.returncode) == (b"done\n", b"", 0)


@pytest.mark.parametrize(
    ("command", "code"),
    [(["nonesuch"], 127), (["/etc/passwd"], 126), (["-w", "/nonesuch", "box", "true"], 126)],
    ids=["missing", "not executable", "no directory"],
)
def test_what_cannot_be_executed(world: World, box: str, command: list[str], code: int):
    done = run(world, "exec", *(command if box in command else [box, *command]))
    assert done.returncode == code
    assert b"no such file" in done.stderr or b"permission denied" in done.stderr


def test_in_the_background(world: World, box: str, tmp_path: Path):
    tmp_path.chmod(0o755)
    done = run(world, "exec", "-d", box, "sh", "-c", f"sleep 0.3; echo $FROM > {tmp_path}/there")
    assert (done.stdout, done.returncode) == (b"", 0), done.stderr
    eventually((tmp_path / "there").exists, within=5)
    done = run(world, "exec", "-d", box, "nonesuch")
    assert done.returncode != 0
    assert b"cannot execute 'nonesuch'" in done.stderr


def test_many_at_once(world: World, box: str):
    def one(number: int) -> bytes:
        return run(world, "exec", "-i", box, "sh", "-c", f"cat; exit {number}", stdin=b"%d" % number * 50_000)

    with ThreadPoolExecutor(20) as pool:
        done = list(pool.map(one, range(20)))
    for number, each in enumerate(done):
        assert (each.returncode, each.stdout) == (number, b"%d" % number * 50_000), each.stderr


# Ends


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM], ids=lambda how: how.name)
@pytest.mark.parametrize("flags", [(), ("-i",)], ids=["output", "input"])
def test_a_client_that_is_killed_leaves_no_process(
    world: World, box: str, client: str, flags: tuple[str, ...], how: signal.Signals
):
    mark = f"71.{len(flags)}"
    command = [*world.host.prefix, client, "exec", *flags, box, "sh", "-c", f"sleep {mark}; true"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, env={**os.environ, **world.environment})
    eventually(lambda: sleeping(mark), within=10)
    time.sleep(0.2)
    assert sleeping(mark)
    process.send_signal(how)
    try:
        eventually(lambda: not sleeping(mark), within=5)
    finally:
        process.kill()
        process.communicate()
    eventually(lambda: not processes(f"sleep {mark}; true"), within=5)  # the shell ends after what it started


def test_a_client_on_a_terminal_that_is_killed_leaves_no_process(world: World, box: str):
    with Screen(world, "exec", "-it", box, "sh", "-c", "echo ready; sleep 72; true") as screen:
        screen.until(b"ready")
        screen.process.kill()
        eventually(lambda: not sleeping("72"), within=5)


def test_output_that_nobody_reads_stops_the_command(world: World, box: str):
    def resident() -> int:
        return int(Path(f"/proc/{world.weftd.pid}/statm").read_text().split()[1]) * 4096

    ident = exec_id(world, box, "yes", AttachStdout=True)
    before = resident()
    with begin(world, ident):
        pid = 0
        eventually(lambda: inspect(world, ident)["Pid"], within=5)
        pid = inspect(world, ident)["Pid"]
        time.sleep(1)
        spent = _cpu_seconds(pid)
        time.sleep(0.5)
        assert _cpu_seconds(pid) == spent
        assert resident() - before < 4 << 20
    eventually(lambda: not inspect(world, ident)["Running"], within=5)


def _cpu_seconds(pid: int) -> tuple[str, ...]:
    return tuple(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13])


def test_the_end_of_the_container_is_the_end(world: World):
    world.weftd.cli("run", "-d", "--name", "brief", "--", "sleep", "600")
    killed = threading.Timer(0.7, lambda: world.weftd.cli("kill", "brief"))
    killed.start()
    done = run(world, "exec", "brief", "sleep", "73")
    killed.join()
    assert done.returncode == 137
    world.weftd.cli("rm", "brief")


def test_a_stop_of_weftd_ends_streams_but_not_what_runs_in_the_background(world: World):
    world.weftd.cli("run", "-d", "--name", "lasting", "--", "sleep", "600")
    run(world, "exec", "-d", "lasting", "sleep", "74")
    run(world, "exec", "-dt", "lasting", "sleep", "75")
    command = [*world.host.prefix, "docker", "exec", "lasting", "sleep", "76"]
    clients = [subprocess.Popen(command, env={**os.environ, **world.environment}) for _ in range(3)]
    eventually(lambda: len(processes("sleep\x0076\0")) >= 3, within=10)
    begun = time.monotonic()
    world.weftd.stop()
    assert time.monotonic() - begun < 5
    try:
        for client in clients:
            client.wait(5)
        eventually(lambda: not sleeping("76"), within=5)
        time.sleep(0.3)
        assert sleeping("74")
        assert sleeping("75")
    finally:
        world.weftd.start()
        world.weftd.cli("rm", "-f", "lasting")
