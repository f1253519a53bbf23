"""Every link from one page to another, or to code, leads somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("examples/*/*.md")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path):
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text())
    missing = [t for t in targets if not t.startswith(("http://", "https://")) and not (page.parent / t).exists()]
    assert missing == []


def test_every_page_is_found_from_the_readme():
    readme = (ROOT / "README.md").read_text()
    assert [page.name for page in ROOT.glob("docs/*.md") if f"(docs/{page.name})" not in readme] == []


def test_what_the_page_on_security_names_as_proof_is_there():
    page = (ROOT / "docs/security.md").read_text()
    named = re.findall(r"`((?:tests/)?[a-z_/]*test_[a-z_]+\.py)(?:::(test_[a-z0-9_]+))?`", page)
    assert len(named) > 20
    for file, test in named:
        path = ROOT / (file if file.startswith("tests/") else f"tests/system/{file}")
        assert path.exists(), file
        assert not test or f"def {test}(" in path.read_text(), f"{file}::{test}"
