"""Where containers are in their lives: what state one is in, how it is asked to end, and waited for."""

from __future__ import annotations

import asyncio
import signal
from dataclasses import dataclass
from typing import Literal

from weft.engine.controller import Controller
from weft.engine.parts import Parts
from weft.engine.worker import Worker
from weft.errors import Conflict, Unavailable
from weft.model import Origin, Sandbox
from weft.serve.watch import Watch

KILLED = 128 + signal.SIGKILL
KILL_SECONDS = 10.0
"""How long what was killed may take to end."""

State = Literal["created", "running", "exited"]


def state_of(sandbox: Sandbox, parts: Parts) -> State:
    """A namespace without a process of ours is in use as long as it is there: running.

    So is a process that has ended until weftd has let go of its networks.
    """
    if sandbox.exit is not None:
        return "exited"
    return "running" if sandbox.process is None or parts.runtime.started(sandbox.id) else "created"


def pid_of(sandbox: Sandbox, parts: Parts) -> int | None:
    """The container's first process, or the one whose namespace was adopted."""
    if sandbox.origin is Origin.PID:
        return int(sandbox.source.partition(":")[0])
    pids = parts.runtime.pids(sandbox.id) if sandbox.process is not None and sandbox.exit is None else None
    return pids[1] if pids else None


@dataclass(frozen=True, slots=True)
class Lives:
    controller: Controller
    parts: Parts
    worker: Worker

    async def stop(self, sandbox: Sandbox, *, patience: float | None, signum: int = signal.SIGTERM) -> None:
        """Returns when it has ended; SIGKILL is sent once patience (None: without end) is over. Raises Conflict."""
        with Watch(self.parts.events) as watch, self.controller.stopping(sandbox.id):
            await self._signal(sandbox, signum)
            try:
                async with asyncio.timeout(patience):
                    await self.end(watch, sandbox)
                return
            except TimeoutError:
                pass
            if self._lives(sandbox):
                await self._signal(sandbox, signal.SIGKILL)
                await self.end(watch, sandbox)

    async def kill(self, sandbox: Sandbox) -> None:
        """SIGKILL; returns when it has ended. Raises Conflict, or Unavailable if it does not end at all."""
        with Watch(self.parts.events) as watch:
            await self._signal(sandbox, signal.SIGKILL)
            try:
                async with asyncio.timeout(KILL_SECONDS):
                    await self.end(watch, sandbox)
            except TimeoutError:
                raise Unavailable(
                    f"container {sandbox.name!r} was killed and has not ended within {KILL_SECONDS:g} s: "
                    "the kernel waits for something that one of its processes does"
                ) from None

    async def end(self, watch: Watch, sandbox: Sandbox, *, removal: bool = False) -> int:
        """Wait until the sandbox has ended or was removed (with `removal`, only that); its exit code."""
        code = KILLED if sandbox.process is not None else 0
        # What happened before the watch began is in the records: nobody is told before they are right.
        now = self.parts.records.sandboxes.get(sandbox.id)
        if now is None:
            return code
        if now.exit is not None:
            code = now.exit.code
            if not removal:
                return code
        async for event in watch:
            if event.type != "container" or event.id != sandbox.id:
                continue
            if event.action == "die":
                code = int(event.attributes.get("code", code))
            if event.action == "destroy" or (event.action == "die" and not (removal or sandbox.auto_remove)):
                return code
        raise Unavailable("weftd is too busy to tell when the container ends; ask again")

    async def _signal(self, sandbox: Sandbox, signum: int) -> None:
        try:
            await self.worker.call(self.controller.signal, sandbox.id, int(signum))
        except Conflict:
            # A process that has just ended needs no signal any more; its end is about to be noticed.
            if sandbox.process is None or not self.parts.runtime.started(sandbox.id):
                raise

    def _lives(self, sandbox: Sandbox) -> bool:
        now = self.parts.records.sandboxes.get(sandbox.id)
        return now is not None and now.exit is None
