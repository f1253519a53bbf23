"""Checks of the addresses that DHCP servers have given."""

from __future__ import annotations

from collections.abc import Iterator

from weft.explain.health.facts import HostFacts, LeaseUse, OwnFacts
from weft.explain.health.finding import Finding, fine
from weft.explain.leases import moment


def check_leases(host: HostFacts, own: OwnFacts) -> Iterator[Finding]:
    troubled = [use for use in own.leases if not use.held or own.now >= use.lease.rebind]
    for use in troubled:
        yield _lost(use) if not use.held else _late(use)
    if own.leases and not troubled:
        count = len(own.leases)
        yield fine("leases", "host", f"{count} address{'es' * (count > 1)} leased from DHCP servers, none overdue")


def _lost(use: LeaseUse) -> Finding:
    return Finding(
        check="leases",
        subject="host",
        level="error",
        what=f"container {use.container} has no address on network {use.network}: its lease ran out",
        why=f"The DHCP server {use.lease.server} has not prolonged it, and {use.lease.address} may be somebody else's "
        "by now. weft goes on asking for one.",
        mend=(f"tcpdump -ni {use.lease.client.parent} port 67 or port 68",),
    )


def _late(use: LeaseUse) -> Finding:
    return Finding(
        check="leases",
        subject="host",
        level="warning",
        what=f"no DHCP server prolongs {use.lease.address} of container {use.container} on network {use.network}",
        why=f"Without an answer the container loses its address at {moment(use.lease.expires)}.",
        mend=(f"tcpdump -ni {use.lease.client.parent} port 67 or port 68",),
    )
