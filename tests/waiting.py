"""Waiting for what must come true soon, and how long "soon" is where all is slow."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

PACE_VARIABLE = "WEFT_TEST_PACE"
PACE = float(os.environ.get(PACE_VARIABLE, "1"))
"""How many times longer than usual everything may take: 1, but for a machine that is emulated (`make test-vm`)."""


def eventually(claim: Callable[[], object], *, within: float = 1.0, says: str = "") -> float:
    """Ask until the claim holds, and fail if it does not in time (times `PACE`); how many seconds it took."""
    within *= PACE
    begun = time.monotonic()
    while not claim():
        assert time.monotonic() - begun < within, f"after {within} s it is still not so{says and ': ' + says}"
        time.sleep(0.01)
    return time.monotonic() - begun
