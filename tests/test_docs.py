"""Every link from one page to another, or to code, leads somewhere."""

from __future__ import annotations

import ast
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


SECURITY = ROOT / "docs/security.md"
NOT_YET = {12}
"""Of the numbered statements: encrypted networks across hosts."""


def test_what_the_page_on_security_names_as_proof_is_there():
    named = _proofs(SECURITY.read_text())
    assert len(named) > 40
    for proof in named:
        file, _, test = proof.partition("::")
        assert (ROOT / file).exists(), file
        assert not test or f"def {test}(" in (ROOT / file).read_text(), proof


def test_every_statement_on_security_has_its_tests_and_every_test_its_statement():
    promised = SECURITY.read_text().partition("## What is not promised")[0]
    rows = re.findall(r"^\| (\d+) \| .+? \| (.+) \|$", promised, re.MULTILINE)
    on_page = {int(number): set(_proofs(tests)) for number, tests in rows}
    assert set(on_page) == set(range(1, 23)) - NOT_YET
    assert on_page == _marked()


def _proofs(text: str) -> list[str]:
    """The tests that a text names, as FILE::TEST or FILE; those of tests/security by their file alone."""
    named = re.findall(r"`((?:tests/)?[a-z_/]*test_[a-z_]+\.py(?:::test_[a-z0-9_]+)?)`", text)
    return [each if each.startswith("tests/") else f"tests/security/{each}" for each in named]


def _marked() -> dict[int, set[str]]:
    """Which tests bear the mark of which statement."""
    found: dict[int, set[str]] = {}
    for path in ROOT.glob("tests/**/test_*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            for mark in node.decorator_list if isinstance(node, ast.FunctionDef) else ():
                if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.statement":
                    for number in mark.args:
                        name = f"{path.relative_to(ROOT)}::{node.name}"
                        found.setdefault(ast.literal_eval(number), set()).add(name)
    return found
