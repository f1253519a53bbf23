"""The sets and maps of `table inet weft`: what their keys and values are made of.

Packets meet a fixed number of rules; everything that grows with networks, containers and ports is an element here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["ifname", "ipv4_addr", "ipv6_addr", "inet_proto", "inet_service"]


@dataclass(frozen=True, slots=True)
class SetLayout:
    key: tuple[Kind, ...]
    value: tuple[Kind, ...] | None = None
    interval: bool = False
    """The elements are subnets."""
    comment: str = ""


SETS: dict[str, SetLayout] = {
    "bridges": SetLayout(("ifname",), comment="every bridge of weft's"),
    "internal": SetLayout(("ifname",), comment="bridges of internal networks: nothing in, nothing out"),
    "outbound": SetLayout(("ifname",), comment="bridges whose packets leave under the host's address"),
    "same": SetLayout(("ifname", "ifname"), comment="pairs of bridges between which containers may talk"),
    "subnets4": SetLayout(("ipv4_addr",), interval=True, comment="container addresses: not to be had from outside"),
    "subnets6": SetLayout(("ipv6_addr",), interval=True, comment="container addresses: not to be had from outside"),
    "ports4": SetLayout(
        ("inet_proto", "inet_service"),
        ("ipv4_addr", "inet_service"),
        comment="ports published on every address of the host",
    ),
    "ports6": SetLayout(
        ("inet_proto", "inet_service"),
        ("ipv6_addr", "inet_service"),
        comment="ports published on every address of the host",
    ),
    "addr_ports4": SetLayout(
        ("ipv4_addr", "inet_proto", "inet_service"),
        ("ipv4_addr", "inet_service"),
        comment="ports published on one address of the host",
    ),
    "addr_ports6": SetLayout(
        ("ipv6_addr", "inet_proto", "inet_service"),
        ("ipv6_addr", "inet_service"),
        comment="ports published on one address of the host",
    ),
}
