"""The fuzzing targets with some thousands of inputs, the same every time; and all that fuzzing has ever found."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.seeds import SEEDS
from tests.fuzz.targets import TARGETS, clear_away

FOUND = {
    "a packet that is no text": ("messages", b"hello\x1e3\xff"),
}
"""What was found, with which target and bytes."""

_edits = st.lists(st.tuples(st.integers(0, 4095), st.integers(0, 255), st.sampled_from("sdi")), max_size=12)


def _edited(data: bytes, edits: list[tuple[int, int, str]]) -> bytes:
    """Bytes set, deleted or inserted."""
    changed = bytearray(data)
    for at, byte, kind in edits:
        place = at % (len(changed) + 1)
        changed[place : place + (kind != "i")] = b"" if kind == "d" else bytes([byte])
    return bytes(changed)


@pytest.fixture(autouse=True)
def cleared_away() -> Iterator[None]:
    yield
    clear_away()


@pytest.mark.parametrize("name", TARGETS)
def test_what_must_hold_for_any_bytes(name: str) -> None:
    target = TARGETS[name]

    @settings(derandomize=True, max_examples=400, deadline=None, database=None)
    @given(st.one_of(st.binary(max_size=300), st.builds(_edited, st.sampled_from(SEEDS[name]), _edits)))
    def holds(data: bytes) -> None:
        target(data)

    for seed in SEEDS[name]:
        target(seed)
    holds()


@pytest.mark.parametrize("what", FOUND)
def test_what_fuzzing_has_found(what: str) -> None:
    name, data = FOUND[what]
    TARGETS[name](data)
