"""The resolver's event loop: epoll, level-triggered, with timers. Synchronous: nothing here waits but `run`."""

from __future__ import annotations

import heapq
import itertools
import select
import time
from collections.abc import Callable

from weft.resolver.log import Log

READ = select.EPOLLIN
WRITE = select.EPOLLOUT

_EVENTS = 256
_CROWDED = 4096
"""Timers from which on those that were cancelled are cleared away instead of waited for."""


class Timer:
    __slots__ = ("call",)

    def __init__(self, call: Callable[[], None]) -> None:
        self.call: Callable[[], None] | None = call

    def cancel(self) -> None:
        self.call = None


class Loop:
    def __init__(self, log: Log) -> None:
        self._log = log
        self._epoll = select.epoll()
        self._handlers: dict[int, Callable[[], None]] = {}
        self._timers: list[tuple[float, int, Timer]] = []
        self._crowded = _CROWDED
        self._order = itertools.count()
        self._running = False

    def add(self, fd: int, handler: Callable[[], None], events: int = READ) -> None:
        self._handlers[fd] = handler
        self._epoll.register(fd, events)

    def change(self, fd: int, events: int) -> None:
        self._epoll.modify(fd, events)

    def drop(self, fd: int) -> None:
        """Stop watching; to be called before the descriptor is closed."""
        if self._handlers.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def after(self, seconds: float, call: Callable[[], None]) -> Timer:
        timer = Timer(call)
        if len(self._timers) >= self._crowded:
            self._timers = [t for t in self._timers if t[2].call is not None]
            heapq.heapify(self._timers)
            self._crowded = max(_CROWDED, 2 * len(self._timers))
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._order), timer))
        return timer

    def stop(self) -> None:
        self._running = False

    def run(self) -> None:
        self._running = True
        poll = self._epoll.poll
        handler_of = self._handlers.get
        while self._running:
            for fd, _ in poll(self._until_next_timer(), _EVENTS):
                handler = handler_of(fd)
                if handler is not None:
                    try:
                        handler()
                    except Exception as error:
                        self._log.failure("a handler failed", error)
            if self._timers:
                self._fire()

    def _until_next_timer(self) -> float:
        timers = self._timers
        while timers and timers[0][2].call is None:
            heapq.heappop(timers)
        return max(0.0, timers[0][0] - time.monotonic()) if timers else -1

    def _fire(self) -> None:
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            timer = heapq.heappop(self._timers)[2]
            call, timer.call = timer.call, None
            if call is not None:
                try:
                    call()
                except Exception as error:
                    self._log.failure("a timer failed", error)
