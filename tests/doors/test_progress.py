from __future__ import annotations

import os
import pty
import select
import socket
import subprocess
import sys
from pathlib import Path

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


@pytest.mark.parametrize(
    ("more", "text"), [([], "making network lan"), (["--ipam-driver", "dhcp"], "asking the LAN's DHCP server")]
)
def test_who_makes_a_network_sees_what_is_waited_for(more: list[str], text: str, tmp_path: Path):
    with socket.socket(socket.AF_UNIX) as silent:  # a daemon that takes its time
        silent.bind(f"{tmp_path}/weft.sock")
        silent.listen()
        master, slave = pty.openpty()
        command = [sys.executable, "-m", "weft.doors.cli", "network", "create", *more, "lan"]
        environment = {"PYTHONPATH": "src", "LC_ALL": "C.UTF-8", "WEFT_HOST": f"unix://{tmp_path}/weft.sock"}
        asking = subprocess.Popen(command, stderr=slave, env=environment)
        os.close(slave)
        shown = ""
        while text not in shown and select.select([master], [], [], 20)[0]:
            shown += os.read(master, 65536).decode()
        asking.kill()
        asking.wait()
        os.close(master)
    assert f"{text} …" in shown
