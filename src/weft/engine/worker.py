"""All work on records and kernel is done here, one piece at a time.

The kernel serialises changes to links anyway, so a second worker would only wait; one piece at a time needs no locks.
What can wait (audits, forgetting flows) is done while no request does.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from queue import Empty, SimpleQueue
from typing import ParamSpec, TypeVar

QUIET_SECONDS = 0.002
"""How long no request must have come before work that can wait is done: the answer to the last one goes first."""
MOST_WAITING = 256
"""Pieces of such work; what is more is done between two requests."""

_log = logging.getLogger("weft.engine")

_P = ParamSpec("_P")
_T = TypeVar("_T")

_Job = Callable[[], None]


class Worker:
    def __init__(self) -> None:
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._soon: deque[_Job] = deque()
        self._idle: deque[_Job] = deque()
        self._turn = threading.Lock()
        self._brief = False
        """Whether the loop's thread is doing a piece itself."""
        self._thread = threading.Thread(target=self._run, name="weft-engine", daemon=True)
        self._thread.start()

    async def call(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Run the function on the worker and wait for its result or error."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[_T] = loop.create_future()

        def job() -> None:
            try:
                result = function(*args, **kwargs)
            except BaseException as error:
                loop.call_soon_threadsafe(_fail, future, error)
            else:
                loop.call_soon_threadsafe(_settle, future, result)

        self._jobs.put(job)
        return await future

    async def call_briefly(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Like `call`, for what takes a few milliseconds at the most and waits for nothing.

        If nobody else is being served it is done here and now: handing it to another thread and back costs more
        than a tenth of a join.
        """
        if self._jobs.empty() and self._turn.acquire(blocking=False):
            self._brief = True
            try:
                return function(*args, **kwargs)
            finally:
                self._brief = False
                self._turn.release()
                if self._soon or self._idle:  # not now: the thread would compete with the answer
                    asyncio.get_running_loop().call_later(QUIET_SECONDS, self._wake)
        return await self.call(function, *args, **kwargs)

    def submit(self, function: Callable[[], object]) -> None:
        """Run the function on the worker in turn; errors are logged. Callable from any thread."""
        self._jobs.put(lambda: _guard(function))

    def when_idle(self, function: Callable[[], object]) -> None:
        """Run the function on the worker once no request waits. It should be short: one piece of a longer job.

        Callable from any thread; in the order given.
        """
        self._put_off(self._idle, function)

    def after_answer(self, function: Callable[[], object]) -> None:
        """Like `when_idle`, but before all that is there: for what somebody waits to hear of."""
        self._put_off(self._soon, function)

    def _put_off(self, queue: deque[_Job], function: Callable[[], object]) -> None:
        queue.append(partial(_guard, function))
        if threading.current_thread() is not self._thread and not self._brief:
            self._wake()

    def _wake(self) -> None:
        self._jobs.put(_nothing)

    def close(self) -> None:
        """Finish what was asked for, then end."""
        self._jobs.put(None)
        self._thread.join()

    def _run(self) -> None:
        quiet = QUIET_SECONDS
        while True:
            waiting = self._soon or self._idle
            try:
                job = self._jobs.get(timeout=quiet if waiting else None)
            except Empty:
                with self._turn:
                    waiting.popleft()()
                quiet = 0.0
                continue
            if job is None:
                return
            with self._turn:
                job()
                while len(waiting) > MOST_WAITING:
                    waiting.popleft()()
            quiet = QUIET_SECONDS


def _nothing() -> None:
    pass


def _guard(function: Callable[[], object]) -> None:
    try:
        function()
    except Exception:
        _log.exception("background work failed")


def _settle(future: asyncio.Future[_T], result: _T) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: asyncio.Future[_T], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)
