"""Clients that are installed for a test alone, by npm or pip, into a folder outside the tree; they stay there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

PATIENCE = 90
"""Seconds that an installation may take."""


def installed(name: str, install: Callable[[Path], None]) -> Path:
    """The folder of that name, which `install` has filled, now or before. Skips the test, with a reason, if it cannot.

    Tests of several checkouts may want it at once: each makes its own, and the first to be ready is kept.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "weft-tests"
    place = cache / name
    if name not in _reasons:
        _reasons[name] = "" if place.exists() else _make(place, install)
    if _reasons[name]:
        pytest.skip(f"{name} cannot be installed: {_reasons[name]}")
    return place


_reasons: dict[str, str] = {}
"""Why what has been tried cannot be had: the next test need not try again."""


def _make(place: Path, install: Callable[[Path], None]) -> str:
    """Why it could not; empty if it could."""
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place.parent, ignore_cleanup_errors=True) as scratch:
            install(Path(scratch) / "made")
            try:
                os.rename(Path(scratch) / "made", place)
            except OSError:
                if not place.exists():
                    raise
    except subprocess.CalledProcessError as error:
        lines = [line for line in error.stderr.splitlines() if line.startswith(("ERROR", "npm error"))]
        return lines[0] if lines else f"{error.cmd[0]} gives no reason"
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return ""


def npm(package: str) -> Callable[[Path], None]:
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip(f"{package} needs node and npm, which are not installed")
    quietly = ("--no-audit", "--no-fund", "--ignore-scripts", "--fetch-retries=0")
    return lambda place: run("npm", "install", *quietly, "--prefix", place, package)


def collection(name: str, *, bundle: str, core: str) -> Callable[[Path], None]:
    """One of the collections of Ansible, which PyPI has in one bundle, and what its modules import."""
    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--retries", "1")

    def install(place: Path) -> None:
        run(*pip, "install", "--no-compile", "--no-deps", "--target", place, core)
        run(*pip, "download", "--no-deps", "--only-binary", ":all:", "--dest", place / "bundle", bundle)
        (wheel,) = (place / "bundle").iterdir()
        with zipfile.ZipFile(wheel) as archive:
            wanted = [file for file in archive.namelist() if file.startswith(f"ansible_collections/{name}/")]
            archive.extractall(place, wanted)
        shutil.rmtree(place / "bundle")

    return install


def run(*command: str | Path) -> None:
    words = [str(word) for word in command]
    subprocess.run(words, check=True, capture_output=True, text=True, timeout=PATIENCE, stdin=subprocess.DEVNULL)
