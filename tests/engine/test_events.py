"""What is remembered of what happened, and what the log says of it."""

from __future__ import annotations

import logging

import pytest

from weft.engine.events import EventLog
from weft.model import Exit, Sandbox


class Clock:
    def time(self) -> float:
        return 7.0


def events(keep: int = 4) -> EventLog:
    return EventLog(Clock(), lambda deed: deed(), keep=keep)


def test_what_was_looked_at_does_not_push_out_what_happened() -> None:
    log = events()
    for action in ("create", "start"):
        log.emit("container", action, "1", "web")
    for number in range(100):
        log.emit("container", "exec_start", "1", "web", exec=str(number))
        log.emit("container", "top", "1", "web")
    log.emit("container", "kill", "1", "web")
    log.emit("container", "attach", "1", "web")
    actions = [event.action for event in log.recent()]
    assert actions == ["create", "start", "top", "exec_start", "top", "kill", "attach"]


def test_what_happened_is_forgotten_oldest_first() -> None:
    log = events(keep=2)
    for action in ("create", "start", "die"):
        log.emit("container", action, "1", "web")
    assert [event.action for event in log.recent()] == ["start", "die"]


def test_the_log_tells_what_happened_and_no_command_lines(caplog: pytest.LogCaptureFixture) -> None:
    log = events()
    with caplog.at_level(logging.INFO, "weft.events"):
        log.emit("container", "start", "1", "web")
        log.emit("container", "exec_start", "1", "web", details={"command": "login --password 7"}, exec="2")
    assert [record.getMessage() for record in caplog.records] == ["container start"]
    caplog.clear()
    with caplog.at_level(logging.DEBUG, "weft.events"):
        log.emit("container", "exec_start", "1", "web", details={"command": "login --password 7"}, exec="2")
    assert [record.__dict__["fields"] for record in caplog.records] == [{"name": "web", "id": "1", "exec": "2"}]


@pytest.mark.parametrize(("started", "seconds"), [(90.0, "11"), (101.5, "0"), (200.0, "0"), (0.0, "0")])
def test_an_end_tells_how_long_it_ran(started: float, seconds: str) -> None:
    log = events()
    log.emit_die(Sandbox(id="1", name="web", key="", labels={"a": "b"}), Exit(code=3, at=101.9), started)
    (die,) = log.recent()
    assert (die.action, die.attributes, die.details) == ("die", {"code": "3"}, {"seconds": seconds})
    assert die.labels == {"a": "b"}
