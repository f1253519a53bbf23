"""One process of the container as the supervisor sees it: its streams, its end, and the clients that look on."""

from __future__ import annotations

import os

from weft.shim import terminal
from weft.shim.frames import EXIT, TAKEN
from weft.shim.init import exit_code
from weft.shim.lean import signal
from weft.shim.loop import IN, OUT, Loop
from weft.shim.spawn import Child

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from weft.shim.console import Client

CHUNK = 65536

PIPE_READS = 1024
"""Reads of what an ended process left behind; a terminal gives 4 KiB at a time, and a pipe holds a megabyte at most."""

INPUT_LIMIT = 1 << 20
"""Bytes of input that may wait for the process. Only a client that does not wait for TAKEN gets there, and it loses."""


class Session:
    """Exists before its process does, so that a client may be there first."""

    def __init__(self, loop: Loop, sink: Callable[[int, bytes], None] | None = None) -> None:
        self.clients: list[Client] = []
        self.size = (0, 0)
        self.code: int | None = None
        """The exit code, once it has ended and all its output has gone to the clients' buffers."""
        self.alone = ""
        """What becomes of the process once its only client is gone (see `frames`)."""
        self._loop = loop
        self._sink = sink
        self._child: Child | None = None
        self._pidfd = -1
        self._paused = False
        self._input = bytearray()
        self._input_ends = False
        self._feeders: list[Client] = []

    def begin(self, child: Child) -> None:
        self._child = child
        self._pidfd = os.pidfd_open(child.pid)
        self._loop.watch(self._pidfd, IN, self._ended)
        for fd in child.outputs:
            self._loop.watch(fd, IN, self._readable)
        self._write_input()

    @property
    def pid(self) -> int:
        return self._child.pid if self._child else 0

    # Input

    def feed(self, data: bytes, feeder: Client) -> None:
        """Give the process input; none means that no more comes."""
        if not data:
            self._input_ends = True
        elif len(self._input) < INPUT_LIMIT:
            self._input += data
        self._feeders.append(feeder)
        if self._child:
            self._write_input()

    def _writable(self, fd: int) -> None:
        self._write_input()

    def _write_input(self) -> None:
        child = self._child
        if child is None or child.stdin < 0:
            self._taken()  # nobody reads it
            return
        try:
            while self._input:
                del self._input[: os.write(child.stdin, self._input[:CHUNK])]
        except BlockingIOError:
            self._loop.watch(child.stdin, OUT, self._writable)
            return
        except OSError:
            self._close_input()
            return
        self._loop.forget(child.stdin)
        self._taken()
        if self._input_ends and child.terminal < 0:
            self._close_input()

    def _taken(self) -> None:
        self._input.clear()
        feeders, self._feeders = self._feeders, []
        for feeder in feeders:
            feeder.send(TAKEN)

    def _close_input(self) -> None:
        child = self._child
        if child is not None and child.stdin >= 0:
            self._loop.forget(child.stdin)
            os.close(child.stdin)
            child.stdin = -1
        self._taken()

    # Output

    def _readable(self, fd: int) -> None:
        """Read once; at the end of the stream close it."""
        if self._read(fd) == 0:
            self._close_output(fd)

    def _read(self, fd: int) -> int:
        """Pass on what there is: its length, 0 at the end, -1 if there is nothing now."""
        if self._child is None or fd not in self._child.outputs:
            return 0
        try:
            data = os.read(fd, CHUNK)
        except BlockingIOError:
            return -1
        except OSError:  # EIO: all have closed the terminal
            return 0
        if data:
            kind = self._child.outputs[fd]
            if self._sink:
                self._sink(kind, data)
            for client in tuple(self.clients):
                client.send(kind, data)
            self.balance()
        return len(data)

    def _close_output(self, fd: int) -> None:
        child = self._child
        if child is not None and child.outputs.pop(fd, None) is not None:
            self._loop.forget(fd)
            os.close(fd)
            if fd == child.terminal:
                child.terminal = -1

    def balance(self) -> None:
        """Stop reading output while a client that must see all of it lags behind; go on when it has caught up."""
        paused = any(client.lags for client in self.clients)
        if paused == self._paused or self._child is None:
            return
        self._paused = paused
        for fd in self._child.outputs:
            if paused:
                self._loop.forget(fd)
            else:
                self._loop.watch(fd, IN, self._readable)

    # Control

    def resize(self, rows: int, columns: int) -> None:
        self.size = (rows, columns)
        if self._child and self._child.terminal >= 0:
            try:
                terminal.resize(self._child.terminal, rows, columns)
            except OSError:
                pass

    def signal(self, number: int) -> None:
        if self._pidfd >= 0:
            try:
                signal.pidfd_send_signal(self._pidfd, number)
            except OSError:
                pass

    def abandon(self) -> None:
        """Its only client is gone: hang up."""
        if self.alone == "stay":
            return
        self._close_input()
        child = self._child
        if self.alone == "hangup" and self._pidfd >= 0:
            self._hang_up()
        if child is not None and child.terminal >= 0:
            self._close_output(child.terminal)

    def _hang_up(self) -> None:
        """The command leads a process group of its own, and keeps its id until it has been waited for."""
        try:
            os.killpg(self.pid, signal.SIGHUP)
        except OSError:
            pass

    # The end

    def _ended(self, fd: int) -> None:
        if self.code is None and self._child:
            pid, status = os.waitpid(self._child.pid, os.WNOHANG)
            if pid:
                self._finish(exit_code(status))
                if self._sink is None:
                    self.announce()  # the container's own end is announced when it has been written down

    def _finish(self, code: int) -> None:
        """All that it wrote is in the pipes by now. Whoever else still holds them is heard no more, but not cut off."""
        child = self._child
        if child is None:
            return
        self._loop.forget(self._pidfd)
        os.close(self._pidfd)
        self._pidfd = -1
        self._close_input()
        for fd in tuple(child.outputs):
            length = 1
            for _ in range(PIPE_READS):
                length = self._read(fd)
                if length <= 0:
                    break
            if length == 0 or fd == child.terminal:
                self._close_output(fd)
        self.code = code

    def announce(self) -> None:
        """Tell the clients how it ended, and let them go."""
        for client in tuple(self.clients):
            client.send(EXIT, bytes((self.code or 0,)))
            client.finish()
        self.clients.clear()
        self.balance()
