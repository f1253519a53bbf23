"""A terminal with a person in front of it."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from collections.abc import Sequence
from typing import Self


class Terminal:
    """Runs a command on a terminal of its own."""

    def __init__(self, command: Sequence[str], *, rows: int = 33, columns: int = 111) -> None:
        self._master, slave = pty.openpty()
        self._seen = b""
        self.resize(rows, columns)
        self.slave = slave
        self.process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True)

    def resize(self, rows: int, columns: int) -> None:
        """As a terminal emulator does, which tells the program too (the kernel would, were it its session's)."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def expect(self, text: str, timeout: float = 5.0) -> str:
        """Wait until the text is on the screen; everything up to its end. What was seen is not seen again."""
        end = time.monotonic() + timeout
        wanted = text.encode()
        while wanted not in self._seen:
            assert select.select([self._master], [], [], max(0.0, end - time.monotonic()))[0], self._seen
            self._seen += os.read(self._master, 65536)
        before, found, self._seen = self._seen.partition(wanted)
        return (before + found).decode()

    def wait(self, timeout: float = 5.0) -> int:
        return self.process.wait(timeout)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._master)
        os.close(self.slave)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
