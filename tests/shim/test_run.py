"""`weft run` in the foreground, without a terminal: what the command sees, and what its caller sees of it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.shim.boxes import Boxes, eventually
from tests.shim.foreground import FILES


@pytest.mark.parametrize(
    ("script", "code"), [("exit 0", 0), ("exit 7", 7), ("kill -TERM $$", 143), ("kill -KILL $$", 137)]
)
def test_exit_code_is_the_commands(boxes: Boxes, script: str, code: int) -> None:
    assert boxes.run("sh", "-c", script).returncode == code


def test_output_keeps_its_streams(boxes: Boxes) -> None:
    done = boxes.run("sh", "-c", "echo out; echo err >&2; printf unfinished")
    assert (done.stdout, done.stderr) == ("out\nunfinished", "err\n")


def test_input_goes_in_and_ends(boxes: Boxes) -> None:
    text = "".join(f"line {n}\n" for n in range(50_000))
    done = boxes.run("cat", stdin=text)
    assert done.returncode == 0
    assert done.stdout == text


def test_without_input_the_command_reads_nothing(boxes: Boxes) -> None:
    assert boxes.run("cat").returncode == 0


def test_files_and_names_are_its_own(boxes: Boxes) -> None:
    done = boxes.run("sh", "-c", "cat /etc/hosts /etc/hostname /etc/resolv.conf; uname -n")
    assert done.stdout == FILES["hosts"] + FILES["hostname"] + FILES["resolv.conf"] + "box\n"
    assert Path("/etc/hosts").read_text() != FILES["hosts"]


def test_processes_and_interfaces_are_its_own(boxes: Boxes) -> None:
    done = boxes.run("sh", "-c", "ls /sys/class/net; ls -d /proc/[0-9]* | wc -l; readlink /proc/self/ns/net")
    interfaces, processes, namespace = done.stdout.split("\n")[:3]
    assert interfaces == "lo"
    assert int(processes) < 6
    assert namespace == os.readlink(boxes.namespace.path)


def test_every_namespace_but_the_users_is_its_own(boxes: Boxes) -> None:
    kinds = ("net", "mnt", "uts", "ipc", "pid")
    done = boxes.run("readlink", *(f"/proc/self/ns/{kind}" for kind in kinds))
    assert not {os.readlink(f"/proc/self/ns/{kind}") for kind in kinds} & set(done.stdout.split())


def test_low_ports_need_no_privilege(boxes: Boxes) -> None:
    assert boxes.run("cat", "/proc/sys/net/ipv4/ip_unprivileged_port_start").stdout == "0\n"


def test_environment_and_directory(boxes: Boxes) -> None:
    done = boxes.run("sh", "-c", "pwd; echo $GREETING $HOSTNAME $HOME", env={"GREETING": "a=b"}, cwd="/usr/bin")
    assert done.stdout == "/usr/bin\na=b box /root\n"


def test_signals_have_their_defaults(boxes: Boxes) -> None:
    status = dict(
        line.split(":\t") for line in boxes.run("cat", "/proc/self/status").stdout.splitlines() if "\t" in line
    )
    own = 0b11 << 31  # signals 32 and 33 are the C library's, which lets nobody touch them: as they were inherited
    assert int(status["SigIgn"], 16) & ~own == 0
    assert int(status["SigBlk"], 16) == 0


def test_nothing_is_open_but_three_streams(boxes: Boxes) -> None:
    # The fourth is the listing's own.
    assert boxes.run("sh", "-c", "ls /proc/self/fd").stdout.split() == ["0", "1", "2", "3"]


def test_a_large_output_arrives_whole_through_a_slow_reader(boxes: Boxes) -> None:
    command = boxes.command(boxes.sandbox("seq", "1", "400000"))
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdout is not None
        time.sleep(0.5)  # long enough for all buffers to fill
        text = client.stdout.read()
    assert text == "".join(f"{n}\n" for n in range(1, 400_001))
    assert client.returncode == 0


def test_the_end_is_known_while_a_slow_reader_has_yet_to_see_it(boxes: Boxes) -> None:
    sandbox = boxes.sandbox("sh", "-c", "head -c 450000 /dev/zero; exit 3")
    with subprocess.Popen(boxes.command(sandbox), stdout=subprocess.PIPE) as client:
        eventually(lambda: boxes.runtime.exit_of(sandbox.id))
        assert boxes.end(sandbox).code == 3
        assert client.stdout is not None
        assert len(client.stdout.read()) == 450_000
        assert client.wait(5) == 3


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_the_client_reaches_the_command(boxes: Boxes, number: signal.Signals) -> None:
    sandbox = boxes.sandbox("sh", "-c", "echo ready; exec sleep 30")
    with subprocess.Popen(boxes.command(sandbox), stdout=subprocess.PIPE, text=True) as client:
        assert client.stdout is not None
        client.stdout.readline()
        client.send_signal(number)
        assert client.wait(5) == 128 + number


def test_a_command_that_handles_a_signal_ends_in_its_own_way(boxes: Boxes) -> None:
    sandbox = boxes.sandbox("sh", "-c", "trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.05; done")
    with subprocess.Popen(boxes.command(sandbox), stdout=subprocess.PIPE, text=True) as client:
        assert client.stdout is not None
        client.stdout.readline()
        client.terminate()
        assert client.stdout.read() == "bye\n"
        assert client.wait(5) == 3


def test_the_third_ctrl_c_leaves_a_deaf_container_running(boxes: Boxes) -> None:
    sandbox = boxes.sandbox("sh", "-c", "trap '' INT; echo ready; sleep 30")
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(boxes.command(sandbox), text=True, **streams) as client:
        assert client.stdout is not None
        assert client.stderr is not None
        client.stdout.readline()
        client.send_signal(signal.SIGINT)
        time.sleep(0.1)  # two that are pending at once are one
        client.send_signal(signal.SIGINT)
        assert "once more" in client.stderr.readline()
        client.send_signal(signal.SIGINT)
        assert client.wait(5) == 99
    assert boxes.runtime.pids(sandbox.id)


def test_a_reader_that_goes_away_ends_the_command(boxes: Boxes) -> None:
    sandbox = boxes.sandbox("yes")
    with subprocess.Popen(boxes.command(sandbox), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as client:
        assert client.stdout is not None
        client.stdout.readline()
        client.stdout.close()
        assert client.wait(5) == 128 + signal.SIGPIPE
    assert boxes.end(sandbox).code == 128 + signal.SIGPIPE


def test_orphans_are_reaped(boxes: Boxes) -> None:
    # The inner shell ends at once and leaves its child to the container's first process.
    script = "for n in 1 2 3 4 5; do sh -c 'sleep 0.05 &'; done; sleep 0.4; grep -l 'State:.Z' /proc/[0-9]*/status"
    assert boxes.run("sh", "-c", script).stdout == ""


def test_the_end_of_the_command_is_the_end_of_all(boxes: Boxes) -> None:
    sandbox = boxes.start(
        "sh", "-c", f"sh -c 'echo $$ > {boxes.place}/started; exec sleep 61.{os.getpid()}' & sleep 0.1"
    )
    boxes.end(sandbox)
    left = subprocess.run(["pgrep", "-f", f"sleep 61.{os.getpid()}"], capture_output=True, text=True, check=False)
    assert left.stdout == ""
    assert os.path.exists(f"{boxes.place}/started")


@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        (("nonesuch",), "cannot execute 'nonesuch': no such file or directory"),
        (("/etc/nonesuch",), "cannot execute '/etc/nonesuch': no such file or directory"),
        (("/etc/passwd",), "cannot execute '/etc/passwd': permission denied"),
        (("/etc",), "cannot execute '/etc': permission denied"),
    ],
)
def test_a_command_that_cannot_be_executed_is_refused(boxes: Boxes, argv: tuple[str, ...], reason: str) -> None:
    assert boxes.run(*argv).stderr.strip().endswith(reason)


@pytest.mark.parametrize("prepared", [True, False])
def test_output_of_a_command_that_ends_at_once_is_not_lost(boxes: Boxes, prepared: bool) -> None:
    for n in range(4):
        done = boxes.run("sh", "-c", f"echo {n}; echo e >&2; exit 3", prepared=prepared)
        assert (done.stdout, done.stderr, done.returncode) == (f"{n}\n", "e\n", 3)


def test_stop_and_continue(boxes: Boxes) -> None:
    sandbox = boxes.start("sh", "-c", "while :; do echo x; sleep 0.01; done")
    log = Path(boxes.runtime.log(sandbox.id))
    eventually(lambda: log.stat().st_size > 0)
    boxes.runtime.signal(sandbox.id, signal.SIGSTOP)

    def state() -> str:
        return boxes.execute(sandbox, "sh", "-c", "grep State /proc/2/status").stdout

    eventually(lambda: "stopped" in state())
    boxes.runtime.signal(sandbox.id, signal.SIGCONT)
    eventually(lambda: "stopped" not in state())
