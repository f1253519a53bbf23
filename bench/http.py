"""A kept-alive HTTP connection over a Unix socket with as little client as possible, so that the server is timed."""

from __future__ import annotations

import json
import select
import socket
import time
from pathlib import Path


class Refused(Exception):
    """The server answered with an error status."""


class Connection:
    """Requests one at a time on one connection, opened again if the server closed it while idle."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket: socket.socket | None = None

    def call(self, method: str, path: str, body: object = None) -> object:
        """One request with JSON both ways, not timed."""
        self.ready()
        status, answer = self.exchange(encode(method, path, body))
        if status >= 400:
            raise Refused(f"{method} {path}: {status} {answer.decode(errors='replace').strip()}")
        return json.loads(answer) if answer.strip() else None

    def timed(self, request: bytes) -> tuple[float, bytes]:
        """Milliseconds from the request's first byte to the answer's last, and the answer."""
        self.ready()
        begun = time.perf_counter()
        status, answer = self.exchange(request)
        took = time.perf_counter() - begun
        if status >= 400:
            raise Refused(f"{request.split(b' HTTP', 1)[0].decode()}: {status} {answer.decode(errors='replace')}")
        return took * 1e3, answer

    def ready(self) -> None:
        """See that the connection is open before the clock starts: servers close idle ones after some seconds."""
        if self._socket is not None and select.select([self._socket], [], [], 0)[0]:
            self.close()
        if self._socket is None:
            fresh = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            fresh.settimeout(900)
            fresh.connect(str(self.path))
            self._socket = fresh

    def exchange(self, request: bytes) -> tuple[int, bytes]:
        if self._socket is None:
            raise RuntimeError("the connection is not open")
        self._socket.sendall(request)
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._receive()
        head, _, rest = data.partition(b"\r\n\r\n")
        status = int(head.split(b" ", 2)[1])
        headers = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line)
        if headers.get(b"transfer-encoding") == b"chunked":
            return status, self._chunks(rest)
        length = 0 if status == 204 else int(headers.get(b"content-length", b"0"))
        while len(rest) < length:
            rest += self._receive()
        return status, rest

    def _chunks(self, data: bytes) -> bytes:
        body = b""
        while True:
            while b"\r\n" not in data:
                data += self._receive()
            size_line, _, data = data.partition(b"\r\n")
            size = int(size_line.split(b";")[0], 16)
            while len(data) < size + 2:
                data += self._receive()
            if size == 0:
                return body
            body, data = body + data[:size], data[size + 2 :]

    def _receive(self) -> bytes:
        data = self._socket.recv(1 << 18) if self._socket else b""
        if not data:
            self.close()
            raise ConnectionError(f"{self.path}: the server closed the connection in the middle of an answer")
        return data

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def encode(method: str, path: str, body: object = None, *, kind: str = "application/json") -> bytes:
    """A whole request; `body` is JSON, or bytes of the given media type."""
    content = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(content)}\r\n"
    if content:
        head += f"Content-Type: {kind}\r\n"
    return head.encode() + b"\r\n" + content


def dig(answer: object, *path: str) -> object:
    """A value inside nested JSON objects. Raises KeyError naming what is not there."""
    for key in path:
        if not isinstance(answer, dict) or key not in answer:
            raise KeyError(f"{'.'.join(path)} (at {key!r})")
        answer = answer[key]
    return answer
