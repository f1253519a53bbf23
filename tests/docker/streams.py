"""Containers' streams as stock clients have them: with bytes for input and output, on a terminal, on the wire."""

from __future__ import annotations

import json
import os
import pty
import select
import socket
import subprocess
import termios
import time
from pathlib import Path
from typing import Any, Self

from tests.docker.conftest import World
from tests.tls import TlsClient


def run(
    world: World, *arguments: str, stdin: bytes = b"", client: str = "docker"
) -> subprocess.CompletedProcess[bytes]:
    """The CLI, with bytes for its streams."""
    command = [*world.host.prefix, client, *arguments]
    environment = {**os.environ, **world.environment}
    return subprocess.run(command, input=stdin, capture_output=True, timeout=40, env=environment, check=False)


class Screen:
    """The CLI on a terminal of its own."""

    def __init__(self, world: World, *arguments: str, rows: int = 33, columns: int = 101) -> None:
        self._master, slave = pty.openpty()
        termios.tcsetwinsize(slave, (rows, columns))
        self.process = subprocess.Popen(
            [*world.host.prefix, "setsid", "--ctty", "docker", *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**os.environ, **world.environment},
        )
        os.close(slave)
        self.text = b""

    def type(self, keys: bytes) -> None:
        os.write(self._master, keys)

    def resize(self, rows: int, columns: int) -> None:
        termios.tcsetwinsize(self._master, (rows, columns))

    def until(self, text: bytes, *, within: float = 10.0) -> None:
        """Read until it is there; what came before is forgotten."""
        end = time.monotonic() + within
        while text not in self.text:
            assert time.monotonic() < end, self.text
            if select.select([self._master], [], [], 0.1)[0]:
                try:
                    self.text += os.read(self._master, 65536)
                except OSError:
                    assert text in self.text, self.text
        self.text = self.text.partition(text)[2]

    def code(self) -> int:
        return self.process.wait(10)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._master)


def exec_id(world: World, container: str, *command: str, **wishes: Any) -> str:
    answer = world.ask("POST", f"/containers/{container}/exec", {"Cmd": list(command), **wishes})
    assert answer.status == 201, answer.body
    return str(answer.json["Id"])


def begin(
    world: World, ident: str, *, fields: str = "Connection: Upgrade\r\nUpgrade: tcp\r\n", tty: bool = False
) -> socket.socket | TlsClient:
    """Start it over a connection of our own."""
    sock = world.connect()
    sock.settimeout(10)
    body = json.dumps({"Detach": False, "Tty": tty})
    sock.sendall(
        f"POST /v1.50/exec/{ident}/start HTTP/1.1\r\nHost: docker\r\n{fields}"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
    )
    return sock


def processes(text: str) -> list[int]:
    """Those with this text in their command line, but for this one."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if text.encode() in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def sleeping(seconds: str) -> bool:
    return bool(processes(f"sleep\0{seconds}\0"))


def inspect(world: World, ident: str) -> dict[str, Any]:
    return dict(world.ask("GET", f"/exec/{ident}/json").json)


def head_of(sock: socket.socket | TlsClient) -> tuple[str, dict[str, str], bytes]:
    found = b""
    while b"\r\n\r\n" not in found:
        found += sock.recv(65536)
    head, _, rest = found.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    fields = dict(line.lower().split(": ", 1) for line in lines)
    return first, fields, rest


def rest_of(sock: socket.socket | TlsClient, found: bytes) -> bytes:
    while data := sock.recv(65536):
        found += data
    return found
