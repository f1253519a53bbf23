"""Explanations as text for people. Works on the JSON documents of explanations, so that a client prints what it got.

Imported by programs for which every millisecond of start counts: no dataclasses, no regular expressions.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

WIDEST = 100
"""Columns. Longer lines are hard to read, however wide the terminal."""

SHOWN = 40
"""How many facts of a section are shown; the JSON has them all."""

_FIX = "'weft doctor --fix' does it now"

_MARKS = {"present": "✓", "missing": "✗", "different": "≠", "warning": "!", "unsure": "?", None: "·"}
_PLAIN_MARKS = {"present": "ok", "missing": "NO", "different": "!=", "warning": " !", "unsure": " ?", None: " -"}
_COLOURS = {"present": "32", "missing": "31", "different": "33", "warning": "33", "unsure": "33", None: "2"}
_PLAIN = {"↔": "<->", "→": "->", "…": "...", "·": "-"}


class Look:
    """How text may look where it goes."""

    def __init__(self, *, width: int = 80, colour: bool = False, unicode: bool = True) -> None:
        self.width = max(40, min(width, WIDEST))
        self.colour = colour
        self.unicode = unicode
        self.hang = "    " if unicode else "     "
        """What stands before the further lines of a marked one."""

    def mark(self, state: str | None) -> str:
        marks = _MARKS if self.unicode else _PLAIN_MARKS
        return self.paint(_COLOURS[state], marks[state])

    def paint(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.colour and text else text

    def bold(self, text: str) -> str:
        return self.paint("1", self.clean(text))

    def dim(self, text: str) -> str:
        return self.paint("2", text)

    def clean(self, text: str) -> str:
        """Without what would move the cursor: names of things in a container are the container's to choose."""
        if not self.unicode:
            text = "".join(_PLAIN.get(c, c) for c in text).encode("ascii", "replace").decode()
        return "".join(c if c.isprintable() or c == "\n" else "?" for c in text)

    def wrap(self, text: str, indent: str = "") -> Iterator[str]:
        """Lines of the text, without the indent that each will have."""
        line = ""
        for word in self.clean(text).split():
            if line and len(indent) + len(line) + 1 + len(word) > self.width:
                yield line
                line = word
            else:
                line = f"{line} {word}" if line else word
        if line:
            yield line

    def marked(self, state: str | None, text: str) -> Iterator[str]:
        """A line with its mark; what does not fit hangs below."""
        first = True
        for part in self.wrap(text, self.hang):
            yield f"  {self.mark(state)} {part}" if first else f"{self.hang}{part}"
            first = False

    def hanging(self, text: str, code: str = "2") -> Iterator[str]:
        """Text below a marked line."""
        for part in self.wrap(text, self.hang):
            yield f"{self.hang}{self.paint(code, part)}"


class _Once:
    """Sentences that were not said before: a reason is given where it is first needed."""

    def __init__(self) -> None:
        self._said: set[str] = set()

    def say(self, text: str) -> str:
        if text in self._said:
            return ""
        self._said.add(text)
        return text


def render_explanation(document: Mapping[str, Any], look: Look, *, reasons: bool = True) -> str:
    """The whole, with a mark per line; `reasons` are the sentences that say what each is for."""
    out = [*_head(document, look)]
    once = _Once()
    for section in document["sections"]:
        out += ["", look.bold(section["title"])]
        if reasons:
            out += [f"  {look.dim(line)}" for line in look.wrap(once.say(section["intro"]), "  ")]
        out += _lines(section["lines"], look, once if reasons else None)
    return "\n".join(out) + "\n"


def _head(document: Mapping[str, Any], look: Look) -> Iterator[str]:
    about = look.clean(f"· {document['condition']} · {document['id'][:12]}")
    yield f"{document['subject']} {look.bold(document['name'])} {about}"
    checked, wrong = document["checked"], document["wrong"]
    if wrong:
        are = "is not as it should be" if wrong == 1 else "are not as they should be"
        text = f"{wrong} of {checked} things {are}. weft mends what is its own, most of it within a second; {_FIX}."
        first, *more = look.wrap(text, "  ")
        yield f"{look.mark('missing')} {first}"
        yield from (f"  {line}" for line in more)
    elif checked:
        yield f"{look.mark('present')} All {checked} things that were checked are there."


def _lines(lines: Sequence[Mapping[str, Any]], look: Look, once: _Once | None) -> Iterator[str]:
    facts = 0
    for line in lines:
        facts += line["state"] is None
        if line["state"] is None and facts > SHOWN:
            continue
        yield from look.marked(line["state"], line["text"])
        yield from look.hanging(_wrong(line), _COLOURS[line["state"]])
        if once is not None:
            yield from look.hanging(once.say(line["why"]))
    if facts > SHOWN:
        yield f"  {look.dim(look.clean(f'… and {facts - SHOWN} more; --json has them all'))}"


def _wrong(line: Mapping[str, Any]) -> str:
    if line["state"] == "missing":
        return "missing"
    return f"different: {line['found']}" if line["state"] == "different" else ""


def render_commands(document: Mapping[str, Any], look: Look) -> str:
    """A script that would build the same by hand."""
    out = [
        f"# {look.clean(document['subject'])} {look.clean(document['name'])}: what builds it by hand, in this order.",
        "# weft itself does it with the kernel's own messages; these are the same steps as commands.",
    ]
    once = _Once()
    for section in document["sections"]:
        lines = [line for line in section["lines"] if line["commands"]]
        if not lines:
            continue
        out += ["", look.bold(f"# {section['title']}")]
        for line in lines:
            out += [look.dim(f"# {text}") for text in look.wrap(once.say(line["why"]), "# ")]
            out += line["commands"]
    return "\n".join(out) + "\n"
