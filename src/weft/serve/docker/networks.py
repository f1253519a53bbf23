"""/networks: what is asked of them, and how they are shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from msgspec import Raw
from msgspec.json import encode

from weft.drivers import DRIVERS
from weft.engine.controller import Controller
from weft.engine.leasing import Leasing
from weft.engine.networks import DEFAULT_NETWORK
from weft.engine.parts import Parts
from weft.engine.presets import Preset, Presets
from weft.engine.specs import NetworkSpec, PoolSpec
from weft.engine.worker import Worker
from weft.errors import Conflict, Invalid, NotFound
from weft.model import Endpoint, Network, Pool
from weft.names import SHORT
from weft.serve.docker import filters, predefined
from weft.serve.docker.clock import rfc3339
from weft.serve.docker.dialect import Asked, Refused, Reply, Version
from weft.serve.docker.filters import Filters
from weft.serve.docker.finding import find_container
from weft.serve.docker.network_requests import (
    ConnectAsked,
    DisconnectAsked,
    EndpointAsked,
    NetworkAsked,
    endpoint_spec,
    network_spec,
    refuse_what_is_not_here,
)
from weft.serve.routes import Route

LIST_FILTERS = ("dangling", "driver", "id", "label", "name", "scope", "type")
PRUNE_FILTERS = ("label", "label!", "until")

WITH_IPV4 = Version(1, 48)
"""From here on a network says whether it has IPv4."""

WITH_STATUS = Version(1, 52)
"""From here on a network says how much of its subnets is used, and a list says nothing of who is on its networks."""

MOST_ENCODED = 4096


@dataclass(slots=True)
class Networks:
    controller: Controller
    parts: Parts
    worker: Worker
    presets: Presets
    leasing: Leasing
    pruning: bool = False
    encoded: dict[tuple[str, bool, bool], tuple[Network, Raw]] = field(default_factory=dict)

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(method="GET", path="/networks", handler=self.list_all, summary="List networks"),
            Route(
                method="POST",
                path="/networks/create",
                handler=self.create,
                request=NetworkAsked,
                status=201,
                summary="Create a network",
            ),
            Route(method="POST", path="/networks/prune", handler=self.prune, summary="Delete unused networks"),
            Route(method="GET", path="/networks/{ref}", handler=self.inspect, summary="Inspect a network"),
            Route(method="DELETE", path="/networks/{ref}", handler=self.remove, summary="Remove a network"),
            Route(
                method="POST",
                path="/networks/{ref}/connect",
                handler=self.connect,
                request=ConnectAsked,
                summary="Connect a container to a network",
            ),
            Route(
                method="POST",
                path="/networks/{ref}/disconnect",
                handler=self.disconnect,
                request=DisconnectAsked,
                summary="Disconnect a container from a network",
            ),
        )

    # Handlers

    async def list_all(self, asked: Asked) -> list[Raw]:
        wanted = filters.read_filters(asked.query.get("filters"), LIST_FILTERS)
        fits = _fitting(wanted, self._is_used)
        return [self._encoded(network, asked.version) for network in self._all() if fits(network)]

    async def inspect(self, asked: Asked) -> dict[str, Any]:
        network = self._find(asked.ref)
        scope = asked.query.get("scope", "")
        if scope and scope != "local":
            raise Refused(404, f"network {asked.ref} not found")
        members = {endpoint.sandbox: self._member(endpoint) for endpoint in self.parts.records.endpoints_on(network.id)}
        document = self._document(network, asked.version, members)
        preset = self.presets.named(network.name)
        if preset is None and asked.version >= WITH_STATUS:
            document["Status"] = {"IPAM": {"Subnets": self._use(network)}}
        return document

    async def create(self, asked: Asked) -> dict[str, str]:
        body: NetworkAsked = asked.body
        refuse_what_is_not_here(body)
        name = body.name or ""
        if predefined.is_reserved(name):
            raise Refused(403, f"operation is not permitted on predefined {name} network")
        if self._is_taken(name):
            raise Refused(409, f"network with name {name} already exists")
        spec = network_spec(body)
        try:
            if body.config_only:
                return {"Id": (await self.worker.call(self.presets.create, spec)).id, "Warning": ""}
            if spec.preset:
                spec = self._applied(spec)
            async with self.leasing.network(spec) as settled:
                network = await self.worker.call(self.controller.networks.create, settled)
        except Conflict as clash:
            if self._is_taken(name):  # another request was quicker
                raise Refused(409, f"network with name {name} already exists") from None
            if "overlaps" not in clash.message:
                raise Refused(403, clash.message) from None  # a parent, or an address of the host's
            message = f"invalid pool request: Pool overlaps with other one on this address space: {clash.message}"
            raise Refused(403, message) from None
        except NotFound as unknown:
            if any(driver.name == spec.driver for driver in DRIVERS):
                raise Refused(404, unknown.message) from None  # the parent
            raise Refused(404, f'plugin "{body.driver}" not found: {unknown.message}') from None
        return {"Id": network.id, "Warning": ""}

    async def remove(self, asked: Asked) -> None:
        network = self._find(asked.ref)
        if predefined.is_name(network.name):
            raise Refused(403, f"{network.name} is a pre-defined network and cannot be removed")
        if self.presets.named(network.name) is not None:
            await self.worker.call(self.presets.remove, network.name)
            return
        try:
            await self.worker.call(self.controller.networks.remove, network.id)
        except Conflict:
            users = (
                f'name:"{self.parts.records.sandboxes[endpoint.sandbox].name}" id:"{endpoint.id[:SHORT]}"'
                for endpoint in self.parts.records.endpoints_on(network.id)
            )
            raise Refused(403, f"network {network.name} has active endpoints ({', '.join(users)})") from None

    def _is_taken(self, name: str) -> bool:
        return self.parts.records.has_network(name) or self.presets.named(name) is not None

    def _applied(self, spec: NetworkSpec) -> NetworkSpec:
        try:
            return self.presets.applied(spec)
        except NotFound:
            raise Refused(404, f'configuration network "{spec.preset}" does not exist') from None
        except Invalid as clash:
            raise Refused(403, clash.message) from None

    async def prune(self, asked: Asked) -> dict[str, Any]:
        wanted = filters.read_filters(asked.query.get("filters"), PRUNE_FILTERS)
        if self.pruning:
            raise Refused(409, "a prune operation is already running")
        self.pruning = True
        try:
            deleted = await self.worker.call(self._prune, wanted)
        finally:
            self.pruning = False
        self.parts.events.emit("network", "prune", "", "", reclaimed="0")
        return {"NetworksDeleted": deleted or None}

    def _prune(self, wanted: Filters) -> list[str]:
        now = self.parts.clock.time()
        before = min((filters.read_time(text, now) for text in wanted.get("until", ())), default=now)
        deleted = []
        for network in list(self.parts.records.networks.values()):
            spared = (
                predefined.is_name(network.name)
                or self._is_used(network)
                or network.created > before
                or not filters.labels_fit(network.labels, wanted.get("label", ()))
                or any(filters.labels_fit(network.labels, (label,)) for label in wanted.get("label!", ()))
            )
            if not spared:
                self.controller.networks.remove(network.id)
                deleted.append(network.name)
        return deleted

    async def connect(self, asked: Asked) -> Reply:
        body: ConnectAsked = asked.body
        ref = body.container or ""
        network, name = self._find(asked.ref), self._container(ref)
        self._refuse_to_connect(network)
        spec = endpoint_spec(network.name, body.endpoint_config or EndpointAsked())
        try:
            # By name: the default network may have yet to be made.
            async with self.leasing.endpoint(ref, spec) as settled:
                await self.worker.call(self.controller.connect, network.name, ref, settled)
        except Conflict as clash:
            on_it = {endpoint.network for endpoint in self.parts.records.endpoints_of(self._id(ref))}
            if network.id in on_it:
                message = f"endpoint with name {name} already exists in network {network.name}"
                raise Refused(403, message) from None
            raise Refused(403, clash.message) from None
        return Reply()

    async def disconnect(self, asked: Asked) -> Reply:
        body: DisconnectAsked = asked.body
        ref, force = body.container or "", bool(body.force)
        network = self._find(asked.ref)
        self._refuse_to_connect(network)
        name = ref if force else self._container(ref)
        try:
            await self.worker.call(self.controller.disconnect, network.id, ref, force=force)
        except NotFound:
            raise Refused(404, f"container {name} is not connected to network {network.name}") from None
        return Reply()

    def _refuse_to_connect(self, network: Network) -> None:
        predefined.refuse_to_connect(network)
        if self.presets.named(network.name) is not None:
            raise Refused(403, f"cannot connect to network {network.name}: it only holds configuration")

    # What there is

    def _all(self) -> Iterator[Network]:
        yield from predefined.networks(self.parts)
        for network in list(self.parts.records.networks.values()):
            if network.name != DEFAULT_NETWORK:
                yield network
        for preset in self.presets.all():
            yield _as_network(preset)

    def _find(self, ref: str) -> Network:
        """By name, id, or the beginning of an id. Raises Refused."""
        there = list(self._all())
        for network in there:
            if ref in (network.name, network.id):
                return network
        found = [network for network in there if ref and network.id.startswith(ref)]
        if not found:
            raise Refused(404, f"network {ref} not found")
        if len(found) > 1:
            raise Refused(400, f"network {ref} is ambiguous ({len(found)} matches found based on ID prefix)")
        return found[0]

    def _container(self, ref: str) -> str:
        """Its name. Raises Refused."""
        return find_container(self.parts, ref).name

    def _id(self, ref: str) -> str:
        return self.parts.records.sandbox(ref).id

    def _is_used(self, network: Network) -> bool:
        return bool(self.parts.records.endpoints_on(network.id))

    # Documents

    def _encoded(self, network: Network, version: Version) -> Raw:
        """A network's document ready to be sent: records do not change, and lists are asked for all the time."""
        key = (network.id, version >= WITH_IPV4, version >= WITH_STATUS)
        kept = self.encoded.get(key)
        if kept is None or kept[0] is not network:
            if len(self.encoded) > MOST_ENCODED:
                self.encoded.clear()
            members: dict[str, Any] | None = None if version >= WITH_STATUS else {}
            kept = self.encoded[key] = (network, Raw(encode(self._document(network, version, members))))
        return kept[1]

    def _document(self, network: Network, version: Version, members: Mapping[str, Any] | None) -> dict[str, Any]:
        preset = self.presets.named(network.name)
        to_be = preset is None and not network.pools  # one of Docker's own, which nobody is on yet
        ipv4 = preset.spec.ipv4 if preset else bool(network.pools_of(4)) or to_be
        families = {"EnableIPv4": ipv4} if version >= WITH_IPV4 else {}
        return {
            "Name": network.name,
            "Id": network.id,
            "Created": rfc3339(network.created),
            "Scope": "local",
            "Driver": network.driver,
            **families,
            "EnableIPv6": preset.spec.ipv6 if preset else bool(network.pools_of(6)),
            "IPAM": {
                "Driver": preset.spec.ipam if preset else network.ipam,
                "Options": {},
                "Config": [_pool(pool) for pool in (preset.spec.pools if preset else network.pools)],
            },
            "Internal": network.internal,
            "Attachable": network.attachable,
            "Ingress": False,
            "ConfigFrom": {"Network": network.preset},
            "ConfigOnly": preset is not None,
            **({} if members is None else {"Containers": members}),
            "Options": {**network.options, **network.shown_options},
            "Labels": dict(network.labels),
        }

    def _member(self, endpoint: Endpoint) -> dict[str, str]:
        sandbox = self.parts.records.sandboxes.get(endpoint.sandbox)
        return {
            "Name": sandbox.name if sandbox else "",
            "EndpointID": endpoint.id,
            "MacAddress": endpoint.mac,
            "IPv4Address": str(endpoint.ipv4 or ""),
            "IPv6Address": str(endpoint.ipv6 or ""),
        }

    def _use(self, network: Network) -> dict[str, dict[str, int]]:
        """How many addresses of each subnet are held, and how many can still be given out."""
        use = {}
        for leases in self.parts.records.leases(network.id):
            in_use, available = leases.counts()
            use[str(leases.pool.subnet)] = {"IPsInUse": in_use, "DynamicIPsAvailable": available}
        return use


def _as_network(preset: Preset) -> Network:
    spec = preset.spec
    return Network(
        id=preset.id,
        name=spec.name,
        driver="null",
        pools=(),
        options=spec.options,
        shown_options=spec.shown_options,
        labels=spec.labels,
        created=preset.created,
    )


def _pool(pool: Pool | PoolSpec) -> dict[str, Any]:
    document: dict[str, Any] = {"Subnet": str(pool.subnet)} if pool.subnet is not None else {}
    if pool.ip_range is not None:
        document["IPRange"] = str(pool.ip_range)
    if pool.gateway is not None and not (isinstance(pool, Pool) and pool.gateway_chosen):
        document["Gateway"] = str(pool.gateway)
    if pool.aux:
        document["AuxiliaryAddresses"] = {name: str(address) for name, address in pool.aux.items()}
    return document


def _fitting(wanted: Filters, is_used: Callable[[Network], bool]) -> Callable[[Network], bool]:
    """Whether a network passes all filters. Raises Refused for values that mean nothing."""
    dangling = filters.read_bool("dangling", wanted.get("dangling", ()))
    for kind in wanted.get("type", ()):
        if kind not in ("builtin", "custom"):
            raise Refused(400, f"invalid filter: 'type'='{kind}'")

    def fits(network: Network) -> bool:
        builtin = predefined.is_name(network.name)
        checks: Mapping[str, Callable[[str], bool]] = {
            "driver": lambda value: network.driver == value,
            "id": lambda value: filters.matches(value, network.id),
            "name": lambda value: filters.matches(value, network.name),
            "scope": lambda value: value == "local",
            "type": lambda value: (value == "builtin") == builtin,
        }
        return (
            all(any(check(v) for v in wanted[name]) for name, check in checks.items() if wanted.get(name))
            and filters.labels_fit(network.labels, wanted.get("label", ()))
            and (dangling is None or (not builtin and not is_used(network)) == dangling)
        )

    return fits
