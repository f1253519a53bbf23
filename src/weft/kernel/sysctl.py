"""Switches of the kernel under /proc/sys, as the calling thread's namespace sees them."""

from __future__ import annotations

import errno
import logging
import os
from dataclasses import replace

from weft.kernel.refusal import refusal
from weft.plan import Sysctl

log = logging.getLogger("weft.kernel")


def read(key: str) -> str:
    """Raises OSError if there is no such switch."""
    with open(_path(key), encoding="ascii") as file:
        return file.read().strip()


def ensure(switch: Sysctl) -> None:
    """Set it if it differs, and say so: it may be the whole host's."""
    try:
        before = read(switch.key)
        if before == switch.value:
            return
        with open(_path(switch.key), "w", encoding="ascii") as file:
            file.write(switch.value)
    except OSError as error:
        number = error.errno or 0
        if number == errno.ENOENT and switch.optional:
            return
        words = _absent(switch.key) if number == errno.ENOENT else os.strerror(number)
        raise refusal(number, f"set {switch.key}={switch.value} ({switch.reason})", words) from error
    log.info("%s set from %s to %s: %s", switch.key, before, switch.value, switch.reason)


def _absent(key: str) -> str:
    parts = key.split(".")
    if parts[0] == "net" and len(parts) == 5 and not os.path.exists(os.path.dirname(_path(key))):
        return f"there is no link {parts[3].replace('/', '.')}"
    return "the kernel has no such switch"


def is_set(switch: Sysctl) -> bool:
    try:
        return read(switch.key) == switch.value
    except FileNotFoundError:
        return switch.optional
    except OSError:
        return False


def set_back(switch: Sysctl) -> None:
    """To what it was before; its link may be gone, and the switch with it."""
    if switch.before is None or not is_set(switch):
        return
    reason = "as it was before weft used the link"
    ensure(replace(switch, value=switch.before, reason=reason, optional=True))


def _path(key: str) -> str:
    # As sysctl(8): dots separate, and a dot inside a link's name is written as a slash.
    return "/proc/sys/" + key.translate(str.maketrans("./", "/."))
