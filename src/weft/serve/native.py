"""weft's own API, under /weft/v1: one short handler per route.

What changes something goes through the engine's worker; what only reads looks at the records from here.
"""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncGenerator
from dataclasses import dataclass

import msgspec

from weft import __version__
from weft.engine.controller import Controller
from weft.engine.leasing import Leasing
from weft.engine.parts import Parts
from weft.engine.specs import ContainerSpec
from weft.engine.worker import Worker
from weft.errors import Invalid, Unavailable, WeftError
from weft.model import Sandbox
from weft.serve import convert, counters, openapi, types
from weft.serve.lives import Lives
from weft.serve.routes import Call, Route
from weft.serve.watch import Watch, history_and_news

PREFIX = "/weft/v1"

_encode = msgspec.json.encode


@dataclass(frozen=True, slots=True)
class Native:
    controller: Controller
    parts: Parts
    worker: Worker
    leasing: Leasing
    more: tuple[Route, ...] = ()
    """Routes of others under the same prefix."""

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(
                method="GET",
                path="/ping",
                handler=self.ping,
                answer=types.Ping,
                summary="Whether weftd is there",
            ),
            Route(method="GET", path="/openapi.json", handler=self.openapi, summary="This API as an OpenAPI document"),
            *self._network_routes(),
            *self._container_routes(),
            Route(
                method="GET",
                path="/events",
                streamer=self.events,
                answer=types.Event,
                query=("since", "until", "follow"),
                summary="What happens, one JSON document a line",
            ),
            *self.more,
        )

    def _network_routes(self) -> tuple[Route, ...]:
        return (
            Route(
                method="POST",
                path="/networks",
                handler=self.create_network,
                request=types.NetworkCreate,
                answer=types.Network,
                status=201,
                summary="Make a network",
            ),
            Route(
                method="GET",
                path="/networks",
                handler=self.list_networks,
                answer=list[types.Network],
                summary="All networks",
            ),
            Route(
                method="GET",
                path="/networks/{ref}",
                handler=self.inspect_network,
                answer=types.NetworkDetail,
                summary="A network with its endpoints",
            ),
            Route(
                method="DELETE",
                path="/networks/{ref}",
                handler=self.remove_network,
                status=204,
                summary="Remove a network that no container is on",
            ),
            Route(
                method="POST",
                path="/networks/prune",
                handler=self.prune_networks,
                answer=types.Pruned,
                summary="Remove every network that no container is on",
            ),
            Route(
                method="POST",
                path="/networks/{ref}/connect",
                handler=self.connect,
                request=types.Connect,
                answer=types.Endpoint,
                summary="Put a container on a network",
            ),
            Route(
                method="POST",
                path="/networks/{ref}/disconnect",
                handler=self.disconnect,
                request=types.Disconnect,
                status=204,
                summary="Take a container off a network",
            ),
        )

    def _container_routes(self) -> tuple[Route, ...]:
        return (
            Route(
                method="POST",
                path="/containers",
                handler=self.create_container,
                request=types.ContainerCreate,
                answer=types.Container,
                status=201,
                summary="Make a container: namespace, networks, names and ports in one go; its process is not started",
            ),
            Route(
                method="GET",
                path="/containers",
                handler=self.list_containers,
                answer=list[types.Container],
                query=("all",),
                summary="The containers that live; with all=1 also those that ended",
            ),
            Route(
                method="GET",
                path="/containers/{ref}",
                handler=self.inspect_container,
                answer=types.Container,
                summary="A container",
            ),
            Route(
                method="DELETE",
                path="/containers/{ref}",
                handler=self.remove_container,
                query=("force",),
                status=204,
                summary="Take a container off its networks and forget it; with force=1 even while its process runs",
            ),
            Route(
                method="POST",
                path="/containers/{ref}/start",
                handler=self.start,
                answer=types.Container,
                summary="Start the container's process",
            ),
            Route(
                method="POST",
                path="/containers/{ref}/kill",
                handler=self.kill,
                request=types.Kill,
                optional=True,
                status=204,
                summary="Send a signal to the container's process",
            ),
            Route(
                method="POST",
                path="/containers/{ref}/stop",
                handler=self.stop,
                request=types.Stop,
                optional=True,
                status=204,
                waits=True,
                summary="SIGTERM, and SIGKILL after a while; returns when it has ended",
            ),
            Route(
                method="POST",
                path="/containers/{ref}/wait",
                handler=self.wait,
                answer=types.Ended,
                waits=True,
                summary="Returns when the container has ended",
            ),
            Route(
                method="POST",
                path="/containers/{ref}/rename",
                handler=self.rename,
                request=types.Rename,
                answer=types.Container,
                summary="Give the container another name, by which neighbours find it from then on",
            ),
            Route(
                method="GET",
                path="/containers/{ref}/stats",
                handler=self.stats,
                answer=types.Stats,
                summary="What passed through the container's interfaces",
            ),
        )

    async def ping(self, call: Call) -> types.Ping:
        return types.Ping(version=__version__, pid=os.getpid(), ready=True)

    async def openapi(self, call: Call) -> object:
        return openapi.document(self.routes(), prefix=PREFIX)

    # Networks

    async def create_network(self, call: Call) -> types.Network:
        async with self.leasing.network(convert.network_spec(call.body)) as spec:
            network = await self.worker.call(self.controller.networks.create, spec)
        return convert.network_answer(network)

    async def list_networks(self, call: Call) -> list[types.Network]:
        networks = list(self.parts.records.networks.values())
        return [convert.network_answer(network) for network in networks]

    async def inspect_network(self, call: Call) -> types.NetworkDetail:
        return convert.network_detail(self.parts.records.network(call.ref), self.parts)

    async def remove_network(self, call: Call) -> None:
        await self.worker.call(self.controller.networks.remove, call.ref)

    async def prune_networks(self, call: Call) -> types.Pruned:
        return types.Pruned(deleted=await self.worker.call(self.controller.networks.prune))

    async def connect(self, call: Call) -> types.Endpoint:
        asked: types.Connect = call.body
        async with self.leasing.endpoint(asked.container, convert.connect_spec(call.ref, asked)) as spec:
            endpoint = await self.worker.call(self.controller.connect, call.ref, asked.container, spec)
        return convert.endpoint_answer(self.parts.records.sandboxes[endpoint.sandbox], endpoint, self.parts.records)

    async def disconnect(self, call: Call) -> None:
        asked: types.Disconnect = call.body
        await self.worker.call(self.controller.disconnect, call.ref, asked.container, force=asked.force)

    # Containers

    async def create_container(self, call: Call) -> types.Container:
        async with self.leasing.container(convert.container_spec(call.body)) as spec:
            sandbox = await self.worker.call_briefly(self._create, spec)
        return convert.container_answer(sandbox, self.parts)

    def _create(self, spec: ContainerSpec) -> Sandbox:
        sandbox = self.controller.create_container(spec)
        if sandbox.process is None:
            return sandbox
        try:
            self.parts.runtime.prepare(sandbox.id)
        except (OSError, WeftError) as error:
            self.controller.remove_container(sandbox.id, force=True)
            if isinstance(error, WeftError):
                raise
            raise Unavailable(f"cannot make the container's console: {error.strerror} ({error.filename})") from error
        return sandbox

    async def list_containers(self, call: Call) -> list[types.Container]:
        ended_too = call.flag("all")
        sandboxes = list(self.parts.records.sandboxes.values())
        return [convert.container_answer(s, self.parts) for s in sandboxes if ended_too or s.exit is None]

    async def inspect_container(self, call: Call) -> types.Container:
        return convert.container_answer(self.parts.records.sandbox(call.ref), self.parts)

    async def remove_container(self, call: Call) -> None:
        # Ending a process takes its time; letting go of a namespace does not.
        has_process = self.parts.records.sandbox(call.ref).process is not None
        run = self.worker.call if has_process else self.worker.call_briefly
        await run(self.controller.remove_container, call.ref, force=call.flag("force"))

    async def start(self, call: Call) -> types.Container:
        sandbox = await self.worker.call(self.controller.start, call.ref)
        return convert.container_answer(sandbox, self.parts)

    async def rename(self, call: Call) -> types.Container:
        asked: types.Rename = call.body
        sandbox = await self.worker.call(self.controller.rename_container, call.ref, asked.name)
        return convert.container_answer(sandbox, self.parts)

    async def kill(self, call: Call) -> None:
        asked: types.Kill = call.body
        if not 1 <= asked.signal < signal.NSIG:
            raise Invalid(f"signal: there is no signal {asked.signal}")
        await self.worker.call(self.controller.signal, call.ref, asked.signal)

    async def stop(self, call: Call) -> None:
        asked: types.Stop = call.body
        sandbox = self.parts.records.sandbox(call.ref)
        if sandbox.exit is not None:
            return
        await self._lives.stop(sandbox, patience=asked.timeout)

    async def wait(self, call: Call) -> types.Ended:
        with Watch(self.parts.events) as watch:
            return types.Ended(code=await self._lives.end(watch, self.parts.records.sandbox(call.ref)))

    @property
    def _lives(self) -> Lives:
        return Lives(self.controller, self.parts, self.worker)

    async def stats(self, call: Call) -> types.Stats:
        return counters.stats(self.parts.records.sandbox(call.ref), self.parts)

    # Events

    async def events(self, call: Call) -> AsyncGenerator[bytes, None]:
        news = history_and_news(
            self.parts.events,
            now=self.parts.clock.time(),
            since=call.number("since"),
            until=call.number("until"),
            follow=call.flag("follow"),
        )
        async for event in news:
            yield _encode(event) + b"\n"
