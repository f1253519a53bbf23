"""The daemon's own lines: what a person or a program reads in them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SAYS = """
import logging
from weft.outside.logs import configure_logging
configure_logging("info", {style!r})
log = logging.getLogger("weft.engine")
log.debug("not said")
log.info("container %s", "create", extra={{"fields": {{"name": "db", "why": "two words"}}}})
"""


def said(path: Path, style: str, **environment: str) -> str:
    with path.open("w") as file:
        command = [sys.executable, "-c", SAYS.format(style=style)]
        subprocess.run(command, stderr=file, check=True, env={**os.environ, **environment})
    return path.read_text()


def test_a_line_says_when_how_bad_where_and_what(tmp_path: Path):
    stamp, _, rest = said(tmp_path / "log", "text").partition(" ")
    assert stamp.endswith("Z")
    assert rest == 'info engine: container create name=db why="two words"\n'


def test_a_line_for_programs_is_an_object(tmp_path: Path):
    entry = json.loads(said(tmp_path / "log", "json"))
    assert entry.pop("time").endswith("Z")
    assert entry == {"level": "info", "room": "engine", "message": "container create", "name": "db", "why": "two words"}


@pytest.mark.parametrize("is_the_journal", [True, False])
def test_what_goes_to_the_journal_has_its_time_from_there(tmp_path: Path, is_the_journal: bool):
    path = tmp_path / "log"
    path.touch()
    status = path.stat()
    stream = f"{status.st_dev}:{status.st_ino + (not is_the_journal)}"
    assert said(path, "text", JOURNAL_STREAM=stream).startswith("info engine:") == is_the_journal
