"""Checks of what networks' options count on: addresses and interfaces of the host."""

from __future__ import annotations

from collections.abc import Iterator

from weft.explain.health.facts import HostFacts, OwnFacts
from weft.explain.health.finding import Finding


def check_sources(host: HostFacts, own: OwnFacts) -> Iterator[Finding]:
    """Addresses under which packets leave: answers come to this host only if they are its own."""
    for use in own.networks:
        for address in use.sources:
            if address not in host.addresses:
                yield Finding(
                    check="snat",
                    subject="host",
                    level="warning",
                    what=f"packets from network {use.network.name} leave under {address}, which is no address of this "
                    "host",
                    why="Answers come back only if routers around lead that address here, or once the host has it.",
                    mend=(f"ip address add {address}/{address.max_prefixlen} dev lo",),
                )


def check_trusted(host: HostFacts, own: OwnFacts) -> Iterator[Finding]:
    there = {link.name for link in host.links}
    for use in own.networks:
        for interface in use.trusted:
            if interface not in there:
                yield Finding(
                    check="trusted-interfaces",
                    subject="host",
                    level="note",
                    what=f"network {use.network.name} trusts interface {interface}, which is not there",
                    why="Whoever makes an interface of that name will reach the containers at their own addresses.",
                )
