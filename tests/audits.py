"""Looks at a host as an auditor would: what do the records say, and does the kernel hold just that?

Independent of the weftd that is looked at: reads its database, computes the plans anew, asks the kernel, and asks every
container for every neighbour's name.
"""

from __future__ import annotations

import errno
import os
import socket
import sqlite3
import struct
import time
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, fields
from ipaddress import ip_interface
from typing import Any, cast

from tests.daemons import Weftd
from tests.enter import inside, network
from weft import names
from weft.config import Config
from weft.drivers import driver_named
from weft.engine import plans
from weft.engine.gate import Gate
from weft.engine.parts import Parts
from weft.engine.state import Records
from weft.errors import WeftError
from weft.kernel import addresses, links, qdiscs
from weft.kernel.linux import LinuxKernel
from weft.kernel.netlink import Netlink
from weft.model import PortBinding, Proto, Sandbox
from weft.plan import HOST, Address, Detour, Shaper
from weft.store.sqlite import SqliteStore

PATIENCE = 1.0


def assert_consistent(weftd: Weftd, *, within: float = 0.0) -> None:
    """The records, the kernel, the names, the reserved ports and what the API says are one.

    What has left is let go in the kernel a moment after the answer, so leftovers may be gone at a second look. `within`
    is how many seconds weftd has to find and mend what others damaged.
    """
    begun = time.monotonic()
    found = complaints(weftd)
    while found:
        patience = PATIENCE if all("no record" in complaint for complaint in found) else within
        if time.monotonic() - begun > patience:
            break
        time.sleep(0.02)
        found = complaints(weftd)
    assert not found, "\n".join([*found[:20], "", *weftd.log().splitlines()[-30:]])


def complaints(weftd: Weftd) -> list[str]:
    """What is not as it should be."""
    return [*inside(weftd.host, lambda: _complaints(weftd.config)), *_api(weftd)]


@dataclass(frozen=True)
class Snapshot:
    """All that a refused request must leave as it was."""

    links: frozenset[str]
    pins: frozenset[str]
    records: tuple[tuple[Any, ...], ...]
    firewall: str


def snapshot(weftd: Weftd) -> Snapshot:
    """As soon as nothing changes any more: what has left is let go in the kernel a moment after the answer."""

    def look(kernel: LinuxKernel) -> Snapshot:
        return Snapshot(
            links=frozenset(_host_links(kernel)),
            pins=frozenset(os.listdir(f"{weftd.run_dir}/netns")),
            records=tuple(_rows(f"{weftd.state_dir}/weft.db")),
            firewall=kernel.firewall_text(),
        )

    def look_twice() -> Snapshot:
        kernel = LinuxKernel(weftd.run_dir)
        last = look(kernel)
        for _ in range(100):
            time.sleep(0.02)
            if last == (last := look(kernel)):
                break
        return last

    return inside(weftd.host, look_twice)


def assert_same(before: Snapshot, after: Snapshot, when: str) -> None:
    for part in fields(Snapshot):
        old, new = getattr(before, part.name), getattr(after, part.name)
        assert new == old, f"{when}: {part.name} changed"


def _host_links(kernel: LinuxKernel) -> set[str]:
    """But those that weftd makes ahead, or has put away and is about to delete."""
    passing = (links.SPARE_GROUP, links.LEAVING_GROUP)
    return {link.name for link in kernel._links() if link.group not in passing}


def _rows(path: str) -> Iterator[tuple[Any, ...]]:
    database = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    for table in ("networks", "sandboxes", "endpoints", "pending"):
        for row in database.execute(f"SELECT * FROM {table} ORDER BY 1"):
            yield (table, *row)
    database.close()


# The API against the database


def _api(weftd: Weftd) -> Iterator[str]:
    store = SqliteStore(f"{weftd.state_dir}/weft.db")
    loaded = store.load()
    store.close()
    client = weftd.client
    yield from _differ("network", {n.id for n in client.networks.list()}, {n.id for n in loaded.networks})
    containers = client.containers.list(all=True)
    yield from _differ("container", {c.id for c in containers}, {s.id for s in loaded.sandboxes})
    shown = {endpoint.id for container in containers for endpoint in container.endpoints}
    yield from _differ("endpoint", shown, {endpoint.id for endpoint in loaded.endpoints})


def _differ(what: str, shown: Iterable[str], recorded: Iterable[str]) -> Iterator[str]:
    for ident in set(shown) ^ set(recorded):
        yield f"{what} {ident[:12]} is known to the API or the database alone"


# The kernel against the database, from inside the host


def _complaints(config: Config) -> list[str]:
    audit = _Audit(config)
    return [
        *audit.pending(),
        *audit.plans(),
        *audit.firewall(),
        *audit.marks(),
        *audit.limits(),
        *audit.addresses(),
        *audit.leftovers(),
        *audit.names(),
        *audit.ports(),
    ]


class _Audit:
    def __init__(self, config: Config) -> None:
        self._config = config
        self._run_dir, self._state_dir = config.run_dir, config.state_dir
        self._store = SqliteStore(f"{config.state_dir}/weft.db")
        self._loaded = self._store.load()
        self._kernel = LinuxKernel(config.run_dir, programs=config.guard == "programs")
        self._records = Records()
        for each in self._loaded.networks:
            self._records.add_network(each)
        for sandbox in self._loaded.sandboxes:
            self._records.put_sandbox(sandbox)
        for endpoint in self._loaded.endpoints:
            self._records.add_endpoint(endpoint)
        self._live = [sandbox for sandbox in self._loaded.sandboxes if sandbox.exit is None and sandbox.origin.own]

    def pending(self) -> Iterator[str]:
        for ident in self._loaded.pending:
            yield f"{ident[:12]} is still pending"

    def plans(self) -> Iterator[str]:
        for each in self._loaded.networks:
            for item in self._kernel.missing(plans.network_plan(each)):
                yield f"network {each.name}: missing {item}"
        for sandbox in self._live:
            for item in self._kernel.missing(self._plan(sandbox)):
                yield f"container {sandbox.name}: missing {item}"

    def _plan(self, sandbox: Sandbox) -> Any:
        return plans.sandbox_plan(sandbox, self._records.endpoints_of(sandbox.id), self._records.networks)

    def firewall(self) -> Iterator[str]:
        parts = cast("Parts", _FewParts(self._config, self._records, self._kernel, self._store))
        if not Gate(parts, lambda: ()).intact():
            try:
                text = self._kernel.firewall_text()
            except WeftError as error:
                text = error.message
            yield f"the firewall is not as it should be:\n{text}"

    def marks(self) -> Iterator[str]:
        """Links of the host, pins, and links inside containers that weft made."""
        networks = self._loaded.networks
        wanted = {link for each in networks for link in driver_named(each.driver).links(each)}
        wanted |= {names.veth(endpoint.id) for endpoint in self._loaded.endpoints}
        for name in {link.name for link in self._kernel._links() if links.is_marked(link)} - wanted:
            yield f"link {name} has no record"
        for pin in set(os.listdir(f"{self._run_dir}/netns")) - {names.short(s.id) for s in self._live}:
            yield f"pin {pin} has no record"
        for sandbox in self._live:
            with network(sandbox.key):
                inner = {name for _, name in socket.if_nameindex()}
            beside = {item.through for item in self._plan(sandbox) if isinstance(item, Detour)}
            for name in inner - {"lo"} - beside - {e.ifname for e in self._records.endpoints_of(sandbox.id)}:
                yield f"container {sandbox.name} has a link {name} that no record asks for"

    def limits(self) -> Iterator[str]:
        """Of bandwidth, on links of endpoints that should have none."""
        for sandbox in self._live:
            endpoints = self._records.endpoints_of(sandbox.id)
            wanted = {(item.netns, item.link) for item in self._plan(sandbox) if isinstance(item, Shaper)}
            outer = {(HOST, names.veth(endpoint.id)) for endpoint in endpoints}
            inner = {(sandbox.key, endpoint.ifname) for endpoint in endpoints}
            for netns, link in (outer | inner) - wanted:
                with network(netns) if netns else nullcontext():
                    rtnl = Netlink(socket.NETLINK_ROUTE)
                found = qdiscs.found(rtnl, Shaper(netns, link, 0, 0, 0))
                rtnl.close()
                if found:
                    yield f"container {sandbox.name}: {link} is limited to {found}, which nobody asked for"

    def addresses(self) -> Iterator[str]:
        """Of bridges that are weft's own."""
        listed = addresses.parse_addresses(self._kernel._rtnl.dump(addresses.get_addresses()))
        indices = {name: index for index, name in socket.if_nameindex()}
        for each in self._loaded.networks:
            link = driver_named(each.driver).link(each)
            if link not in indices or each.borrowed is not None:
                continue
            wanted = {item.address for item in plans.network_plan(each) if isinstance(item, Address)}
            for found in listed:
                own = ip_interface((found.raw, found.length))
                if found.link == indices[link] and own not in wanted:
                    yield f"network {each.name}: {link} has the address {own}, which no record asks for"

    def leftovers(self) -> Iterator[str]:
        """Directories of containers."""
        known = {names.short(sandbox.id) for sandbox in self._loaded.sandboxes if sandbox.process is not None}
        for directory in (f"{self._run_dir}/containers", f"{self._state_dir}/containers"):
            for name in set(os.listdir(directory) if os.path.isdir(directory) else ()) - known:
                yield f"{directory}/{name} has no record"

    def names(self) -> Iterator[str]:
        """Every container resolves each neighbour, to its address on the first network that they share."""
        for sandbox in self._live:
            wanted: dict[str, set[str]] = {}
            for own in self._records.endpoints_of(sandbox.id):
                for neighbour in self._records.endpoints_on(own.network):
                    name = self._records.sandboxes[neighbour.sandbox].name
                    wanted.setdefault(name, {str(a.ip) for a in neighbour.addresses if a.version == 4})
            with network(sandbox.key):
                for name, addresses in wanted.items():
                    found = resolve(name)
                    if found != addresses:
                        yield f"container {sandbox.name} resolves {name} to {found}, not {addresses}"

    def ports(self) -> Iterator[str]:
        for sandbox in self._live:
            endpoints = self._records.endpoints_of(sandbox.id)
            elsewhere = endpoints and not plans.holds_ports(endpoints, self._records.networks)
            for binding in () if elsewhere else sandbox.ports:
                if not _is_held(binding):
                    yield f"port {binding.host_port}/{binding.proto} of {sandbox.name} is not reserved"


class _FewParts:
    """What the gate looks at."""

    def __init__(self, config: Config, records: Records, kernel: LinuxKernel, store: SqliteStore) -> None:
        self.config = config
        self.records, self.kernel, self.store = records, kernel, store


def _is_held(binding: PortBinding) -> bool:
    kind = socket.SOCK_DGRAM if binding.proto is Proto.UDP else socket.SOCK_STREAM
    address = str(binding.host_ip or "0.0.0.0")
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind) as probe:
        try:
            probe.bind((address, binding.host_port))
        except OSError as error:
            return error.errno == errno.EADDRINUSE
    return False


# A small DNS client, of another make than weft's own codec


def resolve(name: str, *, qtype: int = 1, seconds: float = 1.0) -> set[str]:
    """Ask 127.0.0.11 for a name's addresses; empty if there is none. Raises TimeoutError.

    Asks again every 50 ms: a killed resolver takes the questions that it has not read along.
    """
    end = time.monotonic() + seconds
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(0.05)
        client.connect(("127.0.0.11", 53))
        while True:
            try:
                client.send(question(name, qtype=qtype))
                return addresses_in(client.recv(4096))
            except (TimeoutError, ConnectionRefusedError):
                if time.monotonic() > end:
                    raise TimeoutError(f"nobody has told of {name!r} in {seconds} s") from None
                time.sleep(0.005)


def question(name: str, *, ident: int = 1, qtype: int = 1) -> bytes:
    labels = b"".join(bytes((len(label),)) + label.encode() for label in name.split("."))
    return struct.pack(">6H", ident, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">2H", qtype, 1)


def addresses_in(answer: bytes) -> set[str]:
    """The addresses of an answer's A and AAAA records."""
    count = struct.unpack_from(">H", answer, 6)[0]
    offset = answer.index(b"\0", 12) + 5
    found = set()
    for _ in range(count):
        # Our resolver compresses the owner's name to a pointer of two bytes.
        kind, _, _, length = struct.unpack_from(">2HIH", answer, offset + 2)
        data = answer[offset + 12 : offset + 12 + length]
        if kind in (1, 28):
            found.add(socket.inet_ntop(socket.AF_INET if kind == 1 else socket.AF_INET6, data))
        offset += 12 + length
    return found
