"""Going through with what cannot be called off."""

from __future__ import annotations

from collections.abc import Callable


def go_through(*steps: Callable[[], object]) -> None:
    """Take every step, whatever becomes of the others; then raise what went wrong, together."""
    errors: list[Exception] = []
    for step in steps:
        try:
            step()
        except Exception as error:
            errors.append(error)
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise ExceptionGroup("several steps went wrong", errors)
