"""What README.md shows is what happens: its session is typed, line by line, and must print what it says it prints.

In what it says, "…" stands for anything; ids, MACs and times are others each time.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemons import Weftd
from tests.hosts import PrivateHost

README = (Path(__file__).parents[2] / "README.md").read_text()
BIN = Path(sys.executable).parent


@pytest.fixture
def weftd(private_host: PrivateHost, tmp_path: Path) -> Iterator[Weftd]:
    for program in ("redis-server", "redis-cli", "curl", "nft"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    with Weftd(private_host, tmp_path) as running:
        yield running


def steps() -> list[tuple[str, str]]:
    """Each command of the session with the output that README shows."""
    session = "".join(re.findall(r"^```console\n(.*?)^```$", README, re.MULTILINE | re.DOTALL))
    parts = re.split(r"^\$ (.*)\n", session, flags=re.MULTILINE)
    return list(zip(parts[1::2], parts[2::2], strict=True))


def plain(text: str) -> str:
    """With what is never the same twice put in words, and columns of any width."""
    for pattern, word in (
        (r"[ \t]+", " "),
        (r"\d{4}-\d\d-\d\dT[\d:.]+", "TIME"),
        (r"Up \d+ seconds?", "Up SECONDS"),
        (r"\b(?:[0-9a-f]{2}:){5}[0-9a-f]{2}\b", "MAC"),
        (r"(?<![0-9a-f])[0-9a-f]{12}(?:[0-9a-f]{52})?(?![0-9a-f])", "ID"),
    ):
        text = re.sub(pattern, word, text)
    return text


def says(printed: str, shown: str) -> bool:
    return re.fullmatch(re.escape(plain(shown)).replace("…", ".*"), plain(printed), re.DOTALL) is not None


def test_the_session_prints_what_it_says(weftd: Weftd):
    assert len(steps()) > 5
    environment = {**weftd.environment, "PATH": f"{BIN}:{os.environ['PATH']}"}
    for command, shown in steps():
        done = weftd.host.run(["sh", "-c", f"exec 2>&1; {command}"], env=environment, check=False, timeout=30)
        printed = done.stdout.replace(weftd.run_dir, "/run/weft")
        assert says(printed, shown), f"$ {command}\n{printed}\nbut README says\n{shown}"


def test_other_words_are_not_the_same():
    assert says("PONG\n", "PONG\n")
    assert not says("PING\n", "PONG\n")
    assert not says("PONG\nmore\n", "PONG\n")
    assert says("web 0123456789ab 10.0.0.4\n", "web   ba9876543210   10.0.0.4\n")
    assert not says("web 0123456789ab 10.0.0.4\n", "web   ba9876543210   10.0.0.5\n")
