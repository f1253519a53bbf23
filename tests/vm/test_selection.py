"""What needs more of a kernel than this one may have is run where it has it."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]


def test_who_asks_what_the_kernel_has_bears_the_mark() -> None:
    # tests/kernel runs there whole; macvlan is what nearly every kernel has.
    asked = re.compile(r"needs_(link_kind|qdisc|protocol)\(\"(?!macvlan)")
    asking = [
        path
        for path in TESTS.rglob("test_*.py")
        if asked.search(path.read_text()) and not path.is_relative_to(TESTS / "kernel")
    ]
    assert asking, "nobody asks"
    assert [path.name for path in asking if "pytest.mark.full_kernel" not in path.read_text()] == []
