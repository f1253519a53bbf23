"""Further commands in running containers: /containers/{ref}/exec, /exec/{id}/…"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Coroutine
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from msgspec import Struct

from weft.engine.parts import Parts
from weft.model import Sandbox
from weft.serve.docker.detach import detach_keys
from weft.serve.docker.dialect import Asked, Refused, Reply, Takeover
from weft.serve.docker.exec_memory import Exec, ExecAsked, KnownExecs
from weft.serve.docker.supervisor import CannotStart, LeftAlone, Lost, Relay, Streams, Supervisor, multiplexed
from weft.serve.docker.telling import tell
from weft.serve.docker.terminals import console_of, read_size, running_here
from weft.serve.routes import Route
from weft.serve.takeover import Connection
from weft.shim import frames
from weft.shim.frames import EXEC, STDERR
from weft.shim.relay import Detached

LOST = 137
"""The exit code of what was killed along with its supervisor."""
HUNG_UP = 129
"""The exit code of what has lost its client."""


class StartAsked(Struct, frozen=True, rename="pascal"):
    detach: bool = False
    tty: bool = False
    console_size: tuple[int, int] | None = None


@dataclass(slots=True)
class Execs:
    parts: Parts
    known: KnownExecs
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
        one = Exec(body, sandbox, detach_keys(body.detach_keys), _bounded(body.console_size))
        self.known.add(one)
        self._tell("exec_create", one)
        return {"Id": one.id}

    async def start(self, asked: Asked) -> Takeover | Reply:
        one = self.known.find(asked.ref)
        sandbox = running_here(self.parts, one.sandbox.id)
        one.refuse_second_start()
        body: StartAsked = asked.body
        if body.console_size is not None:
            one.size = _bounded(body.console_size)
        if body.detach:
            self._begin(one)
            await self._start_detached(one, sandbox)
            return Reply(status=200)
        return Takeover(run=partial(self._serve, one, sandbox, raw=body.tty), raw=body.tty)

    async def resize(self, asked: Asked) -> Reply:
        one = self.known.find(asked.ref)
        if one.code is not None:
            raise Refused(409, f"exec {one.id} is not running")
        await one.resize(read_size(asked.query))
        return Reply(status=200)

    async def inspect(self, asked: Asked) -> dict[str, Any]:
        one = self.known.find(asked.ref)
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
            "CanRemove": self.known.is_old(one),
            "ContainerID": one.sandbox.id,
            "DetachKeys": base64.b64encode(one.keys).decode() if wish.detach_keys else "",
            "Pid": one.pid,
        }

    # Running

    def _begin(self, one: Exec) -> None:
        one.started = True
        self._tell("exec_start", one)

    def _end(self, one: Exec, code: int, *, ran: bool = True) -> None:
        """As in Docker, no end is told of what could not be started."""
        self.known.end(one, code)
        if ran:
            tell(self.parts, one.sandbox, "exec_die", exec=one.id, code=str(code))

    def _tell(self, action: str, one: Exec) -> None:
        tell(self.parts, one.sandbox, action, details={"command": one.command}, exec=one.id)

    async def _start_detached(self, one: Exec, sandbox: Sandbox) -> None:
        supervisor = None
        try:
            supervisor = await Supervisor.connect(console_of(self.parts, sandbox))
            supervisor.send(EXEC, frames.pack(one.fields(_environment(one.asked, sandbox), alone="stay")))
            one.ready(supervisor, await supervisor.ready())
        except (CannotStart, Lost, asyncio.CancelledError) as error:
            self._end(one, error.code if isinstance(error, CannotStart) else LOST, ran=False)
            if supervisor is not None:
                supervisor.close()
            if isinstance(error, asyncio.CancelledError):
                raise
            raise _refusal(error, sandbox) from None
        self._in_background(self._until_end(one, supervisor))

    async def _until_end(self, one: Exec, supervisor: Supervisor) -> None:
        try:
            self._end(one, await supervisor.end())
        except Lost:
            self._end(one, LOST)
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
            self._begin(one)
            await client.until_read()
            supervisor = await Supervisor.connect(console_of(self.parts, sandbox))
            self._end(one, await self._run(one, sandbox, client, supervisor, raw=raw))
        except Detached:
            assert supervisor is not None
            tell(self.parts, one.sandbox, "exec_detach", exec=one.id)
            self._in_background(self._until_end(one, supervisor))
        except LeftAlone:
            self._end(one, HUNG_UP)
        except (CannotStart, Lost) as error:
            await _say(client, _refusal(error, sandbox), raw=raw)
            self._end(one, error.code if isinstance(error, CannotStart) else LOST, ran=one.pid != 0)
        except Refused as refused:
            await _say(client, refused, raw=raw)
        except asyncio.CancelledError:
            self._end(one, HUNG_UP, ran=one.pid != 0)
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
