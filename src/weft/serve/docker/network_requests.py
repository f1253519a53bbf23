"""What clients ask of /networks, and what that is for the engine.

Fields that are not here are Docker's to know, and ignored as Docker ignores what it does not know; null is as good as
absent, and the Python SDK writes it a lot.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct, field
from msgspec.structs import astuple

from weft.drivers import DRIVERS
from weft.engine.leased import DEFAULT, DHCP
from weft.engine.specs import EndpointSpec, NetworkSpec, PoolSpec
from weft.errors import Invalid
from weft.fields import read_address, read_bool, read_network
from weft.model import IPAddress, IPNetwork
from weft.serve.docker.dialect import Refused
from weft.serve.docker.endpoint_documents import SYSCTLS

_IFNAME = "com.docker.network.endpoint.ifname"
_ENABLE = {"com.docker.network.enable_ipv4": "ipv4", "com.docker.network.enable_ipv6": "ipv6"}

_Int64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]


class PoolAsked(Struct, frozen=True, rename="pascal"):
    subnet: str | None = None
    ip_range: str | None = field(default=None, name="IPRange")
    gateway: str | None = None
    auxiliary_addresses: dict[str, str] | None = None


class IpamAsked(Struct, frozen=True, rename="pascal"):
    driver: str | None = None
    config: list[PoolAsked] | None = None
    options: dict[str, str] | None = None


class ConfigFrom(Struct, frozen=True, rename="pascal"):
    network: str | None = None


class NetworkAsked(Struct, frozen=True, rename="pascal"):
    name: str | None = None
    driver: str | None = None
    scope: str | None = None
    internal: bool | None = None
    attachable: bool | None = None
    ingress: bool | None = None
    config_only: bool | None = None
    config_from: ConfigFrom | None = None
    ipam: IpamAsked | None = field(default=None, name="IPAM")
    enable_ipv4: bool | None = field(default=None, name="EnableIPv4")
    enable_ipv6: bool | None = field(default=None, name="EnableIPv6")
    options: dict[str, str] | None = None
    labels: dict[str, str] | None = None


class EndpointIpam(Struct, frozen=True):
    ipv4: str | None = field(default=None, name="IPv4Address")
    ipv6: str | None = field(default=None, name="IPv6Address")
    link_local: list[str] | None = field(default=None, name="LinkLocalIPs")


class EndpointAsked(Struct, frozen=True, rename="pascal"):
    ipam: EndpointIpam | None = field(default=None, name="IPAMConfig")
    aliases: list[str] | None = None
    links: list[str] | None = None
    mac_address: str | None = None
    driver_opts: dict[str, str] | None = None
    gw_priority: _Int64 | None = None


class ConnectAsked(Struct, frozen=True, rename="pascal"):
    container: str | None = None
    endpoint_config: EndpointAsked | None = None


class DisconnectAsked(Struct, frozen=True, rename="pascal"):
    container: str | None = None
    force: bool | None = None


def refuse_what_is_not_here(body: NetworkAsked) -> None:
    """Raises Refused for a network of a kind that weft does not have."""
    if body.ingress or (body.scope or "local") != "local":
        raise Refused(403, "This node is not a swarm manager: weft's networks here have the scope local.")
    if body.config_only and (body.internal or body.attachable or body.scope):
        raise Refused(403, "configuration network can only contain network specific fields")
    if body.config_only and body.config_from is not None and body.config_from.network:
        raise Refused(403, "a configuration network cannot depend on another configuration network")
    if body.ipam is not None and (body.ipam.driver or DEFAULT) not in (DEFAULT, DHCP):
        raise Refused(404, f'plugin "{body.ipam.driver}" not found: there are default (weft itself) and dhcp (the LAN)')
    if body.ipam is not None and body.ipam.options:
        raise Refused(400, f"unknown option {min(body.ipam.options)!r} for giving addresses out; there is none")


def network_spec(body: NetworkAsked) -> NetworkSpec:
    name = body.name or ""
    if not name.strip():
        raise Invalid("network name cannot be empty")
    options = dict(body.options or {})
    shown = {key: options.pop(key) for key in _ENABLE if key in options}
    said = {_ENABLE[key]: read_bool(f"option {key}", text) for key, text in shown.items()}
    ipv4, ipv6 = body.enable_ipv4, body.enable_ipv6
    config = (body.ipam.config if body.ipam else None) or []
    return NetworkSpec(
        name=name,
        driver=body.driver if body.driver not in (None, "", "default") else DRIVERS[0].name,
        pools=tuple(_pool_spec(pool) for pool in config if any(astuple(pool))),
        ipv4=said.get("ipv4", True) if ipv4 is None else ipv4,
        ipv6=said.get("ipv6", False) if ipv6 is None else ipv6,
        internal=bool(body.internal),
        options=options,
        labels=body.labels or {},
        attachable=bool(body.attachable),
        preset=(body.config_from.network if body.config_from else None) or "",
        shown_options=shown,
        ipam=(body.ipam.driver if body.ipam else None) or DEFAULT,
    )


def _pool_spec(asked: PoolAsked) -> PoolSpec:
    return PoolSpec(
        subnet=_network("subnet", asked.subnet),
        ip_range=_network("ip-range", asked.ip_range),
        gateway=_address("gateway", asked.gateway),
        aux={
            name: read_address(f"aux-address {name}", text) for name, text in (asked.auxiliary_addresses or {}).items()
        },
    )


def endpoint_spec(network: str, asked: EndpointAsked) -> EndpointSpec:
    options = dict(asked.driver_opts or {})
    ifname = options.pop(_IFNAME, None)
    sysctls = options.pop(SYSCTLS, "")
    ipam = asked.ipam or EndpointIpam()
    return EndpointSpec(
        network=network,
        ipv4=_family(ipam.ipv4, 4),
        ipv6=_family(ipam.ipv6, 6),
        link_local=tuple(read_address("link-local address", text) for text in ipam.link_local or ()),
        sysctls=tuple(_setting(text) for text in sysctls.split(",") if text),
        mac=asked.mac_address or None,
        aliases=tuple(asked.aliases or ()),
        links=tuple(_link(text) for text in asked.links or ()),
        gw_priority=asked.gw_priority or 0,
        ifname=ifname,
        options=options,
    )


def _setting(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise Invalid(f"{SYSCTLS}: {text!r} is not KEY=VALUE")
    return key.strip(), value.strip()


def _link(text: str) -> tuple[str, str]:
    """CONTAINER or CONTAINER:ALIAS."""
    container, _, alias = text.partition(":")
    return container, alias or container


def _family(text: str | None, version: int) -> IPAddress | None:
    address = _address(f"IPv{version} address", text)
    if address is not None and address.version != version:
        raise Invalid(f"invalid IPv{version} address: {text}")
    return address


def _address(what: str, text: str | None) -> IPAddress | None:
    return read_address(what, text) if text else None


def _network(what: str, text: str | None) -> IPNetwork | None:
    return read_network(what, text) if text else None
