"""Giving up what the resolver does not need. It parses what untrusted containers send."""

from __future__ import annotations

import ctypes
import os
import resource

NOBODY = 65534
DESCRIPTORS = 262144
"""Two per container, and one per question under way."""

_NICENESS = -15
_PR_SET_DUMPABLE = 4
_PR_SET_NAME = 15
_PR_CAPBSET_DROP = 24
_PR_SET_NO_NEW_PRIVS = 38
_CAPABILITY_VERSION_3 = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)


def set_name(name: str) -> None:
    """Set the name that ps shows (15 characters)."""
    _libc.prctl(_PR_SET_NAME, ctypes.c_char_p(name.encode()), 0, 0, 0)


def raise_descriptor_limit() -> int:
    """Allow as many descriptors as we may; how many that is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for wanted in ((DESCRIPTORS, max(DESCRIPTORS, hard)), (hard, hard)):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, wanted)
            return wanted[0]
        except (OSError, ValueError):
            continue
    return soft


def come_first() -> None:
    """Be scheduled before what can wait: an answer takes microseconds, and somebody waits for each.

    Joins at full rate keep every processor of a small host busy; without this an answer waits for a whole time slice.
    """
    try:
        os.setpriority(os.PRIO_PROCESS, 0, _NICENESS)
    except OSError:  # in a user namespace
        pass


def drop() -> str:
    """Give up root and every capability for good; says as what we go on."""
    became = "as-started"
    if os.geteuid() == 0:
        for capability in range(64):
            if _libc.prctl(_PR_CAPBSET_DROP, ctypes.c_ulong(capability), 0, 0, 0):
                break
        became = "nobody" if _become_nobody() else "root-without-capabilities"
        _clear_capabilities()
    _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    _libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    return became


def _become_nobody() -> bool:
    try:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    except OSError:
        return False  # in a user namespace without that user
    return True


def _clear_capabilities() -> None:
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    nothing = (ctypes.c_uint32 * 6)()
    _libc.capset(header, nothing)
