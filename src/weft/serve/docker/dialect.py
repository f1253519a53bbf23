"""What is the same for all of Docker's requests: versions, refusals, answers, bodies."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

from weft import __version__
from weft.errors import WeftError
from weft.serve.routes import Call
from weft.serve.takeover import Connection


class Version(NamedTuple):
    """Of the API; compares as numbers do."""

    major: int
    minor: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"


NEWEST = Version(1, 52)
OLDEST = Version(1, 24)

_VERSIONED = re.compile(r"/v([0-9]{1,9})\.([0-9]{1,9})(/.*)")

HEADERS: Mapping[str, str] = {
    "api-version": str(NEWEST),
    "docker-experimental": "false",
    "ostype": "linux",
    "server": f"weft/{__version__} (linux)",
}
"""Of every answer."""


class Refused(WeftError):
    """A refusal with Docker's own status for the case, where it is not the usual one for its kind."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Asked(Call):
    """A request that was understood."""

    version: Version

    def yes(self, name: str) -> bool:
        """A truth value as Docker reads them: whatever is not a plain no is a yes."""
        return self.query.get(name, "").strip().lower() not in ("", "0", "no", "false", "none")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer that is not just a document with status 200."""

    status: int = 200
    body: object = None
    """Encoded as JSON unless it is bytes; None: no body."""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """An answer that is sent as it comes, for as long as the client listens."""

    chunks: AsyncGenerator[bytes, None]
    content_type: str
    status: int = 200


RAW = "application/vnd.docker.raw-stream"
MULTIPLEXED = "application/vnd.docker.multiplexed-stream"


@dataclass(frozen=True, slots=True, kw_only=True)
class Takeover:
    """An answer after whose head the connection is the handler's own, until `run` returns."""

    run: Callable[[Connection], Awaitable[None]]
    raw: bool
    """What is sent is the output as it is, and not in frames."""

    @property
    def nothing(self) -> bytes:
        """What means nothing to the client: a frame without output. A terminal shows whatever it is sent."""
        return b"" if self.raw else b"\1" + bytes(7)

    def head(self, version: Version, *, upgrade: bool) -> bytes:
        """`upgrade`: the client has asked for it; older ones take the connection over without a word."""
        kind = MULTIPLEXED if upgrade and not self.raw and version >= (1, 42) else RAW
        lines = ["HTTP/1.1 101 UPGRADED" if upgrade else "HTTP/1.1 200 OK", f"Content-Type: {kind}"]
        if upgrade:
            lines += ["Connection: Upgrade", "Upgrade: tcp"]
        lines += [f"{name.title()}: {value}" for name, value in HEADERS.items()]
        return "\r\n".join([*lines, "", ""]).encode()


def split_version(path: str) -> tuple[Version, str]:
    """The version that a path begins with (the newest if none) and the rest of the path. Raises Refused."""
    found = _VERSIONED.fullmatch(path)
    if found is None:
        return NEWEST, path
    version = Version(int(found[1]), int(found[2]))
    if version > NEWEST:
        raise Refused(400, f"client version {version} is too new. Maximum supported API version is {NEWEST}")
    if version < OLDEST:
        raise Refused(
            400,
            f"client version {version} is too old. Minimum supported API version is {OLDEST}, "
            "please upgrade your client to a newer version",
        )
    return version, found[3]


def decode_body(decoder: msgspec.json.Decoder[Any], body: bytes, content_type: str) -> object:
    """Raises Refused, as Docker words it: for a body of another type, that is not JSON, or goes on behind its end."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Refused(400, f"unsupported Content-Type header ({content_type}): must be 'application/json'")
    if not body.strip():
        raise Refused(400, "invalid JSON: got EOF while reading request body")
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise Refused(400, f"invalid JSON: {error}") from None
    except RecursionError:
        raise Refused(400, "invalid JSON: it is nested too deeply") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refused(400, _not_json(body, str(error))) from None


def _not_json(body: bytes, reason: str) -> str:
    try:
        text = body.decode().strip()
        _, end = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return f"invalid JSON: {reason}"
    return "unexpected content after JSON" if text[end:] else f"invalid JSON: {reason}"
