"""Leases of DHCP servers, kept as long as their endpoints are there, and given back afterwards.

As RFC 2131, 4.4.5 has it: at T1 the server is asked to prolong, from T2 on whichever server there is. An address whose
lease has run out must not be used any longer: it is taken from the container, and servers are asked for another until
one gives it. Times are those of the clock on the wall, so that they hold while weftd, or the host, is away.

On the loop's thread; what changes records or kernel goes to the engine's worker, what waits for servers aside.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Coroutine
from dataclasses import replace
from functools import partial
from ipaddress import IPv4Interface

from weft.dhcp.client import Grant, Refusal
from weft.engine.acquiring import Acquiring, Wish, identity_of, lapsed, lease_of
from weft.engine.aside import aside
from weft.engine.readdressing import Readdressing
from weft.errors import WeftError
from weft.model import DhcpClient, DhcpLease, Endpoint
from weft.names import mac_bytes

_log = logging.getLogger("weft.dhcp")

_ASK_SECONDS = 5.0
"""For which a server is asked at a time."""
_LEAST_PAUSE = 60.0
"""Seconds between two attempts (RFC 2131, 4.4.5), unless the next stage begins before."""
_PAUSES = (1.0, 5.0, 15.0, 30.0)
"""Seconds between attempts to get an address again, the last of them from then on."""
_NAP = 30.0
"""Seconds until the clock on the wall is looked at again: it may be set, and the host may sleep."""


class Renewing:
    def __init__(self, acquiring: Acquiring, readdressing: Readdressing) -> None:
        self._acquiring = acquiring
        self._readdressing = readdressing
        self._book = acquiring.book
        self._worker = acquiring.worker
        self._records = acquiring.parts.records
        self._clock = acquiring.parts.clock
        self._keeping: dict[str, asyncio.Task[None]] = {}
        self._returning: dict[str, asyncio.Task[None]] = {}

    def look_again(self, coming: Collection[str]) -> None:
        """At all leases: some endpoint may have joined or left. `coming`: ids of those that may yet be there."""
        for ident in self._book.ids():
            if self._book.owner(ident) is not None:
                if ident not in self._keeping:
                    _start(self._keeping, ident, self._keep(ident))
            elif ident not in coming and ident not in self._returning:
                if ident in self._keeping:
                    self._keeping[ident].cancel()
                _start(self._returning, ident, self._give_back(ident))

    # Keeping

    async def _keep(self, ident: str) -> None:
        """Until it has left."""
        lost = 0
        spared = True  # a lease that ran out while nobody looked is not lost before its server has been asked
        while (lease := self._book.of(ident)) is not None and (owner := self._book.owner(ident)) is not None:
            now = self._clock.time()
            if now < lease.expires and owner.ipv4 != self._book.interface(lease):
                await self._turn(owner, lease)
            elif now < lease.renew:
                lost, spared = 0, False
                await self._sleep_until(lease.renew)
            elif now < lease.expires:
                spared = await self._prolong(lease, now)
            else:
                if not spared:
                    await self._take_away(owner, lease)
                got = await self._get_again(lease, known=spared and not lost)
                if not got and spared:
                    await self._take_away(owner, lease)
                spared = False
                if not got:
                    await asyncio.sleep(_PAUSES[min(lost, len(_PAUSES) - 1)])
                    lost += 1

    async def _prolong(self, lease: DhcpLease, now: float) -> bool:
        """Whether its server has taken it back, and is there to be asked for another at once."""
        rebinding = now >= lease.rebind
        until = lease.expires if rebinding else lease.rebind
        who, server = self._as_now(lease.client), (lease.server, mac_bytes(lease.server_mac))
        seconds = min(_ASK_SECONDS, until - now)
        reply: Grant | Refusal | None = None
        try:
            reply = await aside(
                self._acquiring.servers.renew,
                who.parent,
                identity_of(who),
                lease.address,
                None if rebinding else server,
                seconds=seconds,
            )
        except WeftError as error:
            _log.warning("cannot renew %s: %s", lease.address, error.message)
        if isinstance(reply, Grant):
            await self._worker.call(self._book.put, lease_of(who, reply, now))
        elif isinstance(reply, Refusal):
            _log.warning("the DHCP server %s takes %s back: %s", reply.server, lease.address, reply.text or "no reason")
            await self._worker.call(self._book.put, lapsed(lease))
            return True
        else:
            now = self._clock.time()
            await self._sleep_until(min(now + max((until - now) / 2, _LEAST_PAUSE), until))
        return False

    async def _get_again(self, lease: DhcpLease, *, known: bool) -> bool:
        """An address, the same if it may be. `known`: the server may still know of it."""
        who, servers = self._as_now(lease.client), self._acquiring.servers
        try:
            now = self._clock.time()
            reply = None
            if known and lease.expires > lease.obtained:
                reply = await aside(servers.reclaim, who.parent, identity_of(who), lease.address, seconds=_ASK_SECONDS)
            if isinstance(reply, Grant):
                await self._worker.call(self._book.put, lease_of(who, reply, now))
            else:
                await self._acquiring.acquire(who, Wish(lease.address), seconds=_ASK_SECONDS)
        except WeftError as error:
            _log.warning("no address for %s: %s", who.hostname, error.message)
            return False
        return True

    async def _turn(self, owner: Endpoint, lease: DhcpLease) -> None:
        await self._readdress(owner.id, self._book.interface(lease))

    async def _take_away(self, owner: Endpoint, lease: DhcpLease) -> None:
        """Nobody has prolonged it: somebody else may have the address now."""
        current = self._book.owner(owner.id)
        if current is not None and current.ipv4 is not None:
            _log.warning("the lease of %s has run out", lease.address, extra={"fields": {"of": lease.client.hostname}})
            await self._readdress(owner.id, None)

    async def _readdress(self, ident: str, address: IPv4Interface | None) -> None:
        try:
            await self._worker.call(self._readdressing.turn, ident, address)
        except Exception:
            # The record says so already; what is missing is put right by the next audit.
            _log.exception("cannot give endpoint %s the address %s", ident, address)

    def _as_now(self, client: DhcpClient) -> DhcpClient:
        """The container may have been renamed."""
        owner = self._book.owner(client.endpoint)
        sandbox = None if owner is None else self._records.sandboxes.get(owner.sandbox)
        return client if sandbox is None else replace(client, hostname=sandbox.name)

    async def _sleep_until(self, moment: float) -> None:
        while (left := moment - self._clock.time()) > 0:  # noqa: ASYNC110  # nobody tells when a clock is set
            await asyncio.sleep(min(left, _NAP))

    # Giving back

    async def _give_back(self, ident: str) -> None:
        """Say so once, and forget it: where that is not heard, the lease ends by itself."""
        lease = self._book.of(ident)
        if lease is None:
            return
        server = (lease.server, mac_bytes(lease.server_mac))
        release = partial(self._acquiring.servers.release, lease.client.parent, identity_of(lease.client))
        try:
            await aside(release, lease.address, server)
        except WeftError as error:
            _log.warning("cannot give back %s: %s", lease.address, error.message)
        await self._worker.call(self._book.drop, ident)


def _start(tasks: dict[str, asyncio.Task[None]], ident: str, work: Coroutine[None, None, None]) -> None:
    task = tasks[ident] = asyncio.get_running_loop().create_task(work)

    def done(_: object) -> None:
        if tasks.get(ident) is task:
            del tasks[ident]
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a lease is looked after no more", exc_info=error)

    task.add_done_callback(done)
