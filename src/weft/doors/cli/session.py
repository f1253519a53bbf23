"""What a command has to work with: the daemon's client, and where to write."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from weft.client import Client


class Session:
    def __init__(self, host: str | None = None) -> None:
        self._host = host
        self._client: Client | None = None

    @property
    def client(self) -> Client:
        if self._client is None:
            from weft.client import connect

            self._client = connect(self._host)
        return self._client

    def print(self, text: str) -> None:
        sys.stdout.write(text + "\n")

    def complain(self, message: str) -> None:
        sys.stdout.flush()
        sys.stderr.write(f"weft: {message}\n")
