"""GET /containers/{ref}/stats: what passes through a container's interfaces. Nothing else is measured: it says zero."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

import msgspec

from weft.engine.parts import Parts
from weft.model import Sandbox
from weft.serve import counters
from weft.serve.docker.clock import rfc3339
from weft.serve.docker.dialect import Asked, Stream
from weft.serve.docker.finding import find_container
from weft.serve.docker.processes import pids_in
from weft.serve.lives import state_of
from weft.serve.routes import Route

_EVERY = 1.0
"""Seconds between two looks."""

_NO_TIME = {
    "cpu_usage": {"total_usage": 0, "usage_in_kernelmode": 0, "usage_in_usermode": 0},
    "throttling_data": {"periods": 0, "throttled_periods": 0, "throttled_time": 0},
}


@dataclass(frozen=True, slots=True)
class Counters:
    parts: Parts

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(method="GET", path="/containers/{ref}/stats", handler=self.stats, summary="A container's counters"),
        )

    async def stats(self, asked: Asked) -> Stream | dict[str, Any]:
        sandbox = find_container(self.parts, asked.ref)
        if "stream" in asked.query and not asked.yes("stream"):
            return await self._look(sandbox, 0.0)
        return Stream(chunks=self._looks(sandbox), content_type="application/json")

    async def _looks(self, sandbox: Sandbox) -> AsyncGenerator[bytes, None]:
        """Until the container is removed."""
        before = 0.0
        while sandbox.id in self.parts.records.sandboxes:
            now = self.parts.clock.time()
            yield msgspec.json.encode(await self._look(sandbox, before)) + b"\n"
            before = now
            await asyncio.sleep(_EVERY)

    async def _look(self, sandbox: Sandbox, before: float) -> dict[str, Any]:
        sandbox = self.parts.records.sandboxes.get(sandbox.id, sandbox)
        runs = state_of(sandbox, self.parts) == "running"
        pids = await asyncio.to_thread(lambda: sum(1 for _ in pids_in(sandbox, self.parts))) if runs else 0
        interfaces = counters.stats(sandbox, self.parts).interfaces
        return {
            "name": f"/{sandbox.name}",
            "id": sandbox.id,
            "read": rfc3339(self.parts.clock.time() if runs else 0),
            "preread": rfc3339(before),
            "pids_stats": {"current": pids} if pids else {},
            "num_procs": 0,
            "cpu_stats": {**_NO_TIME, "system_cpu_usage": 0, "online_cpus": os.cpu_count() or 1},
            "precpu_stats": _NO_TIME,
            "memory_stats": {},
            "blkio_stats": {},
            "storage_stats": {},
            "networks": {
                interface.name: {
                    f"{way}_{what}": getattr(interface, f"{way}_{what}")
                    for way in ("rx", "tx")
                    for what in ("bytes", "packets", "errors", "dropped")
                }
                for interface in interfaces
            },
        }
