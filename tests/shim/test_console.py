"""Everything that one does with a container that runs already: exec, attach, logs, signals."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.shim.boxes import Boxes, eventually
from weft.errors import Conflict, NotFound
from weft.shim import client, frames


def test_exec_is_inside_all_namespaces(boxes: Boxes) -> None:
    sandbox = boxes.start("sleep", "60")
    kinds = ("net", "mnt", "uts", "ipc", "pid")
    _, init = boxes.runtime.pids(sandbox.id) or (0, 0)
    done = boxes.execute(sandbox, "readlink", *(f"/proc/self/ns/{kind}" for kind in kinds))
    assert done.stdout.split() == [os.readlink(f"/proc/{init}/ns/{kind}") for kind in kinds]


def test_exec_passes_code_streams_environment_and_directory(boxes: Boxes) -> None:
    sandbox = boxes.start("sleep", "60", env={"BASE": "base"})
    done = boxes.execute(
        sandbox, "sh", "-c", "pwd; echo $BASE $MORE; echo err >&2; exit 9", env={"MORE": "more"}, cwd="/usr"
    )
    assert (done.returncode, done.stdout, done.stderr) == (9, "/usr\nbase more\n", "err\n")


def test_exec_takes_input_to_its_end(boxes: Boxes) -> None:
    sandbox = boxes.start("sleep", "60")
    command = boxes.call("execute", boxes.console(sandbox), ["wc", "-c"], stdin=True)
    text = "x" * 1_000_000
    assert subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout == "1000000\n"


@pytest.mark.parametrize(
    ("user", "answer"),
    [("nobody", "65534 65534 /nonexistent"), ("65534:0", "65534 0 /nonexistent"), ("1234", "1234 0 /")],
)
def test_exec_as_somebody_else(boxes: Boxes, user: str, answer: str) -> None:
    sandbox = boxes.start("sleep", "60", env={"HOME": "/nonexistent" if user != "1234" else "/"})
    done = boxes.execute(sandbox, "sh", "-c", "echo $(id -u) $(id -g) $HOME", user=user)
    assert done.stdout == answer + "\n"


def test_exec_as_nobody_known_is_refused(boxes: Boxes) -> None:
    sandbox = boxes.start("sleep", "60")
    done = boxes.execute(sandbox, "true", user="martian")
    assert done.stderr == "CannotExecute: cannot run as 'martian': no user 'martian' in /etc/passwd\n"


def test_exec_that_cannot_be_executed_is_refused(boxes: Boxes) -> None:
    sandbox = boxes.start("sleep", "60")
    with pytest.raises(client.CannotExecute, match="cannot execute 'nonesuch'") as refusal:
        client.execute(boxes.console(sandbox), ["nonesuch"])
    assert refusal.value.code == 127
    assert boxes.runtime.pids(sandbox.id)


def test_a_signal_to_the_exec_client_reaches_the_command(boxes: Boxes) -> None:
    sandbox = boxes.start("sleep", "60")
    command = boxes.call("execute", boxes.console(sandbox), ["sh", "-c", "echo ready; exec sleep 60"])
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        running.stdout.readline()
        running.send_signal(signal.SIGINT)
        assert running.wait(5) == 130


def test_exec_ends_with_the_container(boxes: Boxes) -> None:
    sandbox = boxes.start("sleep", "60")
    command = boxes.call("execute", boxes.console(sandbox), ["sh", "-c", "echo ready; exec sleep 60"])
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        running.stdout.readline()
        boxes.runtime.signal(sandbox.id, signal.SIGTERM)
        assert boxes.end(sandbox).code == 143
        assert running.wait(5) == 137


def test_what_exec_leaves_in_the_background_goes_on(boxes: Boxes) -> None:
    sandbox = boxes.start("sleep", "60")
    place = Path(boxes.place, "still")
    script = f"(sleep 0.2; echo a line nobody reads; echo x > {place}) &"
    started = time.monotonic()
    assert boxes.execute(sandbox, "sh", "-c", script).returncode == 0
    assert time.monotonic() - started < 5
    eventually(place.exists)


@pytest.mark.parametrize("tty", [True, False])
@pytest.mark.parametrize(("alone", "stays"), [("hangup", False), ("stay", True)])
def test_a_client_says_what_becomes_of_its_command(boxes: Boxes, alone: str, stays: bool, tty: bool) -> None:
    sandbox = boxes.start("sleep", "60")
    note = Path(boxes.place, "note")
    asked = {"argv": ["sh", "-c", f"echo x > {note}; sleep 50; true"], "tty": ["1"] if tty else [], "alone": [alone]}
    link = frames.connect(boxes.console(sandbox))
    link.sendall(frames.frame(frames.EXEC, frames.pack(asked)))
    (kind, said), *_ = frames.Decoder().feed(link.recv(65536))
    assert kind == frames.READY
    pid = frames.number(frames.unpack(said), "pid")
    children = Path(f"/proc/{pid}/task/{pid}/children")
    eventually(lambda: note.exists() and children.read_text())
    places = [f"/proc/{pid}/exe", f"/proc/{children.read_text().strip()}/exe"]
    link.close()
    if stays:
        time.sleep(0.2)
    else:
        eventually(lambda: not any(map(os.path.exists, places)))
    assert all(map(os.path.exists, places)) == stays


def test_exec_before_and_after_is_refused(boxes: Boxes) -> None:
    sandbox = boxes.sandbox("true")
    boxes.runtime.prepare(sandbox.id)
    with pytest.raises(Conflict, match="not running"):
        client.execute(boxes.console(sandbox), ["true"])
    boxes.runtime.start(sandbox, {})
    boxes.end(sandbox)
    with pytest.raises(Conflict, match="not running"):
        client.execute(boxes.console(sandbox), ["true"])


def test_attach_shows_what_comes_from_now_on(boxes: Boxes) -> None:
    sandbox = boxes.start("sh", "-c", "echo early; read line; echo got $line; exit 6", open_stdin=True)
    eventually(lambda: boxes.logs(sandbox).stdout == "early\n")
    command = boxes.call("attach", boxes.console(sandbox))
    done = subprocess.run(command, input="word\n", capture_output=True, text=True, timeout=10, check=False)
    assert (done.stdout, done.returncode) == ("got word\n", 6)


def test_attach_to_what_has_ended_is_refused(boxes: Boxes) -> None:
    sandbox = boxes.start("true")
    boxes.end(sandbox)
    with pytest.raises(Conflict, match="not running"):
        client.attach(boxes.console(sandbox))


def test_an_attached_client_that_does_not_read_is_dropped_and_the_container_goes_on(boxes: Boxes) -> None:
    sandbox = boxes.start("sh", "-c", "seq 1 1000000; echo end")
    slow = frames.connect(boxes.console(sandbox))
    slow.sendall(frames.frame(frames.ATTACH))
    assert boxes.end(sandbox, timeout=10).code == 0
    received = b""
    slow.settimeout(5)
    while data := slow.recv(1 << 20):
        received += data
    assert b"end" not in received
    slow.close()


def test_input_that_nobody_reads_does_not_block_signals(boxes: Boxes) -> None:
    sandbox = boxes.sandbox("sleep", "60", open_stdin=True)
    with subprocess.Popen(boxes.command(sandbox), stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as running:
        assert running.stdin is not None
        os.set_blocking(running.stdin.fileno(), False)
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            if not (running.stdin.fileno() and _fill(running.stdin.fileno())):
                time.sleep(0.01)
        running.terminate()
        assert running.wait(5) == 143


def test_close_stdin(boxes: Boxes) -> None:
    sandbox = boxes.start("cat", open_stdin=True)
    boxes.runtime.close_stdin(sandbox.id)
    assert boxes.end(sandbox).code == 0


def test_signals_through_the_console(boxes: Boxes) -> None:
    sandbox = boxes.start("sleep", "60")
    client.signal(boxes.console(sandbox), signal.SIGUSR1)
    assert boxes.end(sandbox).code == 128 + signal.SIGUSR1


def test_a_container_is_found_without_the_daemon(boxes: Boxes) -> None:
    sandbox = boxes.start("sleep", "60", tty=True)
    boxes.runtime.prepare("0" * 64)  # one that has not started
    for ref in (sandbox.name, sandbox.id, sandbox.id[:5]):
        found = client.find(f"{boxes.place}/run", ref)
        assert (found.id, found.console, found.log) == (
            sandbox.id, boxes.console(sandbox), boxes.runtime.log(sandbox.id)
        )  # fmt: skip
        assert (found.tty, found.open_stdin) == (True, False)
    with pytest.raises(NotFound, match="no such container: 'bux'; did you mean 'box'"):
        client.find(f"{boxes.place}/run", "bux")
    boxes.start("sleep", "60")
    with pytest.raises(Conflict, match="the beginning of 2 ids"):
        client.find(f"{boxes.place}/run", "")


def test_a_stranger_who_talks_nonsense_harms_nobody(boxes: Boxes) -> None:
    sandbox = boxes.start("sleep", "60")
    for nonsense in (b"\xff" * 100, frames.frame(99), frames.frame(frames.EXEC), frames.frame(frames.RESIZE, b"x")):
        stranger = frames.connect(boxes.console(sandbox))
        stranger.sendall(nonsense)
        stranger.settimeout(5)
        stranger.recv(1000)
        stranger.close()
    assert boxes.execute(sandbox, "echo", "fine").stdout == "fine\n"


def _fill(fd: int) -> bool:
    try:
        return os.write(fd, b"x" * 65536) > 0
    except BlockingIOError:
        return False
