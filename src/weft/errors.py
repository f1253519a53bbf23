"""Kinds of refusal. Every door maps a kind to its own word for it (HTTP status, exit status) once."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:  # exec'd programs import this module: typing and difflib cost more than all else in it
    from collections.abc import Iterable
    from typing import ClassVar


class WeftError(Exception):
    """A refusal or failure that a person reads: one line that names the thing, the clash, the way out."""

    kind: ClassVar[str] = "internal"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class Invalid(WeftError):
    """The request itself is wrong: unknown option, malformed value, wrong type."""

    kind = "invalid"


class NotFound(WeftError):
    """Nothing bears the name."""

    kind = "not-found"

    @classmethod
    def named(cls, what: str, name: str, known: Iterable[str] = ()) -> NotFound:
        """A refusal that suggests the nearest known name, if one is near."""
        import difflib

        near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        return cls(f"no such {what}: {name!r}{hint}")


class Conflict(WeftError):
    """The request clashes with what exists: a name, an address, a port is taken; a network is in use."""

    kind = "conflict"


class Forbidden(WeftError):
    """Never allowed, whatever the state: deleting a predefined network, say."""

    kind = "forbidden"


class Exhausted(WeftError):
    """Nothing is left to give: no address in the pool, no free port in the range."""

    kind = "exhausted"


class Unsupported(WeftError):
    """This host or this version cannot do it; the message says what can."""

    kind = "unsupported"


class Unavailable(WeftError):
    """The daemon, or something that it needs, does not answer."""

    kind = "unavailable"


KINDS: dict[str, type[WeftError]] = {
    e.kind: e for e in (Invalid, NotFound, Conflict, Forbidden, Exhausted, Unsupported, Unavailable)
}
