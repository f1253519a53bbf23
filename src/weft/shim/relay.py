"""Carries bytes, signals and the terminal's size between this process and a container's console until one side ends."""

from __future__ import annotations

import os
import select
import signal
import sys
import termios

from weft.errors import Unavailable
from weft.shim.frames import EXIT, RESIZE, SIGNAL, STDERR, STDIN, STDOUT, TAKEN, size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Protocol, Self

    class Link(Protocol):
        def fileno(self) -> int: ...
        def send(self, kind: int, payload: bytes = b"") -> None: ...
        def receive(self) -> tuple[int, bytes] | None: ...
        @property
        def waiting(self) -> bool: ...


DETACH_KEYS = b"\x10\x11"
"""Ctrl-P Ctrl-Q, as in Docker."""

FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)

LEAVE_AFTER = 3
"""At which Ctrl-C the user is let go from a container that has heeded none."""


class Detached(Exception):
    """The user has left; the container has not ended."""


def run(link: Link, *, tty: bool, stdin: bool, end_input: bool, detach_keys: bytes) -> int | None:
    """The exit code; None if the user has detached. Raises Unavailable if the console is lost.

    `end_input`: the end of this process' input is the end of the container's.
    """
    with _Signals(tty=tty) as signals, _RawTerminal(wanted=tty):
        relay = _Relay(link, signals, tty=tty, end_input=end_input, keys=DetachKeys(detach_keys if tty else b""))
        try:
            return relay.serve(stdin=stdin)
        except Detached:
            return None
        except BrokenPipeError:  # of an output of ours
            return 128 + signal.SIGPIPE


def terminal_size() -> tuple[int, int]:
    """Rows and columns of the terminal that this process is on; zeros if it is on none."""
    for fd in (0, 1, 2):
        try:
            columns, rows = os.get_terminal_size(fd)
        except OSError:
            continue
        return rows, columns
    return 0, 0


class _Relay:
    def __init__(self, link: Link, signals: _Signals, *, tty: bool, end_input: bool, keys: DetachKeys) -> None:
        self._link = link
        self._signals = signals
        self._tty = tty
        self._end_input = end_input
        self._keys = keys
        self._interrupts = 0
        self._poll = select.poll()

    def serve(self, *, stdin: bool) -> int:
        self._poll.register(self._link.fileno(), select.POLLIN)
        self._poll.register(self._signals.fileno(), select.POLLIN)
        self._reading = False
        self._open = stdin
        self._read_input(wanted=stdin)
        code = self._take_frames() if self._link.waiting else None  # some may have come along with the first answer
        while code is None:
            for fd, _ in self._poll.poll():
                if fd == self._signals.fileno():
                    self._pass_signals()
                elif fd == self._link.fileno():
                    code = self._take_frames()
                elif fd == 0:
                    self._pass_input()
        return code

    def _take_frames(self) -> int | None:
        while True:
            answer = self._link.receive()
            if answer is None:
                raise Unavailable("the connection to the container's console was lost")
            kind, payload = answer
            if kind in (STDOUT, STDERR):
                self._write(1 if kind == STDOUT else 2, payload)
            elif kind == TAKEN:
                self._read_input(wanted=self._open)
            elif kind == EXIT:
                return payload[0]
            if not self._link.waiting:
                return None

    def _write(self, fd: int, data: bytes) -> None:
        """Where our reader has gone the container's process is told as it would be by a pipe of its own."""
        try:
            write(fd, data)
        except BrokenPipeError:
            self._link.send(SIGNAL, bytes((signal.SIGPIPE,)))
            raise

    def _read_input(self, *, wanted: bool) -> None:
        if wanted == self._reading:
            return
        self._reading = wanted
        if wanted:
            self._poll.register(0, select.POLLIN)
        else:
            self._poll.unregister(0)

    def _pass_input(self) -> None:
        try:
            data = os.read(0, 65536)
        except OSError:  # a terminal that has gone
            data = b""
        if not data:
            self._open = False
            self._read_input(wanted=False)
            if self._end_input:
                self._link.send(STDIN)
            return
        typed = self._keys.sift(data)
        if typed:
            self._link.send(STDIN, typed)
            # From a terminal people type also what ends the wait: Ctrl-C, the detach keys.
            self._read_input(wanted=self._tty)

    def _pass_signals(self) -> None:
        for number in self._signals.take():
            if number == signal.SIGWINCH:
                if self._tty:
                    self._link.send(RESIZE, size(*terminal_size()))
                continue
            self._link.send(SIGNAL, bytes((number,)))
            if number == signal.SIGINT:
                self._count_interrupt()

    def _count_interrupt(self) -> None:
        self._interrupts += 1
        if self._interrupts == LEAVE_AFTER - 1:
            sys.stderr.write("weft: the container does not end; Ctrl-C once more leaves it running\n")
            sys.stderr.flush()
        elif self._interrupts >= LEAVE_AFTER:
            raise Detached


def write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


class DetachKeys:
    """Finds the keys in what is typed; what may be their beginning is held back until the next key."""

    def __init__(self, keys: bytes) -> None:
        self._keys = keys
        self._held = b""

    def sift(self, data: bytes) -> bytes:
        """What to pass on. Raises Detached."""
        if not self._keys:
            return data
        data = self._held + data
        if self._keys in data:
            raise Detached
        length = next(n for n in range(len(self._keys) - 1, -1, -1) if data.endswith(self._keys[:n]))
        self._held = data[len(data) - length :]
        return data[: len(data) - length]


class _Signals:
    """Signals as bytes to read, while the context lasts."""

    def __init__(self, *, tty: bool) -> None:
        # In raw mode Ctrl-C is a key like any other; a signal then comes from elsewhere and means this process.
        self._numbers = (signal.SIGWINCH,) if tty else (*FORWARDED, signal.SIGWINCH)

    def __enter__(self) -> Self:
        self._out, self._in = os.pipe()
        os.set_blocking(self._out, False)
        os.set_blocking(self._in, False)
        self._wakeup = signal.set_wakeup_fd(self._in, warn_on_full_buffer=False)
        self._before = [(number, signal.signal(number, _noted)) for number in self._numbers]
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before:
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        signal.set_wakeup_fd(self._wakeup)
        os.close(self._out)
        os.close(self._in)

    def fileno(self) -> int:
        return self._out

    def take(self) -> list[int]:
        try:
            return list(os.read(self._out, 64))
        except BlockingIOError:
            return []


def _noted(number: int, frame: FrameType | None) -> None:
    """The number is in the pipe."""


class _RawTerminal:
    """Every key goes to the container as it is, while the context lasts, if standard input is a terminal."""

    def __init__(self, *, wanted: bool) -> None:
        self._wanted = wanted and os.isatty(0)

    def __enter__(self) -> None:
        if not self._wanted:
            return
        self._before = termios.tcgetattr(0)
        raw = termios.tcgetattr(0)
        raw[0] &= ~(
            termios.IGNBRK | termios.BRKINT | termios.PARMRK | termios.ISTRIP
            | termios.INLCR | termios.IGNCR | termios.ICRNL | termios.IXON
        )  # fmt: skip
        raw[1] &= ~termios.OPOST
        raw[2] = raw[2] & ~(termios.CSIZE | termios.PARENB) | termios.CS8
        raw[3] &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
        raw[6][termios.VMIN], raw[6][termios.VTIME] = 1, 0
        termios.tcsetattr(0, termios.TCSADRAIN, raw)

    def __exit__(self, *_: object) -> None:
        if self._wanted:
            termios.tcsetattr(0, termios.TCSADRAIN, self._before)
