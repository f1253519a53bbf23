"""Ctrl-C for commands that wait without end."""

from __future__ import annotations

from weft.shim.lean import signal


class EndedByInterrupts:
    """`with EndedByInterrupts():` around waiting for what may never come, with nothing that would have to be put back.

    SIGINT ends the process in there, as it ends programs that do nothing about it. Python would raise KeyboardInterrupt
    instead, between two instructions; where the signal comes after the last look for one and before recv(2) waits, that
    is when there is next something to read. Whoever started us with SIGINT ignored is obeyed.
    """

    def __enter__(self) -> None:
        self._before = signal.getsignal(signal.SIGINT)
        if self._before is signal.default_int_handler:
            signal.signal(signal.SIGINT, signal.SIG_DFL)

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self._before)
