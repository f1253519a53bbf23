"""The records: what should be true. Frozen values, valid at birth; a change is a `replace`.

Addresses are `ipaddress` objects; mappings are not changed after birth. The store writes these records, drivers turn
them into plans, and every kernel name follows from their ids (`names`).
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from typing import Literal

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
class Borrowed:
    """A link that was there before the network that uses it, as it was found: so it is left."""

    addresses: tuple[IPInterface, ...] = ()
    """Its own."""
    mtu: int = 1500
    route_localnet: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticRoute:
    """Where a router on a network leads."""

    destination: IPNetwork
    gateway: IPAddress
    """The router's address, in a subnet of the network."""


Verdict = Literal["allow", "deny"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRule:
    """Whether containers may send to some destination."""

    verdict: Verdict
    destination: IPNetwork
    proto: Proto | None = None
    """None: every one; with ports, every one that has ports."""
    ports: tuple[int, int] | None = None
    """The first and the last; None: all."""

    @property
    def place(self) -> str:
        """The destination as it is typed: 10.1.0.0/16:443/tcp, [fd00::/8]:53."""
        single = self.destination.prefixlen == self.destination.max_prefixlen
        text = str(self.destination.network_address if single else self.destination)
        if self.ports is not None:
            first, last = self.ports
            text = f"[{text}]" if self.destination.version == 6 else text
            text += f":{first}" if first == last else f":{first}-{last}"
        elif self.proto is not None:
            text = f"[{text}]:*" if self.destination.version == 6 else f"{text}:*"
        return text if self.proto is None else f"{text}/{self.proto}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Where containers may send to beyond their network; of the rules that match, the most specific decides."""

    default: Verdict | None = None
    """Where no rule matches. None: for a network allow, for an endpoint whatever its network says."""
    rules: tuple[PolicyRule, ...] = ()


Ipam = Literal["default", "dhcp"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    id: str
    name: str
    driver: str
    pools: tuple[Pool, ...]
    """IPv4 first; within a family in the order in which addresses are given out of them."""
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
    borrowed: Borrowed | None = None
    """None: its link on the host is weft's own."""
    routes: tuple[StaticRoute, ...] = ()
    """Every container on the network has them."""
    shown_options: Mapping[str, str] = field(default_factory=dict)
    """Options of Docker's that other fields have taken up, to be shown to its clients as they gave them."""
    policy: Policy | None = None
    ipam: Ipam = "default"
    """Who gives out IPv4 addresses: weft, or (dhcp) a server of the LAN that the network is on."""

    def pools_of(self, version: int) -> tuple[Pool, ...]:
        """Those of one IP version; empty where the network does not have it."""
        return tuple(pool for pool in self.pools if pool.subnet.version == version)

    def pool_of(self, address: IPAddress) -> Pool | None:
        """The one that an address lies in."""
        return next((pool for pool in self.pools_of(address.version) if address in pool.subnet), None)


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
    options: Mapping[str, str] = field(default_factory=dict)
    """As the user gave them, already accepted by the network's driver."""
    policy: Policy | None = None
    """Asked before the network's."""

    @property
    def addresses(self) -> tuple[IPInterface, ...]:
        return tuple(a for a in (self.ipv4, self.ipv6) if a is not None)

    def address(self, version: int) -> IPInterface | None:
        return self.ipv4 if version == 4 else self.ipv6


@dataclass(frozen=True, slots=True, kw_only=True)
class DhcpClient:
    """An endpoint as DHCP servers know it."""

    endpoint: str
    """Its id, from which the client identifier follows."""
    network: str
    """The network's id."""
    parent: str
    """The link of the host over which servers are asked."""
    mac: str
    hostname: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DhcpLease:
    """An address that a DHCP server has given to an endpoint for a time. Times are in seconds since the epoch."""

    client: DhcpClient
    address: IPv4Address
    server: IPv4Address
    server_mac: str
    """By which the server is reached: its own, or that of a router before it."""
    obtained: float
    renew: float
    """From when on its server, and from when on any, is asked to let the endpoint keep it."""
    rebind: float
    expires: float


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
    HOST = "host"
    """The host's own: nothing in it is weft's. Only with a process of weft's."""
    SHARED = "shared"
    """Another sandbox's, which owns all that is in it. Only with a process of weft's."""

    @property
    def own(self) -> bool:
        """Whether the sandbox has its namespace to itself."""
        return self not in (Origin.HOST, Origin.SHARED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """A container: one network namespace, with what people call it."""

    id: str
    name: str
    key: str
    """The path at which weft has bound the namespace (`names.pin`); its owner's, if it is shared; empty: the host's."""
    origin: Origin = Origin.MADE
    source: str = ""
    """For PID, "PID:STARTTIME" (field 22 of /proc/PID/stat); for PATH, the path; for SHARED, the owner's id."""
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
