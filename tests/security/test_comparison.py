"""What the page says of weft and Docker under the same attacks is what is tried, and of weft it is still so."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.hosts import needs_namespaces, needs_root
from tests.security.comparison import PAGE, ROWS, TITLE, outcomes


@pytest.mark.root
@pytest.mark.system
@pytest.mark.slow
def test_nothing_gets_through_weft(tmp_path: Path) -> None:
    """That each trial can fail is seen on Docker, or in the tests of the statement that it is about."""
    needs_namespaces()
    needs_root("firewalld")
    if shutil.which("docker") is None:
        pytest.skip("docker is not installed")
    _, found = outcomes("weft", tmp_path)
    assert {row.says: through for row, through in found.items() if through} == {}
    assert len(found) == len(ROWS)


def test_the_page_has_every_trial_and_weft_fails_none() -> None:
    table = PAGE.read_text().partition(TITLE)[2].partition("\n## ")[0]
    shown = [[cell.strip() for cell in line.split(" | ")] for line in table.splitlines() if line.startswith("| ")][1:]
    assert [cells[-3] for cells in shown] == [row.says for row in ROWS]
    assert {cells[-1].removesuffix(" |") for cells in shown} == {"holds"}
    assert "let loose on Docker 20.10" in table
