"""The command line against a real weftd, in a private host: what needs a kernel, processes and terminals."""

from __future__ import annotations

import os
import pty
import re
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.daemons import Weftd
from tests.hosts import PrivateHost, needs_namespaces

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def weftd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Weftd]:
    """With the network front, 10.7.0.0/24."""
    needs_namespaces()
    with PrivateHost() as host, Weftd(host, tmp_path_factory.mktemp("weftd")) as daemon:
        daemon.cli("network", "create", "--subnet", "10.7.0.0/24", "front")
        yield daemon


def start(weftd: Weftd, *words: str, **options: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "weft.doors.cli", *words]
    return weftd.host.popen(command, env=weftd.environment, **options)


def until(holds: Callable[[], object], patience: float = 10.0) -> None:
    deadline = time.monotonic() + patience
    while not holds():
        assert time.monotonic() < deadline, "it does not come true"
        time.sleep(0.02)


def test_run_shows_both_streams_and_ends_with_the_commands_code(weftd: Weftd):
    done = weftd.cli("run", "--rm", "--network", "front", "sh", "-c", "echo out; echo err >&2; exit 42", check=False)
    assert (done.returncode, done.stdout, done.stderr) == (42, "out\n", "err\n")


def test_run_loses_no_output_however_short_the_command(weftd: Weftd):
    for number in range(5):
        assert weftd.cli("run", "--rm", "echo", str(number)).stdout == f"{number}\n"


def test_run_passes_its_input_on_and_its_end(weftd: Weftd):
    assert weftd.cli("run", "--rm", "-i", "cat", input="one\ntwo\n").stdout == "one\ntwo\n"
    assert weftd.cli("run", "--rm", "cat", input="unread\n").stdout == ""


@pytest.mark.parametrize("words", [("-d",), ()])
def test_run_of_what_cannot_be_executed_leaves_nothing(weftd: Weftd, tmp_path: Path, words: tuple[str, ...]):
    before = weftd.cli("ps", "-aq").stdout
    missing = weftd.cli("run", *words, "no-such-program", check=False)
    assert (missing.returncode, missing.stdout) == (127, "")
    assert missing.stderr == "weft: cannot execute 'no-such-program': no such file or directory\n"
    plain = tmp_path / "plain"
    plain.write_text("")
    plain.chmod(stat.S_IRUSR)
    refused = weftd.cli("run", *words, str(plain), check=False)
    assert (refused.returncode, refused.stdout) == (126, "")
    assert "permission denied" in refused.stderr.lower()
    assert weftd.cli("ps", "-aq").stdout == before


def test_run_on_a_terminal(weftd: Weftd):
    master, slave = pty.openpty()
    program = start(
        weftd, "run", "--rm", "-it", "sh", "-c", "tty; read x; echo got $x", stdin=slave, stdout=slave, stderr=slave
    )
    os.close(slave)
    seen = read_until(master, "/dev/pts/")
    os.write(master, b"word\n")
    seen += read_until(master, "got word")
    assert program.wait(10) == 0
    os.close(master)


def read_until(fd: int, wanted: str) -> str:
    seen = ""
    while wanted not in seen:
        try:
            data = os.read(fd, 4096)
        except OSError:
            data = b""
        assert data, f"{wanted!r} not in {seen!r}"
        seen += data.decode()
    return seen


def test_a_terminal_is_refused_where_there_is_none(weftd: Weftd):
    done = weftd.cli("run", "-it", "true", check=False, input="")
    assert (done.returncode, done.stderr.startswith("weft: -t with -i needs a terminal")) == (125, True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_go_to_the_container(weftd: Weftd, number: signal.Signals):
    script = "trap 'echo heard; exit 7' INT TERM; echo ready; while :; do sleep 0.05; done"
    program = start(weftd, "run", "--rm", "sh", "-c", script, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
    assert program.stdout is not None
    assert program.stdout.readline() == "ready\n"
    program.send_signal(number)
    assert program.stdout.readline() == "heard\n"
    assert program.wait(10) == 7
    program.stdout.close()


def test_a_container_outlives_the_program_that_ran_it(weftd: Weftd):
    program = start(weftd, "run", "--name", "orphan", "sh", "-c", "echo ready; sleep 100", stdout=subprocess.PIPE)
    assert program.stdout is not None
    assert program.stdout.readline() == "ready\n"
    program.kill()
    program.wait()
    program.stdout.close()
    assert weftd.json("inspect", "orphan")[0]["state"] == "running"
    assert weftd.cli("logs", "orphan").stdout == "ready\n"
    weftd.cli("rm", "-f", "orphan")


def test_no_container_ends_unnoticed_however_short_its_life(weftd: Weftd):
    for number in range(10):
        weftd.cli("run", "-d", "--rm", "--name", f"mayfly{number}", "true")
    until(lambda: "mayfly" not in weftd.cli("ps", "-a").stdout)


def test_a_container_with_rm_goes_when_it_ends_even_if_nobody_looks(weftd: Weftd):
    program = start(
        weftd, "run", "--rm", "--name", "brief", "sh", "-c", "echo ready; sleep 0.5", stdout=subprocess.PIPE
    )
    assert program.stdout is not None
    assert program.stdout.readline() == "ready\n"
    program.kill()
    program.wait()
    program.stdout.close()
    until(lambda: weftd.cli("inspect", "brief", check=False).returncode == 1)


def test_exec_inside(weftd: Weftd):
    weftd.cli("run", "-d", "--name", "web", "--network", "front:ip=10.7.0.77", "--", "sleep", "100")
    try:
        assert "10.7.0.77/24" in weftd.cli("exec", "web", "ip", "-br", "address").stdout
        assert weftd.cli("exec", "-i", "web", "cat", input="in\n").stdout == "in\n"
        assert weftd.cli("exec", "-e", "A=b", "-w", "/tmp", "web", "sh", "-c", "echo $A; pwd").stdout == "b\n/tmp\n"
        assert weftd.cli("exec", "web", "sh", "-c", "exit 5", check=False).returncode == 5
        missing = weftd.cli("exec", "web", "no-such-program", check=False)
        assert (missing.returncode, missing.stderr.count("\n")) == (127, 1)
        assert weftd.cli("run", "--rm", "--network", "front", "ping", "-c1", "-W2", "web").returncode == 0
        counted = weftd.json("stats", "--json", "web")["web"]
        assert [(i["name"], i["network"]) for i in counted] == [("eth0", "front")]
        assert counted[0]["rx_packets"] >= 1
        assert counted[0]["tx_bytes"] > 0
    finally:
        weftd.cli("rm", "-f", "web")
    assert weftd.cli("exec", "web", "true", check=False).returncode == 125


def test_logs_follow_until_the_end(weftd: Weftd):
    weftd.cli("run", "-d", "--name", "talk", "--", "sh", "-c", "echo one; sleep 0.3; echo two; echo three >&2")
    done = weftd.cli("logs", "-f", "talk")
    assert (done.stdout, done.stderr) == ("one\ntwo\n", "three\n")
    assert weftd.cli("logs", "--tail", "1", "-t", "talk").stderr.endswith(" three\n")
    assert weftd.cli("wait", "talk").stdout == "0\n"
    weftd.cli("rm", "talk")


def test_coming_back_to_a_console(weftd: Weftd):
    weftd.cli("run", "-di", "--name", "shell", "--", "sh", "-c", "while read x; do echo got $x; done")
    program = start(weftd, "attach", "shell", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert program.stdin is not None
    assert program.stdout is not None
    program.stdin.write("a\n")
    program.stdin.flush()
    assert program.stdout.readline() == "got a\n"
    program.kill()
    program.wait()
    program.stdin.close()
    program.stdout.close()
    assert weftd.json("inspect", "shell")[0]["state"] == "running"
    weftd.cli("stop", "-t", "1", "shell")
    assert weftd.json("inspect", "shell")[0]["state"] == "exited"
    weftd.cli("rm", "shell")


@pytest.mark.parametrize("by", ["--pid", "--netns"])
def test_a_namespace_that_something_else_made(weftd: Weftd, by: str):
    with weftd.host.container() as other:
        where = str(other.pid) if by == "--pid" else other.path
        made = weftd.cli(
            "attach", "--name", "other", by, where, "--network", "front:ip=10.7.0.88,alias=o"
        ).stdout.strip()
        assert weftd.json("inspect", "other")[0]["id"] == made
        assert "10.7.0.88/24" in other.run("ip -br address").stdout
        assert "10.7.0.88/24" in weftd.cli("exec", "other", "ip", "-br", "address").stdout
        assert weftd.cli("run", "--rm", "--network", "front", "ping", "-c1", "-W2", "o").returncode == 0
        weftd.cli("rm", "other")
        until(lambda: "eth0" not in other.run("ip -br link").stdout)
        assert weftd.cli("rm", "other", check=False).returncode == 1


def test_events_are_shown_as_they_happen(weftd: Weftd):
    program = start(weftd, "events", "--filter", "type=container", stdout=subprocess.PIPE)
    assert program.stdout is not None
    time.sleep(1)
    weftd.cli("run", "--rm", "--name", "short", "true")
    shown = [program.stdout.readline().split(" ", 1)[1] for _ in range(4)]
    assert shown == [
        "container create short\n",
        "container start short\n",
        "container die short (code=0)\n",
        "container destroy short\n",
    ]
    program.send_signal(signal.SIGINT)
    assert program.wait(10) == -signal.SIGINT
    program.stdout.close()


def test_ctrl_c_is_not_lost_where_a_command_is_about_to_wait(weftd: Weftd):
    weftd.cli("run", "--name", "brief", "true")
    weftd.cli("run", "-d", "--name", "long", "sh", "-c", "echo ready; sleep 100")
    endless = (("wait", "brief", "long"), ("logs", "-f", "long"), ("events", "--since", "1h"))
    for words in endless:
        program = start(weftd, *words, stdout=subprocess.PIPE)
        assert program.stdout is not None
        assert program.stdout.readline()
        program.send_signal(signal.SIGINT)
        # The kernel has ended it: Python would have to come to its next instruction first.
        assert program.wait(10) == -signal.SIGINT, words
        program.stdout.close()
    weftd.cli("rm", "-f", "brief", "long")


def test_who_was_started_with_ctrl_c_ignored_ignores_it(weftd: Weftd):
    weftd.cli("run", "--name", "brief", "true")
    weftd.cli("run", "-d", "--name", "long", "sleep", "100")
    words = "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_IGN); os.execv(sys.argv[1], sys.argv[1:])"
    cli = [sys.executable, "-m", "weft.doors.cli", "wait", "brief", "long"]
    command = [sys.executable, "-c", words, *cli]
    program = weftd.host.popen(command, env=weftd.environment, stdout=subprocess.PIPE)
    assert program.stdout is not None
    assert program.stdout.readline() == "0\n"
    program.send_signal(signal.SIGINT)
    weftd.cli("rm", "-f", "brief", "long")
    assert program.wait(10) == 0
    program.stdout.close()


def test_nobody_minds_a_pipe_that_closes_early(weftd: Weftd):
    program = start(weftd, "events", "--since", "0", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert program.stdout is not None
    assert program.stderr is not None
    program.stdout.readline()
    program.stdout.close()
    weftd.cli("run", "--rm", "true")
    assert program.wait(10) == 0
    assert program.stderr.read() == ""
    program.stderr.close()


def test_what_follows_ends_when_weftd_does(weftd: Weftd):
    program = start(weftd, "events", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert program.stderr is not None
    time.sleep(0.3)
    os.kill(weftd.pid, signal.SIGTERM)
    assert weftd.wait_dead(5)
    assert program.wait(5) == 0
    assert program.stderr.read() == ""
    program.stderr.close()
    weftd.start()
    assert re.search(r"front\s+bridge\s+10\.7\.0\.0/24", weftd.cli("network", "ls").stdout)
