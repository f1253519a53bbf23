from __future__ import annotations

import os
import pty
import select
import subprocess
import sys

import pytest

PROGRAM = """
import sys, time
from weft.doors.cli import progress
progress.DELAY = {delay}
with progress.Progress("stopping db"):
    time.sleep(0.5)
sys.stderr.write("done\\n")
"""


def shown(delay: float) -> str:
    master, slave = pty.openpty()
    command = [sys.executable, "-c", PROGRAM.format(delay=delay)]
    done = subprocess.run(command, stderr=slave, env={"PYTHONPATH": "src", "LC_ALL": "C.UTF-8"}, check=False)
    os.close(slave)
    text = ""
    while not text.endswith("done\r\n"):  # a terminal hands over what it has, a piece at a time
        assert select.select([master], [], [], 10)[0], text
        text += os.read(master, 65536).decode()
    os.close(master)
    assert done.returncode == 0
    return text


def test_long_work_is_shown_and_the_line_taken_back():
    text = shown(0.1)
    assert "stopping db …" in text
    assert text.endswith("\r\x1b[Kdone\r\n")


def test_short_work_is_not_shown():
    assert shown(1.0) == "done\r\n"


def test_nothing_is_shown_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]):
    from weft.doors.cli.progress import Progress

    with Progress("x"):
        pass
    assert capsys.readouterr().err == ""
