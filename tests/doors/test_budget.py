"""What a command may import: start-up is most of what it costs, and every import is somebody's waiting."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {
    "argparse", "asyncio", "dataclasses", "difflib", "email", "http.client", "inspect", "ipaddress", "logging",
    "msgspec", "selectors", "socket", "ssl", "starlette", "subprocess", "tempfile", "threading", "typing",
    "urllib.parse", "uvicorn",
}  # fmt: skip


def imported(program: str) -> set[str]:
    """The modules that a fresh interpreter has loaded after a program, beyond those it always has."""
    before = "import sys; before = set(sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", f"{before}\n{program}\nprint(*(set(sys.modules) - before))"],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": "src"},
    )
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    "program",
    [
        "import weft.client",
        "import weft.doors.cli.main",
        "from weft.doors.cli.main import run; run(['ps'])",
        "from weft.doors.cli.main import run; run(['run', '-d', '-p', '80:80', '--', 'true'])",
        "from weft.doors.cli.main import run; run(['network', 'create', 'x'])",
        "from weft.doors.cli.main import run; run(['run', '--help'])",
    ],
)
def test_nothing_heavy_is_imported(program: str):
    assert imported(program) & HEAVY == set()


def test_the_package_itself_imports_nothing():
    assert imported("import weft") == {"weft", "__future__"}
