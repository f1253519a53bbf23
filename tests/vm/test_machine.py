"""The machine that `make test-vm` boots, without booting one: what becomes of its output, its status, its end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.vm import machine
from tests.waiting import eventually


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def carry_out(folder: Path, script: str, *, limit: float = 20.0) -> int:
    """A shell script is the machine; $1 is the folder it shares with us."""
    return machine.carry_out("true\n", ["sh", "-c", script, "machine", str(folder)], folder, limit=limit)


def test_output_is_passed_on_and_the_status_brought_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = carry_out(tmp_path, "echo console; cat $1/command >>$1/log; echo and more >>$1/log; echo 3 >$1/status")
    assert status == 3
    assert capsys.readouterr().out == "true\nand more\n"


def test_a_machine_that_says_nothing_of_the_end_has_failed(tmp_path: Path) -> None:
    with pytest.raises(machine.Failed, match=r"ended without a word.*\n.*Kernel panic"):
        carry_out(tmp_path, "echo Kernel panic; exit 0")


def test_a_machine_that_hangs_is_ended_with_all_its_processes(tmp_path: Path) -> None:
    begun = time.monotonic()
    with pytest.raises(machine.Failed, match=r"was ended after 1 seconds.*\nbooting"):
        carry_out(tmp_path, "echo booting; sleep 1000 & echo $! >$1/pid; wait", limit=1.0)
    assert time.monotonic() - begun < 10
    eventually(lambda: not alive(int((tmp_path / "pid").read_text())), within=5)


def test_who_ends_us_ends_the_machine(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from tests.vm import machine\n"
        "script = 'sleep 1000 & echo $! >$1/pid.new; mv $1/pid.new $1/pid; wait'\n"
        "machine.carry_out('', ['sh', '-c', script, 'machine', sys.argv[1]], Path(sys.argv[1]), limit=60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], cwd=machine.ROOT) as runner:
        eventually((tmp_path / "pid").exists, within=10)
        pid = int((tmp_path / "pid").read_text())
        assert alive(pid)
        runner.send_signal(signal.SIGTERM)
        assert runner.wait(10) == 128 + signal.SIGTERM
    eventually(lambda: not alive(pid), within=5)
