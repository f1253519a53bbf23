"""What the daemon answers, as read-only values.

Attributes are the fields of the JSON document, so a field that a newer daemon adds is there as well; `document` is the
whole of it. Plain classes, because dataclasses cost every command 10 ms of import.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn


class Answer:
    """One JSON object with its fields as attributes."""

    document: dict[str, Any]

    def __init__(self, document: dict[str, Any], /, **read: object) -> None:
        self.__dict__.update(document, document=document, **read)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"{type(self).__name__} is read-only")

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.__dict__["document"] == self.document

    def __hash__(self) -> int:
        return hash(repr(self))

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={value!r}" for name, value in self.document.items())
        return f"{type(self).__name__}({fields})"


class Pool(Answer):
    """A subnet of a network. All as text: `subnet` "10.7.0.0/24"; `aux` is name to address."""

    subnet: str
    ip_range: str | None
    gateway: str | None
    aux: dict[str, str]


class StaticRoute(Answer):
    """Where a router on a network leads, for every container on it."""

    destination: str
    gateway: str


class PolicyRule(Answer):
    """`verdict` allow or deny; `to` such as "10.1.0.0/16:443/tcp"."""

    verdict: str
    to: str


class Policy(Answer):
    """Where containers may send to: the most specific rule that matches decides, else `default`."""

    default: str | None
    """None: allow; for a container's own, whatever its network says."""
    rules: tuple[PolicyRule, ...]

    def __init__(self, document: dict[str, Any], /) -> None:
        super().__init__(document, rules=tuple(PolicyRule(r) for r in document["rules"]))


class Member(Answer):
    """An endpoint as its network shows it. `ipv4` and `ipv6` with prefix length."""

    container: str
    name: str
    ipv4: str | None
    ipv6: str | None
    mac: str


class Network(Answer):
    id: str
    name: str
    driver: str
    ipam: str
    """Who gives out IPv4 addresses: default (weft) or dhcp."""
    internal: bool
    ipv4: bool
    ipv6: bool
    pools: tuple[Pool, ...]
    routes: tuple[StaticRoute, ...]
    options: dict[str, str]
    labels: dict[str, str]
    created: float
    bridge: str | None
    """The bridge's name in the kernel."""
    parent: str | None
    """The link of the host that the network branches off from (macvlan, ipvlan)."""
    endpoints: tuple[Member, ...]
    """Filled by `networks.get`; empty in a list."""

    def __init__(self, document: dict[str, Any], /) -> None:
        super().__init__(
            document,
            pools=tuple(Pool(p) for p in document["pools"]),
            routes=tuple(StaticRoute(r) for r in document.get("routes", ())),
            endpoints=tuple(Member(e) for e in document.get("endpoints", ())),
        )


class Port(Answer):
    """A published port. `host_ip` None: every address of the host; `host_port` 0: the container's own address alone."""

    proto: str
    container_port: int
    host_ip: str | None
    host_port: int


class Lease(Answer):
    """What a DHCP server has given. Times are in seconds since the epoch."""

    server: str
    obtained: float
    renews: float
    expires: float


class Endpoint(Answer):
    """A container's interface on one network. `ipv4` and `ipv6` with prefix length, such as "10.7.0.2/24"."""

    id: str
    network: str
    network_id: str
    ifname: str
    mac: str
    ipv4: str | None
    ipv6: str | None
    gateway4: str | None
    gateway6: str | None
    aliases: list[str]
    names: list[str]
    gw_priority: int
    options: dict[str, str]
    lease: Lease | None
    """Of the IPv4 address, where a DHCP server has given it."""

    def __init__(self, document: dict[str, Any], /) -> None:
        lease = document.get("lease")
        super().__init__(document, lease=None if lease is None else Lease(lease))


class Exit(Answer):
    """How a container ended. `code` is 128 + the signal's number where a signal ended it."""

    code: int
    at: float


class Container(Answer):
    id: str
    name: str
    state: str
    """created, running or exited."""
    hostname: str
    netns: str
    """The path at which its network namespace is bound."""
    origin: str
    network_mode: str
    """none, host, or container:NAME, in the place of networks; empty if it is on some."""
    pid: int | None
    labels: dict[str, str]
    created: float
    exit: Exit | None
    process: dict[str, Any] | None
    auto_remove: bool
    console: str | None
    """The socket of its console (what `weft run` attaches to)."""
    log: str | None
    ports: tuple[Port, ...]
    endpoints: tuple[Endpoint, ...]
    """In gateway order: the first that leads outside carries the default route."""

    def __init__(self, document: dict[str, Any], /) -> None:
        ended = document.get("exit")
        super().__init__(
            document,
            exit=None if ended is None else Exit(ended),
            ports=tuple(Port(p) for p in document["ports"]),
            endpoints=tuple(Endpoint(e) for e in document["endpoints"]),
        )


class Event(Answer):
    """`time` in seconds since the epoch; `type` network, container or daemon."""

    time: float
    type: str
    action: str
    id: str
    name: str
    attributes: dict[str, str]
    details: dict[str, str]
    labels: dict[str, str]


class Interface(Answer):
    """What passed through an interface, as the container counts it."""

    name: str
    rx_bytes: int
    rx_packets: int
    rx_errors: int
    rx_dropped: int
    tx_bytes: int
    tx_packets: int
    tx_errors: int
    tx_dropped: int
