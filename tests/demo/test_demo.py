"""The example that `make demo` plays, as root and as a normal user would: every claim in it holds, nothing is left."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hosts import needs_namespaces

ROOT = Path(__file__).parents[2]
PLAY = ROOT / "examples" / "three-tier" / "run.py"


@pytest.fixture(autouse=True)
def needs_everything():
    needs_namespaces()
    for program in ("redis-server", "curl"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    if not (Path(sys.executable).parent / "weftd").exists():
        pytest.skip(f"weft is not installed beside {sys.executable}: pip install --editable .")


def play(*command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, **environment},
    )


def links() -> list[str]:
    listed = subprocess.run(["ip", "-j", "link"], capture_output=True, text=True, check=True)
    return [link["ifname"] for link in json.loads(listed.stdout)]


@pytest.mark.parametrize("arguments", [(), ("--user",)], ids=["as we are", "in a user namespace"])
def test_every_claim_holds_and_nothing_is_left(arguments: tuple[str, ...], tmp_path: Path):
    before = links()
    played = play(PLAY, *arguments, TMPDIR=str(tmp_path))
    assert played.returncode == 0, played.stdout + played.stderr
    assert "Every claim held" in played.stdout
    assert "✗" not in played.stdout
    assert played.stdout.count("✓") >= 15
    assert links() == before
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("built", "otherwise", "broken"),
    [
        ("create --internal back", "create back", "data, on an internal network, does not"),
        ("--name web --network front", "--name web --network front --network back", "web does not even know a name"),
    ],
    ids=["back is not internal", "web is on back"],
)
def test_a_claim_that_does_not_hold_ends_the_story(built: str, otherwise: str, broken: str, tmp_path: Path):
    """The walls are really tried: built otherwise, the same story fails, and says where."""
    copy = tmp_path / "three-tier"
    shutil.copytree(PLAY.parent, copy)
    story = PLAY.read_text()
    assert built in story
    (copy / "run.py").write_text(story.replace(built, otherwise))
    played = play(copy / "run.py")
    assert played.returncode == 1
    assert f"✗ {broken}" in played.stdout
    assert "Every claim held" not in played.stdout
