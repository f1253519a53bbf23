"""From the ports that were asked for to bindings, each a number of its own, or a refusal by name. Touches nothing."""

from __future__ import annotations

from collections.abc import Sequence

from weft.config import Config
from weft.drivers import manners_of
from weft.engine import plans
from weft.engine.needs import HostPorts
from weft.engine.specs import PortSpec
from weft.engine.state import Records
from weft.errors import Conflict, Invalid
from weft.model import Endpoint, IPAddress, PortBinding, Proto, Sandbox


def ports_of(
    sandbox: Sandbox,
    specs: Sequence[PortSpec],
    endpoints: Sequence[Endpoint],
    records: Records,
    ports: HostPorts,
    config: Config,
) -> tuple[PortBinding, ...]:
    """What the ports asked for become on a sandbox with these endpoints.

    Raises Invalid (nothing leads there), Conflict (asked for twice, another container's) or Exhausted.
    """
    if not specs:
        return ()
    networks = records.networks
    found = wanted_ports(specs, ports, host_binding(endpoints, networks, config))
    if plans.targets(endpoints, networks) == (None, None) and not plans.routed_targets(endpoints, networks):
        first = f"{found[0].container_port}/{found[0].proto}"
        raise Invalid(f"cannot publish {first}: {_why_not(sandbox, endpoints, networks)}")
    if plans.holds_ports(endpoints, networks):
        check_ports_free(found, records)
    return found


def _why_not(sandbox: Sandbox, endpoints: Sequence[Endpoint], networks: plans.Networks) -> str:
    on, name = [networks[endpoint.network] for endpoint in endpoints], sandbox.name
    if not on:
        return f"container {name!r} is on no network"
    if all(network.internal for network in on):
        return f"every network of container {name!r} is internal"
    shown = ", ".join(f"{network.name!r} ({network.driver})" for network in on)
    return f"this host leads no ports to container {name!r} on {shown}; a bridge network would"


def wanted_ports(specs: Sequence[PortSpec], ports: HostPorts, default: IPAddress | None) -> tuple[PortBinding, ...]:
    """Every port as a number of its own, on the `default` address where none is named."""
    bindings: list[PortBinding] = []
    for spec in specs:
        for binding in _expand(spec, ports, default):
            _check_once(binding, bindings)
            bindings.append(binding)
    return tuple(bindings)


def host_binding(endpoints: Sequence[Endpoint], networks: plans.Networks, config: Config) -> IPAddress | None:
    """Where ports go that name no host address: as the network says by which they come in, or else the settings."""
    for version in (4, 6):
        found = plans.gateway(endpoints, networks, version)
        wanted = None if found is None else manners_of(networks[found[0].network]).host_binding
        if wanted is not None:
            return wanted
    return config.host_binding


def check_ports_free(bindings: Sequence[PortBinding], records: Records) -> None:
    """As far as weft's own containers go. Raises Conflict."""
    for binding in bindings:
        publisher = records.publisher_of(binding)
        if publisher is not None:
            port = f"port {binding.host_port}/{binding.proto}"
            raise Conflict(f"{port} is already published by container {publisher.name!r}")


def check_each_other(sandboxes: Sequence[Sandbox]) -> None:
    """Raises Conflict where two of them would publish the same port of the host."""
    taken: dict[tuple[Proto, int], list[tuple[PortBinding, Sandbox]]] = {}
    for sandbox in sandboxes:
        for binding in sandbox.ports:
            others = taken.setdefault((binding.proto, binding.host_port), [])
            holder = next((holder for other, holder in others if _is_shared(other, binding)), sandbox)
            if holder is not sandbox:
                port = f"port {binding.host_port}/{binding.proto}"
                raise Conflict(
                    f"{port} of this host would be published by {holder.name!r} and {sandbox.name!r}; `weft port rm` "
                    "one of them first"
                )
            others.append((binding, sandbox))


def _expand(spec: PortSpec, ports: HostPorts, default: IPAddress | None) -> list[PortBinding]:
    first, last = spec.container_port, spec.container_port_end or spec.container_port
    _check_range("container port", first, last)
    host_ip = spec.host_ip if spec.host_ip is not None else default
    # 0.0.0.0 and :: are how people write "everywhere in this family"; the wildcard serves both.
    host_ip = None if host_ip is not None and host_ip.is_unspecified else host_ip
    count = last - first + 1
    if spec.host_port is None:
        numbers = [ports.free_port(spec.proto, host_ip, 0, 0) for _ in range(count)]
    else:
        end = spec.host_port_end or spec.host_port
        _check_range("host port", spec.host_port, end)
        if count == 1 and end > spec.host_port:
            numbers = [ports.free_port(spec.proto, host_ip, spec.host_port, end)]
        elif end - spec.host_port + 1 != count and spec.host_port_end is not None:
            raise Invalid(f"port ranges differ in length: {spec.host_port}-{end} on the host, {first}-{last} inside")
        else:
            _check_range("host port", spec.host_port, spec.host_port + count - 1)
            numbers = list(range(spec.host_port, spec.host_port + count))
    return [
        PortBinding(proto=spec.proto, container_port=first + i, host_port=number, host_ip=host_ip)
        for i, number in enumerate(numbers)
    ]


def _check_range(what: str, first: int, last: int) -> None:
    if not 1 <= first <= last <= 65535:
        shown = str(first) if first == last else f"{first}-{last}"
        raise Invalid(f"{what} {shown} is not valid: ports go from 1 to 65535, the lower first")


def _check_once(binding: PortBinding, others: Sequence[PortBinding]) -> None:
    for other in others:
        if _is_shared(other, binding):
            raise Conflict(f"port {binding.host_port}/{binding.proto} is asked for twice")


def _is_shared(one: PortBinding, other: PortBinding) -> bool:
    """Whether two bindings want the same port of the same address."""
    same = (one.proto, one.host_port) == (other.proto, other.host_port)
    return same and (None in (one.host_ip, other.host_ip) or one.host_ip == other.host_ip)
