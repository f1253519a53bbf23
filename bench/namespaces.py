"""Network namespaces for the measurements: made, entered and pinned by system call, so that no helper is timed.

The benches are single-threaded where they switch namespaces; a switch touches the calling thread only.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CLONE_NEWNET = 0x40000000
MS_BIND = 4096
MNT_DETACH = 2
OWN = "/proc/thread-self/ns/net"

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def new_namespace() -> int:
    """A file descriptor of a new, empty network namespace; the caller's own is unchanged."""
    home = os.open(OWN, os.O_RDONLY)
    try:
        _check(_libc.unshare(CLONE_NEWNET), "unshare")
        try:
            return os.open(OWN, os.O_RDONLY)
        finally:
            _check(_libc.setns(home, CLONE_NEWNET), "setns")
    finally:
        os.close(home)


def pin(fd: int, path: Path) -> None:
    """Bind the namespace at a path, as container engines do."""
    path.touch()
    _check(_libc.mount(f"/proc/self/fd/{fd}".encode(), os.fsencode(path), None, MS_BIND, None), "mount")


def unpin(path: Path) -> None:
    _check(_libc.umount2(os.fsencode(path), MNT_DETACH), "umount")
    path.unlink()


@contextmanager
def entered(netns: int | str | Path) -> Iterator[None]:
    """Be in a namespace for a while; processes started meanwhile are born there."""
    fd = netns if isinstance(netns, int) else os.open(netns, os.O_RDONLY)
    home = os.open(OWN, os.O_RDONLY)
    try:
        _check(_libc.setns(fd, CLONE_NEWNET), "setns")
        try:
            yield
        finally:
            _check(_libc.setns(home, CLONE_NEWNET), "setns")
    finally:
        os.close(home)
        if fd is not netns:
            os.close(fd)
