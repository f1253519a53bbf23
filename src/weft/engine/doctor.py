"""Examines the host and weft's own state, and puts right what is weft's own.

Both go a piece at a time, so that requests need not wait for a large host to be gone through: each piece is to be
called on the engine's worker thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from ipaddress import IPv4Address, IPv6Address
from typing import Protocol

from weft.drivers import claim_on_parent, driver_named
from weft.drivers.driver import Leaning
from weft.engine import plans
from weft.engine.converge import Converge
from weft.engine.explain import Ask
from weft.engine.gate import Gate, forwarded
from weft.engine.parts import Parts
from weft.errors import WeftError
from weft.explain.health.checks import examine
from weft.explain.health.facts import HostFacts, LeaseUse, Loss, NetworkUse, OwnFacts
from weft.explain.health.finding import Report
from weft.explain.items import wording
from weft.model import Network, Sandbox
from weft.plan import Bridge, Item, NftElement, Plan

Piece = Callable[[], None]


class HostReader(Protocol):
    """What is read of the host."""

    def host(self) -> HostFacts: ...

    def marked(self) -> tuple[list[str], list[str]]:
        """The names of all links, and the paths of all pins, that bear weft's mark."""

    def children(self, netns: str) -> list[str]:
        """The links inside a container that bear weft's mark."""

    def resolver_pid(self) -> int | None:
        """The name server's process; None if there is none."""

    def asker(self, netns: str, names: Sequence[str]) -> Ask: ...


class Doctor:
    def __init__(
        self,
        parts: Parts,
        gate: Gate,
        converge: Converge,
        reader: HostReader,
        counters: Callable[[], Mapping[str, int]],
    ) -> None:
        """`counters`: what the name server has counted; may raise WeftError."""
        self._parts = parts
        self._converge = converge
        self.examination = partial(Examination, parts, gate, converge, reader, counters)

    def repairs(self) -> Iterator[Piece]:
        """The pieces of putting right what is weft's own; each does nothing if nothing is wrong."""
        converge, records = self._converge, self._parts.records
        yield _quietly(converge.heal_firewall)
        for network_id in list(records.networks):
            yield _quietly(partial(converge.heal_network, network_id))
        for sandbox_id in list(records.sandboxes):
            yield _quietly(partial(converge.heal_sandbox, sandbox_id))
            yield _quietly(partial(converge.sweep_sandbox, sandbox_id))
        yield _quietly(converge.sweep)
        yield _quietly(converge.reconcile_names)


def _quietly(deed: Callable[[], object]) -> Piece:
    def piece() -> None:
        deed()

    return piece


class Examination:
    """One look at everything. After the `pieces`, `ask` the name server on any thread; then there is a `report`."""

    def __init__(
        self,
        parts: Parts,
        gate: Gate,
        converge: Converge,
        reader: HostReader,
        counters: Callable[[], Mapping[str, int]],
    ) -> None:
        self._parts = parts
        self._gate = gate
        self._converge = converge
        self._reader = reader
        self._read_counters = counters
        self._counters: Mapping[str, int] = {}
        self._host = HostFacts()
        self._firewall = True
        self._refused_rules = ""
        self._user_rules = False
        self._closed: tuple[int, ...] = ()
        self._losses: list[Loss] = []
        self._lost: list[str] = []
        self._leftovers: tuple[str, ...] = ()
        self._resolver_pid: int | None = None
        self._asked = ""
        self._ask: Ask | None = None
        self._silent = False

    def pieces(self) -> Iterator[Piece]:
        yield self._look_at_host
        yield self._look_at_firewall
        for network in list(self._parts.records.networks.values()):
            yield partial(self._look_at_network, network)
        for sandbox in list(self._parts.records.sandboxes.values()):
            yield partial(self._look_at_sandbox, sandbox.id)
        yield self._look_for_leftovers
        yield self._look_at_names

    def ask(self) -> None:
        self._silent = self._ask is not None and self._ask() is None

    def report(self) -> Report:
        records = self._parts.records
        return examine(
            self._host,
            OwnFacts(
                networks=tuple(self._use(network) for network in list(records.networks.values())),
                containers=len(self._live()),
                losses=tuple(self._losses),
                leases=tuple(self._leases()),
                now=self._parts.clock.time(),
                lost_namespaces=tuple(self._lost),
                firewall=self._firewall,
                guard=self._gate.guarded_by(),
                hands_over=self._gate.by_programs(),
                closed=self._closed,
                user_rules=self._user_rules,
                refused_rules=self._refused_rules,
                leftovers=self._leftovers,
                resolver_pid=self._resolver_pid,
                counters=self._counters,
                silent=self._asked if self._silent else "",
            ),
        )

    # Pieces

    def _look_at_host(self) -> None:
        self._host = self._reader.host()

    def _look_at_firewall(self) -> None:
        self._firewall = self._gate.intact()
        self._refused_rules = self._gate.refused_rules()
        self._user_rules = self._gate.has_user_rules()
        self._closed = self._gate.closed()

    def _look_at_network(self, network: Network) -> None:
        if network.id in self._parts.records.networks:
            self._note(f"network {network.name}", plans.network_plan(network))

    def _look_at_sandbox(self, sandbox_id: str) -> None:
        sandbox = self._parts.records.sandboxes.get(sandbox_id)
        if sandbox is None or sandbox.exit is not None or not sandbox.origin.own:
            return
        if self._parts.kernel.is_namespace(sandbox.key):
            self._note(f"container {sandbox.name}", self._converge.plan_of(sandbox))
        else:
            self._lost.append(sandbox.name)

    def _note(self, owner: str, plan: Plan) -> None:
        missing = self._parts.kernel.missing(plan)
        if missing:
            self._losses.append(Loss(owner=owner, items=tuple(_short(item) for item in missing)))

    def _look_for_leftovers(self) -> None:
        links, pins = self._reader.marked()
        asked_links, asked_pins = map(frozenset, self._converge.asked_for())
        self._leftovers = (
            *(f"link {link}" for link in links if link not in asked_links),
            *(f"namespace {pin}" for pin in pins if pin not in asked_pins),
            *(leftover for sandbox in self._live() for leftover in self._left_inside(sandbox)),
        )

    def _left_inside(self, sandbox: Sandbox) -> Iterator[str]:
        if self._parts.kernel.is_namespace(sandbox.key):
            wanted = plans.inner_links(self._parts.records.endpoints_of(sandbox.id))
            for link in self._reader.children(sandbox.key):
                if link not in wanted:
                    yield f"link {link} in container {sandbox.name}"

    def _look_at_names(self) -> None:
        self._resolver_pid = self._reader.resolver_pid()
        if self._resolver_pid is not None:
            try:
                self._counters = self._read_counters()
            except WeftError:
                pass  # a silent one is found by asking it for a name
        for sandbox in self._live():
            if self._parts.records.endpoints_of(sandbox.id) and self._parts.kernel.is_namespace(sandbox.key):
                self._asked = sandbox.name
                self._ask = self._reader.asker(sandbox.key, [sandbox.name])
                return

    def _live(self) -> list[Sandbox]:
        return [sandbox for sandbox in list(self._parts.records.sandboxes.values()) if sandbox.exit is None]

    def _leases(self) -> Iterator[LeaseUse]:
        records = self._parts.records
        for lease in list(records.dhcp_leases.values()):
            owner = records.endpoints.get(lease.client.endpoint)
            if owner is not None:
                yield LeaseUse(
                    container=records.sandboxes[owner.sandbox].name,
                    network=records.networks[owner.network].name,
                    lease=lease,
                    held=owner.ipv4 is not None,
                )

    def _use(self, network: Network) -> NetworkUse:
        plan, driver = plans.network_plan(network), driver_named(network.driver)
        claim = claim_on_parent(network)
        return NetworkUse(
            network=network,
            link=driver.link(network),
            mtu=next((item.mtu for item in plan if isinstance(item, Bridge)), 0),
            members=len(self._parts.records.endpoints_on(network.id)),
            sources=tuple(
                atom
                for item in _elements(plan, "snat")
                for atom in item.value or ()
                if isinstance(atom, IPv4Address | IPv6Address)
            ),
            trusted=tuple(dict.fromkeys(str(item.key[0]) for item in _elements(plan, "trusted"))),
            direct=any(isinstance(item, NftElement) and item.name in _LET_IN for item in plan),
            leans_on=tuple(driver.leans_on(network)) if isinstance(driver, Leaning) else (),
            parent=claim.parent if claim else "",
            forwarded=forwarded(network),
        )


_LET_IN = ("routed", "open", "trusted4", "trusted6")
"""The sets that let packets in which are addressed to containers directly."""


def _elements(plan: Plan, name: str) -> list[NftElement]:
    """Of both families' sets of that name."""
    return [item for item in plan if isinstance(item, NftElement) and item.name in (f"{name}4", f"{name}6")]


def _short(item: Item) -> str:
    return wording(item)[0]
