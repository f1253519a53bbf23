"""The sets and maps of the host's tables `inet weft` and `bridge weft`: what their keys and values are made of.

Packets meet a fixed number of rules; everything that grows with networks, containers and ports is an element here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from weft.plan import TableFamily

Kind = Literal["ifname", "nf_proto", "ether_addr", "ipv4_addr", "ipv6_addr", "inet_proto", "inet_service"]


@dataclass(frozen=True, slots=True)
class SetLayout:
    key: tuple[Kind, ...]
    value: tuple[Kind, ...] | None = None
    interval: bool = False
    """The last part of a key is a subnet; in a key of several parts, any may be a range."""
    comment: str = ""


SETS: dict[str, SetLayout] = {
    "bridges": SetLayout(("ifname",), comment="every bridge of weft's"),
    "internal": SetLayout(("ifname",), comment="bridges of internal networks: nothing in, nothing out"),
    "outbound": SetLayout(("nf_proto", "ifname"), comment="bridges whose packets leave under the host's address"),
    "snat4": SetLayout(("ifname",), ("ipv4_addr",), comment="bridges whose packets leave under this address"),
    "snat6": SetLayout(("ifname",), ("ipv6_addr",), comment="bridges whose packets leave under this address"),
    "same": SetLayout(("ifname", "ifname"), comment="pairs of bridges between which containers may talk"),
    "subnets4": SetLayout(("ipv4_addr",), interval=True, comment="container addresses: not to be had from outside"),
    "subnets6": SetLayout(("ipv6_addr",), interval=True, comment="container addresses: not to be had from outside"),
    "routed": SetLayout(
        ("nf_proto", "ifname"), comment="bridges whose published ports are reached at the containers' addresses"
    ),
    "open": SetLayout(("nf_proto", "ifname"), comment="bridges whose containers are reached at every port"),
    "trusted4": SetLayout(
        ("ifname", "ipv4_addr"), interval=True, comment="from where containers are reached all the same"
    ),
    "trusted6": SetLayout(
        ("ifname", "ipv6_addr"), interval=True, comment="from where containers are reached all the same"
    ),
    "routed_ports4": SetLayout(
        ("ipv4_addr", "inet_proto", "inet_service"), comment="ports published at a container's own address"
    ),
    "routed_ports6": SetLayout(
        ("ipv6_addr", "inet_proto", "inet_service"), comment="ports published at a container's own address"
    ),
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
    "policed": SetLayout(("ifname",), comment="bridges with an egress policy: what is not allowed is refused"),
    "allowed4": SetLayout(
        ("ifname", "ipv4_addr", "inet_proto", "inet_service"), interval=True, comment="where a network may send to"
    ),
    "allowed6": SetLayout(
        ("ifname", "ipv6_addr", "inet_proto", "inet_service"), interval=True, comment="where a network may send to"
    ),
    "own": SetLayout(("ifname", "ether_addr"), comment="containers with an egress policy of their own"),
    "own_allowed4": SetLayout(
        ("ifname", "ether_addr", "ipv4_addr", "inet_proto", "inet_service"),
        interval=True,
        comment="where they may go",
    ),
    "own_allowed6": SetLayout(
        ("ifname", "ether_addr", "ipv6_addr", "inet_proto", "inet_service"),
        interval=True,
        comment="where they may go",
    ),
}

BRIDGE_SETS: dict[str, SetLayout] = {
    "senders4": SetLayout(("ifname", "ether_addr", "ipv4_addr"), comment="what may leave a port: its own addresses"),
    "senders6": SetLayout(("ifname", "ether_addr", "ipv6_addr"), comment="what may leave a port: its own addresses"),
    "unguarded": SetLayout(("ifname",), comment="ports of networks with anti-spoof=false"),
}

LAYOUTS: dict[TableFamily, dict[str, SetLayout]] = {"inet": SETS, "bridge": BRIDGE_SETS}
