"""What an explanation is made of: plain text all through, so that it can be sent, printed and compared as it is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from weft.plan import Item

State = Literal["present", "missing", "different"]

Drift = Mapping[Item, str]
"""The items that the kernel does not hold as they should be, each with what is there instead ("" for nothing)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One thing that is so, or should be."""

    text: str
    why: str = ""
    """What it is there for."""
    state: State | None = None
    """None: a fact that nothing in the kernel could contradict."""
    found: str = ""
    """What is there instead, where the state is "different"."""
    commands: tuple[str, ...] = ()
    """What a person would type to make it so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    title: str
    lines: tuple[Line, ...]
    intro: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    subject: Literal["container", "network"]
    id: str
    name: str
    condition: str
    """In a word or few: "running", "exited with code 1", "bridge, internal"."""
    checked: int
    """How many things were compared with the kernel."""
    wrong: int
    """How many of them are missing or different."""
    sections: tuple[Section, ...]


def explanation(
    subject: Literal["container", "network"], ident: str, name: str, condition: str, sections: Iterable[Section]
) -> Explanation:
    """Sections without lines are left out."""
    kept = tuple(section for section in sections if section.lines)
    states = [line.state for section in kept for line in section.lines if line.state is not None]
    return Explanation(
        subject=subject,
        id=ident,
        name=name,
        condition=condition,
        checked=len(states),
        wrong=len(states) - states.count("present"),
        sections=kept,
    )


def state_of(item: Item, drift: Drift) -> tuple[State, str]:
    """An item's state, and what is there instead."""
    found = drift.get(item)
    if found is None:
        return "present", ""
    return ("different", found) if found else ("missing", "")
