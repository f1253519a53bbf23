"""A container's streams for a client of Docker's API: between its connection and the container's supervisor.

See `weft.shim.frames` for what the supervisor is told. Nothing is read ahead of who takes it: a command that writes
waits for its client, and a client that sends waits for the command.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from weft.serve.takeover import Connection
from weft.shim import frames
from weft.shim.frames import ERROR, EXIT, READY, STDERR, STDIN, STDOUT, TAKEN, Record, first, number
from weft.shim.relay import DetachKeys

CHUNK = 64 << 10
CONNECT_SECONDS = 10.0
"""More than the supervisor ever takes for one thing, in which it does not listen."""
TYPED_AHEAD = 64 << 10
"""Bytes that may be sent to a terminal before it has taken them: Ctrl-C must not wait behind what nobody reads."""


class CannotStart(Exception):
    """The supervisor refuses, with the code that a shell would return."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.message = message
        self.code = code


class Lost(Exception):
    """The supervisor is gone, or never was."""


class LeftAlone(Exception):
    """The client is gone."""


class Supervisor:
    """A connection to a container's supervisor."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._decoder = frames.Decoder()
        self._frames: deque[tuple[int, bytes]] = deque()

    @classmethod
    async def connect(cls, path: str) -> Supervisor:
        """Raises Lost."""
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                sock = await _connected(path)
                return cls(*await asyncio.open_unix_connection(sock=sock, limit=CHUNK))
        except (OSError, TimeoutError):
            raise Lost from None

    def send(self, kind: int, payload: bytes = b"") -> None:
        """What the supervisor has not taken is bounded by the caller."""
        self._writer.write(frames.frame(kind, payload))

    async def receive(self) -> tuple[int, bytes]:
        """The next frame. Waits. Raises Lost at the end."""
        while not self._frames:
            try:
                data = await self._reader.read(CHUNK)
                self._frames.extend(self._decoder.feed(data))
            except (OSError, ValueError):
                raise Lost from None
            if not data:
                raise Lost
        return self._frames.popleft()

    async def ready(self) -> Record:
        """The answer to the first request. Raises CannotStart, Lost."""
        return answer(*await self.receive())

    async def end(self) -> int:
        """Wait for the exit code; what is written until then is for nobody. Raises Lost."""
        while True:
            kind, payload = await self.receive()
            if kind == EXIT:
                return payload[0]

    def close(self) -> None:
        self._writer.close()


def answer(kind: int, payload: bytes) -> Record:
    """What READY says. Raises CannotStart, or Lost for what is no answer."""
    fields = frames.unpack(payload)
    if kind == ERROR:
        raise CannotStart(first(fields, "message"), number(fields, "code"))
    if kind != READY:
        raise Lost
    return fields


async def _connected(path: str) -> socket.socket:
    while True:
        try:
            return socket.socket(fileno=frames.connect(path, wait=False).detach())
        except BlockingIOError:  # many wait there already
            await asyncio.sleep(0.02)


@dataclass(frozen=True, slots=True, kw_only=True)
class Streams:
    """Which of the command's streams a client has, and how they are sent."""

    stdin: bool
    stdout: bool
    stderr: bool
    raw: bool
    """Output is sent as it is; otherwise in frames that say which stream it is of."""
    terminal: bool
    ends: bool
    """The end of the client's input is the end of the command's."""
    detach_keys: bytes

    def output(self, kind: int, data: bytes) -> bytes:
        """What to send for a piece of output; nothing if the client does not have that stream."""
        if not (self.stdout if kind == STDOUT else self.stderr):
            return b""
        return data if self.raw else multiplexed(kind, data)


def multiplexed(kind: int, data: bytes) -> bytes:
    """Docker's frame: the stream, three zeros, the length, the bytes."""
    return (1 if kind == STDOUT else 2).to_bytes(1, "big") + len(data).to_bytes(7, "big") + data


class Relay:
    """Carries bytes both ways until one side ends. `ready` is told what the supervisor answers to the first request."""

    def __init__(
        self, client: Connection, supervisor: Supervisor, streams: Streams, ready: Callable[[Record], None]
    ) -> None:
        self._client = client
        self._supervisor = supervisor
        self._streams = streams
        self._ready = ready
        self._begun = False
        self._sent: deque[int] = deque()
        """The lengths of what the supervisor has not taken."""
        self._taken = asyncio.Event()

    async def run(self) -> int:
        """The exit code. Raises CannotStart, Lost, LeftAlone, and Detached if the client has typed the keys for it."""
        output = asyncio.ensure_future(self._pass_output())
        gone = asyncio.ensure_future(self._client.gone.wait())
        tasks: set[asyncio.Future[Any]] = {output, gone}
        if self._streams.stdin:
            tasks.add(asyncio.ensure_future(self._pass_input()))
        pending = tasks
        try:
            while not output.done() and not gone.done():
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                for task in done - {output}:
                    task.result()
            if output.done():
                return output.result()
            raise LeftAlone
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _pass_output(self) -> int:
        while True:
            kind, payload = await self._supervisor.receive()
            if not self._begun:
                self._begun = True
                self._ready(answer(kind, payload))
            elif kind in (STDOUT, STDERR):
                data = self._streams.output(kind, payload)
                if data:
                    await self._client.write(data)
            elif kind == TAKEN and self._sent:
                self._sent.popleft()
                self._taken.set()
            elif kind == EXIT:
                return payload[0]

    async def _pass_input(self) -> None:
        keys = DetachKeys(self._streams.detach_keys if self._streams.terminal else b"")
        while data := await self._client.read(CHUNK):
            typed = keys.sift(data)
            if typed:
                self._send(typed)
                await self._until_taken(TYPED_AHEAD if self._streams.terminal else 0)
        if self._streams.ends and not self._streams.terminal:
            self._send(b"")

    def _send(self, data: bytes) -> None:
        self._sent.append(len(data))
        self._supervisor.send(STDIN, data)

    async def _until_taken(self, most: int) -> None:
        while sum(self._sent) > most:
            self._taken.clear()
            await self._taken.wait()
