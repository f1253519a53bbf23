"""Leases of DHCP servers, in words."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from weft.explain.explanation import Line
from weft.model import DhcpLease, Endpoint


def lease_lines(lease: DhcpLease | None, endpoint: Endpoint, *, now: float) -> Iterator[Line]:
    if lease is None:
        return
    if endpoint.ipv4 is None:
        yield Line(
            text=f"{lease.address} is lost: its lease of the DHCP server {lease.server} ran out",
            why="Nobody has prolonged it, so somebody else may have the address by now. weft goes on asking for one.",
            state="missing",
        )
        return
    late = now >= lease.rebind
    yield Line(
        text=f"{lease.address} is leased from the DHCP server {lease.server} until {moment(lease.expires)}",
        why="The server has stopped to answer: in the end the address must be let go."
        if late
        else f"weft has it prolonged from {moment(lease.renew)} on, and gives it back when the container leaves.",
    )


def moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
