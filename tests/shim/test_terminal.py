"""`weft run -it` and `weft exec -it`: a container with a person in front of it."""

from __future__ import annotations

import os
import signal
import termios
from pathlib import Path

import pytest

from tests.shim.boxes import Boxes, eventually
from tests.shim.terminals import Terminal
from weft.model import Sandbox

PLAIN = {"PS1": "$ "}

SLEEPER = "sh -c 'echo be\"\"gin; exec sleep 60'\n"
"""Says "begin" when the shell has made it the foreground job, and not before."""


def shell(boxes: Boxes) -> Sandbox:
    return boxes.sandbox("sh", "-i", tty=True, open_stdin=True, env=PLAIN)


def test_the_terminal_is_the_containers_own_and_has_the_right_size_at_once(boxes: Boxes) -> None:
    sandbox = boxes.sandbox("sh", "-c", "tty; stty size", tty=True, open_stdin=True)
    with Terminal(boxes.command(sandbox), rows=31, columns=97) as terminal:
        assert terminal.expect("97") == "/dev/pts/0\r\n31 97"
        assert terminal.wait() == 0


def test_a_new_size_is_passed_on(boxes: Boxes) -> None:
    with Terminal(boxes.command(shell(boxes))) as terminal:
        terminal.expect("$ ")
        terminal.resize(50, 123)
        terminal.process.send_signal(signal.SIGWINCH)
        eventually(lambda: _ask(terminal, "stty size", "50 123"))
        terminal.type("exit 4\n")
        assert terminal.wait() == 4


def test_ctrl_c_interrupts_what_runs_in_the_foreground(boxes: Boxes) -> None:
    with Terminal(boxes.command(shell(boxes))) as terminal:
        terminal.expect("$ ")
        terminal.type(SLEEPER)
        terminal.expect("begin")
        terminal.type("\x03")
        terminal.expect("$ ", timeout=2)
        terminal.type("echo $?\n")
        terminal.expect("130")


def test_ctrl_c_ends_a_plain_command(boxes: Boxes) -> None:
    sandbox = boxes.sandbox("sh", "-c", "echo ready; exec sleep 60", tty=True, open_stdin=True)
    with Terminal(boxes.command(sandbox)) as terminal:
        terminal.expect("ready")
        terminal.type("\x03")
        assert terminal.wait() == 130


def test_ctrl_z_and_fg_are_the_shells_business(boxes: Boxes) -> None:
    with Terminal(boxes.command(shell(boxes))) as terminal:
        terminal.expect("$ ")
        terminal.type(SLEEPER)
        terminal.expect("begin")
        terminal.type("\x1a")
        terminal.expect("Stopped")
        terminal.type("fg\n")
        terminal.expect("exec sleep")
        terminal.type("\x03")
        terminal.expect("$ ")
        assert terminal.process.poll() is None


def test_ctrl_z_does_not_stop_a_plain_command(boxes: Boxes) -> None:
    sandbox = boxes.sandbox("sh", "-c", "echo ready; read line; echo got $line", tty=True, open_stdin=True)
    with Terminal(boxes.command(sandbox)) as terminal:
        terminal.expect("ready")
        terminal.type("\x1a")
        terminal.type("word\n")
        terminal.expect("got word")
        assert terminal.wait() == 0


def test_end_of_file_ends_a_shell(boxes: Boxes) -> None:
    with Terminal(boxes.command(shell(boxes))) as terminal:
        terminal.expect("$ ")
        terminal.type("\x04")
        assert terminal.wait() == 0


def test_the_users_terminal_is_as_it_was(boxes: Boxes) -> None:
    sandbox = boxes.sandbox("sh", "-c", "echo ready; read line", tty=True, open_stdin=True)
    with Terminal(boxes.command(sandbox)) as terminal:
        before = termios.tcgetattr(terminal.slave)
        terminal.expect("ready")
        eventually(lambda: termios.tcgetattr(terminal.slave) != before)
        terminal.type("\r")
        assert terminal.wait() == 0
        assert termios.tcgetattr(terminal.slave) == before


def test_detach_keys_leave_it_running_and_attach_comes_back(boxes: Boxes) -> None:
    sandbox = shell(boxes)
    with Terminal(boxes.command(sandbox)) as terminal:
        terminal.expect("$ ")
        terminal.type("\x10\x11")
        assert terminal.wait() == 99
    assert boxes.runtime.pids(sandbox.id)
    with Terminal(boxes.call("attach", boxes.console(sandbox), tty=True), rows=20, columns=70) as terminal:
        eventually(lambda: _ask(terminal, "stty size", "20 70"))
        terminal.type("\x10")  # held back until it is clear that it does not begin the detach keys
        terminal.type("\x15")  # takes back the line
        terminal.type("exit 3\n")
        assert terminal.wait() == 3


def test_a_daemon_that_leaves_its_terminal_alone_is_still_heard_later(boxes: Boxes) -> None:
    script = "exec </dev/null >/dev/null 2>&1; sleep 0.2; echo again >/dev/pts/0"
    sandbox = boxes.sandbox("sh", "-c", script, tty=True)
    with Terminal(boxes.command(sandbox)) as terminal:
        terminal.expect("again")
        assert terminal.wait() == 0


def test_all_output_of_a_terminal_arrives(boxes: Boxes) -> None:
    sandbox = boxes.sandbox("seq", "1", "20000", tty=True)
    with Terminal(boxes.command(sandbox)) as terminal:
        text = terminal.expect("\n20000\r\n", timeout=10)
        assert text.count("\n") == 20000
        assert terminal.wait() == 0


def test_exec_with_a_terminal(boxes: Boxes) -> None:
    sandbox = boxes.start("sleep", "60")
    command = boxes.call("execute", boxes.console(sandbox), ["sh", "-i"], env={"PS1": "% "}, tty=True, stdin=True)
    with Terminal(command, rows=44, columns=99) as terminal:
        terminal.expect("% ")
        assert _ask(terminal, "tty; stty size; echo $PS1", "/dev/pts/0\r\n44 99\r\n%")
        terminal.type("exit 5\n")
        assert terminal.wait() == 5


def test_losing_an_exec_client_hangs_up_its_terminal(boxes: Boxes) -> None:
    sandbox = boxes.start("sleep", "60")
    note = Path(boxes.place, "hup")
    script = f"trap 'echo gone > {note}; exit' HUP; echo ready; while :; do sleep 0.02; done"
    with Terminal(boxes.call("execute", boxes.console(sandbox), ["sh", "-c", script], tty=True)) as terminal:
        terminal.expect("ready")
        terminal.process.kill()
    eventually(note.exists)


@pytest.mark.parametrize("tty", [True, False])
def test_a_lost_client_does_not_end_the_container(boxes: Boxes, tty: bool) -> None:
    sandbox = boxes.sandbox("sh", "-c", "echo ready; while :; do echo more; sleep 0.01; done", tty=tty)
    with Terminal(boxes.command(sandbox)) as terminal:
        terminal.expect("ready")
        terminal.process.kill()
    log = boxes.runtime.log(sandbox.id)
    size = os.path.getsize(log)
    eventually(lambda: os.path.getsize(log) > size)
    assert boxes.runtime.pids(sandbox.id)


def _ask(terminal: Terminal, command: str, answer: str) -> bool:
    """Whether the shell answers so; the end of its answer is marked by what is not in the question."""
    terminal.type(f"{command}; echo do''ne\n")
    terminal.expect(f"{command}; echo do''ne")
    return answer in terminal.expect("done\r\n")
