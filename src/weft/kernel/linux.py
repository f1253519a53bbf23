"""The interpreter of plans on Linux: `LinuxKernel` is what `engine.needs.Kernel` asks for.

All methods are to be called on one thread, which stays in the namespace the object was made in.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from ipaddress import IPv6Network
from typing import TypeVar

from weft import names
from weft.engine.needs import Flow
from weft.errors import WeftError
from weft.kernel import addresses, announce, borrowed, flows, links, nfnetlink, proxies, sysctl
from weft.kernel.branches import check_link, children, sweep_children
from weft.kernel.domains import outside_domains
from weft.kernel.ensure import Ensure
from weft.kernel.firewall import Firewall
from weft.kernel.foreign import foreign_chains
from weft.kernel.guards import Guards
from weft.kernel.inside import Visit
from weft.kernel.legacy import legacy_chains
from weft.kernel.links import LinkStats
from weft.kernel.missing import Missing
from weft.kernel.neighbours import BRIDGED
from weft.kernel.netlink import Netlink
from weft.kernel.netns import Namespaces, drop_pin, is_namespace, open_namespace
from weft.kernel.reaper import Reaper
from weft.kernel.refusal import all_of, refusal
from weft.kernel.remove import Remove
from weft.kernel.right_tables import RightTables
from weft.kernel.spares import Spares, nameserver_sockets
from weft.model import Borrowed, IPAddress, IPNetwork, PortBinding
from weft.plan import HOST, Bridge, Item, Netns, NftElement, Plan, ProxyNeighbour

T = TypeVar("T")

_LINK_LOCAL = IPv6Network("fe80::/10")


class LinuxKernel:
    def __init__(self, run_dir: str, *, spares: int = 0, programs: bool = True) -> None:
        """Pins are kept under `run_dir`/netns; `spares` namespaces are made ahead (`prepare`).

        Not `programs`: guards are left to the rules, whatever the kernel can do.
        """
        self._namespaces = Namespaces(f"{run_dir}/netns")
        # The port id tells `watch` which of the kernel's notices are echoes of our own doings.
        self._rtnl = Netlink(socket.NETLINK_ROUTE, port=nfnetlink.own_port(), receive_buffer=1 << 20)
        self._nf = nfnetlink.open_socket(nfnetlink.own_port())
        self._reaper = Reaper()
        self._tables = RightTables()
        self._firewall = Firewall(self._nf, self._namespaces)
        self._guards = Guards(self._namespaces, wanted=programs)
        self._spares = Spares(self._namespaces, self._rtnl, self._guards, spares)

    def close(self) -> None:
        """Delete what is queued and let go. Containers keep their networks."""
        self._spares.close()
        self._reaper.close()
        self._guards.close()
        self._firewall.close()
        self._nf.close()
        self._rtnl.close()
        self._namespaces.close()

    def flush(self) -> None:
        """Return when links of endpoints that left are really gone."""
        self._reaper.flush()

    def ensure(self, plan: Plan) -> None:
        with self._visit() as visit:
            Ensure(visit, self._tables, self._spares).run(plan)

    def remove(self, plan: Plan) -> None:
        for item in plan:
            if isinstance(item, Netns):
                self._spares.forget(item.path)
            elif isinstance(item, Bridge) and item.borrowed:
                self._spares.unplug()  # what was plugged in ahead goes, too
                self._spares.bridge = 0
        with self._visit() as visit:
            errors = Remove(visit).run(plan)
        if errors:
            raise all_of(errors)

    def missing(self, plan: Plan) -> tuple[Item, ...]:
        with self._visit() as visit:
            return Missing(visit, self._tables).run(plan)

    def guards_by_programs(self) -> bool:
        return self._guards.in_force

    def replace_firewall(self, ruleset: str, elements: Iterable[NftElement]) -> None:
        self._firewall.replace(ruleset, elements)

    def check_firewall(self, ruleset: str) -> None:
        self._firewall.check(ruleset)

    def firewall_intact(self, ruleset: str, elements: Iterable[NftElement]) -> bool:
        return self._firewall.intact(ruleset, elements)

    def keep_bridged_frames_apart(self) -> None:
        on = [switch for switch in BRIDGED if sysctl.is_set(replace(switch, value="1"))]
        if on and not _others_filter():
            for switch in on:
                sysctl.ensure(switch)
        self._guards.look_again()

    def firewall_text(self) -> str:
        """The host's `table inet weft` as `nft list table` prints it."""
        return self._firewall.text()

    def sweep(
        self, links: Collection[str], pins: Collection[str], answered: Collection[ProxyNeighbour] = ()
    ) -> tuple[str, ...]:
        return (
            *self._sweep_links(frozenset(links)),
            *self._sweep_pins(frozenset(pins)),
            *proxies.sweep(self._rtnl, answered),
        )

    def sweep_inside(self, netns: str, kept: Collection[str]) -> tuple[str, ...]:
        with self._visit() as visit:
            return sweep_children(visit.enter(netns), kept)

    def children(self, netns: str) -> list[str]:
        """The links with weft's mark inside a container."""
        with self._visit() as visit:
            return children(visit.enter(netns))

    def is_namespace(self, path: str) -> bool:
        return is_namespace(path)

    def identity(self, netns: str) -> tuple[int, int] | None:
        return self._namespaces.identity(netns)

    def prepare(self) -> bool:
        return self._spares.prepare()

    def offer(self, bridge: str) -> str | None:
        return self._spares.offer(bridge)

    def open_nameserver(self, netns: str) -> tuple[int, int]:
        ready = self._spares.sockets_of(netns)
        if ready is not None:
            return ready
        descriptor = open_namespace(netns)
        try:
            return self._namespaces.within(descriptor, nameserver_sockets)
        except OSError as error:
            place = f"{names.NAMESERVER}:{names.NAMESERVER_PORT} in {netns}"
            raise refusal(
                error.errno or 0, f"open the name server's sockets on {place}", error.strerror or ""
            ) from error
        finally:
            os.close(descriptor)

    def forget_flows(self, *, addresses: Collection[IPAddress] = (), ports: Collection[PortBinding] = ()) -> None:
        flows.forget(self._nf, addresses, ports)

    def distrust_flows(self, subnets: Collection[IPNetwork], kept_in: Collection[IPNetwork]) -> None:
        flows.distrust(self._nf, subnets, kept_in)

    def cut_flows(self, sources: Collection[IPAddress], allowed: Callable[[Flow], bool]) -> None:
        flows.cut(self._nf, sources, allowed)

    def announce(self, netns: str, ifname: str, mac: str, addresses: Sequence[IPAddress]) -> None:
        descriptor = open_namespace(netns)
        try:
            slow = self._namespaces.within(descriptor, lambda: announce.announce(ifname, mac, addresses))
        except OSError as error:
            raise refusal(error.errno or 0, f"announce {ifname} in {netns}", error.strerror or "") from error
        finally:
            os.close(descriptor)
        self._reaper.retire(slow)

    def borrow(self, bridge: str) -> Borrowed | None:
        with self._visit() as visit:
            return borrowed.borrow(visit.host, bridge)

    def check_link(self, *names: str) -> None:
        with self._visit() as visit:
            check_link(visit.host, *names)

    def host_networks(self, beside: str = "") -> tuple[IPNetwork, ...]:
        there = self._links()
        ours = {link.index for link in there if links.is_marked(link)}
        own_wire = {link.index for link in there if link.name == beside}
        found: dict[IPNetwork, None] = {}
        for version in (4, 6):
            listed = addresses.parse_routes(self._rtnl.dump(addresses.get_routes(version)))
            for route in outside_domains(listed, there):
                if (
                    route.unicast
                    and route.length
                    and route.table != addresses.RT_TABLE_LOCAL
                    and route.link not in ours
                    and (route.via or route.link not in own_wire)
                ):
                    found[route.destination()] = None
        return tuple(network for network in found if not (network.version == 6 and network.subnet_of(_LINK_LOCAL)))

    def stats(self, netns: str) -> dict[str, LinkStats]:
        """The counters of every link in a container, by name."""
        with self._visit() as visit:
            listed = visit.enter(netns).rtnl.dump(links.get_all(stats=True))
        return {links.parse(message).name: links.parse_stats(message) for message in listed}

    def within(self, netns: str, do: Callable[[], T]) -> T:
        """Call `do` inside a namespace ("" is the host's). Raises NotFound if there is none."""
        if netns == HOST:
            return do()
        descriptor = open_namespace(netns)
        try:
            return self._namespaces.within(descriptor, do)
        finally:
            os.close(descriptor)

    def apart(self, do: Callable[[], T]) -> T:
        """Call `do` inside a new namespace that nothing keeps."""
        return self._namespaces.scratch(do)

    def nsid(self, netns: str) -> int:
        """Under which number the host knows a namespace (`watch.Change.nsid`); -1 if it does not.

        One that no veth leads to is given a number: of others the kernel's notices are not heard.
        """
        descriptor = open_namespace(netns)
        try:
            known = self._nsid(descriptor)
            return known if known >= 0 else self._numbered(descriptor)
        finally:
            os.close(descriptor)

    def _numbered(self, descriptor: int) -> int:
        self._rtnl.send([links.give_nsid(descriptor)])
        return self._nsid(descriptor)

    def _nsid(self, descriptor: int) -> int:
        answer = self._rtnl.get([links.get_nsid(descriptor)])[0]
        return links.parse_nsid(answer[0]) if isinstance(answer, list) and answer else -1

    @contextmanager
    def _visit(self) -> Iterator[Visit]:
        visit = Visit(self._namespaces, self._rtnl, self._nf, self._reaper, self._guards)
        try:
            yield visit
        finally:
            visit.close()

    def _links(self) -> list[links.Link]:
        return [links.parse(message) for message in self._rtnl.dump(links.get_all())]

    def _sweep_links(self, kept: frozenset[str]) -> tuple[str, ...]:
        present = self._links()
        stray = [link.name for link in present if links.is_marked(link) and link.name not in kept]
        self._rtnl.send([links.set_group(name, links.LEAVING_GROUP) for name in stray])
        if stray or any(link.group == links.LEAVING_GROUP for link in present):
            self._reaper.flush(force=True)
        return tuple(stray)

    def _sweep_pins(self, kept: frozenset[str]) -> tuple[str, ...]:
        """`kept` may hold paths or the names of pins."""
        directory = self._namespaces.directory
        stray = [
            path for name in os.listdir(directory) if name not in kept and (path := f"{directory}/{name}") not in kept
        ]
        for path in stray:
            if is_namespace(path):
                self.sweep_inside(path, ())  # somebody else may keep it
            drop_pin(path)
        return tuple(stray)


def _others_filter() -> bool:
    """Whether somebody but weft has rules on forwarded packets, or it cannot be told."""
    try:
        return bool(legacy_chains()) or any(chain.hook == "forward" for chain in foreign_chains())
    except WeftError:
        return True
