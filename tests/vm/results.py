"""What came of the tests on two kernels, read from pytest's JUnit files, side by side."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

_BAD = ("failed", "error")


@dataclass(frozen=True)
class Outcome:
    word: str
    """passed, skipped, failed or error"""
    reason: str = ""
    """Why it was skipped."""


@dataclass(frozen=True)
class Results:
    kernel: str
    seconds: float
    outcomes: Mapping[str, Outcome]
    """Test to outcome."""


def read(path: Path) -> Results | None:
    """None if there was no such run, or it did not get to its end."""
    try:
        (suite,) = ET.parse(path).getroot().iter("testsuite")
    except (OSError, ET.ParseError):
        return None
    kernel = next((p.get("value", "") for p in suite.iter("property") if p.get("name") == "kernel"), "unknown")
    outcomes = {f"{case.get('classname')}::{case.get('name')}": _outcome(case) for case in suite.iter("testcase")}
    return Results(kernel, float(suite.get("time", 0)), outcomes)


def summary(here: Results | None, there: Results) -> str:
    """Totals by kernel; what only one of them could run, and why the other could not."""
    lines = ["", "By kernel:"]
    if here:
        lines.append(f"  this machine's, {_totals(here)}")
    lines.append(f"  Debian's own, {_totals(there)}")
    if not here:
        lines += _reasons("Skipped there", {test: there.outcomes[test] for test in _skipped(there)})
        lines.append("  Of this machine's kernel there are no results to compare with: `make test` leaves them.")
        return "\n".join(lines)
    skipped_here, skipped_there = _skipped(here), _skipped(there)
    groups = {
        "Skipped here, ran there": (here, [test for test in there.outcomes if test in skipped_here - skipped_there]),
        "Skipped there, ran here": (there, [test for test in here.outcomes if test in skipped_there - skipped_here]),
        "Skipped on both": (there, [test for test in there.outcomes if test in skipped_here & skipped_there]),
    }
    for title, (whose, tests) in groups.items():
        lines += _reasons(title, {test: whose.outcomes[test] for test in tests}, by_name=True)
    return "\n".join(lines)


def _outcome(case: ET.Element) -> Outcome:
    for tag, word in (("error", "error"), ("failure", "failed"), ("skipped", "skipped")):
        found = case.find(tag)
        if found is not None:
            return Outcome(word, found.get("message", "") if word == "skipped" else "")
    return Outcome("passed")


def _totals(results: Results) -> str:
    counts = Counter(outcome.word for outcome in results.outcomes.values())
    words = ", ".join(f"{counts[word]} {word}" for word in ("passed", "skipped", *_BAD) if counts[word])
    return f"{results.kernel}: {words or 'nothing ran'} in {results.seconds:.0f} s"


def _skipped(results: Results) -> set[str]:
    return {test for test, outcome in results.outcomes.items() if outcome.word == "skipped"}


def _reasons(title: str, outcomes: Mapping[str, Outcome], *, by_name: bool = False) -> Iterable[str]:
    """A line per reason with the number of tests; `by_name`: and their names, parameters left away."""
    tests: dict[str, list[str]] = defaultdict(list)
    for test, outcome in outcomes.items():
        tests[outcome.reason].append(test)
    if not tests:
        return
    yield f"{title}: {sum(map(len, tests.values()))}"
    for reason, those in sorted(tests.items()):
        yield f"    {len(those)} × {reason}"
        if by_name:
            names = Counter(re.sub(r"\[.*", "", test, flags=re.DOTALL) for test in those)
            yield from (f"        {name}{f' × {count}' if count > 1 else ''}" for name, count in names.items())
