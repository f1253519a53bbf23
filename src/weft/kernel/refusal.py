"""From the kernel's numbers to errors that a person reads."""

from __future__ import annotations

import errno
from collections.abc import Sequence

from weft.errors import Conflict, Exhausted, Invalid, NotFound, Unavailable, Unsupported, WeftError

_KINDS: dict[int, type[WeftError]] = {
    errno.EEXIST: Conflict,
    errno.EBUSY: Conflict,
    errno.EADDRINUSE: Conflict,
    errno.ENOTEMPTY: Conflict,
    errno.ENODEV: NotFound,
    errno.ENOENT: NotFound,
    errno.ESRCH: NotFound,
    errno.EXFULL: Exhausted,
    errno.ENOSPC: Exhausted,
    errno.ENOMEM: Exhausted,
    errno.ENFILE: Exhausted,
    errno.EMFILE: Exhausted,
    errno.ENOBUFS: Exhausted,
    errno.EOPNOTSUPP: Unsupported,
    errno.EAFNOSUPPORT: Unsupported,
    errno.EPROTONOSUPPORT: Unsupported,
    errno.ENOSYS: Unsupported,
    errno.EINVAL: Invalid,
    errno.ERANGE: Invalid,
    errno.EADDRNOTAVAIL: Invalid,
    errno.ENETUNREACH: Invalid,
    errno.EROFS: Unsupported,
}


def refusal(number: int, deed: str, words: str) -> WeftError:
    """`deed` reads on from "cannot": "add 10.0.0.2/24 to eth0 in /run/weft/netns/…"."""
    if number in (errno.EPERM, errno.EACCES):
        return Unavailable(f"cannot {deed}: {words}; weftd lacks the rights (root, or CAP_NET_ADMIN and CAP_SYS_ADMIN)")
    return _KINDS.get(number, WeftError)(f"cannot {deed}: {words}")


def all_of(errors: Sequence[WeftError]) -> WeftError:
    """One error out of several: of the first one's kind, with every message, once."""
    if len(errors) == 1:
        return errors[0]
    return type(errors[0])("; ".join(dict.fromkeys(error.message for error in errors)))
