"""A pseudo-terminal that is made inside a container and served from outside."""

from __future__ import annotations

import _socket
import fcntl
import os
import sys
import termios

from weft.shim.linux import close_on_exec

TIOCGPTPEER = 0x5441
TIOCSPTLCK = 0x40045431

_RIGHTS = (_socket.SOL_SOCKET, _socket.SCM_RIGHTS)


def open_inside(report: _socket.socket, rows: int, columns: int) -> int:
    """Open a terminal of the devpts mounted here, hand its master to the supervisor, return the command's side."""
    master = os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        fcntl.ioctl(master, TIOCSPTLCK, b"\0\0\0\0")
        slave = fcntl.ioctl(master, TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY)  # by path it might be another's
        close_on_exec(slave)
        if rows and columns:
            resize(master, rows, columns)
        report.sendmsg([b"terminal"], [(*_RIGHTS, master.to_bytes(4, sys.byteorder))])
    finally:
        os.close(master)
    return slave


def received(ancillary: list[tuple[int, int, bytes]]) -> int:
    """The descriptor that came with a message; -1 if none."""
    for level, kind, data in ancillary:
        if (level, kind) == _RIGHTS:
            fd = int.from_bytes(data[:4], sys.byteorder)
            close_on_exec(fd)
            return fd
    return -1


def take(slave: int) -> None:
    """Make it the controlling terminal of this process, a session's leader."""
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)


def resize(fd: int, rows: int, columns: int) -> None:
    size = b"".join(n.to_bytes(2, sys.byteorder) for n in (rows, columns, 0, 0))
    fcntl.ioctl(fd, termios.TIOCSWINSZ, size)
