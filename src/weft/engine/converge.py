"""Makes the kernel agree with the records: at start, after drift, and now and then.

At start nothing that runs is disturbed: what is already right is left alone, the firewall is replaced (in one
transaction) only if it differs, and names that stay are never absent. What a dead daemon left half made is taken
back; what bears weft's mark without a record is swept.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial

from weft import names
from weft.drivers import driver_named
from weft.drivers.driver import Leaning, subnets_of
from weft.engine import plans
from weft.engine.endings import judge_noted
from weft.engine.farewells import Farewells
from weft.engine.gate import Gate
from weft.engine.holding import Holding
from weft.engine.needs import Holder, Loaded
from weft.engine.parts import Parts
from weft.engine.policies import cut_refused
from weft.engine.wanted_ports import check_ports_free
from weft.errors import WeftError
from weft.model import Exit, Origin, Sandbox
from weft.plan import Item, Plan, ProxyNeighbour

_log = logging.getLogger("weft.converge")


class Converge:
    def __init__(
        self,
        parts: Parts,
        gate: Gate,
        when_idle: Callable[[Callable[[], object]], None],
        farewells: Farewells | None = None,
    ) -> None:
        self._parts = parts
        self._records = parts.records
        self._gate = gate
        self._when_idle = when_idle
        self._farewells = farewells or Farewells(parts.kernel, when_idle)
        self._to_audit: deque[Callable[[], object]] = deque()
        self._unhealed: dict[str, str] = {}
        """Network or sandbox id to why it could not be put right."""

    # Start

    def start(self, *, rebooted: bool) -> None:
        """From whatever a former daemon left to a state that agrees with the records.

        Checking every container of a large host is left for when nobody waits.
        """
        self._load()
        if rebooted:
            self._gate.forget_host()
        if self._gate.ensure():
            self._distrust_flows()
            _log.info("firewall put in place")
        else:
            cut_refused(self._parts)  # whoever changed a policy may have died before that
        judge_noted(self._parts)
        if self._records.networks:
            self._parts.kernel.keep_bridged_frames_apart()
        for network in list(self._records.networks.values()):
            self._try(f"network {network.name!r}", partial(self._parts.kernel.ensure, plans.network_plan(network)))
        for sandbox in sorted(self._live(), key=lambda sandbox: not self._records.endpoints_of(sandbox.id)):
            self._reserve(sandbox)
            if sandbox.process is not None:
                self._try(f"the name of {sandbox.name!r}", partial(self._parts.runtime.rename, sandbox))
        self._try("names", self.reconcile_names)
        if self.sweep():
            # A use case was cut short. What went may have taken along what its container still needs: a default route.
            for sandbox in self._live():
                self.heal_sandbox(sandbox.id)
        self.audit()

    def _load(self) -> None:
        loaded = self._parts.store.load()
        self._take_back_pending(loaded)
        kept = {s.id: s for s in loaded.sandboxes if s.id not in loaded.pending}
        for network in loaded.networks:
            if network.id not in loaded.pending:
                self._records.add_network(network, loaded.last)
        endpoints = [
            e
            for e in loaded.endpoints
            if e.id not in loaded.pending and e.sandbox in kept and e.network in self._records.networks
        ]
        for sandbox in kept.values():
            end = self._end_of(sandbox)
            own = [e for e in endpoints if e.sandbox == sandbox.id]
            if end is None or sandbox.exit is not None:
                self._records.put_sandbox(sandbox)
                for endpoint in own:
                    self._records.add_endpoint(endpoint)
            else:
                self._bury(sandbox, [endpoint.id for endpoint in own], end)

    def _take_back_pending(self, loaded: Loaded) -> None:
        # Nobody was told that these exist. Their traces in the kernel have no record now: the sweep finds them.
        store, pending = self._parts.store, loaded.pending
        if not pending:
            return
        _log.warning("taking back what was left half made", extra={"fields": {"records": str(len(pending))}})
        for network in loaded.networks:
            if network.id in pending:
                store.drop(network=network.id)
        for sandbox in loaded.sandboxes:
            if sandbox.id in pending:
                store.drop(sandbox=sandbox.id, endpoints=[e.id for e in loaded.endpoints if e.sandbox == sandbox.id])
        store.drop(endpoints=pending)
        store.clear_pending()

    def _end_of(self, sandbox: Sandbox) -> Exit | None:
        """How a sandbox ended while nobody looked; None while it lives."""
        parts = self._parts
        unknown = Exit(code=137, at=parts.clock.time())
        if sandbox.process is not None:
            if parts.runtime.pids(sandbox.id):
                return None
            end = parts.runtime.exit_of(sandbox.id)
            if end is not None:
                return end
        if sandbox.origin is Origin.PID:
            pid, _, started = sandbox.source.partition(":")
            return None if parts.processes.start_time(int(pid)) == int(started) else unknown
        if sandbox.origin is Origin.HOST:
            return None
        path = sandbox.source if sandbox.origin is Origin.PATH else sandbox.key
        if not parts.kernel.is_namespace(path):
            return unknown
        # Another namespace at the same path is another one. After a reboot there is nothing to compare it with.
        pinned = parts.kernel.is_namespace(sandbox.key)
        another = pinned and parts.kernel.identity(path) != parts.kernel.identity(sandbox.key)
        return unknown if another else None

    def _bury(self, sandbox: Sandbox, endpoints: Collection[str], end: Exit) -> None:
        """A container that ended while weft was away. Its traces are left to the sweep."""
        events = self._parts.events
        if sandbox.process is not None:
            events.emit_die(sandbox, end, self._parts.runtime.started(sandbox.id))
        if sandbox.process is None or sandbox.auto_remove:
            self._parts.store.drop(sandbox=sandbox.id, endpoints=endpoints)
            self._parts.runtime.discard(sandbox.id)
            events.emit_container("destroy", sandbox)
            return
        exited = replace(sandbox, exit=end)
        self._parts.store.drop(endpoints=endpoints)
        self._parts.store.put(sandbox=exited)
        self._records.put_sandbox(exited)

    def _reserve(self, sandbox: Sandbox) -> None:
        if not sandbox.ports:
            return
        endpoints = self._records.endpoints_of(sandbox.id)
        if endpoints and not plans.holds_ports(endpoints, self._records.networks):
            return
        try:
            if not endpoints:  # it kept them, unless its last network was a routed one and somebody has them now
                check_ports_free(sandbox.ports, self._records)
            holding = Holding(self._parts)
            holding.reserve(sandbox)
            holding.aim(sandbox, endpoints)
        except WeftError as error:
            # The rules still lead there; only the reservation is lost to whoever was quicker.
            _log.warning("%s", error.message, extra={"fields": {"container": sandbox.name}})

    # Parts of the whole, also called after a loss

    def reconcile_names(self) -> None:
        """Bring the resolver, new or old, to what the records say."""
        records, kernel = self._records, self._parts.kernel
        holders: dict[str, list[Holder]] = {
            network_id: [plans.holder(records.sandboxes[e.sandbox], e) for e in records.endpoints_on(network_id)]
            for network_id in records.networks
        }
        live = [sandbox for sandbox in self._live() if sandbox.origin.own]
        self._parts.names.reconcile(
            {network.id: network.name for network in records.networks.values()},
            holders,
            [plans.view(s, records.endpoints_of(s.id), records.networks) for s in live],
            lambda sandbox_id: kernel.open_nameserver(records.sandboxes[sandbox_id].key),
        )

    def sweep(self) -> tuple[str, ...]:
        """Remove what bears weft's mark and no record asks for; what went."""
        self._farewells.finish()
        with_process = [s.id for s in list(self._records.sandboxes.values()) if s.process is not None]
        gone = (
            *self._parts.kernel.sweep(*self.asked_for(), self.answered_for()),
            *self._parts.runtime.sweep(with_process),
        )
        for what in gone:
            _log.warning("swept what no record asks for", extra={"fields": {"what": what}})
        return gone

    def asked_for(self) -> tuple[list[str], list[str]]:
        """The names of all links, and the paths of all pins, that some record asks for."""
        records = self._records
        links = [link for network in records.networks.values() for link in driver_named(network.driver).links(network)]
        links += [names.veth(endpoint_id) for endpoint_id in records.endpoints]
        return links, [sandbox.key for sandbox in self._live() if sandbox.origin.own]

    def answered_for(self) -> list[ProxyNeighbour]:
        """What the host answers for in the place of containers."""
        records = self._records
        return [
            item
            for endpoint in list(records.endpoints.values())
            if isinstance(driver_named(records.networks[endpoint.network].driver), Leaning)
            for item in driver_named(records.networks[endpoint.network].driver).endpoint(
                records.networks[endpoint.network], endpoint, records.sandboxes[endpoint.sandbox]
            )
            if isinstance(item, ProxyNeighbour)
        ]

    def audit(self) -> None:
        """Compare everything with the kernel, a piece at a time, while no request waits.

        If the last audit is still at it, this one takes its place.
        """
        at_it = bool(self._to_audit)
        self._to_audit = deque(
            [
                self.heal_firewall,
                *(partial(self.heal_network, network_id) for network_id in list(self._records.networks)),
                *(partial(self._audit_sandbox, sandbox.id) for sandbox in self._live()),
                self.sweep,
                self._parts.names.check,
            ]
        )
        if not at_it:
            self._when_idle(self._audit_one)

    def _audit_one(self) -> None:
        # One after the other: a large host's pieces would all be owed at once.
        piece = self._to_audit.popleft()
        if self._to_audit:
            self._when_idle(self._audit_one)
        piece()

    def _audit_sandbox(self, sandbox_id: str) -> None:
        self.heal_sandbox(sandbox_id)
        self.sweep_sandbox(sandbox_id)

    def sweep_sandbox(self, sandbox_id: str) -> tuple[str, ...]:
        """Remove links inside a container that bear weft's mark and no record asks for; what went."""
        sandbox = self._records.sandboxes.get(sandbox_id)
        if sandbox is None or sandbox.exit is not None or not self._parts.kernel.is_namespace(sandbox.key):
            return ()
        wanted = plans.inner_links(self._records.endpoints_of(sandbox_id))
        gone = self._parts.kernel.sweep_inside(sandbox.key, wanted)
        for what in gone:
            fields = {"container": sandbox.name, "what": what}
            _log.warning("swept what no record asks for", extra={"fields": fields})
        return gone

    # Healing

    def heal_firewall(self) -> bool:
        """Whether something had to be put back; likewise below."""
        if not self._gate.ensure():
            return False
        self._distrust_flows()
        self._healed("firewall", "weft", "table inet weft")
        return True

    def _distrust_flows(self) -> None:
        """Where another tool tracks connections, what came through while the rules were gone counts as established."""
        # On the network of a parent the host has connections of its own, which are none of weft's business.
        routed = [n for n in self._records.networks.values() if driver_named(n.driver).link(n) is not None]
        subnets = [subnet for network in routed for subnet in subnets_of(network)]
        self._parts.kernel.distrust_flows(subnets, self._gate.kept_in())
        cut_refused(self._parts)

    def heal_network(self, network_id: str) -> bool:
        network = self._records.networks.get(network_id)
        if network is None:
            return False
        return self._heal(f"network {network.name!r}", network.name, network_id, lambda: plans.network_plan(network))

    def heal_sandbox(self, sandbox_id: str) -> bool:
        sandbox = self._records.sandboxes.get(sandbox_id)
        if sandbox is None or sandbox.exit is not None or not sandbox.origin.own:
            return False
        if not self._parts.kernel.is_namespace(sandbox.key):
            return False  # its end is noticed elsewhere
        return self._heal(f"container {sandbox.name!r}", sandbox.name, sandbox_id, lambda: self.plan_of(sandbox))

    def plan_of(self, sandbox: Sandbox) -> Plan:
        return plans.sandbox_plan(sandbox, self._records.endpoints_of(sandbox.id), self._records.networks)

    def members(self, network_id: str) -> list[str]:
        return [endpoint.sandbox for endpoint in self._records.endpoints_on(network_id)]

    def _heal(self, what: str, name: str, ident: str, plan_of: Callable[[], Plan]) -> bool:
        plan = plan_of()
        missing = self._parts.kernel.missing(plan)
        before = self._unhealed.pop(ident, "")
        if not missing:
            return False
        try:
            self._parts.kernel.ensure(plan)
        except WeftError as error:
            self._unhealed[ident] = error.message
            if error.message != before:  # it is tried again and again
                _log.error("cannot restore %s: %s", what, error.message)
            return False
        self._healed("network" if what.startswith("network") else "container", name, _shown(missing), ident)
        return True

    def is_waiting(self) -> bool:
        """Whether there is something that could not be put right, and `retry` may."""
        return bool(self._unhealed)

    def retry(self) -> None:
        """Once more what could not be put right: what it needs, a parent say, may have come back."""
        records = self._records
        self._unhealed = {
            i: why for i, why in self._unhealed.items() if i in records.networks or i in records.sandboxes
        }
        for network_id in [ident for ident in self._unhealed if ident in records.networks]:
            if self.heal_network(network_id):
                for sandbox_id in self.members(network_id):
                    self.heal_sandbox(sandbox_id)
        for sandbox_id in [ident for ident in self._unhealed if ident in records.sandboxes]:
            if not any(endpoint.network in self._unhealed for endpoint in records.endpoints_of(sandbox_id)):
                self.heal_sandbox(sandbox_id)

    def _healed(self, kind: str, name: str, what: str, ident: str = "") -> None:
        _log.warning("restored what was missing", extra={"fields": {kind: name, "what": what}})
        if kind == "network":
            self._parts.events.emit("network", "heal", ident, name, what=what)
        elif kind == "container":
            self._parts.events.emit("container", "heal", ident, name, what=what)
        else:
            self._parts.events.emit("daemon", "heal", ident, name, what=what)

    def _live(self) -> list[Sandbox]:
        return [sandbox for sandbox in list(self._records.sandboxes.values()) if sandbox.exit is None]

    def _try(self, what: str, action: Callable[[], object]) -> None:
        try:
            action()
        except* WeftError as errors:
            for error in errors.exceptions:
                _log.error("cannot restore %s: %s", what, error)


def _shown(items: Sequence[Item]) -> str:
    first = items[0].describe()[-1]
    return first if len(items) == 1 else f"{first} and {len(items) - 1} more"
