"""Waits for descriptors, and calls who asked to hear of them."""

from __future__ import annotations

import select

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

IN = select.EPOLLIN
OUT = select.EPOLLOUT


class Loop:
    """Handlers must bear being called in vain: a descriptor's number may pass to another within one turn."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._handlers: dict[int, Callable[[int], None]] = {}

    def watch(self, fd: int, mask: int, handler: Callable[[int], None]) -> None:
        """Call the handler with the descriptor whenever an event of the mask, an error or a hang-up is there.

        Replaces what was watched of this descriptor.
        """
        if fd in self._handlers:
            self._epoll.modify(fd, mask)
        else:
            self._epoll.register(fd, mask)
        self._handlers[fd] = handler

    def forget(self, fd: int) -> None:
        """To be called before the descriptor is closed. Repeatable."""
        if self._handlers.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def turn(self) -> None:
        for fd, _ in self._epoll.poll():
            handler = self._handlers.get(fd)
            if handler is not None:
                handler(fd)
