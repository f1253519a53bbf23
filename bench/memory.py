"""A thousand containers: what the daemon and its resolver hold in memory, how long a listing and a restart take."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from bench.figures import Bar, Part, amount, median, rounded
from bench.namespaces import entered
from bench.weftd import Weft, Weftd, weft_environment
from bench.world import World


def measure(world: World) -> list[Part]:
    size, repeats = (50, 3) if world.quick else (1000, 15)
    weft = Weft(world, network="memory")
    try:
        weft.setup()
        world.tell(f"joining {size} containers")
        for i in range(size):
            weft.join(i)
        time.sleep(2)
        daemon, resolver = (_pss_mib(pid) for pid in weft.daemon.pids)
        listing = [_list(world, weft.daemon, expected=size) for _ in range(repeats)]
        world.tell("killing the daemon and starting it again")
        restarts = [_restart(weft.daemon) for _ in range(1 if world.quick else 3)]
        after = sum(_pss_mib(pid) for pid in weft.daemon.pids)
    finally:
        weft.close()
    total, listed, ready = daemon + resolver, median(listing), median(restarts)
    return [
        Part(
            title=f"memory: {size:,} containers with a published port each",
            columns=("", ""),
            rows=(
                ("weftd, PSS", amount(daemon, "MiB")),
                ("resolver, PSS", amount(resolver, "MiB")),
                ("both, after a restart", amount(after, "MiB")),
                ("weft ps, whole process", amount(listed, "ms")),
                ("weftd, killed: from exec to ready", amount(ready, "s")),
            ),
            bars=(
                Bar(what="weftd + resolver", measured=total, at_most=72, unit="MiB"),
                Bar(what="weft ps", measured=listed, at_most=100, unit="ms"),
                Bar(what="restart", measured=ready, at_most=3, unit="s"),
            ),
            figures={
                "memory_mib": rounded(total, 1),
                "memory": {
                    "containers": size,
                    "weftd_mib": rounded(daemon, 1),
                    "resolver_mib": rounded(resolver, 1),
                    "after_restart_mib": rounded(after, 1),
                },
                "ps_ms": rounded(listed, 1),
                "restart": {"containers": size, "ready_s": rounded(ready)},
            },
        )
    ]


def _pss_mib(pid: int) -> float:
    """Proportional set size: memory shared between the two is counted once."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"/proc/{pid}/smaps_rollup has no Pss line")


def _list(world: World, daemon: Weftd, *, expected: int) -> float:
    """Milliseconds of one `weft ps`, from exec to exit."""
    env = {**os.environ, **weft_environment(), "WEFT_HOST": f"unix://{daemon.api.path}"}
    output = world.scratch / "ps"
    with output.open("w") as sink, entered(daemon.host.netns):
        begun = time.perf_counter()
        subprocess.run([*_weft(), "ps"], stdout=sink, check=True, env=env)
        took = time.perf_counter() - begun
    lines = len(output.read_text().splitlines())
    if lines < expected:
        raise RuntimeError(f"weft ps shows {lines} lines for {expected} containers")
    return took * 1e3


def _weft() -> list[str]:
    """The command as installed beside this interpreter, or its module."""
    installed = Path(sys.executable).with_name("weft")
    found = shutil.which(str(installed))
    return [found] if found else [sys.executable, "-m", "weft.doors.cli"]


def _restart(daemon: Weftd) -> float:
    daemon.kill()
    time.sleep(0.5)
    return daemon.start()
