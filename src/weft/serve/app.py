"""The ASGI application: requests in, answers or refusals out. Every error becomes a document here, once.

Routes of the native API are dispatched directly, since a general router costs more than most of what they do. Whatever
is not under its prefix goes to `others`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from weft.errors import Invalid, NotFound, Unavailable, WeftError
from weft.serve.routes import Call, MethodNotAllowed, Route, Table

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

LARGEST_BODY = 4 << 20
"""In bytes. An environment of two megabytes, the kernel's own limit, fits."""
BODY_PATIENCE = 30.0
"""Seconds until a body that does not come is given up."""

STATUS = {
    "invalid": 400,
    "forbidden": 403,
    "not-found": 404,
    "conflict": 409,
    "exhausted": 409,
    "internal": 500,
    "unsupported": 501,
    "unavailable": 503,
}

_log = logging.getLogger("weft.serve")

_JSON = (b"content-type", b"application/json")
_LINES = (b"content-type", b"application/x-ndjson")
_EMPTY: Mapping[str, str] = {}
_FAREWELL = "weftd is stopping"


class TooLarge(WeftError):
    kind = "invalid"


class TooSlow(WeftError):
    kind = "invalid"


class Gone(Exception):
    """The client has hung up; nobody waits for an answer."""


class Patience:
    """For answers that take their time: whoever waits for one may hang up, and weftd may stop."""

    def __init__(self) -> None:
        self._closing = asyncio.Event()

    def end(self) -> None:
        """End streams and waits, so that the server need not wait for them."""
        self._closing.set()

    async def stream(self, work: Awaitable[object], receive: Receive) -> None:
        """Send a body whose head is sent already. Raises Gone if it ends without an end: it is too late to refuse."""
        try:
            await self.unless_gone(work, receive)
        except Unavailable:
            pass  # weftd is stopping: the stream ends as it should
        except Exception as error:
            if not isinstance(error, Gone):
                _log.exception("a stream failed")
            raise Gone from error

    async def unless_gone(self, work: Awaitable[object], receive: Receive) -> object:
        """The work's result. Raises Gone if the client hangs up first, Unavailable if weftd stops."""
        task = asyncio.ensure_future(work)
        gone = asyncio.ensure_future(_hang_up(receive))
        closing = asyncio.ensure_future(self._closing.wait())
        try:
            await asyncio.wait((task, gone, closing), return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            raise Gone if gone.done() else Unavailable(_FAREWELL)
        finally:
            for each in (task, gone, closing):
                each.cancel()
            # Until they have ended: what they work on is closed next.
            await asyncio.gather(task, gone, closing, return_exceptions=True)

    async def unless_closing(self, work: Awaitable[object]) -> object:
        """The work's result. Raises Unavailable if weftd stops, once the work has put things away."""
        task = asyncio.ensure_future(work)
        closing = asyncio.ensure_future(self._closing.wait())
        try:
            await asyncio.wait((task, closing), return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            raise Unavailable(_FAREWELL)
        finally:
            for each in (task, closing):
                each.cancel()
            await asyncio.gather(task, closing, return_exceptions=True)


class App:
    def __init__(
        self,
        *,
        prefix: str,
        routes: Table,
        others: Application | None = None,
        patience: Patience | None = None,
    ) -> None:
        self._prefix = prefix
        self._routes = routes
        self._others = others or not_found
        self._encode = msgspec.json.Encoder().encode
        self._patience = patience or Patience()

    def close(self) -> None:
        self._patience.end()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        if not path.startswith(self._prefix):
            await self._others(scope, receive, send)
            return
        try:
            route, ref = self._routes.find(scope["method"], path[len(self._prefix) :])
            call = await self._read(scope, receive, route, ref)
            if route.streamer is not None:
                await self._stream(route.streamer(call), receive, send)
                return
            assert route.handler is not None
            work = route.handler(call)
            result = await (self._patience.unless_gone(work, receive) if route.waits else work)
            status, body = route.status, b"" if result is None else self._encode(result)
        except Gone:
            return
        except Exception as error:
            status, body = refusal(error)
        await answer(send, status, body)

    async def _read(self, scope: Scope, receive: Receive, route: Route, ref: str) -> Call:
        query = _query(scope["query_string"], route) if scope["query_string"] else _EMPTY
        if route.decoder is None:
            return Call(ref, None, query)
        body = await read_body(receive)
        if not body and route.optional:
            return Call(ref, route.request(), query)
        return Call(ref, decode(route.decoder, body), query)

    async def _stream(self, lines: AsyncGenerator[bytes, None], receive: Receive, send: Send) -> None:
        try:
            first = asyncio.ensure_future(anext(lines, b""))
            # Refusals come before the first line; a stream that is silent at first must still begin.
            await asyncio.wait((first,), timeout=0)
            if first.done():
                first.result()
            await send({"type": "http.response.start", "status": 200, "headers": [_LINES]})
            await send({"type": "http.response.body", "body": b"", "more_body": True})
            await self._patience.stream(_pump(first, lines, send), receive)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            await lines.aclose()


async def _pump(first: Awaitable[bytes], lines: AsyncIterator[bytes], send: Send) -> None:
    line = await first
    while line:
        await send({"type": "http.response.body", "body": line, "more_body": True})
        line = await anext(lines, b"")


async def _hang_up(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def read_body(receive: Receive) -> bytes:
    """The whole body. Raises TooLarge, TooSlow, or Gone."""
    try:
        async with asyncio.timeout(BODY_PATIENCE):
            message = await receive()
            body: bytes = message.get("body", b"")
            if not message.get("more_body", False) and message["type"] == "http.request":
                return _bounded(body)
            parts = [body]
            size = len(body)
            while message.get("more_body", False):
                message = await receive()
                parts.append(message.get("body", b""))
                size += len(parts[-1])
                if size > LARGEST_BODY:
                    break
    except TimeoutError:
        raise TooSlow(f"the request's body has not come within {BODY_PATIENCE:g} s") from None
    if message["type"] == "http.disconnect":
        raise Gone
    return _bounded(b"".join(parts))


def _bounded(body: bytes) -> bytes:
    if len(body) > LARGEST_BODY:
        raise TooLarge(f"the request's body is larger than {LARGEST_BODY >> 20} MiB")
    return body


def decode(decoder: msgspec.json.Decoder[Any], body: bytes) -> object:
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise Invalid(_named(str(error))) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        what = "the request has no body" if not body else f"the request's body is not JSON: {error}"
        raise Invalid(what) from None


def _named(message: str) -> str:
    """msgspec's "Expected `int`, got `str` - at `$.ports[0].container_port`", the field first."""
    what, _, where = message.partition(" - at `$")
    text = what.replace("`", "'")
    text = text[0].lower() + text[1:]
    field = where.rstrip("`").lstrip(".")
    return f"{field}: {text}" if field else text


def _query(raw: bytes, route: Route) -> Mapping[str, str]:
    query = dict(parse_qsl(raw.decode("latin-1"), keep_blank_values=True))
    for name in query:
        if name not in route.query:
            known = f"; it takes {', '.join(route.query)}" if route.query else ""
            raise Invalid(f"unknown query parameter {name!r}{known}")
    return query


def refusal(error: Exception) -> tuple[int, bytes]:
    """The status and document of an error. One that nobody foresaw is logged with its traceback."""
    kind, message = explain(error)
    status = 405 if isinstance(error, MethodNotAllowed) else status_of(error, STATUS[kind])
    return status, msgspec.json.encode({"kind": kind, "message": message})


def status_of(error: Exception, usual: int) -> int:
    """The status of an error whose kind usually has another."""
    return 413 if isinstance(error, TooLarge) else 408 if isinstance(error, TooSlow) else usual


def explain(error: Exception) -> tuple[str, str]:
    """The kind and the one line of an error, whatever it is."""
    if isinstance(error, WeftError):
        return error.kind, " ".join(error.message.split("\n"))
    if isinstance(error, ExceptionGroup):
        parts = [explain(part) for part in error.exceptions]
        return parts[0][0], "; ".join(message for _, message in parts)
    _log.error("a request failed", exc_info=error)
    text = " ".join(str(error).split())
    return "internal", f"weftd failed ({type(error).__name__}: {text}); its log has more"


async def answer(send: Send, status: int, body: bytes) -> None:
    headers = [] if status == 204 else [_JSON, (b"content-length", b"%d" % len(body))]
    if status in (408, 413):
        headers.append((b"connection", b"close"))  # the rest of the body is still under way
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def not_found(scope: Scope, receive: Receive, send: Send) -> None:
    await answer(send, *refusal(NotFound(f"no such route: {scope['path']}; the API begins at /weft/v1")))
