"""The doctor's report as text for people; works on its JSON document."""

from __future__ import annotations

from weft.explain.text import Look

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

_TITLES = {"host": "This host", "weft": "weft"}
_STATES = {"ok": "present", "note": None, "warning": "warning", "error": "missing"}
_COLOURS = {"note": "2", "warning": "33", "error": "31"}


def render_report(document: Mapping[str, Any], look: Look) -> str:
    out = []
    for subject, title in _TITLES.items():
        findings = [finding for finding in document["findings"] if finding["subject"] == subject]
        if findings:
            out += [look.bold(title), *(line for finding in findings for line in _finding(finding, look)), ""]
    return "\n".join([*out, *_verdict(document, look)]) + "\n"


def _finding(finding: Mapping[str, Any], look: Look) -> Iterator[str]:
    level = finding["level"]
    word = f"{level}: " if level in ("warning", "error") else ""
    yield from look.marked(_STATES[level], word + finding["what"])
    yield from look.hanging(finding["why"])
    if level == "ok":
        return
    for command in finding["mend"]:
        yield f"{look.hang}  $ {look.clean(command)}"


def _verdict(document: Mapping[str, Any], look: Look) -> Iterator[str]:
    levels = [finding["level"] for finding in document["findings"]]
    errors, warnings = levels.count("error"), levels.count("warning")
    if not errors and not warnings:
        yield f"{look.mark('present')} Nothing is wrong."
        return
    found = " and ".join(
        f"{count} {word}{'s' if count > 1 else ''}"
        for count, word in ((errors, "error"), (warnings, "warning"))
        if count
    )
    fixable = sum(finding["fixable"] for finding in document["findings"])
    others = any(f["subject"] == "host" and f["level"] in ("warning", "error") for f in document["findings"])
    hint = " weft leaves what is not its own to you." if others else ""
    if fixable:
        hint = f" 'weft doctor --fix' mends {fixable} of them."
    state = "missing" if errors else "warning"
    first = True
    for line in look.wrap(f"{found}.{hint}", "  "):
        yield f"{look.mark(state)} {line}" if first else f"  {line}"
        first = False
