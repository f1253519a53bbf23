"""What join.py asks of weft, of the floor and of each peer."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Protocol

FIRST_PORT = 20000
"""The host port of container `i` is this plus `i`, for every contender."""


class Contender(Protocol):
    name: str

    def setup(self) -> None:
        """Bring it up, warm. Raises Absent where it is not installed."""

    def join(self, i: int) -> float:
        """Give container `i` its network and one published port; milliseconds."""

    def leave(self, i: int) -> float:
        """Take it away again; milliseconds."""

    def close(self) -> None:
        """End every process it started. Repeatable."""


def execute(argv: list[str], *, feed: bytes, env: Mapping[str, str]) -> tuple[float, bytes]:
    """Run a program as container engines do: input ready, output collected, waited for; milliseconds and output.

    posix_spawn and memory files keep our own share of the time near nothing.
    """
    source, output = os.memfd_create("stdin"), os.memfd_create("stdout")
    try:
        os.write(source, feed)
        os.lseek(source, 0, os.SEEK_SET)
        begun = time.perf_counter()
        pid = os.posix_spawn(
            argv[0],
            argv,
            env,
            file_actions=[
                (os.POSIX_SPAWN_DUP2, source, 0),
                (os.POSIX_SPAWN_DUP2, output, 1),
                (os.POSIX_SPAWN_DUP2, output, 2),
            ],
        )
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        took = time.perf_counter() - begun
        os.lseek(output, 0, os.SEEK_SET)
        printed = os.read(output, 1 << 20)
    finally:
        os.close(source)
        os.close(output)
    if status != 0:
        raise RuntimeError(f"{argv[0]}: status {status}: {printed.decode(errors='replace').strip()}")
    return took * 1e3, printed
