"""What keeping containers to their own addresses costs packets, and whether that grows with containers and ports.

Three hosts of weft stand side by side: one as it comes, one whose network has anti-spoof=false (so that nobody looks
at a frame before the bridge), and one as it comes with a thousand containers and published ports, on two networks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from bench.contender import FIRST_PORT as CROWD_PORT
from bench.datapath import Pair, Series, Site, at_least, direct, published, weft_pair, weft_site
from bench.figures import Bar, Figure, Part, amount, median, paired, rounded
from bench.traffic import Traffic, one_cpu
from bench.weftd import Weftd
from bench.world import World

ON, OFF, CROWD = "on", "off", "crowd"
SINK, STREAM = 83, 84
"""Ports of the receivers: of datagrams that nobody reads, and of a TCP stream."""


def measure(world: World) -> list[Part]:
    crowd, rounds, seconds = (50, 2, 0.3) if world.quick else (1000, 12, 1.0)
    closing: list[Callable[[], None]] = []
    try:
        traffic, sites, pairs = _build(world, crowd, closing)
        world.tell(f"traffic, {rounds} rounds")
        time.sleep(2)
        rates, streams = published(sites, traffic, rounds=rounds, seconds=seconds)
        turns, floods = direct(pairs, traffic, rounds=5 * rounds, seconds=seconds / 6)
        between, costs = _streams_and_costs(pairs, traffic, rounds=rounds, seconds=seconds)
    finally:
        for close in reversed(closing):
            close()
    found = {
        "connections": rates,
        "published stream": streams,
        "packets in turn": turns,
        "packets one way": floods,
        "stream between two": between,
    }
    return [_part(found, costs, crowd=crowd, rounds=rounds)]


def _build(
    world: World, crowd: int, closing: list[Callable[[], None]]
) -> tuple[Traffic, Mapping[str, Site], Mapping[str, Pair]]:
    traffic = Traffic(world)
    sites: dict[str, Site] = {}
    pairs: dict[str, Pair] = {}
    for name in (ON, OFF, CROWD):
        world.tell(f"setting up weft, anti-spoof {'off' if name == OFF else 'on'}")
        daemon = Weftd(world, f"guard-{name}")
        closing.append(daemon.close)
        sites[name] = weft_site(daemon, traffic, 1, **({"anti-spoof": "false"} if name == OFF else {}))
        pairs[name] = weft_pair(daemon)
        if name == CROWD:
            world.tell(f"and {crowd} containers with a published port each")
            daemon.create_network("more")
            for i in range(1, crowd):
                daemon.create(
                    {
                        "name": f"c{i}",
                        # A broadcast to a thousand ports would overflow the kernel's backlog (netdev_max_backlog).
                        "networks": [{"network": "published" if i % 2 else "more"}],
                        "ports": [{"proto": "tcp", "container_port": 80, "host_port": CROWD_PORT + i}],
                    }
                )
    closing.append(traffic.close)
    for pair in pairs.values():
        traffic.serve(pair.receiver, "echo", "81", cpu=one_cpu())
        traffic.serve(pair.receiver, "hold", str(SINK))
        traffic.serve(pair.receiver, "serve", str(STREAM), "1")
    return traffic, sites, pairs


def _streams_and_costs(
    pairs: Mapping[str, Pair], traffic: Traffic, *, rounds: int, seconds: float
) -> tuple[Series, Series]:
    """Gbit/s of a TCP stream from one container to the other; nanoseconds of CPU time per small datagram."""
    streams: Series = {name: [] for name in pairs}
    costs: Series = {name: [] for name in pairs}
    for r in range(rounds):
        order = list(pairs.items()) if r % 2 == 0 else list(pairs.items())[::-1]
        for name, pair in order:
            streams[name].append(traffic.send(pair.sender, "pump", str(seconds), pair.address, str(STREAM)))
        for name, pair in order:
            spend = ("spend", str(seconds / 2), pair.address, str(SINK))
            costs[name].append(traffic.send(pair.sender, *spend, cpu=one_cpu()))
    return streams, costs


def _part(found: Mapping[str, Series], costs: Series, *, crowd: int, rounds: int) -> Part:
    label = {ON: "anti-spoof, as weft comes", OFF: "anti-spoof=false", CROWD: f"the first with {crowd:,} containers"}
    units = {"connections": "/s", "packets in turn": "/s", "packets one way": "/s"}
    rows = [
        (
            label[name],
            *(amount(median(series[name]), units.get(what, "Gbit/s")) for what, series in found.items()),
            f"{median(costs[name]) or 0:,.0f} ns",
        )
        for name in (ON, OFF, CROWD)
    ]
    bars = [at_least(f"{what}, on / off", series, ON, OFF, 0.98) for what, series in found.items()]
    bars.append(Bar(what=f"CPU time per datagram, {crowd:,} / 1", measured=_ratio(costs, CROWD, ON), at_most=1.1))
    bars.append(at_least(f"packets in turn, {crowd:,} / 1", found["packets in turn"], CROWD, ON, 1 / 1.1))
    figures: dict[str, Figure] = {
        f"{what.replace(' ', '_')}_ratio": rounded(bar.measured) for what, bar in zip(found, bars, strict=False)
    }
    figures |= {f"ns_per_datagram_{name}": rounded(median(costs[name]), 0) for name in costs}
    figures["crowd_ratio"] = rounded(_ratio(costs, CROWD, ON))
    return Part(
        title=f"protections: {rounds} rounds, interleaved; medians (of each round's ratio in the bars)",
        columns=("", *found, "CPU time per datagram"),
        rows=tuple(rows),
        bars=tuple(bars),
        notes=(),
        figures={"protections": figures},
    )


def _ratio(series: Series, above: str, below: str) -> float | None:
    return paired(series[above], series[below])
