"""Looks at the host and into containers for `weft explain` and `weft doctor`. Changes nothing.

To be called on the engine's worker thread, in the host's namespace; what may take long is handed back as a function.
"""

from __future__ import annotations

import os
import secrets
import socket
import struct
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from ipaddress import IPv6Network, ip_address

from weft import names
from weft.config import Config
from weft.dns import message
from weft.errors import WeftError
from weft.explain.health.facts import Chain, DefaultRoute, HostFacts, HostRoute, Link
from weft.explain.reach.facts import Listener
from weft.kernel import addresses, features, foreign, inner, instead, legacy, links, listeners, sysctl
from weft.kernel.domains import outside_domains
from weft.kernel.linux import LinuxKernel
from weft.kernel.netlink import Netlink
from weft.model import IPAddress
from weft.plan import Item

Answers = Mapping[str, Sequence[IPAddress]]

PATIENCE = 1.0
"""Seconds until the name server counts as silent; it needs a millisecond."""

_SWITCHES = (
    "net.ipv4.ip_forward",
    "net.ipv6.conf.all.forwarding",
    "net.ipv6.conf.all.disable_ipv6",
    "net.bridge.bridge-nf-call-iptables",
    "net.bridge.bridge-nf-call-ip6tables",
    "net.netfilter.nf_conntrack_count",
    "net.netfilter.nf_conntrack_max",
    "net.ipv4.neigh.default.gc_thresh3",
    "net.ipv6.neigh.default.gc_thresh3",
)
_LINK_LOCAL = IPv6Network("fe80::/10")
_MULTICAST = IPv6Network("ff00::/8")
_ADVERTISED = 0x00010000 | 0x00040000
"""Flags of a route in /proc/net/ipv6_route: a default one (RTF_DEFAULT), from an advertisement (RTF_ADDRCONF)."""


class HostLook:
    def __init__(self, kernel: LinuxKernel, config: Config) -> None:
        self._kernel = kernel
        self._config = config

    # What `engine.explain` asks for

    def found(self, item: Item) -> str:
        return instead.found(item, self._kernel.within)

    def asker(self, netns: str, asked: Sequence[str]) -> Callable[[], Answers | None]:
        try:
            udp = self._kernel.within(netns, _question_socket)
        except (OSError, WeftError):
            return _nobody
        return lambda: _ask(udp, asked)

    # What `engine.reach` asks for

    def listeners(self, netns: str) -> tuple[Listener, ...]:
        """The sockets that wait for others in a namespace; without those of weft's name server."""
        return self._kernel.within(netns, listeners.listeners)

    def inner_chains(self, netns: str) -> tuple[Chain, ...]:
        """Base chains that somebody but weft put into a container."""
        try:
            return self._kernel.within(netns, inner.inner_chains)
        except (OSError, WeftError):
            return ()

    # What `engine.doctor` asks for

    def host(self, *, probing: bool = True) -> HostFacts:
        """`probing`: also try out what the kernel can do, and look at what only doctors ask for."""
        rtnl = Netlink(socket.NETLINK_ROUTE)
        try:
            there = {link.index: link for link in map(links.parse, rtnl.dump(links.get_all()))}
            found = [r for v in (4, 6) for r in addresses.parse_routes(rtnl.dump(addresses.get_routes(v)))]
            own = [ip_address(a.raw) for a in addresses.parse_addresses(rtnl.dump(addresses.get_addresses()))]
        finally:
            rtnl.close()
        everybodys = outside_domains(found, list(there.values()))
        routes = [r for r in everybodys if r.unicast and r.link in there and r.table != addresses.RT_TABLE_LOCAL]
        defaults = _default_routes(routes, {index: link.name for index, link in there.items()})
        chains, unread = _chains()
        return HostFacts(
            features=self._kernel.apart(features.probe) if probing else (),
            sysctls=_read_switches(defaults),
            links=tuple(Link(name=link.name, group=link.group, mtu=link.mtu, up=link.up) for link in there.values()),
            addresses=tuple(own),
            default_routes=defaults,
            routes=tuple(_host_routes(routes, there)),
            chains=chains,
            unread_chains=unread,
            bridge_tables=foreign.foreign_bridge_tables() if probing and not unread else (),
            nameservers=self._nameservers(),
        )

    def marked(self) -> tuple[list[str], list[str]]:
        """The names of all links, and the paths of all pins, that bear weft's mark."""
        rtnl = Netlink(socket.NETLINK_ROUTE)
        try:
            there = [links.parse(listed) for listed in rtnl.dump(links.get_all())]
        finally:
            rtnl.close()
        directory = os.path.dirname(names.pin(self._config.run_dir, ""))
        try:
            pins = [f"{directory}/{name}" for name in os.listdir(directory)]
        except OSError:
            pins = []
        return [link.name for link in there if links.is_marked(link)], pins

    def children(self, netns: str) -> list[str]:
        return self._kernel.children(netns)

    def resolver_pid(self) -> int | None:
        """The name server's process; None if there is none."""
        try:
            with open(f"{self._config.run_dir}/resolver.pid", encoding="ascii") as file:
                pid = int(file.read())
            os.kill(pid, 0)
        except (OSError, ValueError):
            return None
        return pid

    def _nameservers(self) -> tuple[str, ...]:
        if self._config.dns:
            return tuple(str(server) for server in self._config.dns)
        try:
            with open(self._config.resolv_conf, encoding="utf-8", errors="replace") as file:
                lines = [line.split() for line in file]
        except OSError:
            return ()
        return tuple(words[1] for words in lines if len(words) > 1 and words[0] == "nameserver")


# The host


def _chains() -> tuple[tuple[Chain, ...], str]:
    """Other tools' chains, and why they could not be read."""
    try:
        return (*foreign.foreign_chains(), *legacy.legacy_chains()), ""
    except WeftError as error:
        return legacy.legacy_chains(), error.message


def _default_routes(routes: Iterable[addresses.FoundRoute], name_of: Mapping[int, str]) -> tuple[DefaultRoute, ...]:
    advertised = _advertised_defaults()
    found: dict[DefaultRoute, None] = {}
    for route in routes:
        if route.length == 0:
            version, link = 4 if len(route.raw) == 4 else 6, name_of[route.link]
            found[DefaultRoute(version=version, link=link, advertised=version == 6 and link in advertised)] = None
    return tuple(found)


def _advertised_defaults() -> set[str]:
    """Links over which the kernel learned an IPv6 default route by itself."""
    try:
        with open("/proc/thread-self/net/ipv6_route", encoding="ascii") as file:
            rows = [line.split() for line in file]
    except OSError:
        return set()
    return {row[9] for row in rows if len(row) > 9 and int(row[8], 16) & _ADVERTISED == _ADVERTISED}


def _host_routes(routes: Iterable[addresses.FoundRoute], there: Mapping[int, links.Link]) -> Iterable[HostRoute]:
    for route in routes:
        link = there[route.link]
        if route.length == 0 or links.is_marked(link):
            continue
        destination = route.destination()
        local = isinstance(destination, IPv6Network) and (
            destination.subnet_of(_LINK_LOCAL) or destination.subnet_of(_MULTICAST)
        )
        if not local:
            yield HostRoute(destination=destination, link=link.name, on_link=not route.via)


def _read_switches(defaults: Iterable[DefaultRoute]) -> dict[str, str]:
    keys = list(_SWITCHES)
    for route in defaults:
        link = route.link.replace(".", "/")  # sysctl(8) on dots in links' names
        keys.append(f"net.ipv{route.version}.conf.{link}.forwarding")
        if route.version == 6:
            keys.append(f"net.ipv6.conf.{link}.accept_ra")
    switches = {}
    for key in keys:
        try:
            switches[key] = sysctl.read(key)
        except OSError:
            continue
    return switches


# The name server


def _nobody() -> None:
    return None


def _question_socket() -> socket.socket:
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        udp.connect((str(names.NAMESERVER), 53))
    except OSError:
        udp.close()
        raise
    return udp


def _ask(udp: socket.socket, asked: Sequence[str]) -> Answers | None:
    """Ask for both kinds of address of each name at once; None if nothing is answered in time."""
    answers: dict[str, list[IPAddress]] = defaultdict(list)
    with udp:
        waiting = _send_all(udp, asked)
        expected = len(waiting)
        deadline = time.monotonic() + PATIENCE
        while waiting and (left := deadline - time.monotonic()) > 0:
            udp.settimeout(left)
            try:
                data = udp.recv(message.SIZE_MAX)
            except TimeoutError:
                break
            except OSError:  # nobody listens: ICMP says so
                return None
            for name, query in waiting.items():
                if _is_answer(data, query):
                    answers[name[0]] += _addresses(data, query)
                    del waiting[name]
                    break
    if expected and len(waiting) == expected:
        return None
    return {name: tuple(answers[name]) for name in asked}


def _send_all(udp: socket.socket, asked: Sequence[str]) -> dict[tuple[str, int], message.Query]:
    waiting = {}
    for name in dict.fromkeys(asked):
        for kind in (message.A, message.AAAA):
            try:
                question = message.to_wire(name) + b"\0" + struct.pack("!HH", kind, message.IN)
            except message.FormatError:
                continue
            query = message.Query(ident=secrets.randbits(16), flags=message.RECURSION_DESIRED, question=question)
            try:
                udp.send(message.render_query(query))
            except OSError:
                continue
            waiting[name, kind] = query
    return waiting


def _is_answer(data: bytes, query: message.Query) -> bool:
    try:
        return message.parse_answer(data, query) is not None
    except message.FormatError:
        return False


def _addresses(data: bytes, query: message.Query) -> list[IPAddress]:
    """The addresses in our own server's answer, whose records all bear the asked name (as a pointer to it)."""
    count = struct.unpack_from("!H", data, 6)[0]
    at = 12 + len(query.question)
    found = []
    for _ in range(count):
        if at + 12 > len(data):
            break
        kind, size = struct.unpack_from("!H", data, at + 2)[0], struct.unpack_from("!H", data, at + 10)[0]
        if kind == query.qtype and size in (4, 16) and at + 12 + size <= len(data):
            found.append(ip_address(data[at + 12 : at + 12 + size]))
        at += 12 + size
    return found
