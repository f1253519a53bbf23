"""What a caller asks the controller for: requests that are well-typed, but not yet accepted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from weft.model import DhcpLease, IPAddress, IPNetwork, PortBinding, Process, Proto, StaticRoute


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSpec:
    subnet: IPNetwork | None = None
    """None, or 0.0.0.0/N or ::/N: any free one (of that size)."""
    ip_range: IPNetwork | None = None
    gateway: IPAddress | None = None
    aux: Mapping[str, IPAddress] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSpec:
    name: str
    id: str | None = None
    """None: a random one."""
    driver: str = "bridge"
    pools: tuple[PoolSpec, ...] = ()
    ipv4: bool = True
    ipv6: bool = False
    internal: bool = False
    options: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    attachable: bool = False
    preset: str = ""
    routes: tuple[StaticRoute, ...] = ()
    shown_options: Mapping[str, str] = field(default_factory=dict)
    ipam: str = "default"
    """Or "dhcp"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkChange:
    """What is to be different about a network that is there."""

    name: str | None = None
    """None: stays; likewise `internal`."""
    labels: Mapping[str, str | None] = field(default_factory=dict)
    """None: taken away; likewise `options`."""
    options: Mapping[str, str | None] = field(default_factory=dict)
    internal: bool | None = None
    ipv4: bool = False
    """Give it the family, with a subnet that weft chooses, if it has none and none is added."""
    ipv6: bool = False
    add_pools: tuple[PoolSpec, ...] = ()
    remove_pools: tuple[IPNetwork, ...] = ()
    add_routes: tuple[StaticRoute, ...] = ()
    """One for a destination that has one already takes its place."""
    remove_routes: tuple[IPNetwork, ...] = ()
    """Destinations."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointSpec:
    network: str
    """Name, id, or unambiguous beginning of an id."""
    ipv4: IPAddress | None = None
    ipv6: IPAddress | None = None
    mac: str | None = None
    aliases: tuple[str, ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    """(container, alias): what the container is to be called by this one alone."""
    link_local: tuple[IPAddress, ...] = ()
    sysctls: tuple[tuple[str, str], ...] = ()
    """(key, value); IFNAME in a key stands for the interface."""
    gw_priority: int = 0
    ifname: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    """Of the network's driver."""
    lease: DhcpLease | None = None
    """What `leasing` has got for it, on a network of the IPAM driver dhcp."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PortSpec:
    """A published port or range of ports as asked for."""

    proto: Proto = Proto.TCP
    container_port: int
    container_port_end: int | None = None
    host_ip: IPAddress | None = None
    host_port: int | None = None
    """None: an ephemeral one."""
    host_port_end: int | None = None
    """With a single container port: the first free one of the range."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PortChoice:
    """Which published ports of a container are meant; what is None may be anything."""

    proto: Proto = Proto.TCP
    container_port: int
    host_ip: IPAddress | None = None
    host_port: int | None = None

    def matches(self, port: PortBinding) -> bool:
        return (
            (self.proto, self.container_port) == (port.proto, port.container_port)
            and self.host_ip in (None, port.host_ip)
            and self.host_port in (None, port.host_port)
        )

    def __str__(self) -> str:
        where = "" if self.host_ip is None else f"{self.host_ip} "
        host = "" if self.host_port is None else f"{self.host_port}->"
        return f"{where}{host}{self.container_port}/{self.proto}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerSpec:
    name: str | None = None
    """None: one is made up, adjective_noun."""
    networks: tuple[EndpointSpec, ...] = ()
    """Empty: the default network, "bridge", which is made at first need."""
    ports: tuple[PortSpec, ...] = ()
    hostname: str | None = None
    """None: the short id."""
    dns: tuple[IPAddress, ...] = ()
    dns_search: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()
    extra_hosts: tuple[tuple[str, str], ...] = ()
    """Name to address, or to the word host-gateway."""
    labels: Mapping[str, str] = field(default_factory=dict)
    pid: int | None = None
    netns: str | None = None
    """At most one of pid, netns and process; with none, weft makes an empty namespace for the caller to use."""
    process: Process | None = None
    auto_remove: bool = False
