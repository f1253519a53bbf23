"""The console's language: how clients talk to a container's supervisor, over its Unix stream socket.

A frame is [type u8][length u32, big-endian][payload]. A connection has one purpose, set by its first frame:

    ATTACH  record: hold, rows, columns    see (and feed) the container's own process from now on
    EXEC    record: argv*, env*, cwd, user, tty, stdin, rows, columns, alone    run one more command in the container
    FOLLOW  nothing                        be told, by NEWS, that the log has grown

and is then answered by READY (for ATTACH a record that says where in the log "now" is, for EXEC one with the pid), or
by ERROR (a record: code, message). What comes after, until EXIT (the code, u8) or the connection's end:

    to the supervisor    STDIN (bytes; empty: end of input), RESIZE (rows u16, columns u16), SIGNAL (number, u8)
    to the client        STDOUT, STDERR (bytes), TAKEN, NEWS

TAKEN answers STDIN once the process has all of it. A client sends no more input before, or a signal would be stuck
behind input that nobody reads; the supervisor in turn never stops listening to anyone.

RESIZE, SIGNAL and STDIN need no purpose: on a fresh connection they concern the container's own process; the first two
are then answered by READY.

What becomes of a command whose client has gone says `alone`: "hangup" ends its process group as the loss of a terminal
would, "stay" leaves it as it is; without, it loses its input, and its terminal if it has one.

A record is a sequence of "key=value", each ended by a NUL; a key may come many times. Neither arguments nor
environment can hold a NUL, so nothing needs quoting, whatever its bytes.
"""

from __future__ import annotations

import _socket
import os

TYPE_CHECKING = False  # typing itself would cost more than all of this
if TYPE_CHECKING:
    from collections.abc import Callable

ATTACH, EXEC, FOLLOW, STDIN, RESIZE, SIGNAL = range(1, 7)
READY, STDOUT, STDERR, EXIT, ERROR, TAKEN, NEWS = range(17, 24)

CONFIG = "config"
SOCKET = "console.sock"
"""In a container's runtime directory: a record that says what to run, and where its supervisor listens."""

HEADER = 5
LONGEST = 1 << 20
"""The longest payload a supervisor takes; an environment of a megabyte fits."""

Record = dict[str, list[str]]


def frame(kind: int, payload: bytes = b"") -> bytes:
    return bytes((kind,)) + len(payload).to_bytes(4, "big") + payload


def pack(fields: Record) -> bytes:
    return b"".join(f"{key}={value}\0".encode("utf-8", "surrogateescape") for key in fields for value in fields[key])


def unpack(payload: bytes) -> Record:
    fields: Record = {}
    for item in payload.decode("utf-8", "surrogateescape").split("\0")[:-1]:
        key, _, value = item.partition("=")
        fields.setdefault(key, []).append(value)
    return fields


def first(fields: Record, key: str, default: str = "") -> str:
    """The value of a key that comes once."""
    values = fields.get(key)
    return values[0] if values else default


def number(fields: Record, key: str) -> int:
    """The value of a key as a number; 0 for what is none."""
    text = first(fields, key)
    return int(text) if text.isdecimal() else 0


def size(rows: int, columns: int) -> bytes:
    """The payload of RESIZE."""
    return rows.to_bytes(2, "big") + columns.to_bytes(2, "big")


class Decoder:
    """Cuts a stream of bytes into frames."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """The frames that are complete now. Raises ValueError at one that is too long."""
        rest = self._rest
        rest += data
        frames = []
        start = 0
        while len(rest) - start >= HEADER:
            length = int.from_bytes(rest[start + 1 : start + HEADER], "big")
            if length > LONGEST:
                raise ValueError("frame too long")
            end = start + HEADER + length
            if len(rest) < end:
                break
            frames.append((rest[start], bytes(rest[start + HEADER : end])))
            start = end
        del rest[:start]
        return frames


def connect(path: str, *, wait: bool = True) -> _socket.socket:
    """A stream connected to the socket at a path. Raises OSError: BlockingIOError for a long queue without `wait`."""
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    try:
        sock.setblocking(wait)
        _at(path, sock.connect)
    except OSError:
        sock.close()
        raise
    return sock


def listen(path: str) -> _socket.socket:
    """A fresh listening socket at a path, for its owner alone; whatever was there is replaced."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    try:
        _at(path, sock.bind)
        os.chmod(path, 0o600)
        sock.listen(64)
    except OSError:
        sock.close()
        raise
    return sock


def _at(path: str, call: Callable[[str], None]) -> None:
    """Call with the path, or with a short way to it: a socket's address ends at 107 bytes."""
    if len(os.fsencode(path)) <= 107:
        call(path)
        return
    directory = os.open(os.path.dirname(path), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        call(f"/proc/self/fd/{directory}/{os.path.basename(path)}")
    finally:
        os.close(directory)
