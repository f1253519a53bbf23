"""Between the wire's documents and the engine's values. Refusals name the field as the request spells it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from weft.drivers import claim_on_parent, driver_named
from weft.engine.parts import Parts
from weft.engine.plans import endpoint_gateway, holder, holds_ports
from weft.engine.specs import ContainerSpec, EndpointSpec, NetworkChange, NetworkSpec, PoolSpec, PortChoice, PortSpec
from weft.engine.stacks import network_mode
from weft.engine.state import Records
from weft.errors import Invalid
from weft.fields import read_address, read_network
from weft.model import (
    DhcpLease,
    Endpoint,
    IPAddress,
    IPNetwork,
    Network,
    Pool,
    PortBinding,
    Process,
    Proto,
    Sandbox,
    StaticRoute,
)
from weft.names import short
from weft.serve import types
from weft.serve.lives import pid_of, state_of

# Requests


def network_spec(asked: types.NetworkCreate) -> NetworkSpec:
    return NetworkSpec(
        name=asked.name,
        driver=asked.driver,
        pools=tuple(_pool_spec(f"pools[{i}]", pool) for i, pool in enumerate(asked.pools)),
        ipv4=asked.ipv4,
        ipv6=asked.ipv6,
        internal=asked.internal,
        options=asked.options,
        labels=asked.labels,
        routes=tuple(_route(f"routes[{i}]", route) for i, route in enumerate(asked.routes)),
        ipam=asked.ipam,
    )


def network_change(asked: types.NetworkUpdate) -> NetworkChange:
    return NetworkChange(
        name=asked.name,
        labels=asked.labels,
        options=asked.options,
        internal=asked.internal,
        ipv4=asked.ipv4,
        ipv6=asked.ipv6,
        add_pools=tuple(_pool_spec(f"add_pools[{i}]", pool) for i, pool in enumerate(asked.add_pools)),
        remove_pools=tuple(read_network(f"remove_pools[{i}]", text) for i, text in enumerate(asked.remove_pools)),
        add_routes=tuple(_route(f"add_routes[{i}]", route) for i, route in enumerate(asked.add_routes)),
        remove_routes=tuple(read_network(f"remove_routes[{i}]", text) for i, text in enumerate(asked.remove_routes)),
    )


def _route(where: str, asked: types.RouteCreate) -> StaticRoute:
    return StaticRoute(
        destination=read_network(f"{where}.destination", asked.destination),
        gateway=read_address(f"{where}.gateway", asked.gateway),
    )


def _pool_spec(where: str, asked: types.PoolCreate) -> PoolSpec:
    return PoolSpec(
        subnet=_network(f"{where}.subnet", asked.subnet),
        ip_range=_network(f"{where}.ip_range", asked.ip_range),
        gateway=_address(f"{where}.gateway", asked.gateway),
        aux={name: read_address(f"{where}.aux.{name}", text) for name, text in asked.aux.items()},
    )


def container_spec(asked: types.ContainerCreate) -> ContainerSpec:
    if asked.process is not None and not asked.process.argv:
        raise Invalid("process.argv: no command is given")
    return ContainerSpec(
        name=asked.name,
        networks=tuple(_endpoint_spec(f"networks[{i}]", e.network, e) for i, e in enumerate(asked.networks)),
        ports=tuple(_port_spec(f"ports[{i}]", port) for i, port in enumerate(asked.ports)),
        hostname=asked.hostname,
        dns=tuple(read_address(f"dns[{i}]", text) for i, text in enumerate(asked.dns)),
        dns_search=tuple(asked.dns_search),
        dns_options=tuple(asked.dns_options),
        extra_hosts=tuple(asked.extra_hosts),
        labels=asked.labels,
        pid=asked.pid,
        netns=asked.netns,
        process=None if asked.process is None else _process(asked.process),
        auto_remove=asked.auto_remove,
    )


def connect_spec(network: str, asked: types.Connect) -> EndpointSpec:
    return _endpoint_spec("", network, asked)


def _endpoint_spec(where: str, network: str, asked: types.EndpointCreate | types.Connect) -> EndpointSpec:
    dot = f"{where}." if where else ""
    return EndpointSpec(
        network=network,
        ipv4=_family4(f"{dot}ip", asked.ip),
        ipv6=_family6(f"{dot}ip6", asked.ip6),
        mac=asked.mac,
        aliases=tuple(asked.aliases),
        gw_priority=asked.gw_priority,
        ifname=asked.ifname,
        options=asked.options,
    )


def port_specs(asked: types.PortsPublish) -> list[PortSpec]:
    return [_port_spec(f"ports[{i}]", port) for i, port in enumerate(asked.ports)]


def port_choices(asked: types.PortsUnpublish) -> list[PortChoice] | None:
    if asked.ports is None:
        return None
    return [
        PortChoice(
            proto=Proto(port.proto),
            container_port=port.container_port,
            host_ip=_address(f"ports[{i}].host_ip", port.host_ip),
            host_port=port.host_port,
        )
        for i, port in enumerate(asked.ports)
    ]


def _port_spec(where: str, asked: types.PortCreate) -> PortSpec:
    return PortSpec(
        proto=Proto(asked.proto),
        container_port=asked.container_port,
        container_port_end=asked.container_port_end,
        host_ip=_address(f"{where}.host_ip", asked.host_ip),
        host_port=asked.host_port,
        host_port_end=asked.host_port_end,
    )


def _process(asked: types.ProcessCreate) -> Process:
    return Process(
        argv=tuple(asked.argv),
        env=asked.env,
        cwd=asked.cwd,
        rootfs=asked.rootfs,
        tty=asked.tty,
        open_stdin=asked.open_stdin,
    )


def _address(field: str, text: str | None) -> IPAddress | None:
    return None if text is None else read_address(field, text)


def _network(field: str, text: str | None) -> IPNetwork | None:
    return None if text is None else read_network(field, text)


def _family4(field: str, text: str | None) -> IPv4Address | None:
    address = _address(field, text)
    if isinstance(address, IPv6Address):
        raise Invalid(f"{field}: {text!r} is an IPv6 address; give it as ip6")
    return address


def _family6(field: str, text: str | None) -> IPv6Address | None:
    address = _address(field, text)
    if isinstance(address, IPv4Address):
        raise Invalid(f"{field}: {text!r} is an IPv4 address; give it as ip")
    return address


# Answers


def network_answer(network: Network) -> types.Network:
    return types.Network(**_network_fields(network))


def network_detail(network: Network, parts: Parts) -> types.NetworkDetail:
    members = [
        types.Member(
            container=endpoint.sandbox,
            name=sandbox.name,
            ipv4=_text(endpoint.ipv4),
            ipv6=_text(endpoint.ipv6),
            mac=endpoint.mac,
        )
        for endpoint in parts.records.endpoints_on(network.id)
        if (sandbox := parts.records.sandboxes.get(endpoint.sandbox)) is not None
    ]
    return types.NetworkDetail(**_network_fields(network), endpoints=members)


def _network_fields(network: Network) -> dict[str, Any]:
    return {
        "id": network.id,
        "name": network.name,
        "driver": network.driver,
        "ipam": network.ipam,
        "internal": network.internal,
        "ipv4": bool(network.pools_of(4)),
        "ipv6": bool(network.pools_of(6)),
        "pools": [_pool(pool) for pool in network.pools],
        "routes": [types.Route(destination=str(r.destination), gateway=str(r.gateway)) for r in network.routes],
        "options": dict(network.options),
        "labels": dict(network.labels),
        "created": network.created,
        "bridge": driver_named(network.driver).link(network),
        "parent": claim.parent if (claim := claim_on_parent(network)) else None,
    }


def _pool(pool: Pool) -> types.Pool:
    return types.Pool(
        subnet=str(pool.subnet),
        ip_range=_text(pool.ip_range),
        gateway=_text(pool.gateway),
        aux={name: str(address) for name, address in pool.aux.items()},
    )


def container_answer(sandbox: Sandbox, parts: Parts) -> types.Container:
    config = parts.config
    ours = sandbox.process is not None
    return types.Container(
        id=sandbox.id,
        name=sandbox.name,
        state=state_of(sandbox, parts),
        hostname=sandbox.hostname,
        netns=sandbox.key,
        origin=sandbox.origin.value,
        network_mode=network_mode(sandbox, parts.records),
        pid=pid_of(sandbox, parts),
        labels=dict(sandbox.labels),
        created=sandbox.created,
        exit=None if sandbox.exit is None else types.Exit(code=sandbox.exit.code, at=sandbox.exit.at),
        process=None if sandbox.process is None else _process_answer(sandbox.process),
        auto_remove=sandbox.auto_remove,
        console=f"{config.run_dir}/containers/{short(sandbox.id)}/console.sock" if ours else None,
        log=f"{config.state_dir}/containers/{short(sandbox.id)}/log" if ours else None,
        ports=[port_answer(binding) for binding in shown_ports(sandbox, sandbox.ports, parts)],
        endpoints=[
            endpoint_answer(sandbox, endpoint, parts.records)
            for endpoint in parts.records.endpoints_of(sandbox.id)
            if endpoint.network in parts.records.networks
        ],
    )


def endpoint_answer(sandbox: Sandbox, endpoint: Endpoint, records: Records) -> types.Endpoint:
    network, lease = records.networks[endpoint.network], records.dhcp_leases.get(endpoint.id)
    return types.Endpoint(
        id=endpoint.id,
        network=network.name,
        network_id=network.id,
        ifname=endpoint.ifname,
        mac=endpoint.mac,
        ipv4=_text(endpoint.ipv4),
        ipv6=_text(endpoint.ipv6),
        gateway4=_text(endpoint_gateway(endpoint, network, 4)),
        gateway6=_text(endpoint_gateway(endpoint, network, 6)),
        aliases=list(endpoint.aliases),
        names=list(holder(sandbox, endpoint).names),
        gw_priority=endpoint.gw_priority,
        options=dict(endpoint.options),
        lease=None if lease is None else _lease_answer(lease),
    )


def _lease_answer(lease: DhcpLease) -> types.Lease:
    return types.Lease(server=str(lease.server), obtained=lease.obtained, renews=lease.renew, expires=lease.expires)


def shown_ports(sandbox: Sandbox, ports: Sequence[PortBinding], parts: Parts) -> Iterable[PortBinding]:
    """As people reach them: where the host has no part in it, without its port."""
    endpoints = parts.records.endpoints_of(sandbox.id)
    if not endpoints or holds_ports(endpoints, parts.records.networks):
        return ports
    return dict.fromkeys(replace(binding, host_port=0, host_ip=None) for binding in ports)


def port_answer(binding: PortBinding) -> types.Port:
    return types.Port(
        proto=binding.proto.value,
        container_port=binding.container_port,
        host_ip=_text(binding.host_ip),
        host_port=binding.host_port,
    )


def _process_answer(process: Process) -> types.Process:
    return types.Process(
        argv=list(process.argv),
        env=dict(process.env),
        cwd=process.cwd,
        rootfs=process.rootfs,
        tty=process.tty,
        open_stdin=process.open_stdin,
    )


def _text(value: object | None) -> str | None:
    return None if value is None else str(value)
