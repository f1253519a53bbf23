"""What has left, and is let go in the kernel when nobody waits: its namespace, and what connection tracking knows.

Until then it may still answer at its address. So whoever is given an address or a port anew waits until the one who
had it last is really gone.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from weft.drivers import claim_on_parent
from weft.engine import plans
from weft.engine.needs import Kernel
from weft.engine.through import go_through
from weft.model import Endpoint, IPAddress, PortBinding, Sandbox
from weft.plan import NftElement

MOST = 16
"""That wait at a time; their links still count as ports of a bridge, which has room for 1,023."""

_log = logging.getLogger("weft.engine")


@dataclass(frozen=True, slots=True)
class _Farewell:
    sandbox: Sandbox
    endpoints: Sequence[Endpoint]
    networks: plans.Networks
    ends: bool
    """Whether the namespace ends with it; else that was seen to, or it is somebody else's."""

    @property
    def addresses(self) -> list[IPAddress]:
        return [interface.ip for endpoint in self.endpoints for interface in endpoint.addresses]

    @property
    def alone_on(self) -> set[str]:
        claims = {ident: claim_on_parent(network) for ident, network in self.networks.items()}
        return {ident for ident, claim in claims.items() if claim is not None and claim.alone}


class Farewells:
    def __init__(self, kernel: Kernel, when_idle: Callable[[Callable[[], object]], None]) -> None:
        self._kernel = kernel
        self._when_idle = when_idle
        self._waiting: deque[_Farewell] = deque()

    def put_off(self, sandbox: Sandbox, endpoints: Sequence[Endpoint], networks: plans.Networks, *, ends: bool) -> None:
        """No record asks for these any more, and nothing leads to their ports."""
        self._waiting.append(_Farewell(sandbox, endpoints, networks, ends))
        self._when_idle(self._next)

    def make_way(self, endpoints: Sequence[Endpoint], ports: Sequence[PortBinding] = ()) -> None:
        """Before these come: be done with who had one of their addresses or ports, and with some if many wait.

        And with whoever has a parent to itself that one of these is to have.
        """
        if not self._waiting:
            return
        coming = {interface.ip for endpoint in endpoints for interface in endpoint.addresses}
        for farewell in list(self._waiting):
            shared = coming.intersection(farewell.addresses) or set(ports).intersection(farewell.sandbox.ports)
            alone = {endpoint.network for endpoint in endpoints} & farewell.alone_on
            if shared or alone or len(self._waiting) > MOST:
                self._waiting.remove(farewell)
                self._quietly(farewell)

    def finish(self) -> None:
        """Be done with all."""
        while self._waiting:
            self._next()

    def _next(self) -> None:
        if self._waiting:
            self._quietly(self._waiting.popleft())

    def _quietly(self, farewell: _Farewell) -> None:
        try:
            go_through(lambda: self._end(farewell), lambda: self._forget(farewell))
        except Exception:
            # The records are right already; what has stayed behind is swept with the next audit.
            _log.exception("cannot let go of container %s", farewell.sandbox.name)

    def _end(self, farewell: _Farewell) -> None:
        if farewell.ends:
            plan = plans.sandbox_plan(farewell.sandbox, farewell.endpoints, farewell.networks)
            self._kernel.remove(tuple(item for item in plan if not isinstance(item, NftElement)))

    def _forget(self, farewell: _Farewell) -> None:
        held = plans.holds_ports(farewell.endpoints, farewell.networks)  # others may have ports of the same numbers
        self._kernel.forget_flows(addresses=farewell.addresses, ports=farewell.sandbox.ports if held else ())
