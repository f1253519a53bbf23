"""Checks of the links that networks branch off from."""

from __future__ import annotations

from collections.abc import Iterator

from weft.explain.health.facts import HostFacts, OwnFacts
from weft.explain.health.finding import Finding, fine


def check_parents(host: HostFacts, own: OwnFacts) -> Iterator[Finding]:
    there = {link.name: link for link in host.links}
    users: dict[str, list[str]] = {}
    for use in own.networks:
        if use.parent:
            users.setdefault(use.parent, []).append(use.network.name)
    for parent, networks in users.items():
        shown = f"network{'s' * (len(networks) > 1)} {', '.join(sorted(networks))}"
        if parent not in there:
            yield Finding(
                check="parents",
                subject="host",
                level="error",
                what=f"{parent} is gone, the parent of {shown}",
                why="Its containers have lost their interfaces there. weft makes them again as soon as it is back.",
                mend=("ip link",),
            )
        elif not there[parent].up:
            yield Finding(
                check="parents",
                subject="host",
                level="warning",
                what=f"{parent} is down, the parent of {shown}",
                why="Nothing gets in or out through it.",
                mend=(f"ip link set {parent} up",),
            )
        else:
            yield fine("parents", "host", f"{parent} is up, the parent of {shown}")
