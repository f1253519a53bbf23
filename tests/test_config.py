"""Settings that are more than text or a number."""

from __future__ import annotations

import pytest

from weft.config import configure
from weft.errors import Invalid


@pytest.mark.parametrize(
    ("text", "mark"),
    [("0x20", (0x20, 0xFFFFFFFF)), ("2/0xff", (2, 0xFF)), ("0x20/0xf0", (0x20, 0xF0)), (5, (5, 0xFFFFFFFF))],
)
def test_a_mark_with_or_without_a_mask(text: object, mark: tuple[int, int]):
    assert configure(("here", {"accept_mark": text})).accept_mark == mark


@pytest.mark.parametrize("text", ["", "x", "0", "0/0xff", "0x100/0xff", "0x3/0x2", "1/", "0x1ffffffff", "-1"])
def test_a_mark_that_means_nothing_or_everybody(text: str):
    with pytest.raises(Invalid, match="here: accept-mark"):
        configure(("here", {"accept_mark": text}))
