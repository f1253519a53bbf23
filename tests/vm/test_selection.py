"""What needs more of a kernel than this one may have is run where it has it."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]


def test_who_asks_what_the_kernel_has_bears_the_mark() -> None:
    asking = [
        path for path in TESTS.rglob("test_*.py") if re.search(r"^from tests\.kinds import", path.read_text(), re.M)
    ]
    assert asking, "nobody asks"
    assert [path.name for path in asking if "pytest.mark.full_kernel" not in path.read_text()] == []
