"""Waiting for what must come true soon."""

from __future__ import annotations

import time
from collections.abc import Callable


def eventually(claim: Callable[[], object], *, within: float = 1.0, says: str = "") -> float:
    """Ask until the claim holds, and fail if it does not in time; how many seconds it took."""
    begun = time.monotonic()
    while not claim():
        assert time.monotonic() - begun < within, f"after {within} s it is still not so{says and ': ' + says}"
        time.sleep(0.01)
    return time.monotonic() - begun
