"""What the host's `ps` says of a container's processes, with the arguments that a client of Docker's asks for.

`ps` is started without a shell. What it says is filtered by its PID column, so nothing may pass another column off
as that: the rules for it are those of Docker's daemon/top_unix.go, and a little stricter.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from subprocess import DEVNULL, PIPE
from typing import Any

from weft.errors import Unavailable, Unsupported
from weft.serve.docker.dialect import Refused

PATIENCE = 10.0
"""Seconds that `ps` may take."""
LONGEST = 8 << 20
"""Bytes that it may say."""
MOST_PIDS = 8192
"""That it is asked for by number: a single argument may have 128 KiB."""

_BLANKS = re.compile(r"[\t\n\v\f\r ]+")
_TITLE = re.compile(r"[\t\n\v\f\r ]+([^\t\n\v\f\r ]*)=[\t\n\v\f\r ]*(PID[^\t\n\v\f\r ]*)")
"""A column that is to be called PID, or something that begins so."""


async def processes(arguments: str, pids: Sequence[int]) -> dict[str, Any]:
    """The columns that `ps ARGUMENTS` has, and its rows about these processes.

    Raises Refused, Unsupported without a `ps`, or Unavailable for one that does not end.
    """
    words = read_arguments(arguments)
    try:
        async with asyncio.timeout(PATIENCE):
            said = await _ask([*words, f"-q{','.join(map(str, pids))}"]) if 0 < len(pids) <= MOST_PIDS else None
            if said is None or said.code != 0:
                said = await _ask(words)  # some options cannot be used along with -q; and not every ps knows it
    except TimeoutError:
        raise Unavailable(f"ps has not ended within {PATIENCE:g} s") from None
    if said.code != 0:
        raise Refused(500, f"ps: {said.complaint or f'exit status {said.code}'}")
    return read_table(said.text, frozenset(pids))


def read_arguments(text: str) -> list[str]:
    """The words of `ps_args`. Raises Refused, as Docker words it."""
    if "\0" in text:
        raise Refused(400, "ps_args cannot hold a NUL")
    for column, title in _TITLE.findall(f" {text}"):
        if column != "pid":
            raise Refused(500, f'specifying "{column}={title}" is not allowed')
    return _fields(text)


def read_table(text: str, pids: Collection[int]) -> dict[str, Any]:
    """The titles, and the rows about these processes, with those of their threads behind them (`ps m`).

    Raises Refused, as Docker words it.
    """
    heading, *lines = text.split("\n")
    titles = _fields(heading)
    if "PID" not in titles:
        raise Refused(500, "Couldn't find PID field in ps output")
    column = titles.index("PID")
    rows = []
    wanted = False
    for line in lines:
        fields = _fields(line)
        if len(fields) <= column:
            continue
        pid = fields[column]
        if pid != "-":
            if not (pid.isascii() and pid.isdecimal()):
                raise Refused(500, f"Unexpected pid '{pid}': it is not a number")
            wanted = int(pid) in pids
        if wanted:
            rows.append(_row(fields, len(titles)))
    return {"Titles": titles, "Processes": rows}


def _fields(text: str) -> list[str]:
    """By blanks of ASCII alone: others may be part of a title."""
    return [field for field in _BLANKS.split(text) if field]


def _row(fields: list[str], length: int) -> list[str]:
    """As many fields as there are titles: the last one has blanks of its own."""
    row = [*fields[: length - 1], " ".join(fields[length - 1 :])]
    return row + [""] * (length - len(row))


@dataclass(frozen=True, slots=True)
class _Said:
    code: int
    text: str
    complaint: str
    """The first line of what it has complained of."""


async def _ask(words: Sequence[str]) -> _Said:
    loop = asyncio.get_running_loop()
    listener = _Listener(loop.create_future())
    # A width or a format of the daemon's own environment is none of the client's business.
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8"}
    try:
        transport, _ = await loop.subprocess_exec(
            lambda: listener, "ps", *words, stdin=DEVNULL, stdout=PIPE, stderr=PIPE, env=environment, cwd="/"
        )
    except FileNotFoundError:
        raise Unsupported(
            "this host has no ps (Debian has it in procps): without arguments for it weft needs none"
        ) from None
    except OSError as error:
        raise Refused(500, f"ps: {error.strerror}") from None
    try:
        await listener.over
    finally:
        transport.close()  # which kills it, if it has not ended
    text, complaint = (bytes(listener.said[fd]).decode(errors="replace") for fd in (1, 2))
    return _Said(transport.get_returncode() or 0, text, complaint.partition("\n")[0])


class _Listener(asyncio.SubprocessProtocol):
    def __init__(self, over: asyncio.Future[None]) -> None:
        self.over = over
        """Done once it has ended and all is heard."""
        self.said = {1: bytearray(), 2: bytearray()}

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        self.said[fd] += data
        if len(self.said[fd]) > LONGEST and not self.over.done():
            self.over.set_exception(Refused(500, f"ps: it says more than {LONGEST >> 20} MiB"))

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.over.done():
            self.over.set_result(None)
