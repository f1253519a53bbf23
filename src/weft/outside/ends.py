"""Notices the end of what containers live in: a process (by its pidfd), a bound path (by looking)."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

_LOOK_SECONDS = 0.5
"""A path that somebody unbound sends no event that reaches every mount namespace; looking costs a stat."""


class Ends:
    """Used on the event loop's thread. `ended(sandbox id)` is called once for each end."""

    def __init__(self, loop: asyncio.AbstractEventLoop, ended: Callable[[str], None]) -> None:
        self._loop = loop
        self._ended = ended
        self._pidfds: dict[str, int] = {}
        self._paths: dict[str, tuple[str, tuple[int, int] | None]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def watch_pid(self, sandbox_id: str, pid: int) -> None:
        self.forget(sandbox_id)
        try:
            fd = os.pidfd_open(pid)
        except OSError:  # gone already
            self._loop.call_soon(self._ended, sandbox_id)
            return
        self.watch_fd(sandbox_id, fd)

    def watch_fd(self, sandbox_id: str, fd: int) -> None:
        """A pidfd, which is closed once it is no longer needed."""
        self.forget(sandbox_id)
        self._pidfds[sandbox_id] = fd
        self._loop.add_reader(fd, self._process_ended, sandbox_id)

    def watch_path(self, sandbox_id: str, path: str) -> None:
        self.forget(sandbox_id)
        self._paths[sandbox_id] = (path, _identity(path))
        if self._timer is None:
            self._timer = self._loop.call_later(_LOOK_SECONDS, self._look)

    def forget(self, sandbox_id: str) -> None:
        fd = self._pidfds.pop(sandbox_id, None)
        if fd is not None:
            self._loop.remove_reader(fd)
            os.close(fd)
        self._paths.pop(sandbox_id, None)

    def _process_ended(self, sandbox_id: str) -> None:
        self.forget(sandbox_id)
        self._ended(sandbox_id)

    def _look(self) -> None:
        for sandbox_id, (path, seen) in list(self._paths.items()):
            if seen is None or _identity(path) != seen:
                self.forget(sandbox_id)
                self._ended(sandbox_id)
        self._timer = self._loop.call_later(_LOOK_SECONDS, self._look) if self._paths else None


def _identity(path: str) -> tuple[int, int] | None:
    """Device and inode: another namespace bound at the same path is another one."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino
