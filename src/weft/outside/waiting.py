"""Waiting for one descriptor: with poll(2), since select(2) knows none above 1,023 and a daemon with many ports has."""

from __future__ import annotations

import select


def is_readable(fd: int, seconds: float) -> bool:
    """Whether there is something to read, or an end, within so many seconds."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(max(0.0, seconds) * 1000))
