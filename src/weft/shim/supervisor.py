"""Supervises one container from its start to its end, whatever becomes of the daemon that asked for it.

It stays in the host's namespaces; only what it forks is inside. Nothing here may import more than it must: one such
process runs per container.
"""

from __future__ import annotations

import _socket
import gc
import os
import time

from weft.shim import frames, init, linux, status, terminal
from weft.shim.command import NOT_EXECUTABLE, Command, Refusal, execute, tell
from weft.shim.console import Console, drain
from weft.shim.frames import CONFIG, SOCKET, Record, first
from weft.shim.lean import signal
from weft.shim.log import Log
from weft.shim.loop import Loop
from weft.shim.session import Session
from weft.shim.spawn import Child, Stdio, spawn

SLOW = 5.0
"""Seconds that a client which need not see everything may take for the rest of the output."""


def supervise(directory: str, listener: int, ready: int) -> None:
    """Run the container described in DIRECTORY/config; returns when it has ended."""
    linux.set_name("weft-shim")
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # at shutdown the container is asked to end, and this ends with it
    for fd in (listener, ready):
        linux.close_on_exec(fd)
    with open(f"{directory}/{CONFIG}", "rb") as file:
        config = frames.unpack(file.read())
    loop = Loop()
    console = Console(loop, _socket.socket(fileno=listener), Log(first(config, "log")))
    console.accept()  # who is here before the start says how large its terminal is
    home = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    try:
        child = _start(config, console.main.size)
    except Refusal as refusal:
        os.write(ready, f"{refusal.code} {refusal.message}".encode("utf-8", "surrogateescape"))
        return
    console.main.begin(child)
    console.execute = Executor(config, child.pid)
    known: status.Status = {
        "shim_pid": os.getpid(),
        "shim_start": linux.start_time(os.getpid()),
        "pid": child.pid,
        "pid_start": linux.start_time(child.pid),
        "started": time.time(),
    }
    status.write(directory, known)
    os.write(ready, b"ok")
    os.close(ready)
    while console.main.code is None:
        loop.turn()
    _end(directory, console, known, home)


def _start(config: Record, size: tuple[int, int]) -> Child:
    command = Command(config, env=[], cwd="/")
    gc.collect()
    gc.freeze()  # the children share these pages as long as nobody counts in them
    linux.unshare(linux.CLONE_NEWPID)  # of the children alone: those for `execute` are born inside as well

    def inside(stdio: Stdio | None, report: _socket.socket) -> None:
        init.run(config, command, size, stdio, report)

    return spawn(inside, tty=command.tty, stdin=bool(first(config, "stdin")))


class Executor:
    """Starts further commands in the running container, with its environment."""

    def __init__(self, config: Record, pid: int) -> None:
        self._env = config.get("env", [])
        self._cwd = first(config, "cwd")
        self._pid = pid

    def __call__(self, fields: Record, session: Session) -> None:
        """Raises Refusal."""
        command = Command(fields, env=self._env, cwd=self._cwd)

        def inside(stdio: Stdio | None, report: _socket.socket) -> None:
            try:
                self._enter()
                if stdio is None:
                    slave = terminal.open_inside(report, *session.size)
                    stdio = (slave, slave, slave)
            except OSError as error:
                tell(report, Refusal(NOT_EXECUTABLE, f"cannot enter the container: {error}"))
                os._exit(NOT_EXECUTABLE)
            execute(command, stdio, report)

        try:
            session.begin(spawn(inside, tty=command.tty, stdin=bool(first(fields, "stdin"))))
        except OSError as error:  # no more processes; or the PID namespace is just ending
            raise Refusal(NOT_EXECUTABLE, f"cannot start a process in the container: {error.strerror}") from None

    def _enter(self) -> None:
        """The PID namespace is this process's already; the mounts come last, since the paths are the host's."""
        for kind, flag in (
            ("net", linux.CLONE_NEWNET),
            ("uts", linux.CLONE_NEWUTS),
            ("ipc", linux.CLONE_NEWIPC),
            ("mnt", linux.CLONE_NEWNS),
        ):
            linux.setns(f"/proc/{self._pid}/ns/{kind}", flag)


def _end(directory: str, console: Console, known: status.Status, home: int) -> None:
    """Write down how it ended, and only then tell the clients: who hears of it may look."""
    code = console.main.code or 0
    try:
        console.close()
        os.unlink(f"{directory}/{SOCKET}")
        status.write(directory, {**known, "exit_code": code, "finished": time.time()})
    except OSError:
        pass  # the container has been discarded meanwhile
    console.announce(code)
    behind = [client for client in console.clients if client.unsent]
    if behind:
        linux.setns(f"/proc/self/fd/{home}", linux.CLONE_NEWPID)  # nothing is born in a PID namespace that has ended
        if os.fork() == 0:
            drain(behind, SLOW)  # the supervisor's own end is the sign to the daemon, and must not wait for a pager
