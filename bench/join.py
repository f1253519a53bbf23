"""Joins and leaves: weft beside the floor and the peers, interleaved; growth with the network; sustained churn."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bench.cni import Cni
from bench.contender import Contender
from bench.docker import Docker
from bench.figures import Bar, Figure, Part, amount, median, percentile, ratio, rounded
from bench.floor import Floor
from bench.netavark import Netavark
from bench.weftd import Weft
from bench.world import Absent, World

PACE = 0.030
"""Seconds between two operations: a daemon that is asked now and then has cold caches, as in real life."""

SETTLE = 0.150
"""Seconds after a round: the kernel reaps namespaces in the background, which is nobody's join."""

WARM = 50
"""Joins and leaves before any is timed."""

FIRST = 1
"""Contender 0 of some peers is the warm-up that stays."""

JOIN = {
    "weft": "weft, one request",
    "floor": "floor: C, same kernel operations",
    "docker": "docker network connect (API)",
    "netavark": "netavark setup, aardvark-dns",
    "cni": "CNI bridge + portmap, ADD",
}

LEAVE = {
    **JOIN,
    "docker": "docker network disconnect (API)",
    "netavark": "netavark teardown, aardvark-dns",
    "cni": "CNI portmap + bridge, DEL",
}

IPV4, DUAL, FLOOR = "weft, IPv4", "weft, dual stack", "the C floor"

Times = dict[str, list[float]]


def measure(world: World) -> list[Part]:
    population, rounds = (10, 5) if world.quick else (100, 40)
    floor = Floor(world)
    joins, leaves, missing, churns, empty = _side_by_side(world, floor, population=population, rounds=rounds)
    flats = {
        IPV4: _flat(world, IPV4, lambda r: Weft(world, network=f"flat4{r}", ipv6=False)),
        DUAL: _flat(world, DUAL, lambda r: Weft(world, network=f"flat6{r}", ipv6=True)),
        FLOOR: _flat(world, FLOOR, lambda _: Floor(world)),
    }
    shape = f"{population} endpoints, {rounds} rounds, interleaved, {PACE * 1e3:.0f} ms apart, medians"
    return [
        _join_part(joins, missing, flats, median(floor.asked), shape),
        _leave_part(leaves, missing, flats[IPV4], churns, median(empty), shape),
    ]


def _side_by_side(
    world: World, floor: Floor, *, population: int, rounds: int
) -> tuple[Times, Times, list[str], dict[str, Churn], list[float]]:
    """Join and leave times by contender, what is missing, joins with leaves without pause of weft and the floor, and
    what a request that does nothing takes."""
    weft = Weft(world)
    contenders: list[Contender] = [
        weft,
        floor,
        Docker(world, pool=4 if world.quick else 12),
        Netavark(world),
        Cni(world),
    ]
    missing: list[str] = []
    try:
        present = _set_up(world, contenders, missing)
        for populated in [c for c in present if c in (weft, floor)]:
            for i in range(population):
                populated.join(FIRST + i)
        floor.asked.clear()
        time.sleep(1)
        world.tell(f"{rounds} rounds of {', '.join(c.name for c in present)}")
        joins, leaves = _rounds(present, first=FIRST + population, rounds=rounds)
        empty = _empty(weft, rounds)
        seconds = 1 if world.quick else 5
        churns = {c.name: _churn(c, first=FIRST + population, seconds=seconds) for c in (weft, floor)}
    finally:
        for contender in contenders:
            contender.close()
    return joins, leaves, missing, churns, empty


def _set_up(world: World, contenders: Sequence[Contender], missing: list[str]) -> list[Contender]:
    present = []
    for contender in contenders:
        world.tell(f"setting up {contender.name}")
        try:
            contender.setup()
        except Absent as absent:
            missing.append(f"{contender.name}: not measured, {absent}")
        else:
            present.append(contender)
    return present


def _rounds(contenders: Sequence[Contender], *, first: int, rounds: int) -> tuple[Times, Times]:
    """Each round every contender joins one container, then every contender takes it away; the order alternates."""
    joins: Times = {c.name: [] for c in contenders}
    leaves: Times = {c.name: [] for c in contenders}
    for r in range(rounds):
        order = contenders if r % 2 == 0 else [*reversed(contenders[:2]), *contenders[2:]]
        i = first + r
        for contender in order:
            time.sleep(PACE)
            joins[contender.name].append(contender.join(i))
        for contender in order:
            time.sleep(PACE)
            leaves[contender.name].append(contender.leave(i))
        time.sleep(SETTLE)
    return joins, leaves


@dataclass(frozen=True)
class Churn:
    """Joins each followed by a leave, one after the other on one connection, without pause."""

    per_second: float
    leave: float
    """The median leave, in milliseconds: what it costs when nothing else has emptied the caches before."""


def _empty(weft: Weft, rounds: int) -> list[float]:
    """Milliseconds of requests that do nothing, as far apart as all others: below that no request can be."""
    took = []
    for _ in range(rounds):
        time.sleep(3 * PACE)
        took.append(weft.ping())
    return took


def _churn(contender: Contender, *, first: int, seconds: float) -> Churn:
    begun = time.perf_counter()
    leaves: list[float] = []
    while time.perf_counter() - begun < seconds:
        i = first + len(leaves) % 1000
        contender.join(i)
        leaves.append(contender.leave(i))
    return Churn(per_second=len(leaves) / (time.perf_counter() - begun), leave=statistics.median(leaves))


class Flat:
    """Times of filling one network, and of emptying it."""

    def __init__(self, joins: list[list[float]], leaves: list[list[float]]) -> None:
        self.span = f"{len(joins[0]) - 9}-{len(joins[0])}"
        """The numbers of the last ten joins."""
        self.first = median([t for run in joins for t in run[:10]])
        self.last = median([t for run in joins for t in run[-10:]])
        self.ratio = ratio(self.last, self.first)
        self.leave_ratio = ratio(
            median([t for run in leaves for t in run[:10]]), median([t for run in leaves for t in run[-10:]])
        )


def _flat(world: World, what: str, make: Callable[[int], Contender]) -> Flat:
    """Fill a network to its thousandth container, several times over, and empty it again. `make` is told which time."""
    size, repeats = (60, 1) if world.quick else (1000, 3)
    joins, leaves = [], []
    for repeat in range(repeats):
        world.tell(f"filling a network with {size} containers, {what}, {repeat + 1} of {repeats}")
        contender = make(repeat)
        try:
            contender.setup()
            for i in range(WARM):  # a cold daemon's first joins are slow, and would flatter the ratio
                contender.join(size + i)
                contender.leave(size + i)
            time.sleep(0.5)
            joins.append([_paced(contender.join, i) for i in range(size)])
            time.sleep(1)
            leaves.append([_paced(contender.leave, i) for i in range(size)])
        finally:
            contender.close()
        time.sleep(2)
    return Flat(joins, leaves)


def _paced(operation: Callable[[int], float], i: int) -> float:
    time.sleep(0.005)
    return operation(i)


def _join_part(
    times: Times, missing: Sequence[str], flats: Mapping[str, Flat], floor_asked: float | None, shape: str
) -> Part:
    p50 = {name: median(values) for name, values in times.items()}
    weft = p50.get("weft")
    bars = [Bar(what="weft / floor", measured=ratio(weft, p50.get("floor")), at_most=2)]
    bars += [
        Bar(what=f"{name} / weft", measured=ratio(p50.get(name), weft), at_least=12)
        for name in ("docker", "netavark", "cni")
    ]
    bars += [
        Bar(what=f"joins {flats[which].span} / joins 1-10, {which}", measured=flats[which].ratio, at_most=most)
        for which, most in ((IPV4, 1.5), (DUAL, 2))
    ]
    figures: dict[str, Figure] = {f"{name}_ms": rounded(p50.get(name)) for name in JOIN}
    figures["floor_asked_ms"] = rounded(floor_asked)
    figures["flat_ratio"] = rounded(flats[IPV4].ratio)
    figures["flat_ratio_dual_stack"] = rounded(flats[DUAL].ratio)
    figures["flat_ratio_floor"] = rounded(flats[FLOOR].ratio)
    figures["flat_first_ms"], figures["flat_last_ms"] = rounded(flats[IPV4].first), rounded(flats[IPV4].last)
    rows = _rows(JOIN, times)
    rows.append(("floor, asked over a pipe", amount(floor_asked, "ms"), ""))
    for which, flat in flats.items():
        rows.append((f"joins 1-10 of a network, {which}", amount(flat.first, "ms"), ""))
        rows.append((f"joins {flat.span}, {which}", amount(flat.last, "ms"), ""))
    return Part(
        title=f"join: {shape}",
        columns=("", "p50", "p95"),
        rows=tuple(rows),
        bars=tuple(bars),
        notes=tuple(missing),
        figures={"join": figures},
    )


def _leave_part(
    times: Times, missing: Sequence[str], flat4: Flat, churns: Mapping[str, Churn], empty: float | None, shape: str
) -> Part:
    p50 = {name: median(values) for name, values in times.items()}
    weft, churn, bare = p50.get("weft"), churns["weft"], churns["floor"]
    bars = [
        Bar(what="weft, 30 ms apart", measured=weft, at_most=1, unit="ms"),
        Bar(what="weft, without pause", measured=churn.leave, at_most=1, unit="ms"),
    ]
    bars += [
        Bar(what=f"{name} / weft", measured=ratio(p50.get(name), weft), at_least=20)
        for name in ("docker", "netavark", "cni")
    ]
    bars.append(Bar(what="joins with leaves", measured=churn.per_second, at_least=250, unit="/s"))
    figures: dict[str, Figure] = {f"{name}_ms": rounded(p50.get(name)) for name in LEAVE}
    figures["flat_ratio"] = rounded(flat4.leave_ratio)
    figures["weft_without_pause_ms"] = rounded(churn.leave)
    figures["churn_per_second"] = rounded(churn.per_second, 1)
    figures["floor_churn_per_second"] = rounded(bare.per_second, 1)
    figures["empty_request_ms"] = rounded(empty)
    rows = [
        *_rows(LEAVE, times),
        ("weft, leaves among joins without pause", amount(churn.leave, "ms"), ""),
        ("weft, a request that does nothing", amount(empty, "ms"), ""),
        ("weft, join + leave without pause", amount(churn.per_second, "/s"), ""),
        ("floor, join + leave without pause", amount(bare.per_second, "/s"), ""),
    ]
    return Part(
        title=f"leave: {shape}",
        columns=("", "p50", "p95"),
        rows=tuple(rows),
        bars=tuple(bars),
        notes=tuple(missing),
        figures={"leave": figures},
    )


def _rows(labels: Mapping[str, str], times: Times) -> list[tuple[str, ...]]:
    return [
        (label, amount(median(times.get(name, [])), "ms"), amount(percentile(times.get(name, []), 95), "ms"))
        for name, label in labels.items()
    ]
