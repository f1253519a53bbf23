"""A network edited in place, with whoever is on it.

What it is to be is worked out and refused first, touching nothing (`wanted_update`). Then, of links, addresses and
routes, what goes goes before the record says so, and what comes comes after: whoever dies on the way leaves less than
some record asks for, which the next start puts in place. The firewall is replaced as a whole, in one transaction, right
after the record: packets meet the old network or the new one. Last, connections end that it does not allow any more
(`endings`). An error on the way puts all back.

Containers that are on it stay as they are: of a family or a subnet that is added they get an address when they are
connected anew.

Runs on the engine's worker thread.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from weft.drivers import driver_named
from weft.drivers.parents import OnParent
from weft.engine import endings, plans, stacks
from weft.engine.farewells import Farewells
from weft.engine.gate import Gate
from weft.engine.networks import DEFAULT_NETWORK
from weft.engine.parts import Parts
from weft.engine.seed import ula_seed
from weft.engine.specs import NetworkChange
from weft.engine.through import go_through
from weft.engine.wanted_ports import check_each_other, check_ports_free
from weft.engine.wanted_update import updated_network
from weft.errors import Conflict
from weft.model import IPNetwork, Network, PortBinding, Sandbox
from weft.plan import NftElement, Plan, superseded

_log = logging.getLogger("weft.engine")

_WAYS_IN = ("routed", "open", "trusted4", "trusted6")
"""The sets by which a container is reached at its own address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Turn:
    """From one record to another: all that it takes, worked out beforehand."""

    before: Network
    after: Network
    old: Plan
    new: Plan
    members: Sequence[Sandbox]
    taking: Sequence[Sandbox]
    """Whose published ports become ports of the host."""
    leaving: Sequence[Sandbox]
    """Whose are none any more."""

    @property
    def going(self) -> Plan:
        return tuple(item for item in superseded(self.old, self.new) if not isinstance(item, NftElement))

    @property
    def coming(self) -> Plan:
        return _beyond(self.new, self.old)

    @property
    def back(self) -> Plan:
        return _beyond(self.old, self.new)

    @property
    def refiltered(self) -> bool:
        return _elements(self.old) != _elements(self.new)

    @property
    def closing(self) -> bool:
        """Whether somebody who reached containers at their own addresses must not any more."""
        return any(item.name in _WAYS_IN for item in _elements(self.old) - _elements(self.new))

    @property
    def cut_off(self) -> bool:
        return self.after.internal and not self.before.internal

    @property
    def ending(self) -> bool:
        """Whether there may be connections that the network does not allow any more."""
        return self.cut_off or self.closing or bool(self.leaving)

    @property
    def other_names(self) -> bool:
        return self.after.internal != self.before.internal


def _elements(plan: Plan) -> set[NftElement]:
    return {item for item in plan if isinstance(item, NftElement)}


def _beyond(plan: Plan, other: Plan) -> Plan:
    there = set(other)
    return tuple(item for item in plan if item not in there and not isinstance(item, NftElement))


@dataclass(frozen=True, slots=True)
class Updating:
    parts: Parts
    gate: Gate
    farewells: Farewells

    def update(self, ref: str, change: NetworkChange) -> Network:
        """The network as it is then. Connections go on, but for those that it does not allow any more.

        Raises NotFound, Invalid, Conflict, Exhausted; then everything is as before.
        """
        records = self.parts.records
        before = self._network(ref, change)
        seed = ula_seed(self.parts.store)
        after = updated_network(before, change, records, self.parts.config, lambda: self._host(before), seed)
        if after != before:
            self._make(self._turn(before, after))
            self._emit(after, change)
        return after

    def _network(self, ref: str, change: NetworkChange) -> Network:
        records = self.parts.records
        if stacks.is_reserved(ref):
            raise Conflict(f"network {ref!r} cannot be changed: the name stands for {stacks.MEANING[ref]}")
        if ref in records.preset_names:
            raise Conflict(f"network {ref!r} only holds configuration; remove it, and make another")
        network = records.network(ref)
        if change.name not in (None, network.name) and DEFAULT_NETWORK in (change.name, network.name):
            raise Conflict(
                f"network {DEFAULT_NETWORK!r} is where containers go that name no network: neither can it have "
                "another name, nor another network this one"
            )
        return network

    def _host(self, network: Network) -> Sequence[IPNetwork]:
        driver = driver_named(network.driver)
        uplink = driver.uplink(network.options).name if isinstance(driver, OnParent) else ""
        return self.parts.kernel.host_networks(uplink)

    def _turn(self, before: Network, after: Network) -> _Turn:
        """Raises Invalid or Conflict where somebody on the network cannot follow; then nothing has changed."""
        records = self.parts.records
        members = [records.sandboxes[endpoint.sandbox] for endpoint in records.endpoints_on(before.id)]
        networks = {**records.networks, after.id: after}
        old, new = self._plan(before, members, records.networks), self._plan(after, members, networks)
        taking, leaving = [], []
        for sandbox in members if old != new else ():
            holds = plans.holds_ports(records.endpoints_of(sandbox.id), networks)
            if sandbox.ports and holds and sandbox.id not in records.holding:
                taking.append(sandbox)
            elif not holds and sandbox.id in records.holding:
                leaving.append(sandbox)
        check_ports_free(_ports(taking), records)
        check_each_other(taking)
        return _Turn(before=before, after=after, old=old, new=new, members=members, taking=taking, leaving=leaving)

    def _plan(self, network: Network, members: Sequence[Sandbox], networks: plans.Networks) -> Plan:
        """Of the network, and of all that belongs to whoever is on it, if networks are these."""
        of_members = (
            item
            for sandbox in members
            for item in plans.sandbox_plan(sandbox, self.parts.records.endpoints_of(sandbox.id, networks), networks)
        )
        return (*plans.network_plan(network), *of_members)

    def _make(self, turn: _Turn) -> None:
        parts, taken = self.parts, _ports(turn.taking)
        if taken:
            self.farewells.make_way((), taken)
            parts.ports.reserve(taken)
        try:
            if turn.ending:
                endings.note(parts, turn.before.id)
            if turn.going:
                parts.kernel.remove(turn.going)
            self._put(turn.after)
            if turn.old != turn.new:
                self.gate.prepare(turn.after)
            if turn.refiltered:
                self.gate.replace()
            if turn.coming:
                parts.kernel.ensure(turn.coming)
            self._tell(turn, turn.after)
            if turn.ending:
                self._end_connections(turn)
                endings.cross_out(parts)
            if turn.leaving:
                parts.ports.release(_ports(turn.leaving))
        except BaseException:
            self._take_back(turn)
            raise
        parts.records.holding.update(sandbox.id for sandbox in turn.taking)
        parts.records.holding.difference_update(sandbox.id for sandbox in turn.leaving)

    def _put(self, network: Network) -> None:
        self.parts.store.put(network=network)
        self.parts.records.change_network(network)

    def _tell(self, turn: _Turn, network: Network) -> None:
        """The resolver, and whoever leads published ports where the kernel cannot, of the network as it is now."""
        parts, records = self.parts, self.parts.records
        if turn.before.name != turn.after.name:
            parts.names.set_network(network.id, network.name)
        for sandbox in turn.members if turn.other_names else ():
            parts.names.set_view(plans.view(sandbox, records.endpoints_of(sandbox.id), records.networks))
        holding = {*records.holding, *(sandbox.id for sandbox in turn.taking if network is turn.after)}
        for sandbox in turn.members if turn.refiltered else ():
            if sandbox.id in holding:
                endpoints = records.endpoints_of(sandbox.id)
                parts.ports.aim(sandbox.ports, *plans.targets(endpoints, records.networks))

    def _end_connections(self, turn: _Turn) -> None:
        own = endings.addresses_on(self.parts, turn.after.id) if turn.cut_off else []
        ports = _ports(turn.leaving)
        if own or ports:
            self.parts.kernel.forget_flows(addresses=own, ports=ports)
        if turn.closing:
            self.parts.kernel.distrust_flows([pool.subnet for pool in turn.before.pools], ())

    def _take_back(self, turn: _Turn) -> None:
        taken = _ports(turn.taking)
        undone = tuple(item for item in superseded(turn.new, turn.old) if not isinstance(item, NftElement))
        try:
            go_through(
                lambda: self.parts.records.change_network(turn.before),
                lambda: self.parts.store.put(network=turn.before),
                self.gate.replace,
                lambda: self.parts.kernel.remove(undone),
                lambda: self.parts.kernel.ensure(turn.back),
                lambda: self._tell(turn, turn.before),
                lambda: self.parts.ports.release(taken) if taken else None,
                lambda: endings.cross_out(self.parts) if turn.ending else None,
            )
        except Exception:
            _log.exception("cannot take everything back; the next audit will")

    def _emit(self, network: Network, change: NetworkChange) -> None:
        self.parts.events.emit_network("update", network, changes=" ".join(_told(change)))


def _ports(sandboxes: Sequence[Sandbox]) -> tuple[PortBinding, ...]:
    return tuple(port for sandbox in sandboxes for port in sandbox.ports)


def _told(change: NetworkChange) -> Iterator[str]:
    if change.name is not None:
        yield f"name={change.name}"
    if change.internal is not None:
        yield f"internal={str(change.internal).lower()}"
    yield from (f"ipv{version}" for version, wanted in ((4, change.ipv4), (6, change.ipv6)) if wanted)
    for what, changes in (("label", change.labels), ("option", change.options)):
        yield from (f"{what}:{key}={'' if value is None else value}" for key, value in changes.items())
    yield from (f"+{pool.subnet}" for pool in change.add_pools)
    yield from (f"-{subnet}" for subnet in change.remove_pools)
    yield from (f"+{route.destination},{route.gateway}" for route in change.add_routes)
    yield from (f"-{destination}" for destination in change.remove_routes)
