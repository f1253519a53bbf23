"""/events: what happens, in Docker's words, one JSON document a line."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from weft.engine.events import Event
from weft.engine.parts import Parts
from weft.serve.docker import filters
from weft.serve.docker.dialect import Asked, Refused, Stream, Version
from weft.serve.docker.filters import Filters
from weft.serve.routes import Route
from weft.serve.watch import history_and_news

# Nothing that weft does is about the last row: a filter by it leaves nothing.
FILTERS = (
    *("container", "daemon", "event", "image", "label", "network", "scope", "type"),
    *("config", "node", "plugin", "secret", "service", "volume"),
)

_ACTIONS = {"end": "die"}
"""weft's word to Docker's, where they differ: the namespace that a container was attached by is gone."""
_ATTRIBUTES = {"code": "exitCode", "seconds": "execDuration", "exec": "execID", "old": "oldName"}
"""The same for the attributes of containers' events."""
_SCOPE = "local"

_encode = msgspec.json.encode


@dataclass(frozen=True, slots=True)
class Events:
    parts: Parts

    def routes(self) -> tuple[Route, ...]:
        return (Route(method="GET", path="/events", handler=self.events, summary="What happens, as it happens"),)

    async def events(self, asked: Asked) -> Stream:
        now = self.parts.clock.time()
        since, until = (_moment(asked.query.get(name), now) for name in ("since", "until"))
        if since is not None and until is not None and until < since:
            raise Refused(400, f"`since` time ({since:f}) cannot be after `until` time ({until:f})")
        fits = _fitting(filters.read_filters(asked.query.get("filters"), FILTERS))
        if until is not None and since is None:
            since = 0.0  # as Docker has it: an end without a beginning is about the past, too
        lines = self._lines(now, since, until, fits, asked.version)
        kind = "application/jsonl" if asked.version >= (1, 52) else "application/json"
        return Stream(chunks=lines, content_type=kind)

    async def _lines(
        self, now: float, since: float | None, until: float | None, fits: _Fits, version: Version
    ) -> AsyncGenerator[bytes, None]:
        follow = until is None or until > now
        news = history_and_news(self.parts.events, now=now, since=since, until=until, follow=follow)
        async for event in news:
            message = docker_event(event)
            if fits(event, message):
                yield _encode(message if version >= (1, 52) else _as_of_old(message)) + b"\n"


_Fits = Callable[[Event, dict[str, Any]], bool]


def docker_event(event: Event) -> dict[str, Any]:
    nanoseconds = int(event.time * 1e9)
    return {
        "Type": event.type,
        "Action": _action(event),
        "Actor": {"ID": event.id, "Attributes": _attributes(event)},
        "scope": _SCOPE,
        "time": nanoseconds // 10**9,
        "timeNano": nanoseconds,
    }


def _action(event: Event) -> str:
    action = _ACTIONS.get(event.action, event.action)
    command = event.details.get("command")
    if command is None:
        return action
    return f"{action}: {command}" if " " in command else f"{action}: {command} "  # then there are no arguments


def _attributes(event: Event) -> dict[str, str]:
    if event.action == "prune":
        return dict(event.attributes)
    if event.type == "container":
        return {"image": "", **event.labels, **_of_container(event), "name": event.name}
    known = {**event.details, **event.attributes, "name": event.name}
    if event.type == "network":
        known["type"] = known.pop("driver", "")
        known.pop("addresses", None)
        ident = known.pop("container_id", None)
        return {**known, "container": ident} if ident else known
    return known


def _of_container(event: Event) -> dict[str, str]:
    told = {**event.details, **event.attributes}
    told.pop("command", None)  # it is part of the action
    known = {_ATTRIBUTES.get(key, key): value for key, value in told.items()}
    match event.action:
        case "rename":
            known["oldName"] = f"/{known['oldName']}"
        case "end":
            known["exitCode"] = "0"
    return known


def _as_of_old(message: dict[str, Any]) -> dict[str, Any]:
    """With the fields that Docker had first and kept for containers until 1.52."""
    if message["Type"] != "container":
        return message
    actor = message["Actor"]
    return {"status": message["Action"], "id": actor["ID"], "from": actor["Attributes"]["image"], **message}


def _moment(text: str | None, now: float) -> float | None:
    return filters.read_time(text, now) if text else None


def _fitting(wanted: Filters) -> _Fits:
    """Whether an event passes all filters. Names and ids need only begin as asked, as in Docker."""

    def fits(event: Event, message: dict[str, Any]) -> bool:
        attributes = message["Actor"]["Attributes"]
        known = {
            "type": (event.type,),
            "scope": (_SCOPE,),
            "event": _spellings(message["Action"]),
            "image": (attributes.get("image"),),
        }
        for name, values in wanted.items():
            if not values:
                continue
            if name == "label":
                passes = filters.labels_fit({**event.labels, **attributes}, values)
            elif name in known:
                passes = any(value in known[name] for value in values)
            else:
                passes = event.type == name and _is_named(event, values)
            if not passes:
                return False
        return True

    return fits


def _spellings(action: str) -> tuple[str, ...]:
    """`exec_create: ls` answers to its whole and to its beginning."""
    return action, action.partition(":")[0]


def _is_named(event: Event, values: tuple[str, ...]) -> bool:
    return any(event.id.startswith(value) or event.name.startswith(value) for value in values)
