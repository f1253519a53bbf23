"""Runs the processes of containers: starts one supervisor (`weft.shim`) for each, and knows them by their files alone.

Nothing is remembered between calls but the sockets of containers that have yet to start, so a restarted daemon goes on
where the last one was killed.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import weft.shim
from weft.errors import Conflict, Invalid, NotFound, WeftError
from weft.model import Exit, Sandbox
from weft.names import short
from weft.outside.waiting import is_readable
from weft.shim import frames, linux, status
from weft.shim.command import PATH
from weft.shim.frames import CONFIG, SOCKET
from weft.shim.init import as_sent

START_SECONDS = 15.0
"""More than the supervisor's own patience with a command that does not start."""

END_SECONDS = 3.0
"""How long a killed supervisor may take to go."""

_PYTHON = (sys.executable, "-I", "-S", "-X", "utf8")
_PROGRAM = os.path.join(os.path.dirname(os.path.abspath(weft.shim.__file__)), "__main__.py")
_PACKAGES = str(Path(_PROGRAM).parents[2])


@dataclass(frozen=True, slots=True)
class _Run:
    """What status.json says, with what /proc says of the two processes now."""

    shim: int
    """The supervisor's pid; 0 if it has gone."""
    pid: int
    """The container's first process; 0 if it has gone."""
    exit: Exit | None


class ShimRuntime:
    """The `Runtime` that the engine needs. Thread-safe, as long as no two calls are about one container."""

    def __init__(self, run_dir: str, state_dir: str) -> None:
        self._run_dir = f"{run_dir}/containers"
        self._state_dir = f"{state_dir}/containers"
        self._listeners: dict[str, int] = {}

    def console(self, sandbox_id: str) -> str:
        """The path of the console's socket."""
        return f"{self._directory(sandbox_id)}/{SOCKET}"

    def log(self, sandbox_id: str) -> str:
        """The path of the output's log."""
        return f"{self._state_dir}/{short(sandbox_id)}/log"

    def prepare(self, sandbox_id: str) -> str:
        """Make the console's socket, so that clients can be there before the process is; its path. Repeatable.

        Whoever connects waits until `start`, sees all output from the first byte, and has its terminal's size known.
        """
        path = self.console(sandbox_id)
        if sandbox_id not in self._listeners:
            os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
            self._listeners[sandbox_id] = frames.listen(path).detach()
        return path

    def start(self, sandbox: Sandbox, files: Mapping[str, str]) -> int:
        """Start the supervisor and wait until it says that the command runs; the supervisor's pid.

        Raises Invalid with the reason if the command cannot be executed, Conflict if one runs already.
        """
        if sandbox.process is None:
            raise Invalid(f"container {sandbox.name!r} has no process to start")
        if self.pids(sandbox.id):
            raise Conflict(f"container {sandbox.name!r} is already running")
        directory = self._directory(sandbox.id)
        self.prepare(sandbox.id)
        os.makedirs(os.path.dirname(self.log(sandbox.id)), mode=0o700, exist_ok=True)
        _remove(f"{directory}/{status.NAME}")
        self.write_files(sandbox.id, files)
        self._write_config(sandbox)
        self._spawn(sandbox, directory)
        os.close(self._listeners.pop(sandbox.id))
        run = self._look(sandbox.id)
        if run is None:
            raise WeftError(f"the supervisor of container {sandbox.name!r} has left no status")
        return run.shim

    def write_files(self, sandbox_id: str, files: Mapping[str, str]) -> None:
        directory = self._directory(sandbox_id)
        os.makedirs(directory, mode=0o700, exist_ok=True)
        for name, content in files.items():
            _write(f"{directory}/{name}", content.encode())

    def pids(self, sandbox_id: str) -> tuple[int, int] | None:
        run = self._look(sandbox_id)
        if run is None or run.exit or not run.pid:
            return None
        return run.shim, run.pid

    def started(self, sandbox_id: str) -> float:
        return float(status.read(self._directory(sandbox_id)).get("started", 0.0))

    def rename(self, sandbox: Sandbox) -> None:
        try:
            with open(f"{self._directory(sandbox.id)}/{CONFIG}", "rb") as file:
                known = frames.unpack(file.read())
        except FileNotFoundError:
            return  # it has yet to start
        if known.get("name") != [sandbox.name]:
            self._write_config(sandbox)

    def pidfd(self, sandbox_id: str) -> int | None:
        """A descriptor that becomes readable when the container has ended and `exit_of` knows how; None if it has.

        The caller closes it.
        """
        run = self._look(sandbox_id)
        if run is None or not (run.shim or run.pid):
            return None
        try:
            return os.pidfd_open(run.shim or run.pid)
        except ProcessLookupError:
            return None

    def exit_of(self, sandbox_id: str) -> Exit | None:
        """How it ended; where the supervisor was killed nobody knows, and the kernel has killed the rest: 137."""
        run = self._look(sandbox_id)
        if run is None or run.exit or run.shim:
            return run.exit if run else None
        run = self._look(sandbox_id)  # it may have written its last between reading the file and looking for it
        if run is None or run.exit:
            return run.exit if run else None
        if run.pid and not _ended(run.pid, END_SECONDS):  # the kernel kills it when the supervisor dies
            return None
        ended = Exit(code=128 + signal.SIGKILL, at=time.time())
        directory = self._directory(sandbox_id)
        status.write(directory, {**status.read(directory), "exit_code": ended.code, "finished": ended.at})
        return ended

    def signal(self, sandbox_id: str, signum: int) -> None:
        """Raises Conflict if it does not run."""
        run = self._look(sandbox_id)
        if run is None or not run.pid:
            raise Conflict("the container is not running")
        _kill(run.pid, as_sent(signum))

    def kill(self, sandbox_id: str) -> Exit | None:
        _end(self._look(sandbox_id))
        return self.exit_of(sandbox_id)

    def close_stdin(self, sandbox_id: str) -> None:
        """End the input of a process that was started with `open_stdin`. Repeatable."""
        self._say(sandbox_id, frames.frame(frames.STDIN))

    def discard(self, sandbox_id: str) -> None:
        listener = self._listeners.pop(sandbox_id, None)
        if listener is not None:
            os.close(listener)
        _end(self._look(sandbox_id))
        for path in (self._directory(sandbox_id), os.path.dirname(self.log(sandbox_id))):
            shutil.rmtree(path, ignore_errors=True)

    def sweep(self, kept: Collection[str]) -> tuple[str, ...]:
        """Discard the containers that are none of these: a daemon was killed before it could."""
        known = {short(sandbox_id) for sandbox_id in kept}
        stray = sorted({*_names_in(self._run_dir), *_names_in(self._state_dir)} - known)
        for name in stray:
            self.discard(name)
        return tuple(f"files and processes of container {name}" for name in stray)

    def _directory(self, sandbox_id: str) -> str:
        return f"{self._run_dir}/{short(sandbox_id)}"

    def _config(self, sandbox: Sandbox) -> frames.Record:
        process = sandbox.process
        assert process is not None
        env = {"PATH": PATH, "HOSTNAME": sandbox.hostname or socket.gethostname(), "HOME": "/root"}
        if process.tty:
            env["TERM"] = "xterm"
        return {
            "id": [sandbox.id],
            "name": [sandbox.name],
            "netns": [sandbox.key],
            "argv": list(process.argv),
            "env": [f"{key}={value}" for key, value in {**env, **process.env}.items()],
            "cwd": [process.cwd],
            "rootfs": [os.path.abspath(process.rootfs)] if process.rootfs else [],
            "tty": ["1"] if process.tty else [],
            "stdin": ["1"] if process.open_stdin else [],
            "hostname": [sandbox.hostname],
            "files": [self._directory(sandbox.id)],
            "log": [self.log(sandbox.id)],
        }

    def _write_config(self, sandbox: Sandbox) -> None:
        path = f"{self._directory(sandbox.id)}/{CONFIG}"
        _write(f"{path}.new", frames.pack(self._config(sandbox)))
        os.replace(f"{path}.new", path)

    def _spawn(self, sandbox: Sandbox, directory: str) -> None:
        listener = self._listeners[sandbox.id]
        ready, theirs = os.pipe()
        try:
            with open(f"{directory}/shim.err", "wb") as complaints:
                subprocess.run(
                    [
                        sys.executable,
                        "-I",
                        "-S",
                        "-X",
                        "utf8",
                        _PROGRAM,
                        _PACKAGES,
                        directory,
                        str(listener),
                        str(theirs),
                    ],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=complaints,
                    pass_fds=(listener, theirs),
                    cwd="/",
                    check=True,
                )
            os.close(theirs)
            theirs = -1
            answer = _read_all(ready, START_SECONDS)
        finally:
            os.close(ready)
            if theirs >= 0:
                os.close(theirs)
        if answer != "ok":
            raise _failure(sandbox.name, answer, f"{directory}/shim.err")

    def _look(self, sandbox_id: str) -> _Run | None:
        known = status.read(self._directory(sandbox_id))
        if not known:
            return None
        return _Run(
            shim=_if_alive(known, "shim_pid", "shim_start"),
            pid=_if_alive(known, "pid", "pid_start"),
            exit=Exit(code=int(known["exit_code"]), at=known["finished"]) if "exit_code" in known else None,
        )

    def _say(self, sandbox_id: str, frame: bytes) -> None:
        try:
            with_console = frames.connect(self.console(sandbox_id))
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ECONNREFUSED):
                raise
            raise NotFound("the container is not running") from error
        try:
            with_console.settimeout(END_SECONDS)
            with_console.sendall(frame)
            with_console.recv(frames.HEADER)
        finally:
            with_console.close()


def exit_code_of(refusal: str) -> int:
    """What a shell returns for what `start` refused with this message: 127 if nothing is there to execute, else 126."""
    return 127 if refusal.endswith(os.strerror(errno.ENOENT).lower()) else 126


def _failure(name: str, answer: str, complaints: str) -> WeftError:
    code, _, reason = answer.partition(" ")
    if code.isdecimal():
        return Invalid(reason)
    with open(complaints, errors="replace") as file:
        last = (file.read().strip().splitlines() or ["it said nothing"])[-1]
    return WeftError(f"the supervisor of container {name!r} has failed: {last}")


def _read_all(fd: int, seconds: float) -> str:
    """Everything until the other end is closed or the time is over."""
    end = time.monotonic() + seconds
    answer = b""
    while is_readable(fd, end - time.monotonic()):
        data = os.read(fd, 65536)
        if not data:
            break
        answer += data
    return answer.decode("utf-8", "surrogateescape")


def _if_alive(known: status.Status, pid: str, start: str) -> int:
    number = int(known[pid])
    return number if linux.start_time(number) == known[start] else 0


def _end(run: _Run | None) -> None:
    """Kill the container; its supervisor, which writes down how it ended, if that does not end with it."""
    if run and run.pid:
        _kill(run.pid, signal.SIGKILL)
    if run and run.shim and not _ended(run.shim, END_SECONDS):
        _kill(run.shim, signal.SIGKILL)


def _kill(pid: int, signum: int) -> None:
    try:
        os.kill(pid, signum)
    except ProcessLookupError:
        pass


def _ended(pid: int, seconds: float) -> bool:
    """Wait for a process that is not a child."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return is_readable(fd, seconds)
    finally:
        os.close(fd)


def _write(path: str, content: bytes) -> None:
    """Replace the contents in place: containers have the file itself mounted. It is never empty in between."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        os.write(fd, content)
        os.ftruncate(fd, len(content))
    finally:
        os.close(fd)


def _names_in(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except FileNotFoundError:
        return []


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
