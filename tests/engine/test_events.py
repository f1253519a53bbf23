"""What is remembered of what happened."""

from __future__ import annotations

import pytest

from weft.engine.events import EventLog
from weft.model import Exit, Sandbox


class Clock:
    def time(self) -> float:
        return 7.0


def events(keep: int = 4) -> EventLog:
    return EventLog(Clock(), lambda deed: deed(), keep=keep)


def test_what_happened_is_forgotten_oldest_first() -> None:
    log = events(keep=2)
    for action in ("create", "start", "die"):
        log.emit("container", action, "1", "web")
    assert [event.action for event in log.recent()] == ["start", "die"]


@pytest.mark.parametrize(("started", "seconds"), [(90.0, "11"), (101.5, "0"), (200.0, "0"), (0.0, "0")])
def test_an_end_tells_how_long_it_ran(started: float, seconds: str) -> None:
    log = events()
    log.emit_die(Sandbox(id="1", name="web", key="", labels={"a": "b"}), Exit(code=3, at=101.9), started)
    (die,) = log.recent()
    assert (die.action, die.attributes, die.details) == ("die", {"code": "3"}, {"seconds": seconds})
    assert die.labels == {"a": "b"}
