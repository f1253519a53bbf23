"""HTTP/1.1 over the daemon's Unix socket: the little of it that one known server needs.

`http.client` and `socket` are not used: their imports (email, enum, selectors, ...) take longer than most requests.
`_socket` is the C part of `socket`, and all that a Unix stream needs.
"""

from __future__ import annotations

import json
import os
from _socket import AF_UNIX, MSG_PEEK, SOCK_STREAM
from _socket import socket as Socket  # noqa: N812

from weft.errors import KINDS, Invalid, NotFound, Unavailable, WeftError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

DEFAULT_HOST = "unix:///run/weft/weft.sock"
PREFIX = "/weft/v1"
PATIENCE = 60.0
"""How long an answer may take, in seconds, unless the caller says otherwise."""

_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


def socket_path(host: str | None = None) -> str:
    """The path of the daemon's socket: from `host`, else from $WEFT_HOST, else the default."""
    url = host or os.environ.get("WEFT_HOST") or DEFAULT_HOST
    path = url.removeprefix("unix://")
    if path == url or not path.startswith("/"):
        raise Invalid(f"host: {url!r} is not understood; write unix:///path/to/weft.sock")
    return path


def quote(text: str) -> str:
    """Percent-encode a segment of a path. The empty name is refused here: its path would be another route's."""
    if not text:
        raise NotFound("an empty name names nothing")
    return "".join(chr(b) if b in _UNRESERVED else f"%{b:02X}" for b in text.encode("utf-8", "surrogateescape"))


class Wire:
    """Calls to one daemon. Connections are kept alive and reused; each is used by one call at a time."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._idle: list[_Connection] = []
        self._pid = os.getpid()

    def call(self, method: str, target: str, body: object = None, *, timeout: float | None = PATIENCE) -> Any:
        """The answer's JSON, None if it is empty. Raises the error that the daemon names."""
        request = _request(method, target, None if body is None else json.dumps(body).encode())
        connection = self._connection()
        try:
            status, payload = self._ask(connection, request, again=method not in ("POST", "PATCH"), timeout=timeout)
        except TimeoutError:
            raise TimeoutError(f"weftd at unix://{self.path} has not answered within {timeout:g} s") from None
        except OSError as error:
            raise Unavailable(f"weftd at unix://{self.path} closed the connection: {error}") from error
        if status >= 400:
            raise _error(status, payload)
        return json.loads(payload) if payload else None

    def _ask(self, connection: _Connection, request: bytes, *, again: bool, timeout: float | None) -> tuple[int, bytes]:
        try:
            status, payload = connection.exchange(request, timeout)
        except ConnectionError:
            # The server may close a connection at the very moment it is used again. What changes nothing twice can
            # be asked twice; for the rest, is_quiet makes the moment short.
            if not (connection.used and again):
                raise
            return self._ask(_Connection(self.path), request, again=False, timeout=timeout)
        if connection.reusable:
            self._idle.append(connection)
        else:
            connection.socket.close()
        return status, payload

    def lines(self, target: str, **query: object) -> Iterator[Any]:
        """A stream of JSON documents, one a line, until the daemon ends it or the iterator is closed."""
        asked = "&".join(f"{name}={value}" for name, value in query.items() if value is not None)
        connection = _Connection(self.path)
        try:
            connection.socket.sendall(_request("GET", f"{target}?{asked}" if asked else target, None))
            status, headers = connection.head()
            if status >= 400:
                raise _error(status, connection.body(headers))
            rest = b""
            for chunk in connection.chunks():
                *whole, rest = (rest + chunk).split(b"\n")
                for line in whole:
                    yield json.loads(line)
        except ConnectionError as error:
            raise Unavailable(f"weftd at unix://{self.path} closed the connection: {error}") from error
        finally:
            connection.socket.close()

    def close(self) -> None:
        while self._idle:
            self._idle.pop().socket.close()

    def _connection(self) -> _Connection:
        if self._pid != os.getpid():  # after a fork the parent goes on using the connections
            self._idle, self._pid = [], os.getpid()
        while self._idle:
            connection = self._idle.pop()
            if connection.is_quiet():
                return connection
            connection.socket.close()
        return _Connection(self.path)


def _unreachable(path: str, error: OSError) -> Unavailable:
    if isinstance(error, PermissionError):
        return Unavailable(f"not allowed to open unix://{path}: become root, or join the group that owns it")
    if isinstance(error, FileNotFoundError | ConnectionRefusedError):
        return Unavailable(f"no weftd at unix://{path}: start it with 'systemctl start weftd' or 'weftd'")
    return Unavailable(f"no weftd at unix://{path}: {error}")


def _request(method: str, target: str, body: bytes | None) -> bytes:
    head = f"{method} {PREFIX}{target} HTTP/1.1\r\nHost: weft\r\n"
    if body is None:
        return f"{head}\r\n".encode("ascii") if method == "GET" else f"{head}Content-Length: 0\r\n\r\n".encode("ascii")
    return f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode("ascii") + body


def _error(status: int, payload: bytes) -> WeftError:
    try:
        document = json.loads(payload)
        kind, message = document["kind"], document["message"]
    except (ValueError, TypeError, KeyError):
        return WeftError(f"weftd answered {status}: {payload[:200].decode(errors='replace')}")
    return KINDS.get(kind, WeftError)(message)


class _Connection:
    """One connection and what was received but not yet read. Raises Unavailable where nobody listens."""

    def __init__(self, path: str) -> None:
        self.socket = Socket(AF_UNIX, SOCK_STREAM)
        self.used = False
        """Whether it has carried an answer before."""
        self.reusable = True
        self._buffer = b""
        try:
            self.socket.connect(path)
        except OSError as error:
            self.socket.close()
            raise _unreachable(path, error) from error

    def __del__(self) -> None:
        self.socket.close()  # a client that is dropped rather than closed is no fault

    def is_quiet(self) -> bool:
        """Whether the server has neither closed it nor said something unasked."""
        self.socket.settimeout(0)
        try:
            self.socket.recv(1, MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False

    def exchange(self, request: bytes, timeout: float | None) -> tuple[int, bytes]:
        """Status and body of the answer. After any error, KeyboardInterrupt too, the connection is closed."""
        try:
            self.socket.settimeout(timeout)
            self.socket.sendall(request)
            status, headers = self.head()
            payload = self.body(headers)
        except BaseException:
            self.socket.close()
            raise
        self.used = True
        return status, payload

    def head(self) -> tuple[int, dict[str, str]]:
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            self._receive()
        head, self._buffer = self._buffer[:end].decode("latin-1"), self._buffer[end + 4 :]
        first, *lines = head.split("\r\n")
        headers: dict[str, str] = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        self.reusable = headers.get("connection", "").lower() != "close"
        return int(first.split(" ", 2)[1]), headers

    def body(self, headers: dict[str, str]) -> bytes:
        if headers.get("transfer-encoding", "").lower() == "chunked":
            return b"".join(self.chunks())
        return self._take(int(headers.get("content-length", 0)))

    def chunks(self) -> Iterator[bytes]:
        while size := int(self._line().split(b";")[0], 16):
            yield self._take(size)
            self._line()
        while self._line():
            pass

    def _line(self) -> bytes:
        while (end := self._buffer.find(b"\r\n")) < 0:
            self._receive()
        line, self._buffer = self._buffer[:end], self._buffer[end + 2 :]
        return line

    def _take(self, size: int) -> bytes:
        while len(self._buffer) < size:
            self._receive()
        taken, self._buffer = self._buffer[:size], self._buffer[size:]
        return taken

    def _receive(self) -> None:
        received = self.socket.recv(262144)
        if not received:
            raise ConnectionResetError("in the middle of an answer")
        self._buffer += received
