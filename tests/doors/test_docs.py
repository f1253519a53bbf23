"""docs/cli.md ends with the pages that --help prints. `python -m tests.doors.test_docs` writes them anew."""

from __future__ import annotations

from pathlib import Path

from weft.doors.cli.pages import reference

MANUAL = Path(__file__).parents[2] / "docs/cli.md"
BEFORE = "prints.\n\n"


def test_the_manual_has_every_page_as_it_is():
    _, _, pages = MANUAL.read_text().partition(BEFORE)
    assert pages == reference(), "write the pages anew with: python -m tests.doors.test_docs"


if __name__ == "__main__":
    MANUAL.write_text(MANUAL.read_text().partition(BEFORE)[0] + BEFORE + reference())
