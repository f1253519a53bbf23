"""Routes that explain and examine. They read; only `fix` changes anything, and only what is weft's own."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

from weft.engine.doctor import Doctor
from weft.engine.explain import Explainer, nobody
from weft.engine.reach import Ways
from weft.engine.worker import Worker
from weft.errors import Invalid
from weft.explain.container import explain_container
from weft.explain.explanation import Explanation
from weft.explain.health.finding import Report
from weft.explain.network import explain_network
from weft.explain.reach.facts import Reach
from weft.explain.reach.walks import walk
from weft.serve.routes import Call, Route


@dataclass(frozen=True, slots=True)
class Diagnose:
    explainer: Explainer
    doctor: Doctor
    ways: Ways
    worker: Worker

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(
                method="GET",
                path="/containers/{ref}/explain",
                handler=self.explain_container,
                answer=Explanation,
                summary="What a container is made of in the kernel, each thing checked, with the commands for it",
            ),
            Route(
                method="GET",
                path="/networks/{ref}/explain",
                handler=self.explain_network,
                answer=Explanation,
                summary="What a network is made of in the kernel, each thing checked, with the commands for it",
            ),
            Route(
                method="GET",
                path="/reach",
                handler=self.reach,
                answer=Reach,
                query=("from", "to"),
                summary="Why a packet from one place arrives at another, or does not, step by step",
            ),
            Route(
                method="GET",
                path="/doctor",
                handler=self.examine,
                answer=Report,
                summary="What is wrong with the host and with weft's own state, why, and what mends it",
            ),
            Route(
                method="POST",
                path="/doctor/fix",
                handler=self.fix,
                answer=Report,
                summary="Put right what is weft's own; what is found afterwards",
            ),
        )

    async def explain_container(self, call: Call) -> Explanation:
        facts, ask = await self.worker.call(self.explainer.container, call.ref)
        # The name server may be silent for a second: others' requests need not wait for that.
        answers = await asyncio.to_thread(ask)
        return explain_container(replace(facts, answers=answers))

    async def explain_network(self, call: Call) -> Explanation:
        return explain_network(await self.worker.call(self.explainer.network, call.ref))

    async def reach(self, call: Call) -> Reach:
        for name in ("from", "to"):
            if not call.query.get(name):
                raise Invalid(f"{name}: give a container, or 'host' or 'outside'; to may have a port: db:5432")
        facts, ask = await self.worker.call(self.ways.way, call.query["from"], call.query["to"])
        answers = await asyncio.to_thread(ask)
        if facts.asked.name and facts.source.kind == "container":
            silent = answers is None and ask is not nobody
            said = None if answers is None else tuple(answers[facts.asked.name])
            facts = replace(facts, answers=said, name_server=not silent)
        return walk(facts)

    async def examine(self, call: Call) -> Report:
        examination = self.doctor.examination()
        for piece in examination.pieces():
            await self.worker.call(piece)
        await asyncio.to_thread(examination.ask)
        return examination.report()

    async def fix(self, call: Call) -> Report:
        for piece in self.doctor.repairs():
            await self.worker.call(piece)
        return await self.examine(call)
