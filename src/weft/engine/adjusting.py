"""Options of a container's place on a network, changed while it is there: how much it may receive and send.

What goes goes before the record says so, and what comes comes after: whoever dies on the way leaves less than some
record asks for, which the next start puts in place, and nothing that none does. An error on the way puts all back.

Runs on the engine's worker thread.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace

from weft.drivers import driver_named
from weft.engine.parts import Parts
from weft.engine.through import go_through
from weft.engine.wanted import find_endpoint
from weft.errors import Conflict
from weft.model import Endpoint, Network, Sandbox
from weft.plan import Plan, superseded

_log = logging.getLogger("weft.engine")


@dataclass(frozen=True, slots=True)
class Adjusting:
    parts: Parts

    def adjust(self, network_ref: str, container_ref: str, changes: Mapping[str, str | None]) -> Endpoint:
        """What an option is from now on, by its name; None: as the network has it. Packets under way are not dropped.

        Raises NotFound, Conflict (the container has ended), or Invalid; then everything is as before.
        """
        parts, records = self.parts, self.parts.records
        network, sandbox = records.network(network_ref), records.sandbox(container_ref)
        if sandbox.exit is not None:
            raise Conflict(f"container {sandbox.name!r} has exited: it is on no network any more")
        before = find_endpoint(network, sandbox, records)
        merged = {**before.options, **changes}
        after = replace(before, options={name: value for name, value in merged.items() if value is not None})
        driver_named(network.driver).accept_endpoint(network, after.options)
        old, new = _plan(network, before, sandbox), _plan(network, after, sandbox)
        there = set(old)
        try:
            parts.kernel.remove(superseded(old, new))
            parts.store.put(endpoints=(after,))
            parts.kernel.ensure(tuple(item for item in new if item not in there))
        except BaseException:
            self._take_back(before, old, superseded(new, old))
            raise
        records.replace_endpoint(after)
        self._emit(network, sandbox, changes)
        return after

    def _take_back(self, before: Endpoint, old: Plan, new: Plan) -> None:
        try:
            go_through(
                lambda: self.parts.store.put(endpoints=(before,)),
                lambda: self.parts.kernel.remove(new),
                lambda: self.parts.kernel.ensure(old),
            )
        except Exception:
            _log.exception("cannot take everything back; the next audit will")

    def _emit(self, network: Network, sandbox: Sandbox, changes: Mapping[str, str | None]) -> None:
        shown = " ".join(f"{name}={'' if value is None else value}" for name, value in changes.items())
        self.parts.events.emit_place("adjust", network, sandbox, options=shown)


def _plan(network: Network, endpoint: Endpoint, sandbox: Sandbox) -> Plan:
    return driver_named(network.driver).endpoint(network, endpoint, sandbox)
