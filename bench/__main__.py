"""`python -m bench [PART ...]`: measure side by side; a table for people, one JSON object on the last line."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from bench import api, datapath, dns, join, memory, protections
from bench.figures import Figure, Part
from bench.world import INSIDE, Absent, World, enter, settle_in

PARTS: dict[str, Callable[[World], list[Part]]] = {
    "join": join.measure,
    "dns": dns.measure,
    "datapath": datapath.measure,
    "protections": protections.measure,
    "memory": memory.measure,
    "api": api.measure,
}


def main(arguments: list[str]) -> int:
    options = _options(arguments)
    if INSIDE not in os.environ:
        return enter(arguments)
    settle_in()
    world = World(scratch=Path(os.environ[INSIDE]), quick=options.quick)
    parts, failed = _measure(world, options.parts)
    found: dict[str, Figure] = {
        "quick": options.quick,
        "machine": f"{os.cpu_count()} CPUs, Linux {platform.release()}, CPython {platform.python_version()}",
        "missed": ", ".join(f"{p.title.partition(':')[0]}: {b.what}" for p in parts for b in p.bars if b.met is False),
        "failed": ", ".join(failed),
    }
    for part in parts:
        found.update(part.figures)
    print("\n\n".join(part.text() for part in parts), end="\n\n")
    print(json.dumps(found))
    return 1 if failed or (options.strict and found["missed"]) else 0


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}, or a list of them with commas"
    )
    parser.add_argument("--quick", action="store_true", help="small numbers: does it run?")
    parser.add_argument("--strict", action="store_true", help="fail if a bar is missed")
    options = parser.parse_args(arguments)
    chosen = [part for word in options.parts for part in word.split(",") if part] or list(PARTS)
    for part in chosen:
        if part not in PARTS:
            parser.error(f"no such part: {part!r} (there are {', '.join(PARTS)})")
    options.parts = [part for part in PARTS if part in chosen]
    return options


def _measure(world: World, chosen: list[str]) -> tuple[list[Part], list[str]]:
    """Each part by itself: one that fails to run does not take the others' figures with it."""
    parts, failed = [], []
    for name in chosen:
        world.tell(name)
        try:
            parts += PARTS[name](world)
        except Absent as absent:
            parts.append(Part(title=f"{name}: not measured, {absent}", columns=(), rows=(), figures={name: None}))
        except Exception:
            failed.append(name)
            traceback.print_exc()
    return parts, failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
