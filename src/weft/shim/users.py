"""Who a command runs as: Docker's USER[:GROUP], names and numbers, looked up in the files of the container itself.

The standard library's pwd is no use here: it would load the host's name service modules into a foreign root.
"""

from __future__ import annotations

import os

PASSWD = "/etc/passwd"
GROUP = "/etc/group"


def become(user: str) -> str:
    """Take on the user's ids; the home directory. Raises LookupError for a name that nobody bears, OSError."""
    name, _, group = user.partition(":")
    row = _find(PASSWD, name, 7)
    if row is None and not name.isdecimal():
        raise LookupError(f"no user {name!r} in {PASSWD}")
    uid = int(row[2]) if row else int(name)
    gid = _gid(group) if group else int(row[3]) if row else 0
    if (uid, gid) != (os.getuid(), os.getgid()):
        os.setgroups([] if group or row is None else _member_of(row[0]))
        os.setgid(gid)
        os.setuid(uid)
    return row[5] if row else "/"


def _gid(group: str) -> int:
    row = _find(GROUP, group, 4)
    if row is None and not group.isdecimal():
        raise LookupError(f"no group {group!r} in {GROUP}")
    return int(row[2]) if row else int(group)


def _member_of(name: str) -> list[int]:
    return [int(row[2]) for row in _rows(GROUP, 4) if name in row[3].split(",")]


def _find(path: str, key: str, width: int) -> list[str] | None:
    """The row of a name; a number is looked for in the third column too."""
    rows = _rows(path, width)
    for row in rows:
        if row[0] == key:
            return row
    return next((row for row in rows if row[2] == key), None)


def _rows(path: str, width: int) -> list[list[str]]:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            rows = [line.rstrip("\n").split(":") for line in file]
    except OSError:
        return []
    return [row for row in rows if len(row) >= width and row[2].isdecimal()]
