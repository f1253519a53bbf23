"""All work on records and kernel is done here, one piece at a time.

The kernel serialises changes to links anyway, so a second worker would only wait; one piece at a time needs no locks.
What can wait (audits, forgetting flows) is done while no request does: on a small host a second busy thread would
take the processor from whoever waits for an answer or a name.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import ParamSpec, TypeVar

from weft.engine.futures import fail, settle

QUIET_SECONDS = 0.002
"""How long no request must have come before work that can wait is done: the answer to the last one goes first."""
MOST_WAITING = 256
"""Pieces of such work; what is more is done between two requests."""

_log = logging.getLogger("weft.engine")

_P = ParamSpec("_P")
_T = TypeVar("_T")

_Job = Callable[[], None]


class Worker:
    """`call` works at once; what can wait, waits at least until there is a loop."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._soon: deque[_Job] = deque()
        self._idle: deque[_Job] = deque()
        self._turn = threading.Lock()
        """Held while a piece is done, on whichever thread."""
        self._served = 0.0
        """When a request was last served, by the monotonic clock."""
        self._asked = False
        """Whether the loop will look at what was put off, as soon as it can."""
        self._waiting = False
        """Whether it waits for quiet to have that done."""
        self._thread = threading.Thread(target=self._run, name="weft-engine", daemon=True)
        self._thread.start()

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """The loop on whose thread `call` and `call_briefly` are asked."""
        self._loop = loop
        self._ask()

    async def call(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Run the function on the worker and wait for its result or error."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[_T] = loop.create_future()

        def job() -> None:
            try:
                with self._turn:
                    result = function(*args, **kwargs)
                    self._served = time.monotonic()
            except BaseException as error:
                loop.call_soon_threadsafe(fail, future, error)
            else:
                loop.call_soon_threadsafe(settle, future, result)

        self._jobs.put(job)
        return await future

    async def call_briefly(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Like `call`, for what takes a few milliseconds at the most and waits for nothing.

        If nobody else is being served it is done here and now: handing it to another thread and back costs more
        than a tenth of a join.
        """
        if self._jobs.empty() and self._turn.acquire(blocking=False):
            try:
                return function(*args, **kwargs)
            finally:
                self._served = time.monotonic()
                self._turn.release()
        return await self.call(function, *args, **kwargs)

    def submit(self, function: Callable[[], object]) -> None:
        """Run the function on the worker in turn; errors are logged. Callable from any thread."""

        def job() -> None:
            with self._turn:
                _guard(function)

        self._jobs.put(job)

    def when_idle(self, function: Callable[[], object]) -> None:
        """Run the function on the worker once no request waits. It should be short: one piece of a longer job.

        Callable from any thread; in the order given.
        """
        self._put_off(self._idle, function)

    def later(self, seconds: float, function: Callable[[], object]) -> None:
        """Like `when_idle`, so many seconds from now; never, if there is no loop."""
        loop = self._loop
        if loop is not None:
            loop.call_soon_threadsafe(loop.call_later, seconds, self.when_idle, function)

    def after_answer(self, function: Callable[[], object]) -> None:
        """Like `when_idle`, but before all that is there, and right after the answer to the present request.

        For what is very brief, and somebody waits to hear of.
        """
        self._put_off(self._soon, function)

    def close(self) -> None:
        """Finish what was asked for, then end; what was put off is not done any more."""
        self._loop = None
        self._jobs.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()

    # What was put off. It waits at the loop, so that nothing wakes a thread while requests come.

    def _put_off(self, queue: deque[_Job], function: Callable[[], object]) -> None:
        queue.append(partial(_guard, function))
        if queue is self._soon or not self._waiting:
            self._ask()

    def _ask(self) -> None:
        loop = self._loop
        if loop is not None and not self._asked:
            self._asked = True
            loop.call_soon_threadsafe(self._answered)

    def _answered(self) -> None:
        """On the loop's thread, right after an answer: do what was to wait for no more than that."""
        self._asked = False
        if self._turn.acquire(blocking=False):
            try:
                self._do(max(len(self._soon), len(self._idle) - MOST_WAITING))
            finally:
                self._turn.release()
        if (self._soon or self._idle) and not self._waiting:
            self._waiting = True
            self._when_quiet()

    def _when_quiet(self) -> None:
        """Have the rest done once no request has come for a moment."""
        quiet = self._served + QUIET_SECONDS - time.monotonic()
        if quiet > 0:
            asyncio.get_running_loop().call_later(quiet, self._when_quiet)
        else:
            self._jobs.put(self._use_the_quiet)

    def _use_the_quiet(self) -> None:
        """On the worker's thread, until a request comes."""
        quiet = True
        while quiet and (self._soon or self._idle) and self._jobs.empty():
            with self._turn:
                quiet = time.monotonic() >= self._served + QUIET_SECONDS
                self._do(1 if quiet else 0)
        self._waiting = False
        if self._soon or self._idle:
            self._ask()

    def _do(self, pieces: int) -> None:
        """By whoever has the turn, so nobody else takes from the queues."""
        for _ in range(pieces):
            if waiting := self._soon or self._idle:
                waiting.popleft()()


def _guard(function: Callable[[], object]) -> None:
    try:
        function()
    except Exception:
        _log.exception("background work failed")
