"""Names: dnsperf inside a container against weft's resolver, dockerd's own and aardvark-dns, interleaved.

The client, its settings and the names asked for are the same everywhere; every answer has to be an address. The floor
is a C program that answers without looking anything up: more answers than it gives, this client cannot take here.
"""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from bench.contender import Contender
from bench.docker import Docker
from bench.figures import Bar, Figure, Part, amount, median, percentile, ratio, rounded
from bench.floor import Floor
from bench.netavark import GATEWAY, Netavark
from bench.weftd import Weft
from bench.world import Absent, Host, World, require, spawn, stop

CONTAINERS = 10
STEADY_QPS = 1000
"""The rate at which latency is sampled: below everybody's limit, so that it is not the queue that is measured."""

MOST = 950

LABELS = {
    "weft": "weft",
    "floor": "floor: C, looks nothing up",
    "docker": "dockerd, embedded DNS",
    "aardvark": "aardvark-dns",
}


class Target:
    """A name server as one container sees it."""

    def __init__(self, netns: int | str, server: str, names: Path) -> None:
        self._netns = netns
        self._command = ("dnsperf", "-s", server, "-d", str(names), "-c", "4", "-T", "1")

    def throughput(self, seconds: float) -> float:
        """Answers per second, as many as there can be."""
        return float(_found(r"Queries per second:\s+([\d.]+)", self._run("-l", f"{seconds:g}")))

    def latencies(self, seconds: float) -> list[float]:
        """Milliseconds of each answer at a steady rate."""
        return _latencies(self._run(*_steady(seconds)))

    def latencies_while(self, seconds: float, work: Callable[[], None]) -> list[float]:
        """The same while `work` is done again and again."""
        process = spawn(self._netns, *self._command, *_steady(seconds))
        begun = time.perf_counter()
        try:
            while time.perf_counter() - begun < seconds:
                work()
        finally:
            output, _ = process.communicate(timeout=60)
        return _latencies(_checked(process, output))

    def _run(self, *options: str) -> str:
        process = spawn(self._netns, *self._command, *options)
        output, _ = process.communicate(timeout=120)
        return _checked(process, output)


class Answers:
    """answers.c in a namespace of its own."""

    ADDRESS = "127.0.0.11"

    def __init__(self, world: World) -> None:
        self._world = world
        self._host: Host | None = None
        self._process: subprocess.Popen[str] | None = None

    def setup(self) -> int:
        """Its namespace."""
        program = self._world.compiled("answers")
        self._host = Host()
        self._process = self._host.spawn(program, self.ADDRESS, pipes=True)
        if self._process.stdout is None or self._process.stdout.readline() != "ready\n":
            raise RuntimeError("bench/answers.c does not serve")
        return self._host.netns

    def close(self) -> None:
        if self._process is not None:
            stop(self._process)
        if self._host is not None:
            self._host.close()


def measure(world: World) -> list[Part]:
    require("dnsperf", "dnsperf")
    rounds, seconds = (1, 1.0) if world.quick else (5, 2.0)
    names = world.scratch / "names"
    names.write_text("".join(f"c{i} A\n" for i in range(CONTAINERS)))
    weft, docker, netavark = Weft(world, network="dns"), Docker(world, pool=CONTAINERS), Netavark(world)
    missing: list[str] = []
    rates: dict[str, list[float]] = {name: [] for name in LABELS}
    idle: dict[str, list[float]] = {name: [] for name in LABELS}
    floor, answers = Floor(world), Answers(world)
    joining: list[float] = []
    floored: list[float] = []
    try:
        floor.setup()
        targets = _targets(world, weft, docker, netavark, names, missing)
        targets["floor"] = Target(answers.setup(), Answers.ADDRESS, names)
        time.sleep(1)
        for r in range(rounds):
            world.tell(f"names, round {r + 1} of {rounds}")
            for name, target in targets.items():
                rates[name].append(target.throughput(seconds))
                idle[name] += target.latencies(seconds)
                time.sleep(0.2)
            joining += _while_joining(targets["weft"], weft, seconds)
            floored += _while_joining(targets["weft"], floor, seconds)
    finally:
        for contender in (weft, docker, netavark, floor, answers):
            contender.close()
    return [_part(rates, idle, joining, floored, missing, rounds, seconds)]


def _targets(
    world: World, weft: Weft, docker: Docker, netavark: Netavark, names: Path, missing: list[str]
) -> dict[str, Target]:
    """Ten containers under each, and the first one's view of the names."""
    world.tell("setting up weft")
    weft.setup()
    for i in range(CONTAINERS):
        weft.join(i)
    targets = {"weft": Target(weft.daemon.netns("c0"), "127.0.0.11", names)}
    world.tell("setting up docker and netavark")
    try:
        docker.setup()
        for i in range(CONTAINERS):
            docker.join(i)
        targets["docker"] = Target(docker.netns("c0"), "127.0.0.11", names)
    except Absent as absent:
        missing.append(f"docker: not measured, {absent}")
    try:
        netavark.setup()  # with container 0
        for i in range(1, CONTAINERS):
            netavark.join(i)
        targets["aardvark"] = Target(str(netavark.netns(0)), GATEWAY, names)
    except Absent as absent:
        missing.append(f"aardvark-dns: not measured, {absent}")
    return targets


def _while_joining(target: Target, contender: Contender, seconds: float) -> list[float]:
    """Latencies while a contender joins one container after the other without pause, as many as a bridge holds."""
    joined = 0

    def join() -> None:
        nonlocal joined
        if joined < MOST:
            contender.join(CONTAINERS + joined)
            joined += 1
        else:
            time.sleep(0.01)

    try:
        return target.latencies_while(seconds, join)
    finally:
        for i in range(joined):
            contender.leave(CONTAINERS + i)
        time.sleep(2)  # the kernel reaps their namespaces


def _part(
    rates: dict[str, list[float]],
    idle: dict[str, list[float]],
    joining: list[float],
    floored: list[float],
    missing: list[str],
    rounds: int,
    seconds: float,
) -> Part:
    qps = {name: median(values) for name, values in rates.items()}
    p99 = {name: percentile(values, 99) for name, values in idle.items()}
    busy = percentile(joining, 99)
    rows = [_row(LABELS[name], qps[name], idle[name]) for name in LABELS]
    rows.append(_row("weft, while joins run at full rate", None, joining))
    rows.append(_row("weft, while the C floor does them beside it", None, floored))
    figures: dict[str, Figure] = {f"{name}_qps": rounded(qps[name], 0) for name in LABELS}
    figures["p99s"] = {
        **{f"{n}_ms": rounded(p99[n]) for n in LABELS},
        "weft_joining_ms": rounded(busy),
        "weft_beside_floor_ms": rounded(percentile(floored, 99)),
    }
    return Part(
        title=f"dns: dnsperf in a container, 4 sockets, {CONTAINERS} names, {rounds} x {seconds:g} s, interleaved",
        columns=("", "answers", f"p50 at {STEADY_QPS}/s", f"p99 at {STEADY_QPS}/s"),
        rows=tuple(rows),
        bars=(
            Bar(what="answers, weft / docker", measured=ratio(qps["weft"], qps["docker"]), at_least=3),
            Bar(what="answers, weft / aardvark-dns", measured=ratio(qps["weft"], qps["aardvark"]), at_least=1.3),
            Bar(what="p99 idle, weft / aardvark-dns", measured=ratio(p99["weft"], p99["aardvark"]), at_most=1),
            Bar(what="weft's p99, joins running / idle", measured=ratio(busy, p99["weft"]), at_most=2),
        ),
        notes=(*missing, *_limits(qps, p99, percentile(floored, 99))),
        figures={"dns": figures},
    )


def _limits(
    qps: Mapping[str, float | None], p99: Mapping[str, float | None], beside_floor: float | None
) -> tuple[str, ...]:
    """What no program could do better here than the floors did."""
    answers, delay = ratio(qps["floor"], qps["docker"]), ratio(beside_floor, p99["weft"])
    return (
        f"answers: the floor gives {amount(answers, 'x')} Docker's, and no name server more",
        f"joins running: with the C floor's joins in weft's place the p99 rises by {amount(delay, 'x')}",
    )


def _row(label: str, qps: float | None, latencies: list[float]) -> tuple[str, ...]:
    micro = [milliseconds * 1e3 for milliseconds in latencies]
    spread = (amount(percentile(micro, percent), "µs") for percent in (50, 99))
    return (label, "" if qps is None and micro else amount(qps, "/s"), *spread)


def _steady(seconds: float) -> tuple[str, ...]:
    return ("-Q", str(STEADY_QPS), "-l", f"{seconds:g}", "-v")


def _latencies(output: str) -> list[float]:
    return [float(line.rsplit(" ", 1)[1]) * 1e3 for line in output.splitlines() if line.startswith("> NOERROR")]


def _checked(process: subprocess.Popen[str], output: str) -> str:
    """A run counts only if every query was answered, and with an address."""
    if process.returncode != 0:
        raise RuntimeError(f"dnsperf: status {process.returncode}: {output[-500:]}")
    lost = _found(r"Queries lost:\s+(\d+)", output)
    codes = _found(r"Response codes:\s+(.+)", output)
    if lost != "0" or not re.fullmatch(r"NOERROR \d+ \(100\.00%\)", codes):
        raise RuntimeError(f"dnsperf: {lost} queries lost, answers {codes}: not a fair measurement")
    return output


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    if match is None:
        raise RuntimeError(f"dnsperf printed no {pattern!r}: {text[-500:]}")
    return match[1]
