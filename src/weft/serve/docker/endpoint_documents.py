"""A container's place on its networks, as Docker describes it."""

from __future__ import annotations

from typing import Any

from weft.engine.parts import Parts
from weft.model import Endpoint
from weft.names import short
from weft.serve import types
from weft.serve.docker.dialect import Version

Document = dict[str, Any]

SYSCTLS = "com.docker.network.endpoint.sysctls"
"""The option with which a client asks for them."""


def networks_of(shown: types.Container, parts: Parts, version: Version) -> dict[str, Document]:
    """By the network's name, in the order in which they carry the default route."""
    return {endpoint.network: _endpoint(shown, endpoint, parts, version) for endpoint in shown.endpoints}


def _endpoint(shown: types.Container, endpoint: types.Endpoint, parts: Parts, version: Version) -> Document:
    # Once, the short id counted among the aliases.
    aliases = endpoint.aliases if version >= (1, 45) else [*endpoint.aliases, short(shown.id)]
    record = parts.records.endpoints.get(endpoint.id)
    return {
        **(_as_asked(record, parts) if record else _NOTHING_ASKED),
        "Aliases": aliases or None,
        "MacAddress": endpoint.mac,
        "GwPriority": endpoint.gw_priority,
        "NetworkID": endpoint.network_id,
        "EndpointID": endpoint.id,
        **addresses_of(endpoint),
        "DNSNames": endpoint.names,
    }


_NOTHING_ASKED: Document = {"IPAMConfig": None, "Links": None, "DriverOpts": None}


def _as_asked(endpoint: Endpoint, parts: Parts) -> Document:
    """What cannot be told from the addresses."""
    others = parts.records.sandboxes
    links = [f"{others[ident].name}:{alias}" for alias, ident in endpoint.links if ident in others]
    interface = f".{endpoint.ifname.replace('.', '/')}."  # as it is spelt in the name of a switch
    options = dict(endpoint.options)
    settings = [f"{key.replace(interface, '.IFNAME.')}={value}" for key, value in endpoint.sysctls]
    if settings:
        options[SYSCTLS] = ",".join(settings)
    return {
        "IPAMConfig": {"LinkLocalIPs": [str(i.ip) for i in endpoint.link_local]} if endpoint.link_local else None,
        "Links": links or None,
        "DriverOpts": options or None,
    }


def addresses_of(endpoint: types.Endpoint | None) -> Document:
    """Empty ones for none."""
    ipv4, _, length4 = (endpoint.ipv4 if endpoint and endpoint.ipv4 else "").partition("/")
    ipv6, _, length6 = (endpoint.ipv6 if endpoint and endpoint.ipv6 else "").partition("/")
    return {
        "IPAddress": ipv4,
        "IPPrefixLen": int(length4 or 0),
        "Gateway": endpoint.gateway4 or "" if endpoint else "",
        "GlobalIPv6Address": ipv6,
        "GlobalIPv6PrefixLen": int(length6 or 0),
        "IPv6Gateway": endpoint.gateway6 or "" if endpoint else "",
    }
