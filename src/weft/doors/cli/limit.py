"""`weft network limit`: how much a container may receive and send, changed while it runs."""

from __future__ import annotations

from weft.doors.cli.flags import Command, Flag, Options, Usage
from weft.doors.cli.session import Session


def limit(options: Options, session: Session) -> int:
    network, container = options.operands
    changes: dict[str, str | None] = {}
    for direction in ("in", "out"):
        rate, burst = options.text(direction), options.text(f"{direction}-burst")
        if rate is not None:
            changes[f"bandwidth-{direction}"] = None if rate == "default" else rate
            changes[f"bandwidth-{direction}-burst"] = None  # it went with the former rate
        if burst is not None:
            changes[f"bandwidth-{direction}-burst"] = burst
    if not changes:
        raise Usage("which limit? Say --in RATE, --out RATE or both")
    session.client.networks.adjust(network, container, changes)
    return 0


COMMAND = Command(
    "network limit",
    "Change how much a container may receive and send on a network",
    limit,
    operands="NETWORK CONTAINER",
    least=2,
    most=2,
    completes=("network", "container"),
    flags=(
        Flag("--in", "RATE", "The most it receives, such as 10mbit or 2MB/s; none; default: as the network has it"),
        Flag("--out", "RATE", "The most it sends, likewise"),
        Flag("--in-burst", "SIZE", "How much may pass at once before that holds, such as 64KiB"),
        Flag("--out-burst", "SIZE", "Likewise of what it sends"),
    ),
    details="""\
The container goes on running, and no packet is dropped. A direction that is not named stays as it is. The limits hold
until the container leaves the network.""",
    examples=(
        ("slow it down", "weft network limit front web --in 10mbit --out 5mbit"),
        ("and let it go", "weft network limit front web --in none --out none"),
    ),
)
