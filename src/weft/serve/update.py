"""The native API's request for a network to be edited in place."""

from __future__ import annotations

from dataclasses import dataclass

from weft.engine.updating import Updating
from weft.engine.worker import Worker
from weft.serve import convert, types
from weft.serve.routes import Call, Route


@dataclass(frozen=True, slots=True)
class Update:
    updating: Updating
    worker: Worker

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(
                method="PATCH",
                path="/networks/{ref}",
                handler=self.update_network,
                request=types.NetworkUpdate,
                answer=types.Network,
                summary="Change a network in place, with whoever is on it; all or nothing",
            ),
        )

    async def update_network(self, call: Call) -> types.Network:
        change = convert.network_change(call.body)
        return convert.network_answer(await self.worker.call(self.updating.update, call.ref, change))
