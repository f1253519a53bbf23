"""Requests to Docker's paths as a hostile client makes them up.

What there is to ask is read from the route table and from the types of its bodies: a new route is asked in a hundred
ways from its first day.
"""

from __future__ import annotations

import functools
import inspect
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import CodeType, SimpleNamespace
from typing import Any
from urllib.parse import quote

from tests.docker.oddities import CONTAINERS, NETWORKS, TEXTS, Whim, words
from weft.serve.app import LARGEST_BODY
from weft.serve.docker import docker_routes
from weft.serve.routes import Route

EXEC = "exec"
"""Stands for the last command that somebody has said to run in a container."""

METHODS = ("GET", "POST", "PUT", "DELETE", "HEAD", "PATCH", "OPTIONS", "TRACE", "PROPFIND")
VERSIONS = ("", "", "/v1.24", "/v1.30", "/v1.41", "/v1.44", "/v1.45", "/v1.48", "/v1.50", "/v1.52")
NO_VERSIONS = (
    "/v1.23",
    "/v1.53",
    "/v0.0",
    "/v1",
    "/v1.",
    "/v1.4.1",
    "/v٣.٣",
    "/v1." + "9" * 5000,
    "/v1.41/v1.41",
    "/",
    "/.",
)
ENDS = ("/", "//", "/%00", "/../..", "%2f", "#x")
QUERIES = ("?", "?&&", "?=", "?filters", "?%ff=%ff", "?%", "?a=b?c", "?" + "a=b&" * 5000)

JSON = ("Content-Type: application/json", "Content-Type: Application/JSON; charset=utf-8")
NOT_JSON = ("Content-Type: text/plain", "Content-Type: application/x-www-form-urlencoded", "Content-Type: \xff", "X: y")
CHUNKED = "Transfer-Encoding: chunked"
MORE_HEADERS = ((CHUNKED,), ("Connection: Upgrade", "Upgrade: tcp"), ("Expect: 100-continue",), ("Connection: close",))


@dataclass(frozen=True)
class Request:
    method: str
    target: str
    """Percent-encoded; `<web>` stands for the id of what is called web, `<web.12>` for its beginning."""
    headers: tuple[str, ...]
    body: bytes | None

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    def raw(self, ids: Mapping[str, str]) -> bytes:
        """What to send."""
        target = re.sub(r"<([a-z]+)\.?(\d*)>", lambda m: ids[m[1]][: int(m[2] or 64)], self.target)
        lines = [f"{self.method} {target} HTTP/1.1", "Host: docker", *self.headers]
        body = self.body or b""
        if CHUNKED in self.headers:
            body = (b"%x\r\n%s\r\n" % (len(body), body) if body else b"") + b"0\r\n\r\n"
        elif self.body is not None:
            lines.append(f"Content-Length: {len(body)}")
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + body

    def __str__(self) -> str:
        return f"{self.method} {self.target[:1000]} {self.headers} {(self.body or b'')[:1000]!r}"


def routes() -> tuple[Route, ...]:
    """weftd's own table, with nothing behind it."""
    parts = SimpleNamespace(store=SimpleNamespace(metas=lambda _: {}), records=SimpleNamespace(preset_names=set()))
    return docker_routes(None, parts, None, None)  # type: ignore[arg-type]


def request_for(route: Route, whim: Whim) -> Request:
    """Most of them by the right method, and with something like the right body."""
    method = whim.one(METHODS) if whim.seldom(12) else route.method
    body = _nearly_json(whim.document(route.request) if route.request else whim.junk(), whim)
    has_body = not whim.seldom(25) if route.request else whim.seldom(8)
    return _request(method, _path(route.path, whim), body if has_body else None, whim, vocabulary(route))


@functools.cache
def vocabulary(route: Route) -> tuple[str, ...]:
    """The words in the code that a request for this route gets to: among them are the parameters that it takes."""
    found: set[str] = set()
    unread: list[Any] = [route.handler]
    read = set()
    while unread:
        function = unread.pop()
        if function.__module__.startswith("weft.serve.docker.") and function.__code__ not in read:
            read.add(function.__code__)
            for code in _codes(function.__code__):
                found.update(_words_in(code.co_consts))
                here = function.__globals__
                places = [here.get(name) for name in code.co_names if inspect.ismodule(here.get(name))]
                places += [SimpleNamespace(**here), type(getattr(function, "__self__", None))]
                used = (getattr(place, name, None) for place in places for name in code.co_names)
                unread += [each for each in used if inspect.isfunction(each)]
    return tuple(sorted(word for word in found if re.fullmatch(r"[a-z][A-Za-z-]{0,20}", word)))


def _words_in(values: tuple[object, ...]) -> Iterator[str]:
    for value in values:
        if isinstance(value, str):
            yield value
        elif isinstance(value, tuple):
            yield from _words_in(value)


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for const in code.co_consts:
        if isinstance(const, CodeType):
            yield from _codes(const)


def request_for_nothing(whim: Whim) -> Request:
    """A path that no route has, or a route by any method."""
    table = routes()
    known = [part for route in table for part in route.path.split("/")]
    elsewhere = ("swarm", "services", "images", "build", "session", "volumes", "plugins", "json", "create")
    if whim.seldom(2):
        path = _path(whim.one(table).path, whim)
    else:
        path = "/" + "/".join(
            whim.some(lambda: _quoted(whim.one(known, elsewhere, words(), TEXTS, NETWORKS, CONTAINERS)), 4)
        )
    return _request(whim.one(METHODS), path, _nearly_json(whim.junk(), whim) if whim.seldom(2) else None, whim)


def _request(method: str, path: str, body: bytes | None, whim: Whim, likely: Sequence[str] = ()) -> Request:
    version = _quoted(whim.one(NO_VERSIONS), safe="/") if whim.seldom(15) else whim.one(VERSIONS)
    headers: tuple[str, ...] = (whim.one(NOT_JSON if whim.seldom(15) else JSON),)
    if whim.seldom(6):
        headers += whim.one(MORE_HEADERS)
    return Request(method, version + path + _query(whim, likely), headers, body)


def _path(path: str, whim: Whim) -> str:
    if whim.seldom(40):
        path += whim.one(ENDS)
    if "{ref}" not in path:
        return path
    if whim.seldom(6):
        return path.replace("{ref}", _quoted(whim.text()))
    kind = path.split("/")[1]
    name = whim.one({"networks": NETWORKS, "exec": (EXEC,)}.get(kind, ("web", "web", *CONTAINERS)))
    spelt = (f"<{name}>",) if kind == "exec" else (name, name, f"<{name}>", f"<{name}.12>", f"<{name}.3>")
    return path.replace("{ref}", whim.one(spelt))


def _quoted(text: str, safe: str = "") -> str:
    return quote(text.encode(errors="surrogatepass"), safe=safe)


def _query(whim: Whim, likely: Sequence[str]) -> str:
    if whim.seldom(40):
        return whim.one(QUERIES)
    asked = whim.some(lambda: whim.parameter(likely), 6)
    return "?" + "&".join(f"{_quoted(name)}={_quoted(value)}" for name, value in asked) if asked else ""


def _nearly_json(value: Any, whim: Whim) -> bytes:
    text = json.dumps(value).encode()
    if not whim.seldom(10):
        return text
    bad = (whim.cut(text), whim.scribble(text), text * 2, b"\xef\xbb\xbf" + text, b"", b"[" * 50_000)
    return b" " * LARGEST_BODY + text if whim.seldom(20) else whim.one(bad)
