"""The last steps of a fresh child on its way to being the command that somebody asked for."""

from __future__ import annotations

import _socket
import errno
import os

from weft.shim import terminal, users
from weft.shim.frames import Record, first
from weft.shim.lean import signal

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where commands are looked for if the environment has no PATH."""

NOT_FOUND = 127
NOT_EXECUTABLE = 126


class Command:
    """What to execute, and as whom. `env` are lines "KEY=value"; of two with one key the later wins."""

    __slots__ = ("argv", "cwd", "env", "tty", "user")

    def __init__(self, fields: Record, *, env: list[str], cwd: str) -> None:
        self.argv = fields.get("argv", [])
        lines = (line.partition("=") for line in (*env, *fields.get("env", [])))
        self.env = {key: value for key, _, value in lines}
        self.cwd = first(fields, "cwd") or cwd
        self.user = first(fields, "user")
        self.tty = bool(first(fields, "tty"))


class Refusal(Exception):
    """The command cannot be started: the exit code that a shell would give, and why."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def tell(report: _socket.socket, refusal: Refusal) -> None:
    """Send a refusal to the supervisor, which waits for it or for the end of the stream."""
    try:
        report.send(f"{refusal.code} {refusal.message}".encode("utf-8", "surrogateescape"))
    except OSError:
        pass  # the supervisor is gone, and this process soon is


def execute(command: Command, stdio: tuple[int, int, int], report: _socket.socket) -> None:
    """Become the command; a failure goes to `report`, and this process ends."""
    try:
        os.setsid()
        if command.tty:
            terminal.take(stdio[0])
        for target, fd in enumerate(stdio):
            os.dup2(fd, target)
        _reset_signals()
        if command.user:
            home = _become(command, stdio[0])
            command.env.setdefault("HOME", home)
        _change_directory(command.cwd)
        _exec(command.argv, command.env)
    except Refusal as refusal:
        tell(report, refusal)
    except OSError as error:
        tell(report, Refusal(NOT_EXECUTABLE, str(error)))
    finally:
        os._exit(NOT_FOUND)


def _reset_signals() -> None:
    """Python ignores SIGPIPE, the supervisor some more, and what is ignored or blocked outlives exec."""
    for number in signal.valid_signals():
        try:
            signal.signal(number, signal.SIG_DFL)
        except (OSError, ValueError):
            pass  # SIGKILL, SIGSTOP
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _become(command: Command, stdin: int) -> str:
    try:
        home = users.become(command.user)
        if command.tty:
            os.fchown(stdin, os.getuid(), -1)
    except (LookupError, OSError) as error:
        raise Refusal(NOT_EXECUTABLE, f"cannot run as {command.user!r}: {_reason(error)}") from None
    return home


def _change_directory(path: str) -> None:
    try:
        os.chdir(path)
    except OSError as error:
        raise Refusal(NOT_EXECUTABLE, f"cannot change to directory {path!r}: {_reason(error)}") from None


def _exec(argv: list[str], env: dict[str, str]) -> None:
    """Execute the file, or the first of the name in PATH. Raises Refusal, as execvp(3) would choose the reason."""
    if not argv or not argv[0]:
        raise Refusal(NOT_FOUND, "cannot execute '': no command given")
    if "/" in argv[0]:
        paths = [argv[0]]
    else:
        paths = [os.path.join(place, argv[0]) for place in env.get("PATH", PATH).split(":")]
    failure = OSError(errno.ENOENT, os.strerror(errno.ENOENT))
    for path in paths:
        try:
            os.execve(path, argv, env)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                failure = error
                if error.errno != errno.EACCES:
                    break
    code = NOT_FOUND if failure.errno == errno.ENOENT else NOT_EXECUTABLE
    raise Refusal(code, f"cannot execute {argv[0]!r}: {_reason(failure)}")


def _reason(error: Exception) -> str:
    return error.strerror.lower() if isinstance(error, OSError) and error.strerror else str(error)
