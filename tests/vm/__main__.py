"""Runs tests on Debian's own kernel, under QEMU, and says how they went there and on this machine's.

`python -m tests.vm [pytest's arguments]`. Without arguments: all that is marked `full_kernel`, and `ALWAYS`. The exit
status is that of pytest over there, or 1 if the machine did not get so far.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.vm import machine, results
from tests.waiting import PACE_VARIABLE

ALWAYS = ("tests/kernel",)
"""What speaks to the kernel: an older one must understand it, too."""
LIMIT = 40 * 60.0
"""Seconds until the machine is ended."""
PACE = "12"
"""How many times slower a program may be under emulation, on a busy machine."""
CPUS = 2
_UNUSED = ("anyio", "schemathesis")
"""Plugins that take long to import, and make every fork dearer."""

HERE = machine.PLACE / "here.xml"
"""Where `make test` leaves its results."""


def main(arguments: Sequence[str]) -> int:
    begun = time.monotonic()
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    wanted = list(arguments) or [*ALWAYS, *_marked()]
    try:
        kernel = machine.image()
        print(f"{kernel.name} under QEMU, {len(wanted)} arguments for pytest ...")
        with machine.shared_folder() as folder:
            (folder / "tests").write_text("\n".join(wanted))
            boot = machine.vng(kernel, folder, cpus=CPUS)
            status = machine.carry_out(_command(folder), boot, folder, limit=LIMIT)
            there = results.read(folder / "there.xml")
    except machine.Failed as failed:
        print(failed, file=sys.stderr)
        return 1
    if there:
        print(results.summary(results.read(HERE), there))
        print(f"{time.monotonic() - begun:.0f} s with booting; exit status {status}")
    return status


def _marked() -> list[str]:
    """The names of all tests marked `full_kernel` that `ALWAYS` has not got anyhow."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", "-m", "full_kernel"],
        cwd=machine.ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode not in (0, 5):  # 5: nothing is marked
        raise SystemExit(f"{done.stdout}{done.stderr}")
    anyhow = tuple(f"{part}/" for part in ALWAYS)
    return [line for line in done.stdout.splitlines() if "::" in line and not line.startswith(anyhow)]


def _command(folder: Path) -> str:
    pytest = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--color=no", "-q"]
    pytest += [*(word for plugin in _UNUSED for word in ("-p", f"no:{plugin}"))]
    pytest += [f"--junitxml={folder}/there.xml", f"@{folder}/tests"]
    variables = {PACE_VARIABLE: PACE, "CI": os.environ.get("CI", "")}
    settings = " ".join(f"{name}={shlex.quote(value)}" for name, value in variables.items() if value)
    return f"{settings} exec {shlex.join(pytest)}\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
