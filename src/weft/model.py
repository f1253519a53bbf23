"""The records: what should be true. Frozen values, valid at birth; a change is a `replace`.

Addresses are `ipaddress` objects; mappings are not changed after birth. The store writes these records, drivers turn
them into plans, and every kernel name follows from their ids (`names`).
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network
IPInterface = IPv4Interface | IPv6Interface


class Proto(enum.StrEnum):
    TCP = "tcp"
    UDP = "udp"
    SCTP = "sctp"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """One subnet of a network and how addresses in it are given out."""

    subnet: IPNetwork
    ip_range: IPNetwork | None = None
    """Where dynamic addresses are chosen; the whole subnet if None."""
    gateway: IPAddress | None = None
    """The bridge's own address; None where the host has no address on the network."""
    gateway_chosen: bool = False
    """The subnet was asked for, the gateway in it was not: Docker's clients take one that they see for asked for."""
    aux: Mapping[str, IPAddress] = field(default_factory=dict)
    """Addresses in use by others, by name: never given out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    id: str
    name: str
    driver: str
    pools: tuple[Pool, ...]
    """At most one per family in this version; IPv4 first."""
    internal: bool = False
    options: Mapping[str, str] = field(default_factory=dict)
    """As the user gave them, already accepted by the driver."""
    labels: Mapping[str, str] = field(default_factory=dict)
    created: float = 0.0
    """Seconds since the epoch."""
    attachable: bool = False
    """Shown to clients of Docker's API that said so; here every network is."""
    preset: str = ""
    """The name of the preset that it was made from."""
    shown_options: Mapping[str, str] = field(default_factory=dict)
    """Options of Docker's that other fields have taken up, to be shown to its clients as they gave them."""

    @property
    def pool4(self) -> Pool | None:
        return next((p for p in self.pools if p.subnet.version == 4), None)

    @property
    def pool6(self) -> Pool | None:
        return next((p for p in self.pools if p.subnet.version == 6), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A sandbox's interface on one network."""

    id: str
    network: str
    """The network's id."""
    sandbox: str
    """The sandbox's id."""
    ifname: str
    """The interface's name inside the sandbox."""
    mac: str
    ipv4: IPv4Interface | None = None
    ipv6: IPv6Interface | None = None
    aliases: tuple[str, ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    """(alias, sandbox id): names of others that the sandbox alone knows."""
    link_local: tuple[IPInterface, ...] = ()
    """More addresses of the interface, which nobody gave out."""
    sysctls: tuple[tuple[str, str], ...] = ()
    """(key, value): switches of the interface, spelt as in `plan.Sysctl`."""
    gw_priority: int = 0

    @property
    def addresses(self) -> tuple[IPInterface, ...]:
        return tuple(a for a in (self.ipv4, self.ipv6) if a is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class PortBinding:
    """One published port: host side to container side, always resolved to numbers."""

    proto: Proto
    container_port: int
    host_port: int
    host_ip: IPAddress | None = None
    """None: every address of the host, both families."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """What `weft run` runs inside a sandbox."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: str = "/"
    rootfs: str | None = None
    """None: the host's own file system, with resolv.conf, hosts and hostname replaced."""
    tty: bool = False
    open_stdin: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """How a sandbox's process ended."""

    code: int
    """0 to 255; 128 + the signal's number where a signal ended it."""
    at: float


class Origin(enum.StrEnum):
    """Where a sandbox's namespace comes from, and so what its end looks like."""

    MADE = "made"
    """weft made it, and ends it."""
    PID = "pid"
    """A running process's; ends with the process."""
    PATH = "path"
    """A path that somebody else bound; ends when the path is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """A container: one network namespace, with what people call it."""

    id: str
    name: str
    key: str
    """The path at which weft has bound the namespace (`names.pin`)."""
    origin: Origin = Origin.MADE
    source: str = ""
    """For PID, "PID:STARTTIME" (field 22 of /proc/PID/stat); for PATH, the path."""
    hostname: str = ""
    dns: tuple[IPAddress, ...] = ()
    """Upstream servers of its own; the host's if empty."""
    dns_search: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()
    extra_hosts: tuple[tuple[str, IPAddress], ...] = ()
    """Lines for /etc/hosts: name, address."""
    labels: Mapping[str, str] = field(default_factory=dict)
    ports: tuple[PortBinding, ...] = ()
    process: Process | None = None
    auto_remove: bool = False
    created: float = 0.0
    exit: Exit | None = None
    """Set once the process has ended: then the sandbox has no endpoints and no namespace."""
