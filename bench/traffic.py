"""Drives traffic.c: one end in one namespace, the other in another, one number back."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from bench.world import World, spawn, stop

Netns = int | str | Path


class Traffic:
    """Starts the ends of measurements and ends what is left of them."""

    def __init__(self, world: World) -> None:
        self._program = world.compiled("traffic")
        self._servers: list[subprocess.Popen[str]] = []

    def serve(self, netns: Netns, *verb: str, cpu: int | None = None) -> None:
        """An end that answers until `close`."""
        self._servers.append(self._listening(netns, verb, cpu))

    def send(self, netns: Netns, *verb: str, cpu: int | None = None) -> float:
        """An end that measures; its figure."""
        return _figure(spawn(netns, *_pinned(cpu), self._program, *verb))

    def received(self, to: Netns, drain: Sequence[str], of: Netns, flood: Sequence[str]) -> float:
        """The receiver's figure while the sender sends, each on a CPU of its own."""
        first, last = _cpus()
        receiver = self._listening(to, drain, last)
        self.send(of, *flood, cpu=first)
        return _figure(receiver)

    def _listening(self, netns: Netns, verb: Sequence[str], cpu: int | None) -> subprocess.Popen[str]:
        process = spawn(netns, *_pinned(cpu), self._program, *verb)
        if process.stdout is None or process.stdout.readline().strip() != "ready":
            stop(process)
            raise RuntimeError(f"traffic {' '.join(verb)} did not start")
        return process

    def close(self) -> None:
        for server in self._servers:
            stop(server)
        self._servers.clear()


def one_cpu() -> int:
    """Where both ends go that take turns: no wake-up across CPUs in the figure."""
    return _cpus()[0]


def _cpus() -> tuple[int, int]:
    usable = sorted(os.sched_getaffinity(0))
    return usable[0], usable[-1]


def _pinned(cpu: int | None) -> tuple[str, ...]:
    return () if cpu is None else ("taskset", "-c", str(cpu))


def _figure(process: subprocess.Popen[str]) -> float:
    output, _ = process.communicate(timeout=60)
    if process.returncode != 0 or not output.strip():
        raise RuntimeError(f"traffic: status {process.returncode}: {output.strip()}")
    return float(output)
