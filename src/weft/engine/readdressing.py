"""An endpoint's IPv4 address, changed or taken away while its container runs: the DHCP server says so.

The record comes first; then the kernel, the names, the files in /etc and the ports follow it. Whoever dies on the way
leaves a record that the next start makes true.

Runs on the engine's worker thread.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from ipaddress import IPv4Interface

from weft.engine import etc, plans
from weft.engine.announcements import Announcements
from weft.engine.holding import Holding
from weft.engine.parts import Parts
from weft.engine.through import go_through
from weft.model import Endpoint, Sandbox
from weft.plan import Plan, superseded


@dataclass(frozen=True, slots=True)
class Readdressing:
    parts: Parts
    announcements: Announcements

    def turn(self, endpoint_id: str, address: IPv4Interface | None) -> None:
        """None: it has none from now on. Nothing happens if it has left, or has this address already."""
        parts, records = self.parts, self.parts.records
        before = records.endpoints.get(endpoint_id)
        if before is None or before.ipv4 == address:
            return
        after, sandbox = replace(before, ipv4=address), records.sandboxes[before.sandbox]
        old = self._plan(sandbox)
        parts.store.put(endpoints=(after,))
        records.readdress_endpoint(after)
        new = self._plan(sandbox)
        self._emit(sandbox, before, after)
        go_through(
            # With the last address of a subnet the kernel drops the routes through it, the default one perhaps.
            lambda: parts.kernel.remove(superseded(old, new)),
            lambda: parts.kernel.ensure(new),
            lambda: parts.names.publish(after.network, plans.holder(sandbox, after)),
            lambda: self._tell(sandbox),
            lambda: self.announcements.entered(sandbox, after) if address is not None else None,
        )

    def _plan(self, sandbox: Sandbox) -> Plan:
        records = self.parts.records
        return plans.sandbox_plan(sandbox, records.endpoints_of(sandbox.id), records.networks)

    def _tell(self, sandbox: Sandbox) -> None:
        """Its files, and where its published ports lead."""
        Holding(self.parts).aim(sandbox, self.parts.records.endpoints_of(sandbox.id))
        etc.rewrite(sandbox, self.parts)

    def _emit(self, sandbox: Sandbox, before: Endpoint, after: Endpoint) -> None:
        network = self.parts.records.networks[after.network]
        addresses = {"old": str(before.ipv4 or ""), "new": str(after.ipv4 or "")}
        self.parts.events.emit_place("readdress", network, sandbox, **addresses)
