"""The native API's request about a container's place on a network that it is on already."""

from __future__ import annotations

from dataclasses import dataclass

from weft.engine.adjusting import Adjusting
from weft.engine.worker import Worker
from weft.serve import convert, types
from weft.serve.routes import Call, Route


@dataclass(frozen=True, slots=True)
class Adjust:
    adjusting: Adjusting
    worker: Worker

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(
                method="POST",
                path="/networks/{ref}/adjust",
                handler=self.adjust,
                request=types.Adjust,
                answer=types.Endpoint,
                summary="Change options of a container's place on a network while it is there",
            ),
        )

    async def adjust(self, call: Call) -> types.Endpoint:
        asked: types.Adjust = call.body
        endpoint = await self.worker.call(self.adjusting.adjust, call.ref, asked.container, asked.options)
        records = self.adjusting.parts.records
        return convert.endpoint_answer(records.sandboxes[endpoint.sandbox], endpoint, records)
