"""System calls that Python 3.11 does not offer, each raising an OSError that names the call and what it was about."""

from __future__ import annotations

import ctypes
import fcntl
import os

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_BIND = 4096
MS_REC = 16384
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19

MNT_DETACH = 2

PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)
_libc.prctl.argtypes = (ctypes.c_int, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong)


def unshare(flags: int) -> None:
    _check(_libc.unshare(flags), "unshare", f"{flags:#x}")


def setns(path: str, flags: int) -> None:
    """Enter the namespace at a path."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _check(_libc.setns(fd, flags), "setns", path)
    finally:
        os.close(fd)


def mount(source: str, target: str, fstype: str | None, flags: int, data: str = "") -> None:
    kind = None if fstype is None else fstype.encode()
    done = _libc.mount(os.fsencode(source), os.fsencode(target), kind, flags, data.encode())
    _check(done, "mount", target)


def umount(target: str, flags: int) -> None:
    _check(_libc.umount2(os.fsencode(target), flags), "umount", target)


def pivot_root(new: str, old: str) -> None:
    _check(_libc.pivot_root(os.fsencode(new), os.fsencode(old)), "pivot_root", new)


def close_on_exec(fd: int) -> None:
    fcntl.fcntl(fd, fcntl.F_SETFD, fcntl.FD_CLOEXEC)


def die_with_parent() -> None:
    """Have the kernel kill this process when the thread that forked it ends."""
    _check(_libc.prctl(PR_SET_PDEATHSIG, 9, 0, 0, 0), "prctl", "PR_SET_PDEATHSIG")


def set_name(name: str) -> None:
    """Name this process for ps and top; at most 15 bytes are kept."""
    text = ctypes.create_string_buffer(name.encode())
    _libc.prctl(PR_SET_NAME, ctypes.addressof(text), 0, 0, 0)


def start_time(pid: int) -> int:
    """When a process started, in clock ticks since boot: with its pid, this names it for good.

    0 if there is no such process, or only its zombie. From proc(5), field 22 of /proc/PID/stat.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return 0
    return 0 if fields[0] in (b"Z", b"X") else int(fields[19])


def _check(result: int, call: str, subject: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}", subject)
