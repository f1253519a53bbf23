"""/containers: the ones that `weft run` and `weft attach` made, as Docker shows them, stops them and removes them."""

from __future__ import annotations

import re
import signal
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import msgspec

from weft.engine.controller import Controller
from weft.engine.parts import Parts
from weft.engine.worker import Worker
from weft.errors import Conflict, Invalid, NotFound
from weft.model import Sandbox
from weft.serve.docker import container_documents, container_filters
from weft.serve.docker.dialect import Asked, Refused, Reply, Stream
from weft.serve.docker.exec_memory import KnownExecs
from weft.serve.docker.finding import find_container
from weft.serve.lives import Lives, state_of
from weft.serve.routes import Route
from weft.serve.watch import Watch

_CONDITIONS = ("", "not-running", "next-exit", "removed")
_PATIENCE = 10.0
"""Seconds from the first signal to SIGKILL, unless the request says otherwise."""


@dataclass(slots=True)
class Containers:
    controller: Controller
    parts: Parts
    worker: Worker
    execs: KnownExecs
    pruning: bool = False

    def routes(self) -> tuple[Route, ...]:
        def route(method: str, path: str, handler: Any, summary: str, *, waits: bool = False) -> Route:
            return Route(method=method, path=f"/containers{path}", handler=handler, summary=summary, waits=waits)

        return (
            route("GET", "/json", self.list_all, "List containers"),
            route("GET", "/{ref}/json", self.inspect, "Inspect a container"),
            route("POST", "/{ref}/start", self.start, "Start a container that was made"),
            route("POST", "/{ref}/stop", self.stop, "Stop a container", waits=True),
            route("POST", "/{ref}/restart", self.restart, "Not here"),
            route("POST", "/{ref}/kill", self.kill, "Send a signal to a container", waits=True),
            route("POST", "/{ref}/wait", self.wait, "Wait for a container"),
            route("POST", "/{ref}/rename", self.rename, "Rename a container"),
            route("DELETE", "/{ref}", self.remove, "Remove a container"),
            route("POST", "/prune", self.prune, "Delete stopped containers"),
        )

    # Looking

    async def list_all(self, asked: Asked) -> list[dict[str, Any]]:
        choice = container_filters.read_choice(asked.query.get("filters"), self.parts)
        limit = _whole("limit", asked.query.get("limit")) or 0
        all_ = asked.yes("all") or choice.ended_too or limit > 0
        sandboxes = sorted(self.parts.records.sandboxes.values(), key=lambda sandbox: sandbox.created, reverse=True)
        chosen = [
            sandbox
            for sandbox in sandboxes
            if (all_ or state_of(sandbox, self.parts) == "running") and choice.fits(sandbox)
        ]
        documents = [
            container_documents.summary(sandbox, self.parts, asked.version)
            for sandbox in chosen[: limit if limit > 0 else None]
        ]
        return [{**document, **_NO_SIZE} for document in documents] if asked.yes("size") else documents

    async def inspect(self, asked: Asked) -> dict[str, Any]:
        sandbox = self._find(asked)
        document = container_documents.inspection(sandbox, self.parts, asked.version, self.execs.of(sandbox.id))
        return {**document, **_NO_SIZE} if asked.yes("size") else document

    # Their lives

    async def start(self, asked: Asked) -> Reply | None:
        sandbox = self._find(asked)
        if state_of(sandbox, self.parts) == "running":
            return Reply(status=304)
        if sandbox.exit is not None:
            raise Refused(501, _ONE_LIFE)
        await self.worker.call(self.controller.start, sandbox.id)
        return None

    async def stop(self, asked: Asked) -> Reply | None:
        sandbox = self._find(asked)
        seconds = _whole("t", asked.query.get("t"))
        signum = read_signal(asked.query.get("signal") or "SIGTERM")
        if state_of(sandbox, self.parts) != "running":
            return Reply(status=304)
        patience = _PATIENCE if seconds is None else None if seconds < 0 else float(seconds)
        await self._lives.stop(sandbox, patience=patience, signum=signum)
        return None

    async def restart(self, asked: Asked) -> None:
        self._find(asked)
        raise Refused(501, _ONE_LIFE)

    async def kill(self, asked: Asked) -> None:
        sandbox = self._find(asked)
        signum = read_signal(asked.query.get("signal") or "SIGKILL")
        if state_of(sandbox, self.parts) != "running":
            raise Refused(409, f"cannot kill container: {asked.ref}: container {sandbox.id} is not running")
        if signum == signal.SIGKILL:
            await self._lives.kill(sandbox)
        else:
            await self.worker.call(self.controller.signal, sandbox.id, signum)

    async def wait(self, asked: Asked) -> Stream:
        """The head of the answer goes out at once: clients start the container when they have it."""
        sandbox = self._find(asked)
        condition = asked.query.get("condition", "")
        if condition not in _CONDITIONS:
            raise Refused(400, f'invalid condition: "{condition}"')
        chunks = self._end(sandbox, condition)
        await anext(chunks)  # from here on no end is missed
        return Stream(chunks=chunks, content_type="application/json")

    async def _end(self, sandbox: Sandbox, condition: str) -> AsyncGenerator[bytes, None]:
        with Watch(self.parts.events) as watch:
            yield b""
            never_ran = condition in ("", "not-running") and state_of(sandbox, self.parts) == "created"
            # It will not end again: what comes next, if anything, is its removal.
            removal = condition == "removed" or (condition == "next-exit" and sandbox.exit is not None)
            code = 0 if never_ran else await self._lives.end(watch, sandbox, removal=removal)
            yield msgspec.json.encode({"StatusCode": code}) + b"\n"

    async def rename(self, asked: Asked) -> None:
        sandbox = self._find(asked)
        name = asked.query.get("name", "").removeprefix("/")
        if not name:
            raise Refused(400, "Neither old nor new names may be empty")
        if name == sandbox.name:
            raise Refused(400, "Renaming a container with the same name as its current name")
        try:
            await self.worker.call(self.controller.rename_container, sandbox.id, name)
        except Conflict:
            holder = self.parts.records.sandbox(name)
            raise Refused(409, f"Error when allocating new name: {name_taken(holder)}") from None
        except Invalid as wrong:
            raise Refused(400, f"Error when allocating new name: {wrong.message}") from None

    # Their ends

    async def remove(self, asked: Asked) -> None:
        sandbox = self._find(asked)
        if asked.yes("link"):
            raise Refused(
                501, "weft removes no links by themselves: disconnect the container that has it from the network"
            )
        force = asked.yes("force")
        if not force and state_of(sandbox, self.parts) == "running":
            reason = "container is running: stop the container before removing or force remove"
            raise Refused(409, f'cannot remove container "/{sandbox.name}": {reason}')
        await self.worker.call(self.controller.remove_container, sandbox.id, force=force)

    async def prune(self, asked: Asked) -> dict[str, Any]:
        fits = container_filters.read_prunable(asked.query.get("filters"), self.parts)
        if self.pruning:
            raise Refused(409, "a prune operation is already running")
        self.pruning = True
        deleted = []
        try:
            for sandbox in list(self.parts.records.sandboxes.values()):
                if fits(sandbox):
                    with suppress(NotFound, Conflict):  # somebody else was quicker, to remove it or to start it
                        await self.worker.call(self.controller.remove_container, sandbox.id)
                        deleted.append(sandbox.id)
        finally:
            self.pruning = False
        self.parts.events.emit("container", "prune", "", "", reclaimed="0")
        return {"ContainersDeleted": deleted or None, "SpaceReclaimed": 0}

    @property
    def _lives(self) -> Lives:
        return Lives(self.controller, self.parts, self.worker)

    def _find(self, asked: Asked) -> Sandbox:
        return find_container(self.parts, asked.ref)


_NO_SIZE = {"SizeRw": 0, "SizeRootFs": 0}
_ONE_LIFE = (
    "a container of weft's lives once: with its process its namespace has ended. Remove it and `weft run` another"
)


def name_taken(holder: Sandbox) -> str:
    return (
        f'Conflict. The container name "/{holder.name}" is already in use by container "{holder.id}". '
        "You have to remove (or rename) that container to be able to reuse that name."
    )


def read_signal(text: str) -> int:
    """TERM, SIGTERM, sigterm, 15, SIGRTMIN+3. Raises Refused."""
    name, plus, more = text.upper().removeprefix("SIG").partition("+")
    if _NUMBER.fullmatch(name) and not plus:
        number = int(name)
    else:
        known = signal.Signals.__members__.get(f"SIG{name}")
        is_sum = name == "RTMIN" and _NUMBER.fullmatch(more)
        number = 0 if known is None or (plus and not is_sum) else known + int(more or 0)
    if not 0 < number < signal.NSIG:
        raise Refused(400, f"invalid signal: {text}")
    return number


_NUMBER = re.compile(r"[0-9]{1,9}")


def _whole(name: str, text: str | None) -> int | None:
    if not text:
        return None
    if not re.fullmatch(r"[+-]?[0-9]{1,9}", text):
        raise Refused(400, f'invalid value "{text}" for {name}: it is not a number')
    return int(text)
