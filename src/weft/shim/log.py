"""The container's output on disk, in the line format of Kubernetes' container runtimes (CRI):

    2026-03-01T12:00:00.123456789Z stdout F a whole line
    2026-03-01T12:00:00.223456789Z stderr P the beginning of a li

P marks a piece whose line goes on in the next piece of that stream. The file is bounded: at `LIMIT` bytes it becomes
FILE.1, replacing the one before.
"""

from __future__ import annotations

import os
import time

from weft.shim.frames import STDERR, STDOUT

LIMIT = 10 << 20

STREAMS = {STDOUT: b"stdout", STDERR: b"stderr"}


class Log:
    """The one writer of a log. A full disk loses output, and never stops the container."""

    def __init__(self, path: str, limit: int = LIMIT) -> None:
        self._path = path
        self._limit = limit
        self._second = -1
        self._text = ""
        self._open()

    def write(self, kind: int, data: bytes) -> None:
        """Append what came from a stream in one piece."""
        prefix = b"%s %s " % (self._stamp(), STREAMS[kind])
        lines, newline, rest = data.rpartition(b"\n")
        text = b""
        if newline:
            full = prefix + b"F "
            text = full + lines.replace(b"\n", b"\n" + full) + b"\n"
        if rest:
            text += prefix + b"P " + rest + b"\n"
        try:
            self._size += os.write(self._fd, text)
            if self._size >= self._limit:
                self._rotate()
        except OSError:
            pass

    def position(self) -> tuple[int, int]:
        """Which file (its inode) is written now, and how much of it is."""
        return os.fstat(self._fd).st_ino, self._size

    def _stamp(self) -> bytes:
        second, nanos = divmod(time.time_ns(), 1_000_000_000)
        if second != self._second:
            self._second = second
            self._text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return b"%s.%09dZ" % (self._text.encode(), nanos)

    def _open(self) -> None:
        self._fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._size = os.fstat(self._fd).st_size

    def _rotate(self) -> None:
        os.rename(self._path, self._path + ".1")
        full = self._fd
        self._open()
        os.close(full)
