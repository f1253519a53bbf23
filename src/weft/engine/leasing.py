"""Addresses from the LAN's own DHCP server, for networks that want that: asked for before anything else is done.

A join waits here, not on the engine's worker, so that a slow server holds up that join alone. By the time the engine
hears of it, the address is known, and all goes on as with any other. What fails afterwards gives it back; so does
whoever leaves, and the next start for what a dead weftd had.

Called on the loop's thread.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from ipaddress import IPv4Address

from weft import names
from weft.dhcp.client import Grant, identity
from weft.drivers import claim_on_parent
from weft.drivers.parents import Uplink
from weft.engine import leased, nicknames, wanted
from weft.engine.acquiring import PATIENCE, Acquiring, Wish, no_answer
from weft.engine.aside import aside
from weft.engine.events import Event
from weft.engine.renewing import Renewing
from weft.engine.specs import ContainerSpec, EndpointSpec, NetworkSpec, PoolSpec
from weft.errors import Exhausted, Unavailable, WeftError
from weft.model import DhcpClient, Network
from weft.plan import Vlan

_log = logging.getLogger("weft.dhcp")


class Leasing:
    def __init__(self, acquiring: Acquiring, renewing: Renewing) -> None:
        self._acquiring = acquiring
        self._renewing = renewing
        self._parts = acquiring.parts
        self._worker = acquiring.worker
        self._servers = acquiring.servers
        self._coming: dict[str, str] = {}
        """The endpoints for which somebody is waiting, each with its network; ids."""
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Once the records are loaded: keep what endpoints use, give back the rest."""
        self._loop = asyncio.get_running_loop()
        self._parts.events.subscribe(self._on_event)
        self._look_again()

    # Networks

    @asynccontextmanager
    async def network(self, spec: NetworkSpec) -> AsyncIterator[NetworkSpec]:
        """With the subnet and the router that the server names, if it is to be asked; no address is taken.

        Raises Invalid, NotFound (no such link), Unavailable (no answer).
        """
        taken = self._parts.records.has_network(spec.name)  # the engine will say so, whatever servers do
        if spec.ipam == leased.DEFAULT or leased.knows_subnet(spec) or taken:
            yield spec
            return
        config = self._parts.config
        leased.check(spec, wanted.options_of(spec, config))
        uplink = wanted.uplink_of(spec, config)
        await self._worker.call(self._have_parent, uplink)
        try:
            yield self._with_offer(spec, await self._offer(spec, uplink.name))
        except BaseException:
            await self._worker.call(self._let_parent_go, uplink)
            raise

    def _have_parent(self, uplink: Uplink) -> None:
        kernel = self._parts.kernel
        kernel.check_link(*filter(None, (uplink.name, uplink.base)))
        if uplink.base:
            kernel.ensure((Vlan(uplink.name, uplink.base, uplink.tag),))

    def _let_parent_go(self, uplink: Uplink) -> None:
        networks = list(self._parts.records.networks.values())
        claims = [claim for network in networks if (claim := claim_on_parent(network)) is not None]
        if uplink.base and all(claim.parent != uplink.name for claim in claims):
            self._parts.kernel.remove((Vlan(uplink.name, uplink.base, uplink.tag),))

    async def _offer(self, spec: NetworkSpec, parent: str) -> Grant:
        """By a client that has never been seen: whoever is asked for by the parent's MAC may be the host itself."""
        ident = spec.id or names.new_id()
        who = identity(ident, names.mac_bytes(names.mac_of_endpoint(ident)), "")
        offer, other = await aside(
            self._servers.discover, parent, who, fits=lambda offer: offer.interface is not None, seconds=PATIENCE
        )
        if offer is None and other is not None:
            raise Unavailable(f"the DHCP server {other.server} on {parent} names no subnet: add it with --subnet")
        if offer is None:
            raise no_answer(parent, PATIENCE)
        return offer

    def _with_offer(self, spec: NetworkSpec, offer: Grant) -> NetworkSpec:
        asked = next(iter(leased.pools4(spec)), PoolSpec())
        assert offer.interface is not None
        pool = replace(asked, subnet=offer.interface.network, gateway=asked.gateway or offer.router)
        return replace(spec, pools=(pool, *(p for p in spec.pools if p is not asked)))

    # Joins

    @asynccontextmanager
    async def container(self, spec: ContainerSpec) -> AsyncIterator[ContainerSpec]:
        """With a lease for each network that needs one. What is asked for in this context may use them.

        Raises what `Acquiring.acquire` does, and what can be refused before a server is asked.
        """
        if not any(self._network(wish.network) for wish in spec.networks):
            yield spec
            return
        if spec.name is None:
            spec = replace(spec, name=nicknames.choose(self._parts.records.has_sandbox))
        name = wanted.wanted_name(spec, self._parts.records)
        async with self._leases(spec.networks, name) as wishes:
            yield replace(spec, networks=wishes)

    @asynccontextmanager
    async def endpoint(self, container_ref: str, spec: EndpointSpec) -> AsyncIterator[EndpointSpec]:
        """The same for a container that is there already."""
        if self._network(spec.network) is None:
            yield spec
            return
        name = self._parts.records.sandbox(container_ref).name
        async with self._leases((spec,), name) as wishes:
            yield wishes[0]

    @asynccontextmanager
    async def _leases(self, wishes: Sequence[EndpointSpec], name: str) -> AsyncIterator[tuple[EndpointSpec, ...]]:
        coming: list[str] = []
        try:
            found = await _all([self._leased(wish, name, coming) for wish in wishes])
            yield found
        finally:
            for ident in coming:
                self._coming.pop(ident, None)
            self._look_again()

    async def _leased(self, wish: EndpointSpec, name: str, coming: list[str]) -> EndpointSpec:
        network = self._network(wish.network)
        if network is None:
            return wish
        claim = claim_on_parent(network)
        assert claim is not None
        ident = names.new_id()
        if wanted.may_have_mac(wish, network, self._parts.records):
            mac = wanted.checked_mac(wish.mac) if wish.mac else names.mac_of_endpoint(ident)
        else:
            mac = (await aside(self._servers.mac_of, claim.parent)).hex(":")
            if claim.alone and network.id in self._coming.values():
                raise Exhausted(f"network {network.name!r} is passthru: another container is about to join it")
        coming.append(ident)
        self._coming[ident] = network.id
        who = DhcpClient(endpoint=ident, network=network.id, parent=claim.parent, mac=mac, hostname=name)
        asked = Wish() if wish.ipv4 is None else Wish(IPv4Address(wish.ipv4), only=True)
        return replace(wish, ipv4=None, lease=await self._acquiring.acquire(who, asked))

    def _network(self, ref: str) -> Network | None:
        """One whose addresses are leased."""
        if not self._parts.records.leased_networks:
            return None
        try:
            network = self._parts.records.network(ref)
        except WeftError:
            return None  # the engine will say so
        return network if network.ipam == leased.DHCP else None

    # What is there, and what has left

    def _on_event(self, event: Event) -> None:
        # When nobody waits any more: the namespace in which the address was has ended by then.
        if self._parts.records.dhcp_leases and event.type == "network" and event.action == "disconnect":
            self._worker.when_idle(self._look_again_soon)

    def _look_again_soon(self) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._look_again)

    def _look_again(self) -> None:
        self._renewing.look_again(self._coming)


async def _all(asking: Sequence[object]) -> tuple[EndpointSpec, ...]:
    """What all of them come to. When one fails the others are waited for: what they get is to be given back."""
    found = await asyncio.gather(*asking, return_exceptions=True)  # type: ignore[call-overload]
    for each in found:
        if isinstance(each, BaseException):
            raise each
    return tuple(found)
