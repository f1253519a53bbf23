"""What passed through containers' interfaces, from the host's end of each pair.

/proc/net/dev shows the reader's own namespace, whatever is mounted at /sys.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from weft.engine.parts import Parts
from weft.model import Endpoint, Sandbox
from weft.names import veth
from weft.serve import types

_COLUMNS = ("bytes", "packets", "errors", "dropped")
_SENT = 8
"""Where the columns of what was sent begin: after bytes, packets, errs, drop, fifo, frame, compressed, multicast."""


def stats(sandbox: Sandbox, parts: Parts) -> types.Stats:
    counted = read_counters(Path("/proc/self/net/dev").read_text())
    endpoints = parts.records.endpoints_of(sandbox.id)
    return types.Stats(
        interfaces=[
            _interface(endpoint, parts.records.networks[endpoint.network].name, counted[veth(endpoint.id)])
            for endpoint in endpoints
            if veth(endpoint.id) in counted
        ]
    )


def read_counters(text: str) -> dict[str, Sequence[int]]:
    """Interface name to the numbers of its line in /proc/net/dev."""
    counted: dict[str, Sequence[int]] = {}
    for line in text.splitlines()[2:]:
        name, _, numbers = line.partition(":")
        counted[name.strip()] = [int(number) for number in numbers.split()]
    return counted


def _interface(endpoint: Endpoint, network: str, numbers: Sequence[int]) -> types.Interface:
    # What the host's end received, the container sent.
    sent: Mapping[str, int] = {f"tx_{name}": numbers[i] for i, name in enumerate(_COLUMNS)}
    received: Mapping[str, int] = {f"rx_{name}": numbers[_SENT + i] for i, name in enumerate(_COLUMNS)}
    return types.Interface(name=endpoint.ifname, network=network, **received, **sent)
