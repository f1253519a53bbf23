"""The `filters` of Docker's lists: {"label": {"a=b": true}}, or {"label": ["a=b"]} as older clients write it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from datetime import datetime

from weft.serve.docker.dialect import Refused

Filters = Mapping[str, tuple[str, ...]]
"""Name to the values asked for: one of them has to fit, and so for every name."""


def read_filters(text: str | None, known: Iterable[str]) -> Filters:
    """Raises Refused for what is not such a document, and for a filter that the list does not know."""
    if not text:
        return {}
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise Refused(400, f"invalid filter: {_cut(text)!r} is not JSON") from None
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise Refused(400, f"invalid filter: {_cut(text)!r} is not an object")
    found = {name: _values(name, values) for name, values in document.items()}
    for name in found:
        if name not in known:
            raise Refused(400, f"invalid filter '{name}'")
    return found


def _cut(text: str) -> str:
    return text if len(text) < 80 else f"{text[:80]}..."


def _values(name: str, values: object) -> tuple[str, ...]:
    if isinstance(values, list) and all(isinstance(value, str) for value in values):
        return tuple(values)
    if isinstance(values, dict) and all(isinstance(set_, bool) for set_ in values.values()):
        return tuple(value for value, is_set in values.items() if is_set)
    raise Refused(400, f"invalid filter '{name}': its values are neither a list of text nor an object of booleans")


def read_bool(name: str, values: Iterable[str]) -> bool | None:
    """One truth value; None if there is none. Raises Refused."""
    wanted = {_TRUTH.get(value.lower()) for value in values}
    if len(wanted) > 1 or None in wanted:
        raise Refused(400, f"invalid filter '{name}=[{' '.join(sorted(values))}]'")
    return wanted.pop() if wanted else None


_TRUTH = {"1": True, "true": True, "t": True, "0": False, "false": False, "f": False}


def matches(pattern: str, text: str) -> bool:
    """Docker reads filters by name and id as regular expressions, found anywhere: ^web$ is the whole name."""
    if _TOO_MUCH.search(pattern):
        raise Refused(400, f"invalid filter: {_cut(pattern)!r} repeats too much")
    try:
        return re.search(pattern, text) is not None
    except (re.error, OverflowError):
        return pattern in text


_TOO_MUCH = re.compile(r"\)[*+?{]|\\[0-9]|(?:[*+?{].*){4}|.{256}", re.DOTALL)
"""What could keep Python at one name for a very long time."""


def labels_fit(labels: Mapping[str, str], asked: Iterable[str]) -> bool:
    """Every label asked for, as `name` or `name=value`, is there."""
    for text in asked:
        name, equals, value = text.partition("=")
        if name not in labels or (equals and labels[name] != value):
            return False
    return True


def read_time(text: str, now: float) -> float:
    """Seconds since the epoch: given as such, as RFC 3339, or as a duration before now such as 10m. Raises Refused."""
    if _SECONDS.fullmatch(text):
        return float(text)
    if _DURATION.fullmatch(text):
        return now - sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        raise Refused(
            400, f"invalid time {_cut(text)!r}: neither seconds, nor RFC 3339, nor a duration such as 10m"
        ) from None


_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}

# Numbers are kept short, so that none is infinite. Go writes durations as 1h30m or 10.5s.
_NUMBER = r"[0-9]{1,18}(?:\.[0-9]{0,18})?"
_SECONDS = re.compile(rf"-?{_NUMBER}")
_PART = re.compile(rf"({_NUMBER})(ms|us|µs|ns|h|m|s)")
_DURATION = re.compile(rf"(?:{_PART.pattern})+")
