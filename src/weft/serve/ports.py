"""The native API's requests about the ports of a container that is there already."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from weft.engine.publishing import Publishing
from weft.engine.worker import Worker
from weft.model import PortBinding
from weft.serve import convert, types
from weft.serve.routes import Call, Route


@dataclass(frozen=True, slots=True)
class Ports:
    publishing: Publishing
    worker: Worker

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(
                method="POST",
                path="/containers/{ref}/ports/publish",
                handler=self.publish,
                request=types.PortsPublish,
                answer=list[types.Port],
                summary="Publish more ports of a container, all or none; those that were added",
            ),
            Route(
                method="POST",
                path="/containers/{ref}/ports/unpublish",
                handler=self.unpublish,
                request=types.PortsUnpublish,
                optional=True,
                answer=list[types.Port],
                summary="Take published ports of a container back, all without a body; those that went",
            ),
        )

    async def publish(self, call: Call) -> list[types.Port]:
        specs = convert.port_specs(call.body)
        return self._shown(call.ref, await self.worker.call(self.publishing.publish, call.ref, specs))

    async def unpublish(self, call: Call) -> list[types.Port]:
        choices = convert.port_choices(call.body)
        return self._shown(call.ref, await self.worker.call(self.publishing.unpublish, call.ref, choices))

    def _shown(self, ref: str, ports: Sequence[PortBinding]) -> list[types.Port]:
        parts = self.publishing.parts
        shown = convert.shown_ports(parts.records.sandbox(ref), ports, parts)
        return [convert.port_answer(port) for port in shown]
