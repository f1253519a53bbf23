"""Moments as Docker writes them."""

from __future__ import annotations

import time


def rfc3339(moment: float) -> str:
    """2026-11-24T10:11:12.123456789Z; the year 1 for what has not happened, as Go writes its zero."""
    if not moment:
        return "0001-01-01T00:00:00Z"
    seconds, fraction = divmod(moment, 1)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{int(fraction * 1e9):09d}Z"


def lasting(seconds: float) -> str:
    """About how long, in the words of `docker ps`: "About a minute", "3 hours"."""
    if seconds < 1:
        return "Less than a second"
    minutes, hours = int(seconds // 60), int(seconds / 3600 + 0.5)
    if minutes == 1:
        return "About a minute"
    if minutes >= 60 and hours == 1:
        return "About an hour"
    days = hours // 24
    for count, unit, until in (
        (int(seconds), "second", minutes < 1),
        (minutes, "minute", minutes < 60),
        (hours, "hour", hours < 48),
        (days, "day", days < 14),
        (days // 7, "week", days < 60),
        (days // 30, "month", days < 730),
    ):
        if until:
            return f"{count} {unit}" if count == 1 else f"{count} {unit}s"
    return f"{days // 365} years"
