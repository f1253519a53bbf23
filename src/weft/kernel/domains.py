"""Routing domains (VRF): their links' packets go by tables of their own, which concern nobody else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from weft.kernel.addresses import RT_TABLE_MAIN, FoundRoute
from weft.kernel.links import Link


def outside_domains(routes: Iterable[FoundRoute], links: Sequence[Link]) -> list[FoundRoute]:
    """Without those of VRFs. One in the main table that leads into a VRF stays: it is everybody's way in there."""
    domains = {link.index for link in links if link.kind == "vrf"}
    members = {link.index for link in links if link.master in domains}
    return [r for r in routes if r.table == RT_TABLE_MAIN or r.link not in domains | members]
