"""/containers/{ref}/attach and /resize: a client on the streams of a container's own process."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from weft.engine.parts import Parts
from weft.engine.worker import Worker
from weft.errors import Invalid
from weft.fields import read_bool
from weft.model import Sandbox
from weft.serve.docker.detach import detach_keys
from weft.serve.docker.dialect import Asked, Refused, Reply, Takeover
from weft.serve.docker.supervisor import CannotStart, LeftAlone, Lost, Relay, Streams, Supervisor
from weft.serve.docker.telling import tell
from weft.serve.docker.terminals import console_of, read_size, running_here, with_console
from weft.serve.routes import Route
from weft.serve.takeover import Connection
from weft.shim import frames
from weft.shim.frames import ATTACH, RESIZE, Record
from weft.shim.relay import Detached


@dataclass(frozen=True, slots=True)
class Attach:
    parts: Parts
    worker: Worker

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(method="POST", path="/containers/{ref}/attach", handler=self.attach, summary="Attach to its streams"),
            Route(method="POST", path="/containers/{ref}/resize", handler=self.resize, summary="Resize its terminal"),
        )

    async def attach(self, asked: Asked) -> Takeover:
        """To a container that has yet to start, too: then nothing that it writes is missed."""
        sandbox = with_console(self.parts, asked.ref)
        assert sandbox.process is not None
        if _flag(asked, "logs"):
            raise Refused(501, "attach does not repeat what was written before: see the container's logs for that")
        if sandbox.exit is not None:
            raise Refused(409, f"container {sandbox.id} is not running")
        terminal = sandbox.process.tty
        streams = Streams(
            stdin=_flag(asked, "stdin") and sandbox.process.open_stdin,
            stdout=_flag(asked, "stdout"),
            stderr=_flag(asked, "stderr"),
            raw=terminal,
            terminal=terminal,
            ends=False,
            detach_keys=detach_keys(asked.query.get("detachKeys", "")),
        )
        if self.parts.runtime.pids(sandbox.id) is None:
            await self.worker.call(self.parts.runtime.prepare, sandbox.id)
        live = _flag(asked, "stream")
        return Takeover(run=partial(self._serve, sandbox, streams, live=live), raw=terminal)

    async def resize(self, asked: Asked) -> Reply:
        sandbox = running_here(self.parts, asked.ref)
        size = read_size(asked.query)
        try:
            supervisor = await Supervisor.connect(console_of(self.parts, sandbox))
            try:
                supervisor.send(RESIZE, frames.size(*size))
                await supervisor.ready()
            finally:
                supervisor.close()
        except (CannotStart, Lost):
            raise Refused(409, f"container {sandbox.id} is not running") from None
        height, width = size
        tell(self.parts, sandbox, "resize", height=str(height), width=str(width))
        return Reply(status=200)

    async def _serve(self, sandbox: Sandbox, streams: Streams, client: Connection, *, live: bool) -> None:
        tell(self.parts, sandbox, "attach")
        if live:
            await client.until_read()
            try:
                supervisor = await Supervisor.connect(console_of(self.parts, sandbox))
                try:
                    supervisor.send(ATTACH, frames.pack({"hold": ["1"]}))
                    await Relay(client, supervisor, streams, _ignore).run()
                finally:
                    supervisor.close()
            except Detached:
                tell(self.parts, sandbox, "detach")
            except (CannotStart, Lost, LeftAlone):
                pass  # the stream ends, whoever ended it
        await client.finish()


def _ignore(said: Record) -> None:
    """Where in the log the output begins is not asked."""


def _flag(asked: Asked, name: str) -> bool:
    try:
        return read_bool(name, asked.query.get(name) or "false")
    except Invalid as error:
        raise Refused(400, error.message) from None
