"""foreground.py JSON: what `weft run` does once the daemon has made the container; the daemon's start included."""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "src"))

from weft.model import Process, Sandbox
from weft.outside.runtime import ShimRuntime
from weft.shim.client import attach

FILES = {
    "hosts": "127.0.0.1 localhost\n10.9.0.2 box\n",
    "hostname": "box\n",
    "resolv.conf": "nameserver 127.0.0.11\n",
}


def main() -> None:
    wanted = json.loads(sys.argv[1])
    runtime = ShimRuntime(f"{wanted['place']}/run", f"{wanted['place']}/state")
    process = Process(**{**wanted["process"], "argv": tuple(wanted["process"]["argv"])})
    sandbox = Sandbox(id=wanted["id"], name="box", key=wanted["key"], hostname="box", process=process)
    if wanted["prepared"]:
        runtime.prepare(sandbox.id)
    code = attach(
        runtime.console(sandbox.id),
        log=runtime.log(sandbox.id),
        start=lambda: runtime.start(sandbox, FILES),
        tty=process.tty,
        stdin=process.open_stdin,
        foreground=True,
    )
    sys.exit(99 if code is None else code)


if __name__ == "__main__":
    main()
