"""Landlock: of all files, only those beside the host's resolv.conf may be opened, and only to be read.

Where the kernel is new enough, also: TCP connections to port 53 alone (6.7), no abstract Unix sockets of others and no
signals to others (6.12). What is open already stays open. Needs neither root nor a mount of its own, so it is the same
inside a user namespace. Numbers: include/uapi/linux/landlock.h; the calls' numbers are the same on all processors.
"""

from __future__ import annotations

import ctypes
import os
import struct

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION = 1
_PATH_BENEATH, _NET_PORT = 1, 2
_READ_FILE = 1 << 2
_CONNECT_TCP = 1 << 1
_BIND_TCP = 1 << 0
_SCOPES = 3
_DNS = 53

_libc = ctypes.CDLL(None, use_errno=True)


def version() -> int:
    """The kernel's Landlock ABI; 0: there is none, or it is turned off."""
    return max(0, int(_libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION)))


def restrict(resolv_conf: str) -> int:
    """Restrict this process, which has no_new_privs, for good; the ABI by which it is. Raises OSError.

    Directories rather than the file are opened up, because the file is replaced when it changes.
    """
    abi = version()
    if not abi:
        return 0
    ruleset = _call(_CREATE_RULESET, attributes := _handled(abi), ctypes.c_size_t(len(attributes)), 0)
    try:
        for place in _places(resolv_conf):
            _open_up(ruleset, place)
        if abi >= 4:
            _call(_ADD_RULE, ruleset, _NET_PORT, struct.pack("=QQ", _CONNECT_TCP, _DNS), 0)
        _call(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)
    return abi


def _handled(abi: int) -> bytes:
    """struct landlock_ruleset_attr: everything that this kernel can forbid."""
    rights = {1: 13, 2: 14, 3: 15, 4: 15}.get(abi, 16)
    handled = struct.pack("=Q", (1 << rights) - 1)
    if abi >= 4:
        handled += struct.pack("=Q", _BIND_TCP | _CONNECT_TCP)
    return handled + struct.pack("=Q", _SCOPES) if abi >= 6 else handled


def _places(resolv_conf: str) -> dict[str, None]:
    """Where the file is, and where it leads if it is a link."""
    found: dict[str, None] = {}
    for path in (resolv_conf, os.path.realpath(resolv_conf)):
        directory = os.path.dirname(path)
        found[path if directory in ("", "/") else directory] = None
    return found


def _open_up(ruleset: int, place: str) -> None:
    try:
        fd = os.open(place, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # nothing to be read there
    try:
        _call(_ADD_RULE, ruleset, _PATH_BENEATH, struct.pack("=Qi", _READ_FILE, fd), 0)
    finally:
        os.close(fd)


def _call(number: int, *arguments: object) -> int:
    result = int(_libc.syscall(number, *arguments))
    if result < 0:
        raise OSError(ctypes.get_errno(), f"Landlock: {os.strerror(ctypes.get_errno())}")
    return result
