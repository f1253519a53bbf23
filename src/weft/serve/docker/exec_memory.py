"""The commands that clients have asked for in running containers, and how long each is remembered.

This daemon alone knows of them: who made one asks for its exit code, and that is that. One that runs is remembered
while its container is there. One that was never started is forgotten with the end of its container; one that has
ended, after a while.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from msgspec import Struct

from weft.engine.state import Records
from weft.model import Sandbox
from weft.serve.docker.dialect import Refused
from weft.serve.docker.supervisor import CONNECT_SECONDS, Supervisor
from weft.shim import frames
from weft.shim.frames import RESIZE, Record, number

MOST = 1024
"""How many are remembered, besides those that run."""
ROUND_SECONDS = 300.0
"""Docker looks for what has ended every five minutes, and forgets what it has found so in the round before."""


class ExecAsked(Struct, frozen=True, rename="pascal"):
    cmd: list[str] | None = None
    attach_stdin: bool = False
    attach_stdout: bool = False
    attach_stderr: bool = False
    tty: bool = False
    env: list[str] | None = None
    working_dir: str = ""
    detach_keys: str = ""
    user: str = ""
    privileged: bool = False
    console_size: tuple[int, int] | None = None


@dataclass(slots=True)
class Exec:
    asked: ExecAsked
    sandbox: Sandbox
    """As it was then."""
    keys: bytes
    size: tuple[int, int]
    id: str = field(default_factory=lambda: secrets.token_hex(32))
    touched: float = 0.0
    """When it was made; when it ended, once it has."""
    started: bool = False
    pid: int = 0
    supervisor: Supervisor | None = None
    """While it runs."""
    settled: asyncio.Event = field(default_factory=asyncio.Event)
    """It runs, or is over."""
    code: int | None = None
    told: tuple[int, int] = (0, 0)
    """The size that the supervisor knows."""

    @property
    def command(self) -> str:
        return " ".join(self.asked.cmd or ())

    def refuse_second_start(self) -> None:
        """Raises Refused."""
        if self.started:
            state = "is already running" if self.code is None else "has already run"
            raise Refused(409, f"Error: Exec command {self.id} {state}")

    def ready(self, supervisor: Supervisor, said: Record) -> None:
        self.supervisor = supervisor
        self.pid = number(said, "pid")
        self.settled.set()
        self._resize()

    async def resize(self, size: tuple[int, int]) -> None:
        """What is typed after this has returned finds the new size."""
        self.size = size
        if self.started:
            with suppress(TimeoutError):
                async with asyncio.timeout(CONNECT_SECONDS):
                    await self.settled.wait()
        self._resize()

    def _resize(self) -> None:
        if self.supervisor is not None and self.size != self.told:
            self.told = self.size
            self.supervisor.send(RESIZE, frames.size(*self.size))

    def fields(self, env: list[str], *, alone: str) -> Record:
        """What the supervisor is asked."""
        asked = self.asked
        rows, columns = self.told = self.size
        return {
            "argv": asked.cmd or [],
            "env": env,
            "cwd": [asked.working_dir] if asked.working_dir else [],
            "user": [asked.user] if asked.user else [],
            "tty": ["1"] if asked.tty else [],
            "stdin": ["1"] if asked.attach_stdin else [],
            "rows": [str(rows)],
            "columns": [str(columns)],
            "alone": [alone],
        }


@dataclass(slots=True)
class KnownExecs:
    records: Records
    clock: Callable[[], float] = time.monotonic
    _known: dict[str, Exec] = field(default_factory=dict)

    def add(self, one: Exec) -> None:
        one.touched = self.clock()
        for old in list(self._known.values()):
            if not self._lasts(old):
                del self._known[old.id]
        idle = [old for old in self._known.values() if old.code is not None or not old.started]
        surplus = max(0, len(idle) - MOST + 1)
        for old in sorted(idle, key=lambda old: old.touched)[:surplus]:
            del self._known[old.id]
        self._known[one.id] = one

    def find(self, ident: str) -> Exec:
        """Raises Refused."""
        one = self._known.get(ident)
        if one is None or not self._lasts(one):
            raise Refused(404, f"No such exec instance: {ident}")
        return one

    def of(self, sandbox_id: str) -> list[str]:
        """The ids of those in a container that run, or have yet to be started."""
        return [
            one.id
            for one in self._known.values()
            if one.sandbox.id == sandbox_id and one.code is None and self._lasts(one)
        ]

    def end(self, one: Exec, code: int) -> None:
        one.supervisor = None
        one.pid = 0
        one.code = code
        one.settled.set()
        one.touched = self.clock()

    def is_old(self, one: Exec) -> bool:
        """It has ended, and will soon be forgotten."""
        return one.code is not None and self.clock() >= one.touched + ROUND_SECONDS

    def _lasts(self, one: Exec) -> bool:
        sandbox = self.records.sandboxes.get(one.sandbox.id)
        if sandbox is None or (sandbox.exit is not None and not one.started):
            return False
        return one.code is None or self.clock() < one.touched + 2 * ROUND_SECONDS
