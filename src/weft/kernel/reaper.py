"""Deletes what may take its time: links whose endpoint has left, and sockets that are slow to close.

Deleting one link holds the caller for 20 ms (RCU grace periods); deleting a group of them costs hardly more. So
leaving only disables a link and moves it to a group of its own, and a thread deletes that group now and then.
"""

from __future__ import annotations

import errno
import logging
import socket
import threading
from typing import Protocol

from weft.kernel import links
from weft.kernel.netlink import Netlink

log = logging.getLogger("weft.kernel")

_PAUSE = 0.02
"""Seconds in which further links may join those to be deleted."""


class Closable(Protocol):
    def close(self) -> None: ...


class Reaper:
    def __init__(self) -> None:
        self._socket = Netlink(socket.NETLINK_ROUTE)
        self._deleting = threading.Lock()
        self._work = threading.Event()
        self._pending = False
        self._retired: list[Closable] = []
        self._closed = False
        self._thread: threading.Thread | None = None

    def links_left(self) -> None:
        """There is something in the group of leaving links."""
        self._pending = True
        self._wake()

    def retire(self, slow: Closable) -> None:
        """Close it, later: an nfnetlink socket after deletions, a packet socket."""
        self._retired.append(slow)
        self._wake()

    def flush(self, *, force: bool = False) -> None:
        """Return when what is queued (with `force`: whatever is in the group) is deleted."""
        with self._deleting:
            if self._pending or force:
                self._pending = False
                self._delete()

    def close(self) -> None:
        self._closed = True
        if self._thread:
            self._work.set()
            self._thread.join()
        self.flush()
        self._close_retired()
        self._socket.close()

    def _wake(self) -> None:
        # A thread inherits its maker's namespace; the maker is never inside another one when it gets here.
        if self._thread is None:
            self._thread = threading.Thread(target=self._reap, name="weft-reaper", daemon=True)
            self._thread.start()
        self._work.set()

    def _reap(self) -> None:
        pause = threading.Event()
        while not self._closed:
            self._work.wait()
            self._work.clear()
            pause.wait(_PAUSE)
            self.flush()
            self._close_retired()

    def _delete(self) -> None:
        for failure in self._socket.send([links.delete_group(links.LEAVING_GROUP)]):
            if failure.errno != errno.ENODEV:
                log.error("cannot delete the links of endpoints that left: %s", failure.text)

    def _close_retired(self) -> None:
        while self._retired:
            self._retired.pop().close()
