"""What the benches found: medians, bars met or missed, a table for people and one object for programs."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

Figure = float | int | str | None | Mapping[str, "Figure"]


def median(values: Sequence[float]) -> float | None:
    return statistics.median(values) if values else None


def percentile(values: Iterable[float], percent: float) -> float | None:
    """The value that `percent` of them do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] if ordered else None


def ratio(above: float | None, below: float | None) -> float | None:
    return above / below if above is not None and below else None


def paired(above: Sequence[float], below: Sequence[float]) -> float | None:
    """The median of each round's own ratio: what slows a whole round down for a moment cancels out."""
    return median([a / b for a, b in zip(above, below, strict=False) if b])


def rounded(value: float | None, digits: int = 3) -> float | None:
    return None if value is None else round(value, digits)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A promise about a figure; None if what it needs could not be measured here."""

    what: str
    measured: float | None
    at_most: float | None = None
    at_least: float | None = None
    unit: str = "x"

    @property
    def met(self) -> bool | None:
        if self.measured is None:
            return None
        low = self.at_least is None or self.measured >= self.at_least
        return low and (self.at_most is None or self.measured <= self.at_most)

    def cells(self) -> tuple[str, ...]:
        wanted = f"<= {self.at_most:g}" if self.at_most is not None else f">= {self.at_least:g}"
        verdict = {True: "met", False: "MISSED", None: "not measured"}[self.met]
        return (self.what, amount(self.measured, self.unit), f"{wanted}{_glued(self.unit)}", verdict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One block of the table and its share of the object."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    bars: tuple[Bar, ...] = ()
    notes: tuple[str, ...] = ()
    figures: Mapping[str, Figure] = field(default_factory=dict)
    """Top-level keys of the object on the last line."""

    def text(self) -> str:
        lines = [self.title]
        if self.rows:
            lines += _aligned([self.columns, *self.rows] if any(self.columns) else self.rows)
        if self.bars:
            lines += ["", *_aligned([("bar", "measured", "wanted", ""), *(b.cells() for b in self.bars)])]
        lines += [f"  note: {note}" for note in self.notes]
        return "\n".join(lines)


def amount(value: float | None, unit: str) -> str:
    """A figure for people: three significant digits, thousands set apart."""
    if value is None:
        return "-"
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f}{_glued(unit)}"


def _glued(unit: str) -> str:
    return unit if unit == "x" else f" {unit}"


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[i]) if i < len(row) else 0 for row in rows) for i in range(max(map(len, rows)))]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=False))
        ]
        lines.append("  " + "  ".join(cells).rstrip())
    return lines
