"""How much an endpoint may receive and send: options of a network, or of one container's place on it.

A rate is held by a token bucket in front of a short queue (TBF), at the end of the cable where packets set out: the
host's for what the container receives, the container's own for what it sends. A link without an end on the host has
what it receives led through a link beside it, and held there. See docs/bandwidth.md.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from weft.errors import Invalid
from weft.plan import Detour, Plan, Shaper

OPTIONS = ("bandwidth-in", "bandwidth-in-burst", "bandwidth-out", "bandwidth-out-burst")

_BITS = {"bit": 1, "kbit": 10**3, "mbit": 10**6, "gbit": 10**9}
_BYTES = {"B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_NUMBER = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,6})?)([A-Za-z/]*)")
_LOWEST, _HIGHEST = 8 * 10**3, 100 * 10**9
_MOST_BURST = 64 * 2**20
_LONGEST_BURST = 60
"""Seconds; the kernel counts up to 274."""
_FILL = 0.01
"""Seconds of the rate that may pass at once, if nothing else is said: the kernel's timers are far finer."""
_LEAST_FILL = 16 * 2**10
_PATIENCE = 0.05
"""Seconds that a packet may wait for its turn, besides those for which the burst before it lasts."""
_HEADER = 18
"""Bytes of a frame before its packet, with a VLAN tag."""


@dataclass(frozen=True, slots=True)
class Limit:
    """Of one direction."""

    rate: int
    """Bits a second."""
    burst: int | None = None
    """Bytes that may pass at once; None: as many as suit the rate."""


@dataclass(frozen=True, slots=True)
class Bandwidth:
    """Seen from the container; None: as much as there is."""

    inward: Limit | None = None
    outward: Limit | None = None


NO_LIMITS = Bandwidth()


def read_bandwidth(options: Mapping[str, str]) -> Bandwidth:
    """`options` under their own names; others are not looked at. Raises Invalid."""
    return Bandwidth(_limit("bandwidth-in", options), _limit("bandwidth-out", options))


def bandwidth_of(driver: str, network: Mapping[str, str], endpoint: Mapping[str, str], mtu: int) -> Bandwidth:
    """What an endpoint's own options say, and where they say nothing its network's (of which others are not looked at).

    `mtu` is that of the link. Raises Invalid, naming the option and, if it is unknown, those there are.
    """
    for key in sorted(endpoint):
        if key not in OPTIONS:
            raise Invalid(f"unknown option {key!r} for an endpoint of driver {driver}; it knows {', '.join(OPTIONS)}")
    defaults = {name: value for name, value in network.items() if name in OPTIONS}
    if not endpoint and not defaults:
        return NO_LIMITS
    found = read_bandwidth({**_left(defaults, endpoint), **endpoint})
    _check_bursts(found, mtu)
    return found


def _left(network: Mapping[str, str], endpoint: Mapping[str, str]) -> dict[str, str]:
    """The network's burst goes with the network's rate."""
    return {key: value for key, value in network.items() if key.removesuffix("-burst") not in endpoint}


def _check_bursts(bandwidth: Bandwidth, mtu: int) -> None:
    """Raises Invalid for a burst that no full packet fits into: none would ever pass."""
    for name, limit in (("bandwidth-in", bandwidth.inward), ("bandwidth-out", bandwidth.outward)):
        if limit is not None and limit.burst is not None and limit.burst < mtu + _HEADER:
            raise Invalid(
                f"option {name}-burst: {limit.burst} bytes are less than one packet, and none would pass: "
                f"with MTU {mtu}, at least {mtu + _HEADER}B"
            )


def shapers(bandwidth: Bandwidth, *, outer: tuple[str, str], inner: tuple[str, str], mtu: int) -> Plan:
    """For a pair of links (namespace, name): the host's end and the container's."""
    ends = ((outer, bandwidth.inward), (inner, bandwidth.outward))
    return tuple(_shaper(*end, limit, mtu) for end, limit in ends if limit is not None)


def shapers_alone(bandwidth: Bandwidth, *, netns: str, link: str, beside: str, mtu: int) -> Plan:
    """For a link that is inside the container and has no other end; `beside` is what one for detours is called."""
    held = shapers(bandwidth, outer=(netns, beside), inner=(netns, link), mtu=mtu)
    return held if bandwidth.inward is None else (Detour(netns, link, beside), *held)


def _shaper(netns: str, link: str, limit: Limit, mtu: int) -> Shaper:
    a_second = limit.rate / 8
    burst = limit.burst or max(int(a_second * _FILL), _LEAST_FILL, 2 * (mtu + _HEADER))
    return Shaper(netns, link, limit.rate, burst, queue=burst + int(a_second * _PATIENCE))


def _limit(name: str, options: Mapping[str, str]) -> Limit | None:
    text, burst = options.get(name, "none"), options.get(f"{name}-burst")
    if text == "none":
        if burst is not None:
            raise Invalid(f"option {name}-burst: a burst of what? Give {name} as well")
        return None
    rate = _read_rate(f"option {name}", text)
    if burst is None:
        return Limit(rate)
    size = _read_size(f"option {name}-burst", burst)
    if size * 8 > rate * _LONGEST_BURST:
        raise Invalid(f"option {name}-burst: {burst} at {text} last for more than a minute: that is no limit")
    return Limit(rate, size)


def _read_rate(field: str, text: str) -> int:
    """Bits a second."""
    number, unit = _parted(text)
    factor = _BITS.get(unit.lower().removesuffix("/s"), 0)
    if not factor and unit.endswith("/s"):
        factor = 8 * _BYTES.get(unit.removesuffix("/s"), 0)
    if number is None or not factor:
        raise Invalid(
            f"{field}: {text!r} is no rate; write 500kbit, 10mbit or 1gbit (bits a second), 2MB/s or 2MiB/s (bytes), "
            "or none"
        )
    rate = int(number * factor)
    if not _LOWEST <= rate <= _HIGHEST:
        raise Invalid(f"{field}: {text} is not between 8kbit and 100gbit")
    return rate


def _read_size(field: str, text: str) -> int:
    """Bytes."""
    number, unit = _parted(text)
    if number is None or unit not in _BYTES:
        raise Invalid(f"{field}: {text!r} is no size; write 32KiB, 64kB or 1MB")
    size = int(number * _BYTES[unit])
    if not 0 < size <= _MOST_BURST:
        raise Invalid(f"{field}: {text} is not between 1B and 64MiB")
    return size


def _parted(text: str) -> tuple[float | None, str]:
    found = _NUMBER.fullmatch(text)
    return (float(found[1]), found[2]) if found else (None, "")
