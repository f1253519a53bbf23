"""Moments as Docker writes them."""

from __future__ import annotations

import time


def rfc3339(moment: float) -> str:
    """2026-11-24T10:11:12.123456789Z; the year 1 for what has not happened, as Go writes its zero."""
    if not moment:
        return "0001-01-01T00:00:00Z"
    seconds, fraction = divmod(moment, 1)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{int(fraction * 1e9):09d}Z"
