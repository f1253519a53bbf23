"""Ports of the host that containers hold: reserved, aimed at them, let go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from weft.engine import plans
from weft.engine.parts import Parts
from weft.model import Endpoint, Sandbox


@dataclass(frozen=True, slots=True)
class Holding:
    parts: Parts

    def reserve(self, sandbox: Sandbox) -> None:
        """Raises Conflict if somebody else has one of them."""
        self.parts.ports.reserve(sandbox.ports)
        self.parts.records.holding.add(sandbox.id)

    def aim(self, sandbox: Sandbox, endpoints: Sequence[Endpoint]) -> None:
        """Where they lead, if the kernel cannot lead them there."""
        if sandbox.id in self.parts.records.holding:
            self.parts.ports.aim(sandbox.ports, *plans.targets(endpoints, self.parts.records.networks))

    def release(self, sandbox: Sandbox) -> None:
        """If it has any of the host's: others may have ports of the same numbers."""
        if sandbox.id in self.parts.records.holding:
            self.parts.records.holding.discard(sandbox.id)
            self.parts.ports.release(sandbox.ports)
