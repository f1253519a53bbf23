"""What happened, for those who watch: a bounded memory of the latest events, and subscribers."""

from __future__ import annotations

import itertools
import logging
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from operator import itemgetter
from typing import Literal

from weft.engine.needs import Clock
from weft.model import Exit, Network, Sandbox

_log = logging.getLogger("weft.events")

_NONE: Mapping[str, str] = {}

Type = Literal["network", "container", "daemon"]

ASIDE = frozenset(
    {"attach", "detach", "resize", "top", "exec_create", "exec_start", "exec_detach", "exec_die"},
)
"""What is done with a container and changes nothing of it. A monitor may well do so every second: it is remembered
apart, or it would soon be all that is remembered, and the log has it at its most talkative alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    time: float
    type: Type
    action: str
    id: str
    name: str
    attributes: Mapping[str, str] = field(default_factory=dict)
    details: Mapping[str, str] = field(default_factory=dict)
    """More attributes, which the log leaves out."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Of the network or container."""


class EventLog:
    """Emitting is safe from any thread and costs little: who asked for the event is answered first.

    Subscribers and the log are told by `later`, in order; subscribers must not block.
    """

    def __init__(self, clock: Clock, later: Callable[[Callable[[], object]], None], *, keep: int = 1024) -> None:
        self._clock = clock
        self._later = later
        self._numbers = itertools.count()
        self._recent: deque[tuple[int, Event]] = deque(maxlen=keep)
        self._aside: deque[tuple[int, Event]] = deque(maxlen=keep)
        self._subscribers: list[Callable[[Event], None]] = []

    def emit(
        self,
        type: Type,  # noqa: A002
        action: str,
        ident: str,
        name: str,
        *,
        details: Mapping[str, str] = _NONE,
        labels: Mapping[str, str] = _NONE,
        **attributes: str,
    ) -> None:
        event = Event(
            time=self._clock.time(),
            type=type,
            action=action,
            id=ident,
            name=name,
            attributes=attributes,
            details=details,
            labels=labels,
        )
        memory = self._aside if action in ASIDE else self._recent
        memory.append((next(self._numbers), event))
        self._later(partial(self._tell, event))

    def emit_network(self, action: str, network: Network, **attributes: str) -> None:
        told = {"driver": network.driver, **attributes}
        self.emit("network", action, network.id, network.name, details=_NONE, labels=network.labels, **told)

    def emit_container(self, action: str, sandbox: Sandbox, **attributes: str) -> None:
        self.emit("container", action, sandbox.id, sandbox.name, details=_NONE, labels=sandbox.labels, **attributes)

    def emit_place(self, action: str, network: Network, sandbox: Sandbox, **attributes: str) -> None:
        """What becomes of a container's place on a network."""
        self.emit(
            "network",
            action,
            network.id,
            network.name,
            details={"container_id": sandbox.id, "driver": network.driver},
            labels=network.labels,
            container=sandbox.name,
            **attributes,
        )

    def emit_die(self, sandbox: Sandbox, end: Exit, started: float) -> None:
        """A container's process has ended; `started` is 0 if nobody knows when that was."""
        seconds = max(0, int(end.at - started)) if started else 0
        self.emit(
            "container",
            "die",
            sandbox.id,
            sandbox.name,
            details={"seconds": str(seconds)},
            labels=sandbox.labels,
            code=str(end.code),
        )

    def _tell(self, event: Event) -> None:
        for subscriber in tuple(self._subscribers):
            subscriber(event)
        fields = {"name": event.name, "id": event.id[:12], **event.attributes}
        level = logging.DEBUG if event.action in ASIDE else logging.INFO
        _log.log(level, "%s %s", event.type, event.action, extra={"fields": fields})

    def recent(self) -> list[Event]:
        """In the order of what happened."""
        return [event for _, event in sorted([*self._recent, *self._aside], key=itemgetter(0))]

    @property
    def listeners(self) -> int:
        return len(self._subscribers)

    def subscribe(self, subscriber: Callable[[Event], None]) -> Callable[[], None]:
        """Returns the function that ends the subscription."""
        self._subscribers.append(subscriber)

        def unsubscribe() -> None:
            if subscriber in self._subscribers:
                self._subscribers.remove(subscriber)

        return unsubscribe
