"""Records to JSON and back, field by field. What is written here is read by later versions: add, never rename."""

from __future__ import annotations

from ipaddress import IPv4Interface, IPv6Interface, ip_address, ip_interface, ip_network
from typing import Any  # what JSON decodes to, read field by field below

import msgspec

from weft.model import (
    Borrowed,
    Endpoint,
    Exit,
    IPAddress,
    Network,
    Origin,
    Policy,
    PolicyRule,
    Pool,
    PortBinding,
    Process,
    Proto,
    Sandbox,
    StaticRoute,
)

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


def write_network(network: Network) -> bytes:
    return _encode(
        {
            "id": network.id,
            "name": network.name,
            "driver": network.driver,
            "pools": [_write_pool(pool) for pool in network.pools],
            "internal": network.internal,
            "options": network.options,
            "labels": network.labels,
            "created": network.created,
            "attachable": network.attachable,
            "preset": network.preset,
            "borrowed": _write_borrowed(network.borrowed),
            "routes": [[str(route.destination), str(route.gateway)] for route in network.routes],
            "shown_options": network.shown_options,
            "policy": _write_policy(network.policy),
            "ipam": network.ipam,
        }
    )


def read_network(data: bytes) -> Network:
    raw = _decode(data)
    raw["pools"] = tuple(_read_pool(pool) for pool in raw["pools"])
    raw["routes"] = tuple(
        StaticRoute(destination=ip_network(destination), gateway=ip_address(gateway))
        for destination, gateway in raw.get("routes", ())
    )
    raw["borrowed"] = _read_borrowed(raw.get("borrowed"))
    raw["policy"] = _read_policy(raw.get("policy"))
    return Network(**raw)


def _write_borrowed(borrowed: Borrowed | None) -> dict[str, object] | None:
    if borrowed is None:
        return None
    return {
        "addresses": [str(own) for own in borrowed.addresses],
        "mtu": borrowed.mtu,
        "route_localnet": borrowed.route_localnet,
    }


def _read_borrowed(raw: dict[str, Any] | None) -> Borrowed | None:
    if raw is None:
        return None
    return Borrowed(
        addresses=tuple(ip_interface(text) for text in raw["addresses"]),
        mtu=raw["mtu"],
        route_localnet=raw["route_localnet"],
    )


def _write_pool(pool: Pool) -> dict[str, object]:
    return {
        "subnet": str(pool.subnet),
        "ip_range": str(pool.ip_range) if pool.ip_range else None,
        "gateway": str(pool.gateway) if pool.gateway else None,
        "gateway_chosen": pool.gateway_chosen,
        "aux": {name: str(address) for name, address in pool.aux.items()},
    }


def _read_pool(raw: dict[str, Any]) -> Pool:
    return Pool(
        subnet=ip_network(raw["subnet"]),
        ip_range=ip_network(raw["ip_range"]) if raw["ip_range"] else None,
        gateway=_read_address(raw["gateway"]),
        gateway_chosen=raw.get("gateway_chosen", False),
        aux={name: ip_address(text) for name, text in raw["aux"].items()},
    )


def write_endpoint(endpoint: Endpoint) -> bytes:
    return _encode(
        {
            "id": endpoint.id,
            "network": endpoint.network,
            "sandbox": endpoint.sandbox,
            "ifname": endpoint.ifname,
            "mac": endpoint.mac,
            "ipv4": str(endpoint.ipv4) if endpoint.ipv4 else None,
            "ipv6": str(endpoint.ipv6) if endpoint.ipv6 else None,
            "aliases": endpoint.aliases,
            "links": endpoint.links,
            "link_local": [str(interface) for interface in endpoint.link_local],
            "sysctls": endpoint.sysctls,
            "gw_priority": endpoint.gw_priority,
            "options": endpoint.options,
            "policy": _write_policy(endpoint.policy),
        }
    )


def read_endpoint(data: bytes) -> Endpoint:
    raw = _decode(data)
    ipv4, ipv6 = raw["ipv4"], raw["ipv6"]
    raw["ipv4"] = IPv4Interface(ipv4) if ipv4 else None
    raw["ipv6"] = IPv6Interface(ipv6) if ipv6 else None
    raw["aliases"] = tuple(raw["aliases"])
    raw["links"] = tuple((alias, sandbox) for alias, sandbox in raw.get("links", ()))
    raw["link_local"] = tuple(ip_interface(text) for text in raw.get("link_local", ()))
    raw["sysctls"] = tuple((key, value) for key, value in raw.get("sysctls", ()))
    raw["policy"] = _read_policy(raw.get("policy"))
    return Endpoint(**raw)


def _write_policy(policy: Policy | None) -> dict[str, object] | None:
    if policy is None:
        return None
    return {
        "default": policy.default,
        "rules": [[rule.verdict, str(rule.destination), rule.proto, rule.ports] for rule in policy.rules],
    }


def _read_policy(raw: dict[str, Any] | None) -> Policy | None:
    if raw is None:
        return None
    rules = (
        PolicyRule(
            verdict=verdict,
            destination=ip_network(destination),
            proto=Proto(proto) if proto else None,
            ports=tuple(ports) if ports else None,
        )
        for verdict, destination, proto, ports in raw["rules"]
    )
    return Policy(default=raw["default"], rules=tuple(rules))


def write_sandbox(sandbox: Sandbox) -> bytes:
    process, end = sandbox.process, sandbox.exit
    return _encode(
        {
            "id": sandbox.id,
            "name": sandbox.name,
            "key": sandbox.key,
            "origin": sandbox.origin,
            "source": sandbox.source,
            "hostname": sandbox.hostname,
            "dns": [str(address) for address in sandbox.dns],
            "dns_search": sandbox.dns_search,
            "dns_options": sandbox.dns_options,
            "extra_hosts": [(name, str(address)) for name, address in sandbox.extra_hosts],
            "labels": sandbox.labels,
            "ports": [_write_port(port) for port in sandbox.ports],
            "process": msgspec.to_builtins(process) if process else None,
            "auto_remove": sandbox.auto_remove,
            "created": sandbox.created,
            "exit": msgspec.to_builtins(end) if end else None,
        }
    )


def read_sandbox(data: bytes) -> Sandbox:
    raw = _decode(data)
    process = raw["process"]
    raw |= {
        "origin": Origin(raw["origin"]),
        "dns": tuple(ip_address(text) for text in raw["dns"]),
        "dns_search": tuple(raw["dns_search"]),
        "dns_options": tuple(raw["dns_options"]),
        "extra_hosts": tuple((name, ip_address(text)) for name, text in raw["extra_hosts"]),
        "ports": tuple(_read_port(port) for port in raw["ports"]),
        "process": Process(**{**process, "argv": tuple(process["argv"])}) if process else None,
        "exit": Exit(**raw["exit"]) if raw["exit"] else None,
    }
    return Sandbox(**raw)


def _write_port(port: PortBinding) -> list[object]:
    return [port.proto, port.container_port, port.host_port, str(port.host_ip) if port.host_ip else None]


def _read_port(raw: list[Any]) -> PortBinding:
    proto, container_port, host_port, host_ip = raw
    return PortBinding(
        proto=Proto(proto), container_port=container_port, host_port=host_port, host_ip=_read_address(host_ip)
    )


def _read_address(text: str | None) -> IPAddress | None:
    return ip_address(text) if text else None
