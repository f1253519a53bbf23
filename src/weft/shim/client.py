"""The other side of the console: a container's streams on this process' own, straight from its supervisor.

None of this needs the daemon. All raise WeftError for what a person should read: Conflict where the container does not
run, Invalid where a command cannot be executed.
"""

from __future__ import annotations

import _socket
import os

from weft.errors import Conflict, Invalid, NotFound, Unavailable, WeftError
from weft.shim import reader, relay
from weft.shim.frames import (
    ATTACH,
    ERROR,
    EXEC,
    FOLLOW,
    READY,
    SIGNAL,
    SOCKET,
    Decoder,
    Record,
    connect,
    first,
    frame,
    number,
    pack,
    unpack,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Self


class CannotExecute(Invalid):
    """A command could not be started; `code` is what a shell would return: 127 or 126."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class Found:
    """What can be known of a container that has been started without asking the daemon."""

    __slots__ = ("console", "id", "log", "name", "open_stdin", "tty")

    def __init__(self, directory: str, config: Record) -> None:
        self.id = first(config, "id")
        self.name = first(config, "name")
        self.console = f"{directory}/{SOCKET}"
        self.log = first(config, "log")
        self.tty = bool(first(config, "tty"))
        self.open_stdin = bool(first(config, "stdin"))


def find(run_dir: str, ref: str) -> Found:
    """The container of a name, an id or the beginning of an id, while the daemon is away.

    Raises NotFound, or Conflict if the beginning is that of several.
    """
    found = [Found(directory, config) for directory, config in reader.configs(run_dir)]
    for one in found:
        if ref in (one.name, one.id):
            return one
    near = [one for one in found if one.id.startswith(ref)]
    if len(near) > 1:
        raise Conflict(f"{ref!r} is the beginning of {len(near)} ids; give more of it")
    if not near:
        raise NotFound.named("container", ref, [one.name for one in found])
    return near[0]


def attach(
    console: str,
    *,
    log: str = "",
    start: Callable[[], object] | None = None,
    tty: bool = False,
    stdin: bool = True,
    foreground: bool = False,
    detach_keys: bytes = relay.DETACH_KEYS,
) -> int | None:
    """Connect this process' terminal or streams to the container's; its exit code, or None if the user detached.

    `start` is called once the console is connected, and asks the daemon to start the container: then nothing that it
    writes is lost and its terminal has the right size from the beginning. What it raises is raised.

    `foreground` is for who runs the container: all its output is shown, from the first byte (`log` says where to find
    what was before), the container waits when this side is slow, and the end of this side's input is the end of its
    input. Without it, the view begins now, and a client that does not keep up is dropped.

    With `tty` the terminal is put in raw mode, and the detach keys leave the container running. Without, signals that
    would end this process go to the container instead, until Ctrl-C is pressed for the third time.
    """
    try:
        link = _Link(connect(console))
    except OSError:
        if start is None:
            return _missed(console, log, foreground=foreground)
        # The daemon that made the console's socket is gone; another makes a new one at the start.
        start()
        return attach(console, log=log, tty=tty, stdin=stdin, foreground=foreground, detach_keys=detach_keys)
    with link:
        fields: Record = {"hold": ["1"] if foreground else [], **_size(tty=tty)}
        link.send(ATTACH, pack(fields))
        if start is not None:
            start()
        position = link.ready() if start else link.try_ready()
        if position is None:  # it ended before anybody answered
            return _missed(console, log, foreground=foreground)
        if foreground and log and start is None:
            reader.show_until(log, number(position, "inode"), number(position, "length"))
        ends = foreground and not tty
        return relay.run(link, tty=tty, stdin=stdin, end_input=ends, detach_keys=detach_keys)


def execute(
    console: str,
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: str | None = None,
    user: str | None = None,
    tty: bool = False,
    stdin: bool = False,
) -> int:
    """Run one more command in a running container, on this process' terminal or streams; its exit code.

    `env` is added to the container's, `cwd` is the container's own unless given, `user` is USER[:GROUP], names or
    numbers of the container. Raises Conflict, CannotExecute.
    """
    with _connect(console) as link:
        fields: Record = {
            "argv": list(argv),
            "env": [f"{key}={value}" for key, value in (env or {}).items()],
            "cwd": [cwd] if cwd else [],
            "user": [user] if user else [],
            "tty": ["1"] if tty else [],
            "stdin": ["1"] if stdin else [],
            **_size(tty=tty),
        }
        link.send(EXEC, pack(fields))
        link.ready()
        code = relay.run(link, tty=tty, stdin=stdin, end_input=not tty, detach_keys=b"")
        return 0 if code is None else code


def logs(
    log: str,
    *,
    console: str = "",
    follow: bool = False,
    since: float | None = None,
    until: float | None = None,
    tail: int | None = None,
    timestamps: bool = False,
) -> None:
    """Write what the container has written, to the stream that it came from; also long after its end.

    `since` and `until` are seconds since the epoch, `tail` a number of lines. With `follow` (which needs the console)
    it goes on until the container ends, or Ctrl-C.
    """
    link = _follow(console) if follow else None
    tailer = reader.Reader(log, since=since, until=until, timestamps=timestamps)
    tailer.show(tail=tail)
    if link is None:
        return
    with link:
        while link.receive() is not None:
            tailer.show()


def signal(console: str, signum: int) -> None:
    """Send a signal to the container's process. Raises Conflict."""
    with _connect(console) as link:
        link.send(SIGNAL, bytes((signum,)))
        link.ready()


class _Link:
    """A connection to a supervisor."""

    def __init__(self, sock: _socket.socket) -> None:
        self._sock = sock
        self._decoder = Decoder()
        self._frames: list[tuple[int, bytes]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._sock.close()

    def fileno(self) -> int:
        return self._sock.fileno()

    def send(self, kind: int, payload: bytes = b"") -> None:
        """Nothing is said if the supervisor has gone: what it sent last is still to be read."""
        try:
            self._sock.sendall(frame(kind, payload))
        except (BrokenPipeError, ConnectionResetError):
            pass

    def receive(self) -> tuple[int, bytes] | None:
        """The next frame; None after EXIT or if the supervisor is gone. Waits."""
        while not self._frames:
            try:
                data = self._sock.recv(65536)
            except ConnectionResetError:
                data = b""
            if not data:
                return None
            self._frames = self._decoder.feed(data)
        return self._frames.pop(0)

    @property
    def waiting(self) -> bool:
        """Whether `receive` has something at once."""
        return bool(self._frames)

    def ready(self) -> Record:
        """Wait for the answer to a request. Raises WeftError if it is a refusal."""
        position = self.try_ready()
        if position is None:
            raise Conflict("the container is not running")
        return position

    def try_ready(self) -> Record | None:
        """The same, but None if there is no answer."""
        answer = self.receive()
        if answer is None:
            return None
        kind, payload = answer
        if kind == READY:
            return unpack(payload)
        if kind != ERROR:
            raise Unavailable(
                f"the container's supervisor answers with frame {kind}; is it of another version of weft?"
            )
        fields = unpack(payload)
        code = number(fields, "code")
        raise CannotExecute(first(fields, "message"), code) if code else WeftError(first(fields, "message"))


def _connect(console: str) -> _Link:
    """Raises Conflict if nobody would answer: the socket is there before the container starts, too."""
    if reader.is_running(os.path.dirname(console)):
        try:
            return _Link(connect(console))
        except OSError:
            pass
    raise Conflict("the container is not running")


def _follow(console: str) -> _Link | None:
    """A link that tells of news; None if the container has ended."""
    try:
        link = _Link(connect(console))
    except OSError:
        return None
    link.send(FOLLOW)
    return link


def _missed(console: str, log: str, *, foreground: bool) -> int:
    """What attach comes to if the container has ended before: for who ran it, its output and exit code."""
    code = reader.exit_code(os.path.dirname(console), patience=1.0) if foreground else None
    if code is None:
        raise Conflict("the container is not running")
    if log:
        reader.Reader(log).show()
    return code


def _size(*, tty: bool) -> Record:
    if not tty:
        return {}
    rows, columns = relay.terminal_size()
    return {"rows": [str(rows)], "columns": [str(columns)]}
