"""Further commands in running containers: /containers/{ref}/exec, /exec/{id}/…

An exec is known to this daemon alone, for a while: who made it asks for its exit code and that is that.
"""

from __future__ import annotations

import asyncio
import base64
import secrets
import time
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from msgspec import Struct

from weft.engine.parts import Parts
from weft.model import Sandbox
from weft.serve.docker.detach import detach_keys
from weft.serve.docker.dialect import Asked, Refused, Reply, Takeover
from weft.serve.docker.supervisor import (
    CONNECT_SECONDS,
    CannotStart,
    LeftAlone,
    Lost,
    Relay,
    Streams,
    Supervisor,
    multiplexed,
)
from weft.serve.docker.terminals import console_of, read_size, running_here
from weft.serve.routes import Route
from weft.serve.takeover import Connection
from weft.shim import frames
from weft.shim.frames import EXEC, RESIZE, STDERR, Record, number
from weft.shim.relay import Detached

MOST = 1024
"""How many are remembered, besides those that run."""
MEMORY_SECONDS = 300.0
"""How long one that has ended, or was never started, is remembered."""
LOST = 137
"""The exit code of what was killed along with its supervisor."""
HUNG_UP = 129
"""The exit code of what has lost its client."""


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


class StartAsked(Struct, frozen=True, rename="pascal"):
    detach: bool = False
    tty: bool = False
    console_size: tuple[int, int] | None = None


@dataclass(slots=True)
class Exec:
    asked: ExecAsked
    sandbox_id: str
    keys: bytes
    size: tuple[int, int]
    id: str = field(default_factory=lambda: secrets.token_hex(32))
    touched: float = field(default_factory=time.monotonic)
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

    def end(self, code: int) -> None:
        self.supervisor = None
        self.pid = 0
        self.code = code
        self.settled.set()
        self.touched = time.monotonic()

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
class Execs:
    parts: Parts
    known: dict[str, Exec] = field(default_factory=dict)
    background: set[asyncio.Task[None]] = field(default_factory=set)

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(
                method="POST",
                path="/containers/{ref}/exec",
                handler=self.create,
                request=ExecAsked,
                status=201,
                summary="Say what to run in a container",
            ),
            Route(
                method="POST",
                path="/exec/{ref}/start",
                handler=self.start,
                request=StartAsked,
                optional=True,
                summary="Run it",
            ),
            Route(method="POST", path="/exec/{ref}/resize", handler=self.resize, summary="Resize its terminal"),
            Route(method="GET", path="/exec/{ref}/json", handler=self.inspect, summary="How it goes"),
        )

    async def create(self, asked: Asked) -> dict[str, str]:
        sandbox = running_here(self.parts, asked.ref)
        body: ExecAsked = asked.body
        if not body.cmd:
            raise Refused(400, "No exec command specified")
        if any("\0" in text for text in (*body.cmd, *(body.env or ()), body.working_dir, body.user)):
            raise Refused(400, "invalid exec config: neither arguments nor the environment can hold a NUL")
        one = Exec(body, sandbox.id, detach_keys(body.detach_keys), _bounded(body.console_size))
        self._forget_old()
        self.known[one.id] = one
        return {"Id": one.id}

    async def start(self, asked: Asked) -> Takeover | Reply:
        one = self._find(asked.ref)
        one.refuse_second_start()
        sandbox = running_here(self.parts, one.sandbox_id)
        body: StartAsked = asked.body
        if body.console_size is not None:
            one.size = _bounded(body.console_size)
        if body.detach:
            one.started = True
            await self._start_detached(one, sandbox)
            return Reply(status=200)
        return Takeover(run=partial(self._serve, one, sandbox, raw=body.tty), raw=body.tty)

    async def resize(self, asked: Asked) -> Reply:
        one = self._find(asked.ref)
        if one.code is not None:
            raise Refused(409, f"exec {one.id} is not running")
        await one.resize(read_size(asked.query))
        return Reply(status=200)

    async def inspect(self, asked: Asked) -> dict[str, Any]:
        one = self._find(asked.ref)
        wish = one.asked
        assert wish.cmd
        process: dict[str, Any] = {
            "tty": wish.tty,
            "entrypoint": wish.cmd[0],
            "arguments": wish.cmd[1:],
            "privileged": wish.privileged,
        }
        return {
            "ID": one.id,
            "Running": one.started and one.code is None,
            "ExitCode": one.code,
            "ProcessConfig": {**process, "user": wish.user} if wish.user else process,
            "OpenStdin": wish.attach_stdin,
            "OpenStderr": wish.attach_stderr,
            "OpenStdout": wish.attach_stdout,
            "CanRemove": one.code is not None,
            "ContainerID": one.sandbox_id,
            "DetachKeys": base64.b64encode(one.keys).decode() if wish.detach_keys else "",
            "Pid": one.pid,
        }

    def of(self, sandbox_id: str) -> list[str]:
        """The ids of those that run in a container."""
        return [one.id for one in self.known.values() if one.sandbox_id == sandbox_id and one.supervisor is not None]

    # What is remembered

    def _find(self, ident: str) -> Exec:
        one = self.known.get(ident)
        if one is None or one.sandbox_id not in self.parts.records.sandboxes:
            raise Refused(404, f"No such exec instance: {ident}")
        return one

    def _forget_old(self) -> None:
        idle = [one for one in self.known.values() if one.code is not None or not one.started]
        idle.sort(key=lambda one: one.touched)
        surplus = len(idle) - MOST + 1
        oldest = time.monotonic() - MEMORY_SECONDS
        for index, one in enumerate(idle):
            if index < surplus or one.touched < oldest:
                del self.known[one.id]

    # Running

    async def _start_detached(self, one: Exec, sandbox: Sandbox) -> None:
        supervisor = None
        try:
            supervisor = await Supervisor.connect(console_of(self.parts, sandbox))
            supervisor.send(EXEC, frames.pack(one.fields(_environment(one.asked, sandbox), alone="stay")))
            one.ready(supervisor, await supervisor.ready())
        except (CannotStart, Lost, asyncio.CancelledError) as error:
            one.end(error.code if isinstance(error, CannotStart) else LOST)
            if supervisor is not None:
                supervisor.close()
            if isinstance(error, asyncio.CancelledError):
                raise
            raise _refusal(error, sandbox) from None
        self._in_background(self._until_end(one, supervisor))

    async def _until_end(self, one: Exec, supervisor: Supervisor) -> None:
        try:
            one.end(await supervisor.end())
        except Lost:
            one.end(LOST)
        finally:
            supervisor.close()

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self.background.add(task)
        task.add_done_callback(self.background.discard)

    async def _serve(self, one: Exec, sandbox: Sandbox, client: Connection, *, raw: bool) -> None:
        """Run it for a client that has its streams."""
        supervisor = None
        try:
            one.refuse_second_start()  # another may have come first since this one was let in
            one.started = True
            await client.until_read()
            supervisor = await Supervisor.connect(console_of(self.parts, sandbox))
            one.end(await self._run(one, sandbox, client, supervisor, raw=raw))
        except Detached:
            assert supervisor is not None
            self._in_background(self._until_end(one, supervisor))
        except LeftAlone:
            one.end(HUNG_UP)
        except (CannotStart, Lost) as error:
            await _say(client, _refusal(error, sandbox), raw=raw)
            one.end(error.code if isinstance(error, CannotStart) else LOST)
        except Refused as refused:
            await _say(client, refused, raw=raw)
        except asyncio.CancelledError:
            one.end(HUNG_UP)
            raise
        await client.finish()

    async def _run(self, one: Exec, sandbox: Sandbox, client: Connection, supervisor: Supervisor, *, raw: bool) -> int:
        supervisor.send(EXEC, frames.pack(one.fields(_environment(one.asked, sandbox), alone="hangup")))
        relay = Relay(client, supervisor, _streams(one, raw=raw), partial(one.ready, supervisor))
        try:
            code = await relay.run()
        except Detached:
            raise
        except BaseException:
            supervisor.close()
            raise
        supervisor.close()
        return code


def _streams(one: Exec, *, raw: bool) -> Streams:
    asked = one.asked
    return Streams(
        stdin=asked.attach_stdin,
        stdout=asked.attach_stdout,
        stderr=asked.attach_stderr,
        raw=raw,
        terminal=asked.tty,
        ends=True,
        detach_keys=one.keys,
    )


async def _say(client: Connection, refused: Refused, *, raw: bool) -> None:
    text = f"{refused.message}\r\n".encode()
    await client.write(text if raw else multiplexed(STDERR, text))


def _environment(asked: ExecAsked, sandbox: Sandbox) -> list[str]:
    """Lines to add to the container's own. A terminal has a kind, if nobody has named one."""
    lines = [line for line in asked.env or () if "=" in line]
    assert sandbox.process is not None
    if asked.tty and "TERM" not in sandbox.process.env:
        return ["TERM=xterm", *lines]
    return lines


def _bounded(size: tuple[int, int] | None) -> tuple[int, int]:
    if size is None:
        return 0, 0
    return read_size({"h": str(size[0]), "w": str(size[1])})


def _refusal(error: CannotStart | Lost, sandbox: Sandbox) -> Refused:
    if isinstance(error, Lost):
        return Refused(409, f"container {sandbox.id} is not running")
    return Refused(400, error.message)
