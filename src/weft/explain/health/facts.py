"""What is read of a host to judge it. Absent things are absent here, too: nothing is guessed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from weft.model import DhcpLease, IPAddress, IPNetwork, Network


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """Something that the kernel was asked to make, in a namespace of its own that was thrown away."""

    name: str
    """In words: "bridges"."""
    module: str
    """The kernel's module that has it."""
    refused: str
    """The kernel's words; empty if it can do it."""
    needed: bool
    """False: weft works without, in most of its parts."""
    without: str = "Only what needs it does not work."
    """What then is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    name: str
    group: int
    mtu: int
    up: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class DefaultRoute:
    """A way out of the host."""

    version: int
    link: str
    advertised: bool = False
    """Learned from a router's advertisement by the kernel itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostRoute:
    destination: IPNetwork
    link: str
    on_link: bool = True
    """Without a router."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """A base chain of somebody else's that sees packets which the host forwards or receives."""

    family: str
    table: str
    name: str
    hook: Literal["forward", "input"]
    closed: Literal["", "drop", "reject"]
    """What becomes of a packet that no rule of it accepts; empty: it passes."""
    admits_in: tuple[str, ...] = ()
    """Links, or beginnings of links' names with "*", from which a rule accepts everything."""
    admits_out: tuple[str, ...] = ()
    """Likewise to which."""
    admits_published: bool = False
    """A rule accepts whatever had its destination rewritten: published ports."""
    siblings: frozenset[str] = frozenset()
    """The names of all chains of the table: they tell whose it is."""
    legacy: bool = False
    """Not of nftables, but of its predecessor, where only the policy can be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFacts:
    features: tuple[Feature, ...] = ()
    sysctls: Mapping[str, str] = field(default_factory=dict)
    """Key to value; what the kernel does not have is not here."""
    links: tuple[Link, ...] = ()
    addresses: tuple[IPAddress, ...] = ()
    """The host's own."""
    default_routes: tuple[DefaultRoute, ...] = ()
    routes: tuple[HostRoute, ...] = ()
    """All but default ones and weft's own."""
    chains: tuple[Chain, ...] = ()
    unread_chains: str = ""
    """Why other tools' chains could not be read; empty if they could."""
    bridge_tables: tuple[str, ...] = ()
    """Others' tables of nftables that are asked about frames from one port of a bridge to another."""
    nameservers: tuple[str, ...] = ()
    """Upstream servers, of the host or of weft's settings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkUse:
    """A network as far as the host's health is concerned."""

    network: Network
    link: str | None
    """Its link on the host."""
    mtu: int
    members: int
    sources: tuple[IPAddress, ...] = ()
    """Under which addresses its packets leave the host, where it names some."""
    trusted: tuple[str, ...] = ()
    """The interfaces from which its containers are reached at their own addresses."""
    direct: bool = False
    """Whether its containers are reached at their own addresses, from somewhere."""
    leans_on: tuple[str, ...] = ()
    """Links of the host that are no work of weft's."""
    parent: str = ""
    """The link of the host that it branches off from."""
    forwarded: tuple[int, ...] = (4, 6)
    """The IP versions that the host is to forward for it, as far as it has them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """What the kernel does not hold of a record's plan."""

    owner: str
    """In words: "container web"."""
    items: tuple[str, ...]
    """In words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseUse:
    """What a DHCP server has given to a container."""

    container: str
    network: str
    lease: DhcpLease
    held: bool
    """Whether the container has the address; not any more once the lease has run out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnFacts:
    """weft's own state."""

    networks: tuple[NetworkUse, ...] = ()
    containers: int = 0
    losses: tuple[Loss, ...] = ()
    leases: tuple[LeaseUse, ...] = ()
    now: float = 0.0
    """Seconds since the epoch."""
    lost_namespaces: tuple[str, ...] = ()
    """Names of containers whose namespace is gone."""
    firewall: bool = True
    """Whether `table inet weft` is as it should be."""
    guard: str = ""
    """What keeps containers to their own addresses: programs, or rules; empty where no network asks for it."""
    hands_over: bool = False
    """Whether the programs hand frames for neighbours over, past the bridge."""
    closed: tuple[int, ...] = ()
    """The IP versions that weft forwards for its containers alone, since the host forwarded nothing before."""
    user_rules: bool = False
    """Whether rules of the user's own decide on forwarded packets first."""
    refused_rules: str = ""
    """Why the user's own rules, as they are in their file now, are not in force; empty if they are."""
    leftovers: tuple[str, ...] = ()
    """What bears weft's mark and no record asks for."""
    resolver_pid: int | None = None
    """None: there is no such process."""
    counters: Mapping[str, int] = field(default_factory=dict)
    """What the name server has counted since it started (docs/dns.md); empty if it does not say."""
    silent: str = ""
    """The container in which the name server was asked and did not answer; empty if it did, or was not asked."""
