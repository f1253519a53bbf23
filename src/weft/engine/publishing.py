"""Ports published on a container that is there already, and taken back from it.

The record comes first, as everywhere; there is nothing pending about it: whoever dies on the way leaves a record, and
the next start leads the ports as it says. An error on the way puts the former record back.

Runs on the engine's worker thread.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

from weft.engine import plans, stacks, wanted_ports
from weft.engine.farewells import Farewells
from weft.engine.parts import Parts
from weft.engine.specs import PortChoice, PortSpec
from weft.engine.through import go_through
from weft.errors import Conflict, NotFound
from weft.model import PortBinding, Proto, Sandbox
from weft.plan import Plan, superseded

_log = logging.getLogger("weft.engine")


@dataclass(frozen=True, slots=True)
class Publishing:
    parts: Parts
    farewells: Farewells

    def publish(self, ref: str, specs: Sequence[PortSpec]) -> tuple[PortBinding, ...]:
        """All of the ports or none; what they have become.

        Raises NotFound, Invalid (nothing leads to the container), Conflict (taken, or the container has ended).
        """
        parts, records = self.parts, self.parts.records
        sandbox = self._living(ref)
        endpoints = records.endpoints_of(sandbox.id)
        added = wanted_ports.ports_of(sandbox, specs, endpoints, records, parts.ports, parts.config)
        after = replace(sandbox, ports=tuple(dict.fromkeys((*sandbox.ports, *added))))
        coming = superseded(self._elements(after), self._elements(sandbox))
        self.farewells.make_way((), added)
        held = plans.holds_ports(endpoints, records.networks)
        if held:
            parts.ports.reserve(added)
        try:
            parts.store.put(sandbox=after)
            parts.kernel.ensure(coming)
            if held:
                parts.ports.aim(added, *plans.targets(endpoints, records.networks))
        except BaseException:
            self._take_back(sandbox, added if held else (), coming)
            raise
        records.put_sandbox(after)
        if held:
            records.holding.add(sandbox.id)
        self._emit("publish", after, added)
        return added

    def unpublish(self, ref: str, choices: Sequence[PortChoice] | None) -> tuple[PortBinding, ...]:
        """Take back the ports that are chosen, or all (None); connections through them end. What went.

        Raises NotFound for a choice that no published port of the container answers to: then all of them stay.
        """
        parts, records = self.parts, self.parts.records
        sandbox = self._living(ref)
        gone = sandbox.ports if choices is None else _chosen(sandbox, choices)
        left = dict.fromkeys(sandbox.ports)
        for port in gone:
            del left[port]
        after = replace(sandbox, ports=tuple(left))
        leaving = superseded(self._elements(sandbox), self._elements(after))
        parts.store.put(sandbox=after)
        records.put_sandbox(after)
        if gone:
            self._emit("unpublish", after, gone)
        held = gone if sandbox.id in records.holding else ()
        if not after.ports:
            records.holding.discard(sandbox.id)
        go_through(
            lambda: parts.kernel.remove(leaving),
            lambda: parts.ports.release(held),
            lambda: parts.kernel.forget_flows(ports=gone),
        )
        return gone

    def _living(self, ref: str) -> Sandbox:
        sandbox = self.parts.records.sandbox(ref)
        if sandbox.exit is not None:
            raise Conflict(f"container {sandbox.name!r} has exited: no port leads to it any more")
        stacks.check_own(sandbox, self.parts.records)
        return sandbox

    def _elements(self, sandbox: Sandbox) -> Plan:
        records = self.parts.records
        return plans.sandbox_elements(sandbox, records.endpoints_of(sandbox.id), records.networks)

    def _take_back(self, sandbox: Sandbox, added: Sequence[PortBinding], coming: Plan) -> None:
        try:
            go_through(
                lambda: self.parts.store.put(sandbox=sandbox),
                lambda: self.parts.kernel.remove(coming),
                lambda: self.parts.ports.release(added),
            )
        except Exception:
            _log.exception("cannot take everything back; the next audit will")

    def _emit(self, action: str, sandbox: Sandbox, ports: Sequence[PortBinding]) -> None:
        shown = " ".join(_shown(port) for port in ports)
        self.parts.events.emit_container(action, sandbox, ports=shown)


def _chosen(sandbox: Sandbox, choices: Sequence[PortChoice]) -> tuple[PortBinding, ...]:
    found: dict[PortBinding, None] = {}
    behind: dict[tuple[Proto, int], list[PortBinding]] = {}
    for port in sandbox.ports:  # both may be thousands
        behind.setdefault((port.proto, port.container_port), []).append(port)
    for choice in choices:
        candidates = behind.get((choice.proto, choice.container_port), ())
        matching = [port for port in candidates if choice.matches(port)]
        if not matching:
            there = ", ".join(map(_shown, sandbox.ports[:5])) + (", …" if len(sandbox.ports) > 5 else "")
            known = f"it publishes {there}" if there else "it publishes none"
            raise NotFound(f"container {sandbox.name!r} publishes no port {choice}; {known}")
        found.update(dict.fromkeys(matching))
    return tuple(found)


def _shown(port: PortBinding) -> str:
    where = "" if port.host_ip is None else f"[{port.host_ip}]:" if port.host_ip.version == 6 else f"{port.host_ip}:"
    return f"{where}{port.host_port}->{port.container_port}/{port.proto}"
