"""Docker's library for Go as it is on the wire, for programs that are built on it and cannot be had here.

From github.com/docker/docker/client at v28.5.2: a ping settles the version; the host is a made-up one; the connection
is kept; documents have all fields that Go does not leave out, null or not.
"""

from __future__ import annotations

import http.client
import json
import socket
from typing import Any, Self


class GoClient:
    def __init__(self, path: str, *, newest: str = "1.51", host: str = "api.moby.localhost") -> None:
        """`newest`: the API's version that the library was made for."""
        self._connection = http.client.HTTPConnection(host, timeout=20)
        self._connection.sock = socket.socket(socket.AF_UNIX)
        self._connection.sock.settimeout(20)
        self._connection.sock.connect(path)
        status, _ = self._send("HEAD", "/_ping", None)
        assert status == 200
        theirs = tuple(int(part) for part in self.headers["Api-Version"].split("."))
        ours = tuple(int(part) for part in newest.split("."))
        self.version = ".".join(map(str, min(ours, theirs)))

    def ask(self, method: str, path: str, document: object = None) -> tuple[int, Any]:
        """The status, and the answer's document, a refusal's message, or None."""
        status, body = self._send(method, f"/v{self.version}{path}", document)
        if status >= 400:
            assert self.headers["Content-Type"] == "application/json"
            return status, json.loads(body)["message"]
        return status, json.loads(body) if body else None

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _send(self, method: str, path: str, document: object) -> tuple[int, bytes]:
        self._connection.putrequest(method, path, skip_accept_encoding=True)
        self._connection.putheader("User-Agent", "Go-http-client/1.1")
        body = b"" if document is None else json.dumps(document, separators=(",", ":")).encode() + b"\n"
        if method == "POST":
            self._connection.putheader("Content-Length", str(len(body)))
            self._connection.putheader("Content-Type", "application/json" if body else "text/plain")
        self._connection.endheaders(body or None)
        answer = self._connection.getresponse()
        self.headers = answer.headers
        return answer.status, answer.read()
