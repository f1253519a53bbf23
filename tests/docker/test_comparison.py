"""weft and Docker answer the same, but for what is known and has its reason."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docker.comparison import PAGE, STEPS, Outcome, compare, explained_in_vain, is_shown, section, unexplained
from tests.hosts import needs_root

pytestmark = [pytest.mark.root, pytest.mark.system, pytest.mark.slow]

KNOWN = "20.10"
"""The reasons are about this version of Docker."""


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Outcome]]:
    needs_root("dockerd")
    for program in ("docker", "dockerd", "runc", "busybox"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    directory = tmp_path_factory.mktemp("comparison")
    version, outcomes = compare(Path(directory))
    if not version.startswith(KNOWN):
        pytest.skip(f"this is Docker {version}; the comparison knows {KNOWN}")
    yield outcomes
    shutil.rmtree(directory / "docker", ignore_errors=True)


def test_every_difference_has_its_reason(outcomes: list[Outcome]):
    assert [(each.step.words, str(each.docker), str(each.weft)) for each in unexplained(outcomes)] == []


def test_every_reason_has_its_difference(outcomes: list[Outcome]):
    assert [each.step.words for each in explained_in_vain(outcomes)] == []


def test_every_difference_is_on_the_page(outcomes: list[Outcome]):
    text = PAGE.read_text()
    assert [each.step.words for each in outcomes if not each.same and "\n".join(section(each)) not in text] == []


def test_every_command_is_on_the_page():
    text = PAGE.read_text()
    assert [each.words for each in STEPS if is_shown(each) and each.words not in text] == []
