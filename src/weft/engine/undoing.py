"""Taking back what was begun, whatever came in between."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from weft.engine.parts import Parts
from weft.engine.through import go_through
from weft.plan import Plan

_log = logging.getLogger("weft.engine")


@contextmanager
def undoing(parts: Parts, plan: Plan, pending: Sequence[str], *undo: Callable[[], object]) -> Iterator[None]:
    """If the body fails: the steps, then what is stored as pending is so no more, and the plan is taken away."""
    try:
        yield
    except BaseException:
        # First no record asks for it, then the kernel lets go: if this is cut short, the next start goes on.
        try:
            go_through(*undo, lambda: parts.store.confirm(pending), lambda: parts.kernel.remove(plan))
        except Exception:
            _log.exception("cannot take everything back; the next audit will")
        raise
