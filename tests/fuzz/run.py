"""`make fuzz SECONDS=600`: every target for its share of the time, by atheris (libFuzzer), guided by coverage.

What it has learnt is kept in build/fuzz, and is where it goes on the next time. Bytes with which something does not
hold are written there, too, and belong, named, into tests/fuzz/test_targets.py.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

KEPT = Path("build/fuzz")
LONGEST = 4096
"""Bytes that are tried at most."""


def main(argv: list[str]) -> int:
    if argv[:1] == ["--target"]:
        _fuzz(argv[1], argv[2:])
        return 0
    from tests.fuzz.targets import TARGETS

    seconds = int(argv[0]) if argv else 600
    return max([_run(name, max(1, seconds // len(TARGETS))) for name in TARGETS])


def _run(name: str, seconds: int) -> int:
    """One target in a process of its own, which libFuzzer ends."""
    from tests.fuzz.seeds import SEEDS

    corpus = KEPT / name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(SEEDS[name]):
        (corpus / f"seed-{number}").write_bytes(seed)
    command = [sys.executable, "-m", "tests.fuzz.run", "--target", name, str(corpus)]
    command += [
        f"-artifact_prefix={KEPT}/{name}-",
        f"-max_total_time={seconds}",
        f"-max_len={LONGEST}",
        "-timeout=10",
        "-print_final_stats=1",
    ]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(["src", "."])}
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, errors="replace", check=False, env=environment)
    tried = re.search(r"number_of_executed_units: (\d+)", done.stderr)
    print(f"{name}: {int(tried[1]) if tried else 0:,} tried, {'nothing found' if not done.returncode else 'FOUND:'}")
    if done.returncode:
        print(done.stderr[-4000:])
    return 1 if done.returncode else 0


def _fuzz(name: str, options: list[str]) -> None:
    import atheris  # type: ignore[import-not-found]

    with atheris.instrument_imports(include=["weft"]):
        from tests.fuzz.targets import TARGETS
    atheris.Setup([sys.argv[0], *options], TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
