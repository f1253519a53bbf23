"""The native API's documents, as the wire carries them. OpenAPI's schemas are generated from these classes.

Requests refuse fields they do not know, by name. Addresses and subnets are text here; `convert` reads them.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct, field


class Request(Struct, frozen=True, forbid_unknown_fields=True):
    pass


class Answer(Struct, frozen=True):
    pass


# Requests


class PoolCreate(Request, frozen=True):
    subnet: str | None = None
    """Such as 10.7.0.0/24. Absent, or 0.0.0.0/N or ::/N: a free one (of that size) is chosen."""
    ip_range: str | None = None
    """Where dynamic addresses are chosen; the whole subnet if absent."""
    gateway: str | None = None
    """The host's own address on the network; the first of the subnet if absent."""
    aux: dict[str, str] = {}
    """Addresses that are in use by others, by name: never given out."""


class RouteCreate(Request, frozen=True):
    destination: str
    """A subnet beyond the network."""
    gateway: str
    """A router's address, in a subnet of the network."""


class NetworkCreate(Request, frozen=True):
    name: str
    driver: str = "bridge"
    pools: list[PoolCreate] = []
    """Several of a family: containers get their address from the first with room."""
    ipv4: bool = True
    ipv6: bool = False
    internal: bool = False
    """Nothing leads out of the network or into it."""
    options: dict[str, str] = {}
    """Of the driver; unknown ones are refused."""
    labels: dict[str, str] = {}
    routes: list[RouteCreate] = []
    """Every container on the network has them."""
    ipam: str = "default"
    """Who gives out IPv4 addresses: default (weft), or dhcp, a server of the LAN behind the parent."""


class NetworkUpdate(Request, frozen=True):
    """What is not named stays as it is."""

    name: str | None = None
    labels: dict[str, str | None] = {}
    """Null: taken away."""
    options: dict[str, str | None] = {}
    """Of the driver; null: taken away."""
    internal: bool | None = None
    ipv4: bool = False
    """Give the network the family, with a subnet that weft chooses, if it has none and none is added."""
    ipv6: bool = False
    add_pools: list[PoolCreate] = []
    remove_pools: list[str] = []
    """Subnets in which no container has an address."""
    add_routes: list[RouteCreate] = []
    """One for a destination that has one already takes its place."""
    remove_routes: list[str] = []
    """Destinations."""


class PolicyRuleCreate(Request, frozen=True):
    verdict: Literal["allow", "deny"]
    to: str
    """Such as 10.1.0.0/16, 10.1.0.0/16:443/tcp, [fd00::/8]:53-60/udp or any:53; * for all ports of a protocol."""


class PolicyReplace(Request, frozen=True):
    rules: list[PolicyRuleCreate] = []
    default: Literal["allow", "deny"] | None = None
    """Where no rule matches. Absent: allow; for a container's own, whatever its network says."""
    container: str | None = None
    """Its own rules, which come before the network's. Absent: the network's."""


class PolicyChange(Request, frozen=True):
    add: list[PolicyRuleCreate] = []
    """A rule for a destination that has one already takes its place."""
    remove: list[str] = []
    """Destinations, as in `to`."""
    default: Literal["allow", "deny"] | None = None
    """Absent: stays as it is."""
    container: str | None = None


class EndpointCreate(Request, frozen=True):
    network: str
    """Name, id, or unambiguous beginning of an id."""
    ip: str | None = None
    ip6: str | None = None
    mac: str | None = None
    aliases: list[str] = []
    """More names for the container on this network."""
    gw_priority: int = 0
    """The network with the highest carries the default route."""
    ifname: str | None = None
    """The interface's name in the container; eth0, eth1, ... if absent."""
    options: dict[str, str] = {}
    """For the network's driver."""


class Connect(Request, frozen=True):
    container: str
    ip: str | None = None
    ip6: str | None = None
    mac: str | None = None
    aliases: list[str] = []
    gw_priority: int = 0
    ifname: str | None = None
    options: dict[str, str] = {}


class Adjust(Request, frozen=True):
    container: str
    options: dict[str, str | None]
    """For the network's driver; null: as the network has it. What is not named stays as it is."""


class Disconnect(Request, frozen=True):
    container: str
    force: bool = False
    """Succeed if there is nothing to disconnect."""


class PortCreate(Request, frozen=True):
    container_port: int
    container_port_end: int | None = None
    """For a range: its last port."""
    proto: Literal["tcp", "udp", "sctp"] = "tcp"
    host_ip: str | None = None
    """Absent: every address of the host."""
    host_port: int | None = None
    """Absent: a free one is chosen."""
    host_port_end: int | None = None
    """With a single container port: the first free one of the range."""


class PortsPublish(Request, frozen=True):
    ports: list[PortCreate]


class PortRef(Request, frozen=True):
    """A published port by what it leads to; more precisely, if another is published for it as well."""

    container_port: int
    proto: Literal["tcp", "udp", "sctp"] = "tcp"
    host_ip: str | None = None
    host_port: int | None = None


class PortsUnpublish(Request, frozen=True):
    ports: list[PortRef] | None = None
    """Absent: all."""


class ProcessCreate(Request, frozen=True):
    argv: list[str]
    env: dict[str, str] = {}
    cwd: str = "/"
    rootfs: str | None = None
    """A directory that becomes /; absent: the host's own file system."""
    tty: bool = False
    open_stdin: bool = False


class ContainerCreate(Request, frozen=True):
    name: str | None = None
    """Absent: one is made up."""
    networks: list[EndpointCreate] = []
    """Empty: the default network, "bridge"."""
    ports: list[PortCreate] = []
    hostname: str | None = None
    """Absent: the short id."""
    dns: list[str] = []
    """Upstream servers of its own."""
    dns_search: list[str] = []
    dns_options: list[str] = []
    extra_hosts: list[tuple[str, str]] = []
    """Name, and address or the word host-gateway."""
    labels: dict[str, str] = {}
    pid: int | None = None
    """Adopt this process's network namespace."""
    netns: str | None = None
    """Adopt the network namespace at this path."""
    process: ProcessCreate | None = None
    """What to run, once started. At most one of pid, netns and process."""
    auto_remove: bool = False
    """Remove the container when its process ends."""


class Kill(Request, frozen=True):
    signal: int = 9


class Stop(Request, frozen=True):
    timeout: float = 10.0
    """Seconds from SIGTERM to SIGKILL."""


class Rename(Request, frozen=True):
    name: str


# Answers


class Ping(Answer, frozen=True):
    version: str
    pid: int
    ready: bool


class Pool(Answer, frozen=True):
    subnet: str
    ip_range: str | None
    gateway: str | None
    aux: dict[str, str]


class Route(Answer, frozen=True):
    destination: str
    gateway: str


class Member(Answer, frozen=True):
    """An endpoint as its network shows it."""

    container: str
    """The container's id."""
    name: str
    """The container's name."""
    ipv4: str | None
    """With prefix length."""
    ipv6: str | None
    mac: str


class Network(Answer, frozen=True):
    id: str
    name: str
    driver: str
    ipam: str
    """Who gives out IPv4 addresses: default (weft) or dhcp."""
    internal: bool
    ipv4: bool
    ipv6: bool
    pools: list[Pool]
    routes: list[Route]
    options: dict[str, str]
    labels: dict[str, str]
    created: float
    """Seconds since the epoch."""
    bridge: str | None
    """The bridge's name in the kernel."""
    parent: str | None
    """The link of the host that the network branches off from (macvlan, ipvlan)."""


class NetworkDetail(Network, frozen=True):
    endpoints: list[Member]


class PolicyRule(Answer, frozen=True):
    verdict: Literal["allow", "deny"]
    to: str


class Policy(Answer, frozen=True):
    default: Literal["allow", "deny"] | None
    """Null: allow; for a container's own, whatever its network says."""
    rules: list[PolicyRule]
    """The most specific of those that match decides."""


class Pruned(Answer, frozen=True):
    deleted: list[str]
    """Names."""


class Port(Answer, frozen=True):
    proto: str
    container_port: int
    host_ip: str | None
    """Null: every address of the host."""
    host_port: int
    """0: none; on a routed network the port is reached at the container's own address."""


class Lease(Answer, frozen=True):
    """What a DHCP server has given. Times are in seconds since the epoch."""

    server: str
    obtained: float
    renews: float
    """When it is to be prolonged next."""
    expires: float


class Endpoint(Answer, frozen=True):
    id: str
    network: str
    """The network's name."""
    network_id: str
    ifname: str
    mac: str
    ipv4: str | None
    """With prefix length."""
    ipv6: str | None
    gateway4: str | None
    gateway6: str | None
    aliases: list[str]
    names: list[str]
    """All the names it answers to on the network."""
    gw_priority: int
    options: dict[str, str]
    """As they were given, for the network's driver."""
    lease: Lease | None
    """Of the IPv4 address, where a DHCP server has given it."""


class Exit(Answer, frozen=True):
    code: int
    """0 to 255; 128 + the signal's number where a signal ended it."""
    at: float


class Process(Answer, frozen=True):
    argv: list[str]
    env: dict[str, str]
    cwd: str
    rootfs: str | None
    tty: bool
    open_stdin: bool


class Container(Answer, frozen=True):
    id: str
    name: str
    state: Literal["created", "running", "exited"]
    hostname: str
    netns: str
    """The path at which its network namespace is bound."""
    origin: Literal["made", "pid", "path", "host", "shared"]
    """Where the namespace comes from."""
    network_mode: str
    """In the place of networks: none, host, or container:NAME for whose network it uses; empty if it is on networks."""
    pid: int | None
    """The container's first process, or the process whose namespace was adopted."""
    labels: dict[str, str]
    created: float
    exit: Exit | None
    process: Process | None
    auto_remove: bool
    console: str | None
    """The path of its console's socket."""
    log: str | None
    """The path of its output."""
    ports: list[Port]
    endpoints: list[Endpoint]
    """In gateway order."""


class Ended(Answer, frozen=True):
    code: int


class Interface(Answer, frozen=True):
    """Counted as the container sees it."""

    name: str
    network: str
    rx_bytes: int
    rx_packets: int
    rx_errors: int
    rx_dropped: int
    tx_bytes: int
    tx_packets: int
    tx_errors: int
    tx_dropped: int


class Stats(Answer, frozen=True):
    interfaces: list[Interface]


class Event(Answer, frozen=True):
    time: float
    type: Literal["network", "container", "daemon"]
    action: str
    id: str
    name: str
    attributes: dict[str, str] = field(default_factory=dict)
    details: dict[str, str] = field(default_factory=dict)
    """More attributes, which weftd's log leaves out."""
    labels: dict[str, str] = field(default_factory=dict)
    """Of the network or container."""


class Error(Answer, frozen=True):
    kind: str
    """invalid, forbidden, not-found, conflict, exhausted, unsupported, unavailable or internal."""
    message: str
    """One line for people."""
