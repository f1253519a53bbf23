"""What the kernel should hold, as data.

A plan is a tuple of small frozen items in order of creation. Drivers compute plans and do no I/O; `kernel.linux`
makes them so (`ensure`), takes them away (`remove`) and says what is not there (`missing`). An item describes itself
as the commands a person would have typed.

`netns` is the path of the namespace an item lives in; `HOST` ("") is the one weftd itself runs in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from weft.model import IPAddress, IPInterface, IPNetwork
from weft.names import CHILD_GROUP, LINK_GROUP, NAMESERVER, TABLE

HOST = ""


@dataclass(frozen=True, slots=True)
class Span:
    """All from `first` to `last`: in a key of several parts."""

    first: int | IPAddress
    last: int | IPAddress

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"


Atom = str | int | IPAddress | IPNetwork | Span

KEYWORDS = ("tcp", "udp", "sctp", "ipv4", "ipv6")
"""What text in an element stands for itself; any other is the name of an interface."""

TableFamily = Literal["inet", "bridge"]
"""Of the host's tables: what is forwarded, and what passes over bridges."""


class Mac(str):
    """As nft writes it: bare, unlike other words."""

    __slots__ = ()


def _in(netns: str, command: str) -> str:
    return f"nsenter --net={netns} {command}" if netns else command


@dataclass(frozen=True, slots=True)
class Netns:
    """A network namespace bound at `path`: a new one, or the one at `source`."""

    path: str
    source: str | None = None

    def describe(self) -> tuple[str, ...]:
        if self.source:
            return (f"touch {self.path}", f"mount --bind {self.source} {self.path}")
        return (f"touch {self.path}", f"unshare --net={self.path} true")


@dataclass(frozen=True, slots=True)
class Loopback:
    """`lo` is up inside the namespace."""

    netns: str

    def describe(self) -> tuple[str, ...]:
        return (_in(self.netns, "ip link set lo up"),)


@dataclass(frozen=True, slots=True)
class Bridge:
    """A bridge in the host's namespace, up, marked with the link group, without multicast snooping.

    It does not learn from frames to 01:80:c2:00:00:0x either, which no rule sees before it does.
    No IPv6 address is made by the kernel itself (addr_gen_mode none) unless `ipv6`. One that is `borrowed` was there
    before, and is only looked at: it has to be up.
    """

    name: str
    mac: str
    mtu: int
    ipv6: bool = False
    borrowed: bool = False

    def describe(self) -> tuple[str, ...]:
        if self.borrowed:
            return (f"ip link show {self.name} type bridge up",)
        up = f"ip link set {self.name} up"
        return (
            f"ip link add {self.name} address {self.mac} mtu {self.mtu} group {LINK_GROUP} type bridge "
            "mcast_snooping 0 no_linklocal_learn 1",
            *(() if self.ipv6 else (f"ip link set {self.name} addrgenmode none",)),
            up,
        )


@dataclass(frozen=True, slots=True)
class Veth:
    """A pair: `name` in the host's namespace, a port of `master`; `peer` inside `netns`, born there; both up."""

    name: str
    master: str
    netns: str
    peer: str
    mac: str
    """The peer's."""
    mtu: int
    isolated: bool = False
    """As a bridge port it cannot talk to other isolated ports (`--icc=false`)."""

    def describe(self) -> tuple[str, ...]:
        isolated = (f"bridge link set dev {self.name} isolated on",) if self.isolated else ()
        return (
            f"ip link add {self.name} mtu {self.mtu} group {LINK_GROUP} type veth "
            f"peer name {self.peer} address {self.mac} mtu {self.mtu} netns {self.netns}",
            f"ip link set {self.name} addrgenmode none master {self.master} up",
            *isolated,
            _in(self.netns, f"ip link set {self.peer} addrgenmode none up"),
        )


@dataclass(frozen=True, slots=True)
class Guard:
    """What may come out of a port in the host's namespace: frames from this MAC and these addresses.

    Settled before the port is up, by a program on it. On `bridge`, if that is not empty, the program hands frames for
    other containers and for the host to them directly, and the bridge is told at which port the MAC is. Where the
    kernel takes no programs, or nobody wants them, the rules of `table bridge weft` guard with the elements that are
    there in any case, and this is nothing.
    """

    port: str
    mac: str
    addresses: tuple[IPAddress, ...]
    bridge: str = ""

    def describe(self) -> tuple[str, ...]:
        # A person has no command for it: the program is weft's own.
        return (
            f"tc filter show dev {self.port} ingress"
            f"  # a program drops what is not from {self.mac} and {', '.join(map(str, self.addresses))}",
        )


@dataclass(frozen=True, slots=True)
class Parent:
    """A link in the host's namespace off which links of a kind (macvlan, ipvlan) may branch. weft does not make it."""

    name: str
    kind: str

    def describe(self) -> tuple[str, ...]:
        return (f"ip link show {self.name}",)


@dataclass(frozen=True, slots=True)
class Vlan:
    """A VLAN sub-interface in the host's namespace. One that is there already is used as it is; ours has the mark."""

    name: str
    parent: str
    tag: int

    def describe(self) -> tuple[str, ...]:
        return (
            f"ip link show {self.name} || "
            f"ip link add link {self.parent} name {self.name} group {LINK_GROUP} type vlan id {self.tag}",
            f"ip link set {self.name} addrgenmode none up",
        )


@dataclass(frozen=True, slots=True)
class Uplink:
    """A link in the host's namespace is a port of `master`, up. It was there before, without master and addresses."""

    link: str
    master: str

    def describe(self) -> tuple[str, ...]:
        return (f"ip link set {self.link} master {self.master} up",)


@dataclass(frozen=True, slots=True)
class ProxyNeighbour:
    """The host answers on a link of its own for an address that a container has: by NDP or ARP."""

    link: str
    address: IPAddress

    def describe(self) -> tuple[str, ...]:
        return (f"ip neigh add proxy {self.address} dev {self.link}",)


@dataclass(frozen=True, slots=True)
class Dummy:
    """A link in the host's namespace that leads nowhere, marked, up."""

    name: str
    mtu: int

    def describe(self) -> tuple[str, ...]:
        return (
            f"ip link add {self.name} mtu {self.mtu} group {LINK_GROUP} type dummy",
            f"ip link set {self.name} addrgenmode none up",
        )


@dataclass(frozen=True, slots=True)
class Child:
    """A link that branches off from `parent`, a link in the host's namespace; born in `netns`, marked, up."""

    netns: str
    name: str
    parent: str
    kind: str
    """macvlan or ipvlan."""
    mode: str
    flag: str = ""
    """Of ipvlan: bridge, private or vepa."""
    mac: str = ""
    """Empty: the parent's."""
    mtu: int = 0
    """0: the parent's."""

    @property
    def group(self) -> int:
        return CHILD_GROUP if self.netns else LINK_GROUP

    def describe(self) -> tuple[str, ...]:
        # Many kernels refuse a link of a name that the host has too, wherever it is to be born: hence another at first.
        born = "weft0" if self.netns else self.name
        words = ["ip link add link", self.parent, "name", born]
        words += ["netns", self.netns] if self.netns else []
        words += ["address", self.mac] if self.mac else []
        words += ["mtu", str(self.mtu)] if self.mtu else []
        words += ["group", str(self.group), "type", self.kind, "mode", self.mode]
        words += [self.flag] if self.flag else []
        second = f"ip link set {born} name {self.name}" if self.netns else f"sysctl -w net.ipv6.conf.{born}.accept_ra=0"
        return (
            " ".join(words),
            _in(self.netns, second),
            _in(self.netns, f"ip link set {self.name} addrgenmode none up"),
        )


@dataclass(frozen=True, slots=True)
class Detour:
    """What arrives by a link inside `netns` is led `through` another first: an ifb born there, marked, up."""

    netns: str
    link: str
    through: str

    def describe(self) -> tuple[str, ...]:
        return (
            _in(self.netns, f"ip link add {self.through} group {CHILD_GROUP} type ifb"),
            _in(self.netns, f"ip link set {self.through} addrgenmode none up"),
            _in(self.netns, f"tc qdisc add dev {self.link} ingress"),
            _in(
                self.netns,
                f"tc filter add dev {self.link} ingress protocol all pref 1 u32 match u32 0 0 "
                f"action mirred egress redirect dev {self.through}",
            ),
        )


@dataclass(frozen=True, slots=True)
class Shaper:
    """What leaves by a link is held to a rate: a token bucket of `burst`, and a queue in front of it."""

    netns: str
    link: str
    rate: int
    """Bits a second."""
    burst: int
    """Bytes that may pass at once."""
    queue: int
    """Bytes that may wait; what comes on top is dropped."""

    def describe(self) -> tuple[str, ...]:
        bucket = f"tbf rate {self.rate}bit burst {self.burst}b limit {self.queue}b"
        return (_in(self.netns, f"tc qdisc replace dev {self.link} root {bucket}"),)


@dataclass(frozen=True, slots=True)
class Address:
    """An address on a link. IPv6 ones skip duplicate address detection: weft itself sees to it."""

    netns: str
    link: str
    address: IPInterface

    def describe(self) -> tuple[str, ...]:
        nodad = " nodad" if self.address.version == 6 else ""
        return (_in(self.netns, f"ip address add {self.address} dev {self.link}{nodad}"),)


@dataclass(frozen=True, slots=True)
class Route:
    """A route through `link`, by way of `via` if given."""

    netns: str
    destination: IPNetwork
    link: str
    via: IPAddress | None = None

    @property
    def is_default(self) -> bool:
        return self.destination.prefixlen == 0

    def describe(self) -> tuple[str, ...]:
        family = "-6 " if self.destination.version == 6 else ""
        target = "default" if self.is_default else str(self.destination)
        via = f" via {self.via}" if self.via else ""
        return (_in(self.netns, f"ip {family}route replace {target}{via} dev {self.link}"),)


@dataclass(frozen=True, slots=True)
class Sysctl:
    """A switch of the kernel. Host-wide ones are set if they differ, said aloud, and never taken back.

    That of somebody else's link is set back to what it was `before`. One that is `optional` shuts something that a
    kernel without the switch does not have.
    """

    netns: str
    key: str
    """Dotted, a '.' inside a link's name written '/': sysctl(8)."""
    value: str
    reason: str
    before: str | None = None
    optional: bool = False

    def describe(self) -> tuple[str, ...]:
        return (_in(self.netns, f"sysctl -w {self.key}={self.value}") + f"  # {self.reason}",)


@dataclass(frozen=True, slots=True)
class NftElement:
    """One element of a set or map of the host's `table inet weft` or `table bridge weft`."""

    name: str
    """The set's or map's name."""
    key: tuple[Atom, ...]
    value: tuple[Atom, ...] | None = None
    family: TableFamily = "inet"
    """The table's."""

    def describe(self) -> tuple[str, ...]:
        return (f"nft add element {self.family} {TABLE} {self.name} '{{ {self.text()} }}'",)

    def text(self) -> str:
        """The element as nft writes it: `tcp . 80 : 172.18.0.2 . 8080`."""
        key = " . ".join(_atom(a) for a in self.key)
        return key if self.value is None else f"{key} : {' . '.join(_atom(a) for a in self.value)}"


def _atom(value: Atom) -> str:
    # An interface's name is quoted, or nft may read it as a number or keyword; protocols are keywords.
    if isinstance(value, str) and not isinstance(value, Mac) and value not in KEYWORDS:
        return f'"{value}"'
    return str(value)


@dataclass(frozen=True, slots=True)
class SandboxTable:
    """The tables `ip weft` and `ip6 weft` inside a container: DNS to our sockets, no IPv6 where none was asked for.

    Port 53 of 127.0.0.11 is rewritten to `dns_port` and back without connection tracking. With `ipv6` only router
    advertisements and redirects are refused; without, all IPv6 from outside is. Two families, so that an IPv4 packet
    from outside meets no rule.
    """

    netns: str
    dns_port: int
    ipv6: bool

    def describe(self) -> tuple[str, ...]:
        rules = [
            f"add table ip {TABLE}",
            f"add chain ip {TABLE} dns {{ type filter hook output priority raw; }}",
            f'add rule ip {TABLE} dns oifname != "lo" return',
        ]
        for proto in ("udp", "tcp"):
            there = f"ip daddr {NAMESERVER} {proto} dport 53 {proto} dport set {self.dns_port} notrack"
            back = f"ip saddr {NAMESERVER} {proto} sport {self.dns_port} {proto} sport set 53 notrack"
            rules += [f"add rule ip {TABLE} dns {rule}" for rule in (there, back)]
        rules.append(f"add table ip6 {TABLE}")
        rules.append(f"add chain ip6 {TABLE} ipv6 {{ type filter hook prerouting priority raw; }}")
        refused = ("icmpv6 type nd-router-advert ", "icmpv6 type nd-redirect ") if self.ipv6 else ("",)
        rules += [f'add rule ip6 {TABLE} ipv6 iifname != "lo" {match}drop' for match in refused]
        return tuple(_in(self.netns, f"nft '{rule}'") for rule in rules)


Item = (
    Netns
    | Loopback
    | Bridge
    | Uplink
    | Veth
    | Guard
    | Parent
    | Vlan
    | Dummy
    | Child
    | Detour
    | Shaper
    | Address
    | Route
    | ProxyNeighbour
    | Sysctl
    | NftElement
    | SandboxTable
)
Plan = tuple[Item, ...]


def describe(plan: Plan) -> tuple[str, ...]:
    """The commands that would build the plan by hand, in order."""
    return tuple(line for item in plan for line in item.describe())


def identity(item: Item) -> tuple[object, ...]:
    """What makes two items the same thing, possibly in different states: a map's element by its key, say."""
    match item:
        case NftElement(name=name, key=key, family=family):
            return (NftElement, family, name, key)
        case Route(netns=netns, destination=destination):
            return (Route, netns, destination)
        case SandboxTable(netns=netns):
            return (SandboxTable, netns)
        case Child(netns=netns, name=name):
            return (Child, netns, name)
        case (
            Veth(name=name)
            | Bridge(name=name)
            | Parent(name=name)
            | Vlan(name=name)
            | Dummy(name=name)
            | Uplink(link=name)
        ):
            return (type(item), name)
        case Shaper(netns=netns, link=link) | Detour(netns=netns, link=link):
            return (type(item), netns, link)
        case Guard(port=port):
            return (Guard, port)
        case Sysctl(netns=netns, key=switch):
            return (Sysctl, netns, switch)
        case _:
            return (item,)


def superseded(old: Plan, new: Plan) -> Plan:
    """The items of the old plan that the new one has no more, in any state: what to remove after ensuring the new."""
    kept = {identity(item) for item in new}
    return tuple(item for item in old if identity(item) not in kept)
