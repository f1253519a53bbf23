"""Networks made and taken away, each whole or not at all (see `controller`).

Runs on the engine's worker thread.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from weft import names
from weft.engine import plans, wanted
from weft.engine.gate import Gate
from weft.engine.parts import Parts
from weft.engine.seed import ula_seed
from weft.engine.specs import NetworkSpec
from weft.engine.through import go_through
from weft.engine.undoing import undoing
from weft.errors import Conflict
from weft.model import Network

DEFAULT_NETWORK = "bridge"
"""Where a container goes that names no network; made at first need."""


@dataclass(frozen=True, slots=True)
class Networks:
    parts: Parts
    gate: Gate

    def create(self, spec: NetworkSpec) -> Network:
        """Raises Invalid, Conflict (name, overlap), Exhausted, NotFound (driver)."""
        parts, records = self.parts, self.parts.records
        uplink = wanted.uplink_of(spec, parts.config)
        if uplink.name:
            parts.kernel.check_link(*filter(None, (uplink.name, uplink.base)))
        network = wanted.wanted_network(
            spec,
            records,
            parts.config,
            parts.kernel.host_networks(uplink.name),
            ula_seed(parts.store),
            parts.clock.time(),
            parts.kernel.borrow,
        )
        plan = plans.network_plan(network)
        parts.store.put(network=network, pending=(network.id,))
        with undoing(
            parts,
            plans.network_leavings(network, records.networks.values()),
            (network.id,),
            lambda: parts.store.drop(network=network.id),
            lambda: parts.names.drop_network(network.id),
            self.gate.settle,
        ):
            self.gate.prepare(network)
            parts.kernel.ensure(plan)
            parts.names.set_network(network.id, network.name)
            parts.store.confirm((network.id,))
        records.add_network(network)
        parts.events.emit_network("create", network)
        return network

    def remove(self, ref: str) -> None:
        """Raises NotFound, or Conflict while containers are on it."""
        parts, records = self.parts, self.parts.records
        network = records.network(ref)
        users = [records.sandboxes[endpoint.sandbox].name for endpoint in records.endpoints_on(network.id)]
        if users:
            shown = ", ".join(users[:5]) + (f" and {len(users) - 5} more" if len(users) > 5 else "")
            raise Conflict(
                f"network {network.name!r} is in use by {shown}; `weft network disconnect` or `weft rm` them first"
            )
        parts.store.drop(network=network.id)
        records.drop_network(network)
        parts.events.emit_network("destroy", network)
        go_through(
            lambda: parts.names.drop_network(network.id),
            lambda: self.gate.forget_policies([network]),
            lambda: parts.kernel.remove(plans.network_leavings(network, records.networks.values())),
            self.gate.settle,
        )

    def prune(self) -> list[str]:
        """Remove every network that no container is on, but the default one; their names."""
        records = self.parts.records
        unused = [
            network.name
            for network in records.networks.values()
            if network.name != DEFAULT_NETWORK and not records.endpoints_on(network.id)
        ]
        for name in unused:
            self.remove(name)
        return unused

    def named(self, ref: str) -> Network:
        """The default one is made if it is not there. Raises NotFound."""
        if ref == DEFAULT_NETWORK and not self.parts.records.has_network(ref):
            ident = names.fixed_id(self.parts.config.state_dir, DEFAULT_NETWORK)
            return self.create(NetworkSpec(name=DEFAULT_NETWORK, id=ident))
        return self.parts.records.network(ref)

    @contextmanager
    def default_if_needed(self) -> Iterator[None]:
        """Of a refused container not even the default network stays that was made for it."""
        records = self.parts.records
        was_there = records.has_network(DEFAULT_NETWORK)
        try:
            yield
        except BaseException:
            if not was_there and records.has_network(DEFAULT_NETWORK):
                self.remove(DEFAULT_NETWORK)
            raise
