"""Events as they come, for one asynchronous listener.

The engine emits on its own thread and never waits for a listener: what a listener cannot take in time is not kept for
ever, its stream ends instead.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self

from weft.engine.events import Event, EventLog

LONGEST = 4096
"""How many events may wait for a listener."""


class Watch:
    """`async for event in watch`, within `with`. Ends when the listener falls behind."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[Event | None] = asyncio.Queue()
        self._fell_behind = False

    def __enter__(self) -> Self:
        self._unsubscribe = self._log.subscribe(self._hear)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._unsubscribe()

    async def __aiter__(self) -> AsyncIterator[Event]:
        while (event := await self._queue.get()) is not None:
            yield event

    def _hear(self, event: Event) -> None:
        try:
            self._loop.call_soon_threadsafe(self._put, event)
        except RuntimeError:
            pass  # the loop is closed: weftd is ending

    def _put(self, event: Event) -> None:
        if self._fell_behind:
            return
        self._fell_behind = self._queue.qsize() >= LONGEST
        self._queue.put_nowait(None if self._fell_behind else event)


async def history_and_news(
    log: EventLog, *, now: float, since: float | None, until: float | None, follow: bool
) -> AsyncIterator[Event]:
    """What is remembered from `since` on, then, with `follow`, what happens until `until`.

    Without `since` the past is left out, unless the past is all that is asked for.
    """
    with Watch(log) as watch:
        past = log.recent()
        if since is not None or not follow:
            for event in past:
                if event.time >= (since or 0.0) and (until is None or event.time <= until):
                    yield event
        if not follow:
            return
        told = {id(event) for event in past}  # emitted between the subscription and the look at the past
        try:
            async with asyncio.timeout(None if until is None else max(0.0, until - now)):
                async for event in watch:
                    if id(event) not in told:
                        yield event
        except TimeoutError:
            return
