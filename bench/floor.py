"""Drives floor.c: the same kernel operations as a join, by hand, in a host of its own."""

from __future__ import annotations

import subprocess
import time

from bench.namespaces import entered
from bench.world import Host, World, stop

TABLE = """
table inet floor {
  map ports { type inet_proto . inet_service : ipv4_addr . inet_service; }
  chain prerouting {
    type nat hook prerouting priority dstnat;
    fib daddr type local dnat ip to meta l4proto . th dport map @ports
  }
}
"""


class Floor:
    name = "floor"

    def __init__(self, world: World) -> None:
        self._world = world
        self._host: Host | None = None
        self._process: subprocess.Popen[str] | None = None
        self.asked: list[float] = []
        """Milliseconds of each join as seen from here: with the wake-up and the answer of a warm process."""

    def setup(self) -> None:
        program = self._world.compiled("floor")
        host = self._host = Host()
        host.run("ip", "link", "add", "fb0", "type", "bridge", "mcast_snooping", "0")
        host.run("ip", "link", "set", "fb0", "addrgenmode", "none")
        host.run("ip", "address", "add", "10.201.0.1/16", "dev", "fb0")
        host.run("ip", "link", "set", "fb0", "up")
        host.run("nft", "-f", "-", feed=TABLE)
        pins = self._world.volatile("floor")
        log = self._world.directory("floor") / "log"
        with entered(host.netns):
            self._process = subprocess.Popen(
                [program, str(pins), str(log), "fb0"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                bufsize=1,
            )

    def join(self, i: int) -> float:
        begun = time.perf_counter()
        took = self._ask(f"join {i}")
        self.asked.append((time.perf_counter() - begun) * 1e3)
        return took

    def leave(self, i: int) -> float:
        return self._ask(f"leave {i}")

    def _ask(self, line: str) -> float:
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            raise RuntimeError("the floor is not set up")
        process.stdin.write(line + "\n")
        answer = process.stdout.readline()
        if not answer[:1].isdigit():
            raise RuntimeError(f"floor: {line}: {answer.strip() or 'it ended'}")
        return int(answer) / 1e6

    def close(self) -> None:
        if self._process is not None:
            stop(self._process)
        if self._host is not None:
            self._host.close()
            self._host = None
