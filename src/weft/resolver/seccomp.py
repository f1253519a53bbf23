"""A seccomp filter of our own: the system calls that the resolver makes, some only with certain arguments.

What is not listed fails with EPERM: a C library that tries something newer first falls back, names go on. A call made
in another processor mode (int 0x80), whose numbers mean something else, ends the process.

Numbers: arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h; the filter's form:
include/uapi/linux/{filter,seccomp,audit}.h.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys

_PR_SET_SECCOMP = 22
_SECCOMP_MODE_FILTER = 2

_ARCHITECTURES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
"""AUDIT_ARCH_…, and the column of the tables below."""

_SAFE = {
    # x86_64, aarch64; -1: there is no such call
    "accept": (43, 202),
    "accept4": (288, 242),
    "brk": (12, 214),
    "clock_gettime": (228, 113),
    "clock_nanosleep": (230, 115),
    "close": (3, 57),
    "connect": (42, 203),
    "dup2": (33, -1),
    "dup3": (292, 24),
    "epoll_ctl": (233, 21),
    "epoll_pwait": (281, 22),
    "epoll_wait": (232, -1),
    "exit": (60, 93),
    "exit_group": (231, 94),
    "fstat": (5, 80),
    "ftruncate": (77, 46),
    "futex": (202, 98),
    "getpeername": (52, 205),
    "getpid": (39, 172),
    "getrandom": (318, 278),
    "getsockname": (51, 204),
    "getsockopt": (55, 209),
    "gettimeofday": (96, 169),
    "getuid": (102, 174),
    "lseek": (8, 62),
    "madvise": (28, 233),
    "mremap": (25, 216),
    "munmap": (11, 215),
    "newfstatat": (262, 79),
    "poll": (7, -1),
    "ppoll": (271, 73),
    "read": (0, 63),
    "recvfrom": (45, 207),
    "recvmmsg": (299, 243),
    "recvmsg": (47, 212),
    "restart_syscall": (219, 128),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "sendmmsg": (307, 269),
    "sendmsg": (46, 211),
    "sendto": (44, 206),
    "sigaltstack": (131, 132),
    "statx": (332, 291),
    "time": (201, -1),
    "write": (1, 64),
    "writev": (20, 66),
}

_Condition = tuple[int, int, tuple[int, ...]]
"""An argument's place, the bits of it that matter, and what they may be."""

_NO_EXEC: _Condition = (2, 0x4, (0,))
_ANY_WRITE = os.O_ACCMODE | os.O_CREAT | os.O_TRUNC

_WITHIN: dict[str, tuple[tuple[int, int], tuple[_Condition, ...]]] = {
    # UDP and TCP over IP alone: so there is no way to a Unix socket, netlink or raw packets.
    "socket": ((41, 198), ((0, 0xFFFFFFFF, (2, 10)), (1, 0xF, (1, 2)), (2, 0xFFFFFFFF, (0,)))),
    "openat": ((257, 56), ((2, _ANY_WRITE, (0,)),)),
    "mmap": ((9, 222), (_NO_EXEC,)),
    "mprotect": ((10, 226), (_NO_EXEC,)),
    # TCGETS (asked by `open`), FIONBIO, FIOCLEX, SIOCGIFINDEX
    "ioctl": ((16, 29), ((1, 0xFFFFFFFF, (0x5401, 0x5421, 0x5451, 0x8933)),)),
}

_LOAD = 0x20
_AND = 0x54
_JUMP_EQUAL = 0x15
_RETURN = 0x06
_ALLOW = 0x7FFF0000
_EPERM = 0x00050001
_KILL = 0x80000000
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
"""Offsets in struct seccomp_data."""

_INSTRUCTION = struct.Struct("=HBBI")


class _Program(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))


def install(machine: str) -> str:
    """Have this process, which has no_new_privs, filtered for good. Returns why it could not be; empty if it is."""
    program = assemble(machine)
    if not program:
        return f"no filter for {machine}"
    if sys.byteorder != "little" or struct.calcsize("P") != 8:
        return "not a 64-bit little-endian program"
    libc = ctypes.CDLL(None, use_errno=True)
    code = ctypes.create_string_buffer(program)
    filtered = _Program(len(program) // _INSTRUCTION.size, ctypes.addressof(code))
    if libc.prctl(_PR_SET_SECCOMP, ctypes.c_ulong(_SECCOMP_MODE_FILTER), ctypes.byref(filtered), 0, 0):
        return os.strerror(ctypes.get_errno())
    return ""


def assemble(machine: str) -> bytes:
    """The filter as BPF; nothing for a processor that we have no numbers for."""
    if machine not in _ARCHITECTURES:
        return b""
    architecture, column = _ARCHITECTURES[machine]
    code = [
        _instruction(_LOAD, _ARCHITECTURE),
        _instruction(_JUMP_EQUAL, architecture, then=1),
        _instruction(_RETURN, _KILL),
        _instruction(_LOAD, _NUMBER),
    ]
    for safe in _SAFE.values():
        code += _call(safe[column], [])
    for numbers, conditions in _WITHIN.values():
        code += _call(numbers[column], [i for condition in conditions for i in _condition(condition)])
    return b"".join([*code, _instruction(_RETURN, _EPERM)])


def _call(number: int, conditions: list[bytes]) -> list[bytes]:
    """Allow one call if the conditions, each of which returns or falls through, hold."""
    if number < 0:
        return []
    body = [*conditions, _instruction(_RETURN, _ALLOW)]
    return [_instruction(_JUMP_EQUAL, number, otherwise=len(body)), *body]


def _condition(condition: _Condition) -> list[bytes]:
    place, mask, values = condition
    # The lower half: all of these are ints to the kernel.
    code = [_instruction(_LOAD, _ARGUMENTS + 8 * place), _instruction(_AND, mask)]
    code += [_instruction(_JUMP_EQUAL, value, then=len(values) - i) for i, value in enumerate(values)]
    return [*code, _instruction(_RETURN, _EPERM)]


def _instruction(code: int, value: int, *, then: int = 0, otherwise: int = 0) -> bytes:
    """struct sock_filter."""
    return _INSTRUCTION.pack(code, then, otherwise, value)
