"""Connections that a network which was edited does not allow any more: their next packet is judged again.

Before the network's record changes it is noted that there may be some, and crossed out when they are forgotten: who
dies in between leaves the note to the next start.
"""

from __future__ import annotations

from weft.engine.parts import Parts
from weft.model import IPAddress

_KEY = "judge-again"


def note(parts: Parts, network_id: str) -> None:
    parts.store.set_meta(_KEY, network_id)


def cross_out(parts: Parts) -> None:
    parts.store.drop_meta(_KEY)


def addresses_on(parts: Parts, network_id: str) -> list[IPAddress]:
    return [interface.ip for endpoint in parts.records.endpoints_on(network_id) for interface in endpoint.addresses]


def judge_noted(parts: Parts) -> None:
    """At start: all connections of whoever is on the network, since nobody knows which those are."""
    network_id = parts.store.get_meta(_KEY)
    if network_id is not None:
        parts.kernel.forget_flows(addresses=addresses_on(parts, network_id))
        cross_out(parts)
