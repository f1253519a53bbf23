"""The first process inside a container: makes what the container sees, starts the command, reaps and forwards.

Being pid 1, a command would be deaf to every signal that it has no handler for, and would have to reap the orphans of
its children. So this process is pid 1 and the command its child; when the command ends, this process ends with the
same code, and the kernel kills whatever else runs in the PID namespace.
"""

from __future__ import annotations

import _socket
import os

from weft.shim import linux, terminal, view
from weft.shim.command import NOT_EXECUTABLE, Command, Refusal, execute, tell
from weft.shim.frames import Record, first
from weft.shim.lean import signal
from weft.shim.spawn import ALIVE, Stdio


def run(config: Record, command: Command, size: tuple[int, int], stdio: Stdio | None, report: _socket.socket) -> None:
    """To be called by the first process of a PID namespace; does not return."""
    linux.die_with_parent()
    linux.set_name("weft-init")
    report.send(ALIVE)  # fails if the supervisor died before it would be noticed
    signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals())
    _close_others(stdio, report)
    try:
        view.enter(
            netns=first(config, "netns"),
            rootfs=first(config, "rootfs"),
            hostname=first(config, "hostname"),
            files=first(config, "files"),
        )
        if stdio is None:
            slave = terminal.open_inside(report, *size)
            stdio = (slave, slave, slave)
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        tell(report, Refusal(NOT_EXECUTABLE, f"cannot prepare the container: {error.strerror}{where}"))
        os._exit(NOT_EXECUTABLE)
    pid = os.fork()
    if pid == 0:
        execute(command, stdio, report)
    report.close()
    _close_streams(stdio, keep_terminal=command.tty)
    _serve(pid)


def _close_others(stdio: Stdio | None, report: _socket.socket) -> None:
    """Close what the supervisor has open: its clients must see the end of a connection when it ends."""
    keep = sorted({*(stdio or ()), report.fileno()})
    start = 3
    for fd in keep:
        os.closerange(start, fd)
        start = fd + 1
    os.closerange(start, 1 << 20)


def _close_streams(stdio: Stdio, *, keep_terminal: bool) -> None:
    """Leave the pipes to the command. A terminal stays open: with no one on it, its other side reads as ended."""
    for fd in set(stdio):
        if not keep_terminal:
            os.close(fd)


def _serve(command: int) -> None:
    """Reap every orphan and pass every signal on, until the command ends."""
    every = signal.valid_signals()
    while True:
        number = signal.sigwait(every)
        if number == signal.SIGCHLD:
            _reap(command)
        else:
            _forward(command, signal.SIGSTOP if number == signal.SIGTSTP else number)


def _reap(command: int) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            os._exit(NOT_EXECUTABLE)  # cannot be: the command is a child until it is reaped
        if pid == 0:
            return
        if pid == command:
            os._exit(exit_code(status))


def _forward(command: int, number: int) -> None:
    try:
        os.kill(command, number)
    except OSError:
        pass


def as_sent(number: int) -> int:
    """What to send to this process for the command to get a signal.

    SIGSTOP would stop this process itself. SIGTSTP stands in for it: the command, leading a session in which nobody
    controls jobs, would not heed that one anyway.
    """
    return signal.SIGTSTP if number == signal.SIGSTOP else number


def exit_code(status: int) -> int:
    """What a shell makes of a wait status."""
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code
