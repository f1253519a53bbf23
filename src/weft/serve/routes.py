"""What a route is, and how a path finds its route: two lookups, however many routes there are."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from weft.errors import Invalid, NotFound, WeftError
from weft.fields import read_bool


class MethodNotAllowed(WeftError):
    kind = "invalid"


@dataclass(frozen=True, slots=True)
class Call:
    """A request that was understood."""

    ref: str
    """The name or id in the path; empty where the route has none."""
    body: Any
    """An instance of the route's request type; None where it has none."""
    query: Mapping[str, str]

    def flag(self, name: str) -> bool:
        text = self.query.get(name)
        return text is not None and read_bool(name, text or "true")

    def number(self, name: str) -> float | None:
        text = self.query.get(name)
        if text is None:
            return None
        try:
            return float(text)
        except ValueError:
            raise Invalid(f"{name}: {text!r} is not a number") from None


Handler = Callable[[Any], Awaitable[object]]
"""Of a `Call`, or of what an application makes of it."""
Streamer = Callable[[Call], AsyncGenerator[bytes, None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    method: str
    path: str
    """Under the API's prefix; `{ref}` stands for a name or id."""
    summary: str
    handler: Handler | None = None
    streamer: Streamer | None = None
    """Instead of a handler: yields lines for as long as the client listens."""
    request: Any = None
    """The type of the request's body."""
    optional: bool = False
    """The body may be absent: every field has a default."""
    answer: Any = None
    """The type of the answer's body; None: there is none (204), or it is not one of `types`."""
    status: int = 200
    query: Sequence[str] = ()
    waits: bool = False
    """The answer may be long in coming: given up once the client has gone or weftd stops."""
    decoder: msgspec.json.Decoder[Any] | None = field(init=False)

    def __post_init__(self) -> None:
        decoder = None if self.request is None else msgspec.json.Decoder(self.request)
        object.__setattr__(self, "decoder", decoder)


class Table:
    def __init__(self, routes: Sequence[Route]) -> None:
        self.routes = tuple(routes)
        self._by_key = {(r.method, *_key(r.path)): r for r in routes}
        self._methods: dict[tuple[str, ...], set[str]] = {}
        for route in routes:
            self._methods.setdefault(_key(route.path), set()).add(route.method)

    def find(self, method: str, path: str) -> tuple[Route, str]:
        """The route and the reference in the path. Raises NotFound or MethodNotAllowed."""
        segments = tuple(path.split("/"))
        route = self._by_key.get((method, *segments))
        if route is not None:
            return route, ""
        if len(segments) > 2 and segments[2]:
            pattern = ("", segments[1], "{ref}", *segments[3:])
            route = self._by_key.get((method, *pattern))
            if route is not None:
                return route, segments[2]
            segments = segments if segments in self._methods else pattern
        methods = self._methods.get(segments)
        if methods is None:
            raise NotFound(f"no such route: {path}")
        raise MethodNotAllowed(f"{method} is not for {path}: it takes {', '.join(sorted(methods))}")


def _key(path: str) -> tuple[str, ...]:
    return tuple(path.split("/"))
