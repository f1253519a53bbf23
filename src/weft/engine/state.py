"""The records in memory: what the store holds, indexed for the questions the engine asks.

Changed by the engine's worker thread alone, after the store and the kernel have agreed. Other threads may read: every
index is a dictionary of frozen values, and the readers here copy before they iterate.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from weft.engine import plans
from weft.errors import Conflict, NotFound
from weft.ipam.leases import Leases
from weft.model import (
    DhcpLease,
    Endpoint,
    IPAddress,
    IPInterface,
    IPNetwork,
    Network,
    Origin,
    PortBinding,
    Proto,
    Sandbox,
)
from weft.names import SHORT

_Named = TypeVar("_Named", Network, Sandbox)


class Records:
    def __init__(self) -> None:
        self.networks: dict[str, Network] = {}
        self.sandboxes: dict[str, Sandbox] = {}
        self.endpoints: dict[str, Endpoint] = {}
        self.preset_names: set[str] = set()
        """No network may have one of these (`presets`)."""
        self.holding: set[str] = set()
        """The sandboxes for which published ports are reserved on the host: all but those on routed networks alone."""
        self.dhcp_leases: dict[str, DhcpLease] = {}
        """By endpoint's id; also of endpoints that are still to come, or have just left (`leasing`)."""
        self.leased_networks: set[str] = set()
        """Ids of those whose addresses are had from a DHCP server."""
        self._network_names: dict[str, str] = {}
        self._sandbox_names: dict[str, str] = {}
        self._sharers: dict[str, dict[str, None]] = {}
        self._of_sandbox: dict[str, dict[str, Endpoint]] = {}
        self._of_network: dict[str, dict[str, Endpoint]] = {}
        self._leases: dict[str, tuple[Leases, ...]] = {}
        self._ports: dict[tuple[Proto, int], dict[tuple[PortBinding, str], None]] = {}

    # Networks

    def add_network(self, network: Network, last: Mapping[tuple[str, IPNetwork], IPAddress] | None = None) -> None:
        """`last`: as in `needs.Loaded`."""
        self.networks[network.id] = network
        self._network_names[network.name] = network.id
        self._of_network.setdefault(network.id, {})
        if network.ipam == "dhcp":
            self.leased_networks.add(network.id)
        given = last or {}
        self._leases[network.id] = tuple(
            Leases(pool, last=given.get((network.id, pool.subnet))) for pool in network.pools
        )

    def change_network(self, network: Network) -> None:
        """Of the same id. Nobody has an address in a pool that it has no more."""
        old = self.networks[network.id]
        self.networks[network.id] = network
        if network.name != old.name:
            self._network_names[network.name] = network.id
            del self._network_names[old.name]
        if network.pools != old.pools:
            kept = {leases.pool.subnet: leases for leases in self._leases[network.id]}
            self._leases[network.id] = tuple(
                kept[pool.subnet] if pool.subnet in kept else Leases(pool) for pool in network.pools
            )

    def change_endpoint(self, endpoint: Endpoint) -> None:
        """Of the same id, sandbox, network and addresses."""
        self.endpoints[endpoint.id] = endpoint
        self._of_sandbox[endpoint.sandbox][endpoint.id] = endpoint
        self._of_network[endpoint.network][endpoint.id] = endpoint

    def drop_network(self, network: Network) -> None:
        self.networks.pop(network.id, None)
        self._network_names.pop(network.name, None)
        self._of_network.pop(network.id, None)
        self._leases.pop(network.id, None)
        self.leased_networks.discard(network.id)

    def network(self, ref: str) -> Network:
        """By name, id, or unambiguous beginning of an id. Raises NotFound or Conflict (ambiguous)."""
        return _find("network", ref, self.networks, self._network_names)

    def has_network(self, name: str) -> bool:
        return name in self._network_names

    def leases(self, network_id: str) -> tuple[Leases, ...]:
        """A network's, one per pool, in the pools' order."""
        return self._leases.get(network_id, ())

    def _leases_at(self, network_id: str, interface: IPInterface) -> Leases | None:
        pools = self._leases.get(network_id, ())
        return next((leases for leases in pools if interface.ip in leases.pool.subnet), None)

    # Sandboxes and their endpoints

    def put_sandbox(self, sandbox: Sandbox) -> None:
        old = self.sandboxes.get(sandbox.id)
        if old is not None:
            self._sandbox_names.pop(old.name, None)
            self._forget_ports(old)
        self.sandboxes[sandbox.id] = sandbox
        self._sandbox_names[sandbox.name] = sandbox.id
        self._of_sandbox.setdefault(sandbox.id, {})
        if sandbox.origin is Origin.SHARED:
            self._sharers.setdefault(sandbox.source, {})[sandbox.id] = None
        if sandbox.exit is None:
            for binding in sandbox.ports:
                self._ports.setdefault((binding.proto, binding.host_port), {})[binding, sandbox.id] = None

    def drop_sandbox(self, sandbox: Sandbox) -> None:
        self.sandboxes.pop(sandbox.id, None)
        self._sandbox_names.pop(sandbox.name, None)
        self._of_sandbox.pop(sandbox.id, None)
        if sandbox.origin is Origin.SHARED:
            sharers = self._sharers.get(sandbox.source, {})
            sharers.pop(sandbox.id, None)
            if not sharers:
                self._sharers.pop(sandbox.source, None)
        self._forget_ports(sandbox)

    def _forget_ports(self, sandbox: Sandbox) -> None:
        for binding in sandbox.ports:
            self._ports.get((binding.proto, binding.host_port), {}).pop((binding, sandbox.id), None)

    def sandbox(self, ref: str) -> Sandbox:
        """By name, id, or unambiguous beginning of an id. Raises NotFound or Conflict (ambiguous)."""
        return _find("container", ref, self.sandboxes, self._sandbox_names)

    def sharers_of(self, sandbox_id: str) -> list[Sandbox]:
        """Those that use a sandbox's namespace, or did while they lived."""
        return [self.sandboxes[ident] for ident in self._sharers.get(sandbox_id, ())]

    def has_sandbox(self, name: str) -> bool:
        return name in self._sandbox_names

    def add_endpoint(self, endpoint: Endpoint) -> None:
        self.endpoints[endpoint.id] = endpoint
        self._of_sandbox[endpoint.sandbox][endpoint.id] = endpoint
        self._of_network[endpoint.network][endpoint.id] = endpoint
        for interface in endpoint.addresses:
            leases = self._leases_at(endpoint.network, interface)
            if leases is not None:
                leases.hold(interface.ip)

    def replace_endpoint(self, endpoint: Endpoint) -> None:
        """By one with the same addresses in the same place."""
        self.endpoints[endpoint.id] = endpoint
        self._of_sandbox[endpoint.sandbox][endpoint.id] = endpoint
        self._of_network[endpoint.network][endpoint.id] = endpoint

    def readdress_endpoint(self, endpoint: Endpoint) -> None:
        """By one with other addresses in the same place; at no time is there none."""
        self._release_addresses(self.endpoints[endpoint.id])
        self.add_endpoint(endpoint)

    def drop_endpoint(self, endpoint: Endpoint) -> None:
        self.endpoints.pop(endpoint.id, None)
        self._of_sandbox.get(endpoint.sandbox, {}).pop(endpoint.id, None)
        self._of_network.get(endpoint.network, {}).pop(endpoint.id, None)
        self._release_addresses(endpoint)

    def _release_addresses(self, endpoint: Endpoint) -> None:
        for interface in endpoint.addresses:
            leases = self._leases_at(endpoint.network, interface)
            if leases is not None:
                leases.release(interface.ip)

    def endpoints_of(self, sandbox_id: str, networks: Mapping[str, Network] | None = None) -> list[Endpoint]:
        """In gateway order: the first whose network leads outside carries the default route.

        `networks`: as if they were these.
        """
        endpoints = self._of_sandbox.get(sandbox_id, {})
        if len(endpoints) < 2:
            return list(endpoints.values())
        return sorted(endpoints.values(), key=lambda endpoint: self.gateway_rank(endpoint, networks))

    def gateway_rank(
        self, endpoint: Endpoint, networks: Mapping[str, Network] | None = None
    ) -> tuple[int, bool, int, str]:
        # Docker's order: priority, then a way out at all, then more families, then the network's name.
        network = (self.networks if networks is None else networks)[endpoint.network]
        return (-endpoint.gw_priority, network.internal, -len(endpoint.addresses), network.name)

    def endpoints_on(self, network_id: str) -> list[Endpoint]:
        return list(self._of_network.get(network_id, {}).values())

    # Published ports

    def publisher_of(self, binding: PortBinding) -> Sandbox | None:
        """The sandbox that has published a port of the host which the binding would share with it."""
        for other, sandbox_id in list(self._ports.get((binding.proto, binding.host_port), {})):
            same = None in (other.host_ip, binding.host_ip) or other.host_ip == binding.host_ip
            if same and (sandbox_id in self.holding or plans.holds_ports(self.endpoints_of(sandbox_id), self.networks)):
                return self.sandboxes.get(sandbox_id)
        return None


def _find(what: str, ref: str, by_id: Mapping[str, _Named], by_name: Mapping[str, str]) -> _Named:
    ident = by_name.get(ref)
    if ident is None and ref:
        if ref in by_id:
            return by_id[ref]
        matches = [i for i in list(by_id) if i.startswith(ref)]
        if len(matches) > 1:
            shown = ", ".join(i[:SHORT] for i in matches[:3])
            raise Conflict(f"{what} {ref!r} is ambiguous: {shown} begin with it")
        ident = matches[0] if matches else None
    found = by_id.get(ident) if ident else None
    if found is None:
        raise NotFound.named(what, ref, list(by_name))
    return found
