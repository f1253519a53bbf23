"""What a check says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

Level = Literal["ok", "note", "warning", "error"]

LEVELS: tuple[Level, ...] = ("ok", "note", "warning", "error")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    check: str
    """The check's name, as in docs/doctor.md: "forwarding"."""
    subject: Literal["host", "weft"]
    level: Level
    """note: worth knowing, nothing is broken. warning: something will not work, or soon. error: something does not."""
    what: str
    why: str = ""
    """Why it matters."""
    mend: tuple[str, ...] = ()
    """Commands that mend it."""
    fixable: bool = False
    """Whether `weft doctor --fix` mends it: only what is weft's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    worst: Level
    findings: tuple[Finding, ...]
    counters: Mapping[str, int] = field(default_factory=dict)
    """Of the name server."""


def report(findings: Sequence[Finding], counters: Mapping[str, int]) -> Report:
    rank = max((LEVELS.index(finding.level) for finding in findings), default=0)
    return Report(worst=LEVELS[rank], findings=tuple(findings), counters=counters)


def fine(check: str, subject: Literal["host", "weft"], what: str) -> Finding:
    return Finding(check=check, subject=subject, level="ok", what=what)
