"""A line on the terminal for work that takes longer than a second, gone again when it is done."""

from __future__ import annotations

import sys
from _thread import allocate_lock, start_new_thread

DELAY = 1.0
FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"


class Progress:
    """`with Progress("stopping db"):`. Silent where standard error is not a terminal."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._over = allocate_lock()
        self._drawn = allocate_lock()
        self._shown = sys.stderr.isatty()

    def __enter__(self) -> None:
        if self._shown:
            self._over.acquire()
            self._drawn.acquire()
            start_new_thread(self._draw, ())

    def __exit__(self, *_: object) -> None:
        if self._shown:
            self._over.release()
            self._drawn.acquire()  # the line is gone before anything else is written

    def _draw(self) -> None:
        try:
            wait, turn = DELAY, 0
            while not self._over.acquire(timeout=wait):
                sys.stderr.write(f"\r{FRAMES[turn % len(FRAMES)]} {self._text} …")
                sys.stderr.flush()
                wait, turn = 0.1, turn + 1
            if turn:
                sys.stderr.write("\r\033[K")
                sys.stderr.flush()
        finally:
            self._drawn.release()
