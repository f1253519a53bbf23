from __future__ import annotations

import os
import subprocess
import sys

import pytest

from weft.resolver import log as log_module
from weft.resolver.log import Log


def test_an_event_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    Log().event("started", pid=7, path="/run/a b", said="x\ny")
    line = capsys.readouterr().err
    assert line.endswith(" resolver: started pid=7 path='/run/a b' said='x\\ny'\n")


def test_a_kind_of_event_that_repeats_is_written_seldom_and_counted(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Log()
    for number in range(5):
        log.event("again", number=number)
    log.event("other")
    monkeypatch.setattr(log_module, "_INTERVAL", 0.0)
    log.event("again", number=5)
    lines = [line.split(": ", 1)[1] for line in capsys.readouterr().err.splitlines()]
    assert lines == ["again number=0", "other", "again number=5 left_out=4"]


def test_a_log_of_its_own_starts_anew_when_full(tmp_path: os.PathLike[str]) -> None:
    path = os.path.join(tmp_path, "log")
    code = (
        "from weft.resolver import log\n"
        "log._SIZE, log._INTERVAL = 1000, 0.0\n"
        "own = log.Log(own=True)\n"
        "for number in range(100): own.event('event', number=number)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with open(path, "ab") as file:
        subprocess.run([sys.executable, "-c", code], stderr=file, env=environment, check=True)
    with open(path, encoding="utf-8") as file:
        text = file.read()
    assert text.endswith("number=99\n")
    assert len(text) < 1200
