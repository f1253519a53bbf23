"""Starts a child whose streams the supervisor holds, and waits until it has become its command, or hears why not."""

from __future__ import annotations

import _socket
import os

from weft.shim import terminal
from weft.shim.command import NOT_EXECUTABLE, Refusal
from weft.shim.frames import STDERR, STDOUT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE = 10.0
"""Seconds until a child that neither fails nor executes its command is given up (a dead network file system, say)."""

ALIVE = b"alive"
"""What a child may send to learn whether the supervisor still is."""

Stdio = tuple[int, int, int]


class Child:
    """A running process and the supervisor's ends of its streams. All descriptors are the holder's to close."""

    __slots__ = ("outputs", "pid", "stdin", "terminal")

    def __init__(self, pid: int, stdin: int, outputs: dict[int, int], terminal: int) -> None:
        self.pid = pid
        self.stdin = stdin
        """-1: none, the process reads /dev/null."""
        self.outputs = outputs
        """Descriptor to frame type."""
        self.terminal = terminal
        """The master, for its size; -1: none."""


def spawn(inside: Callable[[Stdio | None, _socket.socket], None], *, tty: bool, stdin: bool) -> Child:
    """Fork; `inside` runs in the child with its streams and the socket to report on, and does not return.

    With `tty` the child opens its terminal itself (`terminal.open_inside`), since it must be of the container's devpts.
    Raises Refusal with the child's own reason, when the child is gone.
    """
    report, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC)
    ours, stdio = (None, None) if tty else _pipes(stdin=stdin)
    try:
        pid = os.fork()
    except OSError:
        _close(report, theirs, *(ours or ()), *(stdio or ()))
        raise
    if pid == 0:
        try:
            report.close()
            inside(stdio, theirs)
        finally:
            os._exit(NOT_EXECUTABLE)
    _close(theirs, *(stdio or ()))
    try:
        master = _wait(report)
    except Refusal:
        _close(*(ours or ()))
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        raise
    finally:
        _close(report)
    if ours is None:
        # Two descriptors, so that input and output are watched apart.
        return Child(pid, os.dup(master) if stdin else -1, {master: STDOUT}, master)
    return Child(pid, ours[0], {ours[1]: STDOUT, ours[2]: STDERR}, -1)


def _pipes(*, stdin: bool) -> tuple[Stdio, Stdio]:
    """Our ends and the child's."""
    theirs, ours = os.pipe() if stdin else (os.open("/dev/null", os.O_RDONLY), -1)
    out, out_inside = os.pipe()
    err, err_inside = os.pipe()
    for fd in (ours, out, err):
        if fd >= 0:
            os.set_blocking(fd, False)
    return (ours, out, err), (theirs, out_inside, err_inside)


def _close(*things: _socket.socket | int) -> None:
    for thing in things:
        if not isinstance(thing, int):
            thing.close()
        elif thing >= 0:
            os.close(thing)


def _wait(report: _socket.socket) -> int:
    """Read reports until the stream ends, which exec does; the terminal's master, or -1."""
    master = -1
    report.settimeout(PATIENCE)
    try:
        while True:
            data, ancillary, _, _ = report.recvmsg(65536, 64)
            if not data:
                return master
            if ancillary:
                master = terminal.received(ancillary)
                os.set_blocking(master, False)
            elif data != ALIVE:
                code, _, message = data.decode("utf-8", "surrogateescape").partition(" ")
                raise Refusal(int(code), message)
    except (TimeoutError, Refusal) as error:
        if master >= 0:
            os.close(master)
        if isinstance(error, Refusal):
            raise
        raise Refusal(NOT_EXECUTABLE, f"the command has not started within {PATIENCE:.0f} seconds") from None
