"""What the resolver shuts behind itself once it is set up: files, system calls, memory, processes.

After this a resolver that a container has taken over can read what lies beside the host's resolv.conf, ask DNS servers
and answer containers, and hardly anything else. Everything here works without privileges, in a user namespace too.
"""

from __future__ import annotations

import os
import resource

from weft.resolver import landlock, seccomp

MEMORY = 1024 * 1024 * 1024
"""Bytes of address space. Ten thousand containers' names and answers take a tenth of it."""
LOG_SIZE = 4 * 1024 * 1024
"""Bytes to which a file may grow: the log is in memory, and starts anew long before."""


class Sandbox:
    """How well it is closed."""

    __slots__ = ("landlock", "open", "seccomp")

    def __init__(self, landlock_abi: int, *, filtered: bool, reasons: list[str]) -> None:
        self.landlock = landlock_abi
        """The kernel's Landlock ABI; 0: files are as open as they are to its user."""
        self.seccomp = filtered
        self.open = tuple(reasons)
        """What could not be closed, and why."""


def close(resolv_conf: str, *, own_log: bool) -> Sandbox:
    """Shut everything; to be called last, with no_new_privs set. What this kernel cannot do is said, not ignored."""
    _limit(own_log=own_log)
    reasons = []
    abi = 0
    try:
        abi = landlock.restrict(resolv_conf)
        if not abi:
            reasons.append("files: this kernel has no Landlock, or it is not among its lsm=")
    except OSError as error:
        reasons.append(f"files: {error.strerror}")
    why = seccomp.install(os.uname().machine)
    if why:
        reasons.append(f"system calls: {why}")
    return Sandbox(abi, filtered=not why, reasons=reasons)


def _limit(*, own_log: bool) -> None:
    _at_most(resource.RLIMIT_CORE, 0)
    _at_most(resource.RLIMIT_NPROC, 0)
    _at_most(resource.RLIMIT_MEMLOCK, 0)
    _at_most(resource.RLIMIT_AS, MEMORY)
    if own_log:  # somebody else's standard error may be a large file
        _at_most(resource.RLIMIT_FSIZE, LOG_SIZE)


def _at_most(limit: int, value: int) -> None:
    _, hard = resource.getrlimit(limit)
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(limit, (value, value))
