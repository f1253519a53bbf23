"""Telling neighbours where the addresses of a new endpoint live, as often as its network asks for.

A neighbour may remember an address with another MAC. One that follows from the address is always right, so that by
default only others are told, once.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from weft import names
from weft.drivers import claim_on_parent, manners_of
from weft.drivers.driver import Advertise
from weft.engine.needs import Kernel
from weft.engine.state import Records
from weft.model import Endpoint, Sandbox

Later = Callable[[float, Callable[[], object]], None]
"""Do something after so many seconds."""


class Announcements:
    def __init__(self, records: Records, kernel: Kernel, when_idle: Callable[[Callable[[], object]], None]) -> None:
        self._records = records
        self._kernel = kernel
        self._when_idle = when_idle
        self.later: Later = lambda seconds, deed: None
        """How to wait; set it by whoever has a loop."""

    def entered(self, sandbox: Sandbox, endpoint: Endpoint) -> None:
        wanted = manners_of(self._records.networks[endpoint.network]).advertise
        if wanted is None:
            # On a wire of the host's, somebody may have had the address whom weft knows nothing of.
            on_wire = claim_on_parent(self._records.networks[endpoint.network]) is not None
            stale = on_wire or endpoint.mac != names.mac_of(endpoint.addresses[0].ip)
            wanted = Advertise(count=int(stale), interval=0)
        if wanted.count:
            self._when_idle(partial(self._announce, sandbox, endpoint, wanted, 1))

    def _announce(self, sandbox: Sandbox, endpoint: Endpoint, wanted: Advertise, number: int) -> None:
        if endpoint.id not in self._records.endpoints:  # it has left meanwhile
            return
        addresses = [interface.ip for interface in endpoint.addresses]
        self._kernel.announce(sandbox.key, endpoint.ifname, endpoint.mac, addresses)
        if number < wanted.count:
            self.later(wanted.interval / 1000, partial(self._announce, sandbox, endpoint, wanted, number + 1))
