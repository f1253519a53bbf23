"""The ASGI application for Docker's paths: which handler a request is for, and how its answer is written.

A handler is given an `Asked` and returns a document, a `Reply`, a `Stream`, or None for 204. What Docker does and weft
does not is answered here, too.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from urllib.parse import parse_qsl

import msgspec

from weft.errors import NotFound, Unavailable
from weft.serve.app import (
    STATUS,
    Gone,
    Patience,
    Receive,
    Scope,
    Send,
    explain,
    read_body,
    status_of,
)
from weft.serve.docker.dialect import HEADERS, Asked, Refused, Reply, Stream, Takeover, decode_body, split_version
from weft.serve.docker.elsewhere import not_here
from weft.serve.routes import MethodNotAllowed, Route, Table
from weft.serve.takeover import HIJACK, NotPossible

_STATUS = {**STATUS, "exhausted": 503}
"""Docker's word for a kind of refusal is another than that of weft's own API."""

_log = logging.getLogger("weft.serve")

_HEADERS = [(name.encode(), value.encode()) for name, value in HEADERS.items()]


class DockerApi:
    def __init__(self, routes: Sequence[Route], patience: Patience) -> None:
        self._routes = Table(routes)
        self._patience = patience

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        only_head = scope["method"] == "HEAD"
        try:
            route, asked = await self._understood(scope, receive)
            assert route.handler is not None
            work = route.handler(asked)
            result = await (self._patience.unless_gone(work, receive) if route.waits else work)
            if isinstance(result, Stream):
                await self._stream(result, receive, send)
                return
            if isinstance(result, Takeover):
                if route.decoder is None:
                    await read_body(receive)  # there is none, but its end has to have come
                await self._hand_over(result, scope, asked)
                return
            reply = _reply(result, route.status)
        except Gone:
            return
        except Exception as error:
            reply = _refusal(error)
        await _answer(send, reply, only_head=only_head)

    async def _understood(self, scope: Scope, receive: Receive) -> tuple[Route, Asked]:
        version, path = split_version(scope["path"])
        only_ping = scope["method"] == "HEAD" and path == "/_ping"  # the one path that Docker has it for
        method = "GET" if only_ping else scope["method"]
        try:
            route, ref = self._routes.find(method, path)
        except (NotFound, MethodNotAllowed):
            not_here(method, path)
            raise Refused(404, "page not found") from None
        query = dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
        body: object = None
        if route.decoder is not None:
            raw = await read_body(receive)
            kind = dict(scope["headers"]).get(b"content-type", b"").decode("latin-1")
            body = route.request() if route.optional and not raw else decode_body(route.decoder, raw, kind)
        return route, Asked(ref, body, query, version)

    async def _hand_over(self, takeover: Takeover, scope: Scope, asked: Asked) -> None:
        upgrade = any(name == b"upgrade" for name, _ in scope["headers"])
        try:
            head = takeover.head(asked.version, upgrade=upgrade)
            connection = scope["extensions"][HIJACK](head, takeover.nothing)
        except NotPossible:
            raise Refused(400, "the connection is in use for further requests, and cannot be taken over") from None
        try:
            await self._patience.unless_closing(takeover.run(connection))
        except Unavailable:
            pass  # weftd is stopping
        except Exception:
            _log.exception("a stream failed")  # too late to refuse
        finally:
            connection.close()

    async def _stream(self, stream: Stream, receive: Receive, send: Send) -> None:
        try:
            kind = (b"content-type", stream.content_type.encode())
            await send({"type": "http.response.start", "status": stream.status, "headers": [*_HEADERS, kind]})
            await send({"type": "http.response.body", "body": b"", "more_body": True})
            await self._patience.stream(_pump(stream, send), receive)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            await stream.chunks.aclose()


async def _pump(stream: Stream, send: Send) -> None:
    async for chunk in stream.chunks:
        await send({"type": "http.response.body", "body": chunk, "more_body": True})


async def _answer(send: Send, reply: Reply, *, only_head: bool) -> None:
    headers = [*_HEADERS, *((name.encode(), value.encode()) for name, value in reply.headers.items())]
    if reply.status in (408, 413):
        headers.append((b"connection", b"close"))  # the rest of the body is still under way
    body = b""
    if reply.body is not None:
        is_text = isinstance(reply.body, bytes)
        body = reply.body if isinstance(reply.body, bytes) else msgspec.json.encode(reply.body) + b"\n"
        headers.append((b"content-type", b"text/plain; charset=utf-8" if is_text else b"application/json"))
    if reply.status != 204:
        headers.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if only_head else body})


def _reply(result: object, status: int) -> Reply:
    if isinstance(result, Reply):
        return result
    return Reply(status=204) if result is None else Reply(status=status, body=result)


def _refusal(error: Exception) -> Reply:
    kind, message = explain(error)
    status = error.status if isinstance(error, Refused) else status_of(error, _STATUS[kind])
    # Half a surrogate pair, which JSON can spell, has no encoding.
    return Reply(status=status, body={"message": message.encode(errors="replace").decode()})
