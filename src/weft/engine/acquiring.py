"""Getting an address from a DHCP server: asked for, written down, checked, had; or a refusal that says what was heard.

Servers are asked on threads of their own (`aside`), so that a slow one holds up nobody but who waits for it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from ipaddress import IPv4Address

from weft.dhcp.client import Grant, Identity, Refusal, identity
from weft.engine.aside import aside
from weft.engine.lease_book import LeaseBook
from weft.engine.needs import LanServers
from weft.engine.parts import Parts
from weft.engine.worker import Worker
from weft.errors import Conflict, Unavailable, WeftError
from weft.model import DhcpClient, DhcpLease, Network
from weft.names import mac_bytes

PATIENCE = 10.0
"""Seconds that a join waits for a server."""
_REQUEST_SECONDS = 4.0
"""A server that has just made an offer answers sooner."""


@dataclass(frozen=True, slots=True)
class Wish:
    """An address that the server is asked for; with `only`, no other will do."""

    address: IPv4Address | None = None
    only: bool = False


@dataclass(frozen=True, slots=True)
class Acquiring:
    parts: Parts
    worker: Worker
    servers: LanServers
    book: LeaseBook

    async def acquire(self, who: DhcpClient, wish: Wish, *, seconds: float = PATIENCE) -> DhcpLease:
        """Raises Unavailable (nobody answers, or a server refuses), Conflict (what is offered will not do), NotFound.

        What is written down stays so in each case, to be given back.
        """
        end, refused = time.monotonic() + seconds, ""
        as_known = identity_of(who)
        while (left := end - time.monotonic()) > 0:
            offer = await self._offer(who, as_known, wish, left, refused)
            # From here on the server may think that we have it: let who comes after us give it back.
            await self.worker.call(self.book.put, lapsed(lease_of(who, offer, self._now())))
            wait = min(_REQUEST_SECONDS, max(0.5, end - time.monotonic()))
            reply = await aside(self.servers.request, who.parent, as_known, offer, seconds=wait)
            if isinstance(reply, Refusal):
                refused = f"the DHCP server {reply.server} refuses {offer.address}{_said(reply)}"
            elif reply is None:
                refused = f"the DHCP server {offer.server} offers {offer.address} and then says no more"
            elif await aside(self.servers.is_taken, who.parent, reply.address, as_known.mac):
                await aside(self.servers.decline, who.parent, as_known, reply.address, reply.server)
                refused = f"the DHCP server {reply.server} gives {reply.address}, which some machine there has already"
            else:
                lease = lease_of(who, reply, self._now())
                await self.worker.call(self.book.put, lease)
                return lease
        raise Unavailable(f"no address is to be had on {who.parent}: {refused}")

    async def _offer(self, who: DhcpClient, as_known: Identity, wish: Wish, seconds: float, refused: str) -> Grant:
        def fits(offer: Grant) -> bool:
            return not self._unfit(who, offer, wish)

        asked = time.monotonic()
        offer, other = await aside(
            self.servers.discover, who.parent, as_known, wanted=wish.address, fits=fits, seconds=seconds
        )
        if offer is not None:
            return offer
        if other is not None:
            said = f"the DHCP server {other.server} on {who.parent} offers {other.address}"
            raise Conflict(f"{said}, {self._unfit(who, other, wish)}")
        if refused:
            raise Unavailable(f"no address is to be had on {who.parent}: {refused}")
        raise no_answer(who.parent, time.monotonic() - asked)

    def _unfit(self, who: DhcpClient, offer: Grant, wish: Wish) -> str:
        """Why an offer will not do; empty if it will. Called on another thread: it only reads."""
        records = self.parts.records
        network = records.networks.get(who.network)
        if network is None:
            return "for a network that is no more"
        if wish.only and offer.address != wish.address:
            return f"not {wish.address}: leave out the address, or have the server reserve it for a MAC that you name"
        own = records.endpoints.get(who.endpoint)
        if own is not None and own.ipv4 is not None and own.ipv4.ip == offer.address:
            return ""
        return _unfit_for(network, offer) or self._clash(who, network, offer)

    def _clash(self, who: DhcpClient, network: Network, offer: Grant) -> str:
        records = self.parts.records
        for leases in records.leases(network.id):
            if offer.address in leases.pool.subnet:
                try:
                    leases.choose(offer.address)
                except WeftError as clash:
                    return f"but {clash.message.replace('address ', '', 1)} on network {network.name!r}"
        return ""

    def _now(self) -> float:
        return self.parts.clock.time()


def identity_of(who: DhcpClient) -> Identity:
    return identity(who.endpoint, mac_bytes(who.mac), who.hostname)


def lease_of(who: DhcpClient, grant: Grant, now: float) -> DhcpLease:
    return DhcpLease(
        client=who,
        address=grant.address,
        server=grant.server,
        server_mac=grant.server_mac.hex(":"),
        obtained=now,
        renew=now + grant.renew,
        rebind=now + grant.rebind,
        expires=now + grant.seconds,
    )


def lapsed(lease: DhcpLease) -> DhcpLease:
    """Not to be counted on any more, or not yet."""
    return replace(lease, renew=lease.obtained, rebind=lease.obtained, expires=lease.obtained)


def no_answer(parent: str, seconds: float) -> Unavailable:
    return Unavailable(
        f"no DHCP server answers on {parent}, asked for {seconds:.0f} s: there is none on that network, it cannot be "
        "reached, or it has no address left"
    )


def _unfit_for(network: Network, offer: Grant) -> str:
    subnet = network.pools_of(4)[0].subnet
    return "" if offer.address in subnet else f"which is not in the subnet {subnet} of network {network.name!r}"


def _said(refusal: Refusal) -> str:
    return f" ({refusal.text})" if refusal.text else ""
