"""What the engine needs from outside, as protocols. `daemon` hands over the real parts.

All methods but `Runtime`'s and `Clock`'s are called on the engine's one worker thread, so none needs a lock.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Protocol

from weft.dhcp.client import Grant, Refusal
from weft.dhcp.client import Identity as Identified
from weft.model import Borrowed, Endpoint, Exit, IPAddress, IPNetwork, Network, PortBinding, Proto, Sandbox
from weft.plan import Item, NftElement, Plan, ProxyNeighbour

Identity = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Flow:
    """A tracked connection, as whoever began it addressed it."""

    source: IPAddress
    destination: IPAddress
    proto: int
    """As IP numbers it."""
    port: int
    """0 for a protocol without ports."""


class Kernel(Protocol):
    """The interpreter of plans, and the few things about the host that plans depend on."""

    def ensure(self, plan: Plan) -> None:
        """Make it so, in order, in as few kernel transactions as possible; what is already right is left alone.

        Raises WeftError (translated from the kernel's own words) at the first item that cannot be; what was made
        before it stays, for `remove`.
        """

    def prepare(self) -> bool:
        """Do a piece of what joins to come will need, while nobody waits; whether there is more to do."""

    def offer(self, bridge: str) -> str | None:
        """How the id of the next endpoint, on this bridge, should begin for what was prepared to serve it: hex digits.

        Only for the first endpoint, with an ordinary name, of a namespace that weft makes. None: any id will do.
        """

    def remove(self, plan: Plan) -> None:
        """Take it away, in reverse order. What is gone is fine; goes on after failures and raises them together."""

    def missing(self, plan: Plan) -> tuple[Item, ...]:
        """The items that are absent or different, in plan order. Reads only."""

    def guards_by_programs(self) -> bool:
        """Whether `plan.Guard` is more than a name here: if not, the ruleset is to have the chains that guard."""

    def replace_firewall(self, ruleset: str, elements: Iterable[NftElement]) -> None:
        """Replace `table inet weft` of the host as a whole, in one transaction."""

    def check_firewall(self, ruleset: str) -> None:
        """Raises Invalid, in nft's words, where nft would refuse the ruleset. Changes nothing."""

    def firewall_intact(self, ruleset: str, elements: Iterable[NftElement]) -> bool:
        """Whether the table holds just these chains, rules, sets and elements."""

    def keep_bridged_frames_apart(self) -> None:
        """Turn bridge-nf-call-* off, and say so, unless somebody else's rules may count on seeing such frames."""

    def sweep(
        self, links: Collection[str], pins: Collection[str], answered: Collection[ProxyNeighbour] = ()
    ) -> tuple[str, ...]:
        """Remove links and proxy entries with weft's mark, and pins in the run directory, that are not listed.

        Says what went.
        """

    def sweep_inside(self, netns: str, kept: Collection[str]) -> tuple[str, ...]:
        """Remove links with weft's mark inside a container that are not listed; their names. Raises NotFound."""

    def is_namespace(self, path: str) -> bool:
        """Whether a network namespace is bound at (or openable through) the path."""

    def identity(self, netns: str) -> Identity | None:
        """What tells a namespace from all others that there are now; None if there is none at the path."""

    def nsid(self, netns: str) -> int:
        """The number by which the host's namespace knows this one in netlink messages; -1 if it has none."""

    def open_nameserver(self, netns: str) -> tuple[int, int]:
        """Two sockets inside the namespace, UDP and listening TCP, on 127.0.0.11:40053; the caller's own."""

    def forget_flows(self, *, addresses: Collection[IPAddress] = (), ports: Collection[PortBinding] = ()) -> None:
        """Remove conntrack entries of endpoints that left and ports that are no longer published."""

    def distrust_flows(self, subnets: Collection[IPNetwork], kept_in: Collection[IPNetwork]) -> None:
        """Remove conntrack entries that cannot have come about under our rules, but while those were missing.

        Connections that were not rewritten, and lead from beyond one of the subnets into it, or out of one in
        `kept_in`: those subnets whose packets leave the host rewritten, or never.
        """

    def cut_flows(self, sources: Collection[IPAddress], allowed: Callable[[Flow], bool]) -> None:
        """Remove conntrack entries of connections that one of the addresses has begun and that are not allowed."""

    def announce(self, netns: str, ifname: str, mac: str, addresses: Sequence[IPAddress]) -> None:
        """Tell neighbours: a gratuitous ARP or unsolicited neighbour advertisement per address.

        `mac` empty: that of the link.
        """

    def borrow(self, bridge: str) -> Borrowed | None:
        """What a bridge that is there already looks like; None if there is none, or only one of weft's own.

        Raises Conflict if it is no bridge, or down.
        """

    def check_link(self, *names: str) -> None:
        """Raises NotFound, naming the nearest, unless the host has a link of one of these names."""

    def host_networks(self, beside: str = "") -> tuple[IPNetwork, ...]:
        """Destinations of the host's routes (default left out, weft's own links left out), both families.

        Left out, too, is what the host has next door on the link `beside`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """All that a store holds."""

    networks: list[Network]
    sandboxes: list[Sandbox]
    endpoints: list[Endpoint]
    last: dict[tuple[str, IPNetwork], IPAddress]
    """(network id, subnet) to the address most recently given out there."""
    pending: frozenset[str]
    """Ids whose making was begun and never confirmed: what they stand for must be taken back."""


class Store(Protocol):
    """Durable records. Each method is one transaction.

    What is put pending and not confirmed when the process dies was never promised to anybody.
    """

    def load(self) -> Loaded: ...

    def get_meta(self, key: str) -> str | None: ...

    def set_meta(self, key: str, value: str) -> None: ...

    def drop_meta(self, key: str) -> None: ...

    def metas(self, beginning: str) -> dict[str, str]:
        """Those whose key begins so."""

    def put(
        self,
        *,
        network: Network | None = None,
        sandbox: Sandbox | None = None,
        endpoints: Sequence[Endpoint] = (),
        pending: Sequence[str] = (),
    ) -> None:
        """Insert together, or replace a record of the same id; `pending` lists the ids still to be confirmed.

        Raises Conflict where a name or an address of a network would be held twice.
        """

    def confirm(self, ids: Sequence[str]) -> None:
        """What was put pending, under the same ids in the same order, is now true for good (or dropped)."""

    def clear_pending(self) -> None:
        """All that was pending has been dropped."""

    def drop(self, *, network: str | None = None, sandbox: str | None = None, endpoints: Collection[str] = ()) -> None:
        """Delete by id; endpoints of a dropped sandbox must be listed. What is not there is fine."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who bears names on one network: what the resolver needs of an endpoint."""

    endpoint: str
    names: tuple[str, ...]
    """As asked for, in order of preference: the first is the answer to PTR. Without the network's name."""
    addresses: tuple[IPAddress, ...]


@dataclass(frozen=True, slots=True)
class View:
    """What one sandbox may ask."""

    sandbox: str
    networks: tuple[str, ...]
    """Ids, in order of preference."""
    forward: bool
    """False: unknown names are refused, never sent upstream (internal networks only)."""
    servers: tuple[IPAddress, ...]
    """Upstream servers, in order; empty means the host's."""
    links: tuple[tuple[str, str], ...] = ()
    """(alias, name): what this sandbox alone calls somebody, and a name that everybody knows."""


class LanServers(Protocol):
    """DHCP servers, asked over a link of the host in the place of an endpoint.

    Methods wait for answers, and may be called on any thread but the engine's. All raise NotFound (no such link) or
    Unavailable (it is down).
    """

    def mac_of(self, parent: str) -> bytes: ...

    def discover(
        self,
        parent: str,
        who: Identified,
        *,
        wanted: IPv4Address | None = None,
        fits: Callable[[Grant], bool] = ...,
        seconds: float,
    ) -> tuple[Grant | None, Grant | None]:
        """The first offer that fits, and the first that does not: nothing is taken by that. Calls `fits` there."""

    def request(self, parent: str, who: Identified, offer: Grant, *, seconds: float) -> Grant | Refusal | None:
        """Take what was offered. None: the server says nothing; likewise below."""

    def reclaim(self, parent: str, who: Identified, address: IPv4Address, *, seconds: float) -> Grant | Refusal | None:
        """Ask whoever may know whether an address that was had before still is."""

    def renew(
        self,
        parent: str,
        who: Identified,
        address: IPv4Address,
        server: tuple[IPv4Address, bytes] | None,
        *,
        seconds: float,
    ) -> Grant | Refusal | None:
        """Keep an address that is in use, of its server (address, MAC) or (None) of any."""

    def is_taken(self, parent: str, address: IPv4Address, mac: bytes) -> bool:
        """Whether some other machine on the wire answers for the address."""

    def release(self, parent: str, who: Identified, address: IPv4Address, server: tuple[IPv4Address, bytes]) -> None:
        """Give it back. Nobody says whether that was heard."""

    def decline(self, parent: str, who: Identified, address: IPv4Address, server: IPv4Address) -> None:
        """Tell the server that somebody else has it."""


class Names(Protocol):
    """The running resolver: told of changes before join returns. None of these waits for an answer."""

    def set_network(self, network_id: str, name: str) -> None: ...

    def drop_network(self, network_id: str) -> None: ...

    def publish(self, network_id: str, holder: Holder) -> None: ...

    def withdraw(self, network_id: str, endpoint_id: str) -> None: ...

    def enter(self, view: View, holders: Sequence[tuple[str, Holder]], udp: int, tcp: int) -> None:
        """Publish a new sandbox's holders (network id, holder) and serve it on two sockets, which are handed over."""

    def set_view(self, view: View) -> None: ...

    def leave(self, sandbox_id: str, endpoints: Sequence[tuple[str, str]]) -> None:
        """Withdraw a sandbox's endpoints (network id, endpoint id) and serve it no more."""

    def check(self) -> None:
        """See that it still answers. One that does not is replaced, which may take some seconds."""

    def reconcile(
        self,
        networks: Mapping[str, str],
        holders: Mapping[str, Sequence[Holder]],
        views: Sequence[View],
        open_sockets: Callable[[str], tuple[int, int]],
    ) -> None:
        """Bring a resolver (fresh, or one that outlived its daemon) to just this state.

        `networks` is id to name, `holders` network id to holders. `open_sockets(sandbox id)` is asked only for the
        views whose sockets the resolver does not hold. Names that stay are never absent in between.
        """


class HostPorts(Protocol):
    """Sockets that reserve published ports on the host, and the relay for what NAT cannot do."""

    def reserve(self, bindings: Sequence[PortBinding]) -> None:
        """Hold them all or none. Raises Conflict naming the port (and, if it can be told, the program)."""

    def release(self, bindings: Sequence[PortBinding]) -> None: ...

    def free_port(self, proto: Proto, host_ip: IPAddress | None, first: int, last: int) -> int:
        """A port in the range that can be reserved now; (0, 0) asks for the ephemeral range. Raises Exhausted."""

    def aim(self, bindings: Sequence[PortBinding], ipv4: IPAddress | None, ipv6: IPAddress | None) -> None:
        """Say which container addresses reserved ports lead to, for connections that the kernel cannot rewrite:
        to ::1, or from one family to a container that has only the other. None, None: nowhere."""


class Runtime(Protocol):
    """The processes of containers that `weft run` made. Methods may be called on any thread and do not block long."""

    def prepare(self, sandbox_id: str) -> str:
        """Make the console's socket, so that clients can be there before the process is; its path. Repeatable."""

    def start(self, sandbox: Sandbox, files: Mapping[str, str]) -> int:
        """Start the sandbox's process in its namespace with these /etc files; the supervisor's pid.

        `files`: name in /etc ("hosts", "resolv.conf", "hostname") to content. Raises Invalid if the command cannot
        be executed (the reason is the exec's own).
        """

    def write_files(self, sandbox_id: str, files: Mapping[str, str]) -> None:
        """Replace contents in place (bind mounts in the container see it)."""

    def pids(self, sandbox_id: str) -> tuple[int, int] | None:
        """(supervisor, the container's pid 1) while it runs, else None."""

    def started(self, sandbox_id: str) -> float:
        """When its process was started, in seconds since the epoch; also once it has ended. 0 if it never was."""

    def rename(self, sandbox: Sandbox) -> None:
        """Let those who look for it while weftd is away find it by the name that it has now."""

    def exit_of(self, sandbox_id: str) -> Exit | None:
        """How it ended; None while it runs or if nothing is known."""

    def signal(self, sandbox_id: str, signum: int) -> None: ...

    def kill(self, sandbox_id: str) -> Exit | None:
        """Kill what still runs, and wait a few seconds for its end: how it ended, None if nobody can tell."""

    def discard(self, sandbox_id: str) -> None:
        """Kill what still runs and delete logs and files. Repeatable."""

    def sweep(self, kept: Collection[str]) -> tuple[str, ...]:
        """Discard whatever belongs to none of these sandboxes; say what went."""


class Processes(Protocol):
    """Other people's processes."""

    def start_time(self, pid: int) -> int | None:
        """Field 22 of /proc/PID/stat: with the pid it names a process for good. None if there is none."""


class Clock(Protocol):
    def time(self) -> float: ...
