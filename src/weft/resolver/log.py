"""The resolver's log: one structured line per event, on standard error.

Containers decide how often some things happen, so each kind of event is written at most once in ten seconds, with
the number of those left out before it; and a log of our own, which lies in memory, starts anew when it is full.
"""

from __future__ import annotations

import os
import sys
import time

_INTERVAL = 10.0
_SIZE = 1024 * 1024
_KINDS = 256


class Log:
    def __init__(self, *, own: bool = False) -> None:
        """`own`: standard error is a file that is nobody else's."""
        self.own = own
        self.failures = 0
        """How many unexpected errors there were."""
        self._last: dict[str, tuple[float, int]] = {}

    def event(self, what: str, **fields: object) -> None:
        now = time.monotonic()
        last, left_out = self._last.get(what, (-_INTERVAL, 0))
        if now - last < _INTERVAL:
            self._last[what] = (last, left_out + 1)
            return
        if len(self._last) > _KINDS:
            self._last.clear()
        self._last[what] = (now, 0)
        if left_out:
            fields["left_out"] = left_out
        self._write(what, fields)

    def failure(self, what: str, error: BaseException) -> None:
        """An error that should not have been; with the place it came from."""
        self.failures += 1
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        at = f"{trace.tb_frame.f_code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}" if trace else "?"
        self.event(what, error=f"{type(error).__name__}: {error}", at=at)

    def _write(self, what: str, fields: dict[str, object]) -> None:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        text = " ".join(f"{key}={_quoted(str(value))}" for key, value in fields.items())
        try:
            if self.own and os.fstat(2).st_size > _SIZE:
                os.ftruncate(2, 0)
            sys.stderr.write(f"{stamp} resolver: {what}{' ' if text else ''}{text}\n")
            sys.stderr.flush()
        except OSError:
            pass  # a full disk must not stop names


def _quoted(text: str) -> str:
    return text if text.isascii() and text.isprintable() and " " not in text and '"' not in text else ascii(text)
