"""GET /containers/{ref}/logs: what a container has written, from its log, and on as it grows."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from weft.engine.parts import Parts
from weft.names import short
from weft.serve.docker import filters
from weft.serve.docker.dialect import Asked, Refused, Stream
from weft.serve.docker.finding import find_container
from weft.serve.routes import Route
from weft.shim import frames
from weft.shim.reader import Reader

RAW = "application/vnd.docker.raw-stream"
MULTIPLEXED = "application/vnd.docker.multiplexed-stream"

_GIVE = 1e-6
"""In seconds: a number holds a moment to a quarter of a microsecond, and who asks by a line's own time is to get it."""
_LAST = 253402300799.0
"""The end of the year 9999: later moments have no date."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wish:
    streams: tuple[bytes, ...]
    since: float | None
    until: float | None
    tail: int | None
    timestamps: bool
    follow: bool


@dataclass(frozen=True, slots=True)
class Logs:
    parts: Parts

    def routes(self) -> tuple[Route, ...]:
        return (Route(method="GET", path="/containers/{ref}/logs", handler=self.logs, summary="A container's output"),)

    async def logs(self, asked: Asked) -> Stream:
        sandbox = find_container(self.parts, asked.ref)
        wish = _read(asked, self.parts.clock.time())
        if sandbox.process is None:
            raise Refused(501, f"container {sandbox.name} has no log to read: weft did not start its process")
        raw = sandbox.process.tty
        kind = RAW if raw or asked.version < (1, 42) else MULTIPLEXED
        return Stream(chunks=self._chunks(sandbox.id, wish, raw=raw), content_type=kind)

    async def _chunks(self, sandbox_id: str, wish: _Wish, *, raw: bool) -> AsyncGenerator[bytes, None]:
        config = self.parts.config
        news = await _news(f"{config.run_dir}/containers/{short(sandbox_id)}/{frames.SOCKET}") if wish.follow else None
        reader = Reader(
            f"{config.state_dir}/containers/{short(sandbox_id)}/log",
            since=wish.since,
            until=wish.until,
            timestamps=wish.timestamps,
            streams=wish.streams,
        )
        left = None if wish.until is None else max(0.0, wish.until - self.parts.clock.time())
        end = None if left is None else asyncio.get_running_loop().time() + left
        aside = _Aside()
        try:
            tail, ended = wish.tail, news is None
            while True:
                runs = await aside.do(reader.runs, tail)
                while (run := await aside.do(next, runs, None)) is not None:
                    yield run[1] if raw else _framed(*run)
                if ended:
                    return
                # What was written before the end came is still to be read: there is a last look after it.
                tail, ended = None, news is None or not await _grows(news, end)
        finally:
            await aside.finish()
            reader.close()
            if news is not None:
                news[1].close()


class _Aside:
    """Work on another thread, which goes on when nobody waits for it any more."""

    def __init__(self) -> None:
        self._work: asyncio.Future[Any] | None = None

    async def do(self, function: Callable[..., Any], *arguments: object) -> Any:
        self._work = asyncio.ensure_future(asyncio.to_thread(function, *arguments))
        return await asyncio.shield(self._work)

    async def finish(self) -> None:
        """Wait until the last piece is done: what it uses may be taken away then."""
        if self._work is not None:
            await asyncio.wait((self._work,))


def _read(asked: Asked, now: float) -> _Wish:
    streams = tuple(name.encode() for name in ("stdout", "stderr") if asked.yes(name))
    if not streams:
        raise Refused(400, "Bad parameters: you must choose at least one stream")
    tail = asked.query.get("tail", "")
    return _Wish(
        streams=streams,
        since=_moment(asked, "since", now, -_GIVE),
        until=_moment(asked, "until", now, _GIVE),
        tail=int(tail) if re.fullmatch("[0-9]{1,9}", tail) else None,
        timestamps=asked.yes("timestamps"),
        follow=asked.yes("follow"),
    )


def _moment(asked: Asked, name: str, now: float, give: float) -> float | None:
    """Zero is how clients say that they do not mind."""
    text = asked.query.get(name, "")
    moment = min(max(0.0, filters.read_time(text, now)), _LAST) if text else 0.0
    return moment + give if moment else None


def _framed(stream: int, text: bytes) -> bytes:
    return bytes((stream, 0, 0, 0)) + len(text).to_bytes(4, "big") + text


_Link = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _news(console: str) -> _Link | None:
    """A line on which the supervisor says that the log has grown; None if the container has ended."""
    try:
        link = socket.socket(fileno=frames.connect(console).detach())
    except OSError:
        return None
    reader, writer = await asyncio.open_unix_connection(sock=link)
    writer.write(frames.frame(frames.FOLLOW))
    return reader, writer


async def _grows(news: _Link, end: float | None) -> bool:
    """Wait for news. False once the container has ended, or the time has come."""
    with suppress(TimeoutError, ConnectionError):
        async with asyncio.timeout_at(end):
            return bool(await news[0].read(65536))
    return False
