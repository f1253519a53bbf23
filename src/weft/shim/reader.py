"""Reads a container's log, and what its supervisor has left about it on disk, without anybody's help."""

from __future__ import annotations

import os
import time

from weft.shim import linux
from weft.shim.frames import CONFIG, Record, unpack
from weft.shim.relay import write
from weft.shim.status import read

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

_STAMP = len("2026-03-01T12:00:00.123456789Z")
_FIRST = _STAMP + len(" stdout ")
_TEXT = _FIRST + len("F ")
"""Where the flag and the text begin in a line of the log (see `log`)."""


class Reader:
    """Goes through a log from its oldest line on; `show` writes what has come since the last time."""

    def __init__(
        self,
        path: str,
        *,
        since: float | None = None,
        until: float | None = None,
        timestamps: bool = False,
        streams: Collection[bytes] = (b"stdout", b"stderr"),
    ) -> None:
        self._path = path
        self._streams = streams
        self._since = _stamp(since)
        self._until = _stamp(until)
        self._timestamps = timestamps
        self._file = -1
        self._rest = b""
        self._midline: dict[bytes, bool] = {}

    def show(self, tail: int | None = None) -> None:
        """Write what there is now, to the stream where each piece belongs; only the last lines with `tail`."""
        for fd, text in self.runs(tail):
            write(fd, text)

    def runs(self, tail: int | None = None) -> Iterator[tuple[int, bytes]]:
        """What there is now, not asked for before: 1 or 2 for the stream, and its bytes, some at a time."""
        lines: Iterable[bytes] = (line for block in self._blocks() for line in block if self._wanted(line))
        if tail is not None:
            lines = _last(list(lines), tail)
        return _runs(self._piece(line) for line in lines)

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _blocks(self) -> Iterable[list[bytes]]:
        """Whole lines, some at a time, until the end of the file that is written now."""
        if self._file < 0:
            self._file = self._oldest()
        while self._file >= 0:
            while data := os.read(self._file, 1 << 18):
                *lines, self._rest = (self._rest + data).split(b"\n")
                yield lines
            if not self._rotated():
                return
            # Whatever was written between the last read and the rename is in the old file still.
            while data := os.read(self._file, 1 << 18):
                *lines, self._rest = (self._rest + data).split(b"\n")
                yield lines
            os.close(self._file)
            self._file = _open(self._path)

    def _oldest(self) -> int:
        file = _open(self._path + ".1")
        return file if file >= 0 else _open(self._path)

    def _rotated(self) -> bool:
        try:
            return os.stat(self._path).st_ino != os.fstat(self._file).st_ino
        except FileNotFoundError:
            return False

    def _wanted(self, line: bytes) -> bool:
        stamp, stream = line[:_STAMP], line[_STAMP + 1 : _FIRST - 1]
        return stream in self._streams and stamp >= self._since and (not self._until or stamp <= self._until)

    def _piece(self, line: bytes) -> tuple[int, bytes]:
        """The stream and the bytes that a line of the log stands for."""
        stream, whole, text = line[_STAMP + 1 : _FIRST - 1], line[_FIRST : _FIRST + 1] == b"F", line[_TEXT:]
        if self._timestamps and not self._midline.get(stream):
            text = line[: _STAMP + 1] + text
        self._midline[stream] = not whole
        return (2 if stream == b"stderr" else 1), (text + b"\n" if whole else text)


def show_until(path: str, inode: int, length: int) -> None:
    """Write everything that was in a log when the file of that inode had that length."""
    reader = Reader(path)
    for name in (path + ".1", path):
        file = _open(name)
        if file < 0:
            continue
        found = os.fstat(file).st_ino == inode
        data = _read(file, length if found else -1)
        os.close(file)
        for fd, text in _runs(reader._piece(line) for line in data.split(b"\n")[:-1]):  # noqa: SLF001
            write(fd, text)
        if found:
            return


def configs(run_dir: str) -> Iterable[tuple[str, Record]]:
    """The runtime directory and the configuration of every container that has been started."""
    try:
        names = sorted(os.listdir(f"{run_dir}/containers"))
    except FileNotFoundError:
        return
    for name in names:
        directory = f"{run_dir}/containers/{name}"
        try:
            with open(f"{directory}/{CONFIG}", "rb") as file:
                yield directory, unpack(file.read())
        except (FileNotFoundError, NotADirectoryError):
            continue


def is_running(directory: str) -> bool:
    """Whether the container that a runtime directory belongs to has a process now."""
    known = read(directory)
    return "exit_code" not in known and linux.start_time(int(known.get("pid", 0))) == known.get("pid_start", -1)


def exit_code(directory: str, *, patience: float) -> int | None:
    """The exit code that was left; None if nothing is known of it, even after some seconds of patience.

    A supervisor that ends closes its console first and writes the code down then.
    """
    end = time.monotonic() + patience
    while (code := read(directory).get("exit_code")) is None and time.monotonic() < end:
        time.sleep(0.01)
    return None if code is None else int(code)


def _last(lines: list[bytes], count: int) -> list[bytes]:
    """The pieces of the last lines: a line ends with its F piece, or is the unfinished last one."""
    start = len(lines)
    seen = 0
    while start > 0:
        whole = lines[start - 1][_FIRST : _FIRST + 1] == b"F"
        if whole or start == len(lines):
            seen += 1
            if seen > count:
                break
        start -= 1
    return lines[start:]


def _runs(pieces: Iterable[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
    """Neighbouring pieces of one stream in one."""
    current = 0
    texts: list[bytes] = []
    size = 0
    for fd, text in pieces:
        if texts and (fd != current or size > 1 << 18):
            yield current, b"".join(texts)
            texts, size = [], 0
        current = fd
        texts.append(text)
        size += len(text)
    if texts:
        yield current, b"".join(texts)


def _stamp(moment: float | None) -> bytes:
    """A moment as the log writes it, so that bytes compare; empty for none."""
    if moment is None:
        return b""
    whole = int(moment // 1)
    text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole))
    return b"%s.%09dZ" % (text.encode(), int((moment - whole) * 1e9))


def _open(path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return -1


def _read(fd: int, length: int) -> bytes:
    """That many bytes, or all."""
    with os.fdopen(os.dup(fd), "rb") as file:
        return file.read(length)
