"""The bridge driver: a Linux bridge per network, a veth pair per endpoint, the host as router.

Options are read under Docker's names and short ones of our own; see docs/bridge.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_interface

from weft import names
from weft.drivers.driver import Publishing, WayOut, subnets_of
from weft.errors import Invalid
from weft.fields import read_bool, read_int
from weft.firewall.elements import network_elements
from weft.firewall.guard import sender_elements, unguarded_elements
from weft.model import Endpoint, Network, Sandbox
from weft.plan import HOST, Address, Bridge, Plan, Sysctl, Veth

_LINK_LOCAL = ip_interface("fe80::1/64")

_DOCKER = "com.docker.network.bridge."
_SPELLINGS = {
    "mtu": "mtu",
    "com.docker.network.driver.mtu": "mtu",
    "icc": "icc",
    f"{_DOCKER}enable_icc": "icc",
    "masquerade": "masquerade",
    f"{_DOCKER}enable_ip_masquerade": "masquerade",
    "anti-spoof": "anti-spoof",
}


@dataclass(frozen=True, slots=True)
class Options:
    mtu: int = 1500
    icc: bool = True
    """Whether containers on the network reach each other."""
    masquerade: bool = True
    """Whether packets leave the host under the host's address."""
    anti_spoof: bool = True
    """Whether containers may send from their own addresses only."""


class BridgeDriver:
    name = "bridge"

    def accept(self, options: Mapping[str, str]) -> None:
        read_options(options)

    def option(self, name: str) -> str:
        return _SPELLINGS.get(name, name)

    def has_gateway(self, options: Mapping[str, str], version: int) -> bool:
        return True

    def check(self, network: Network) -> None:
        pass

    def link(self, network: Network) -> str | None:
        return names.bridge(network.id)

    def links(self, network: Network) -> Sequence[str]:
        return (names.bridge(network.id),)

    def way_out(self, network: Network, version: int) -> WayOut | None:
        pool = network.pool4 if version == 4 else network.pool6
        return None if network.internal or pool is None or pool.gateway is None else WayOut(pool.gateway)

    def guards(self, network: Network) -> bool:
        return read_options(network.options).anti_spoof

    def publishes(self, network: Network, version: int) -> Publishing | None:
        return "nat" if self.way_out(network, version) else None

    def network(self, network: Network) -> Plan:
        options = read_options(network.options)
        bridge = names.bridge(network.id)
        gateways = [
            Address(HOST, bridge, ip_interface(f"{pool.gateway}/{pool.subnet.prefixlen}"))
            for pool in network.pools
            if pool.gateway is not None
        ]
        elements = network_elements(
            bridge,
            subnets_of(network),
            internal=network.internal,
            masquerade=options.masquerade,
            icc=options.icc,
        )
        if network.pool6 is not None:
            # What the host forwards to a container is preceded by a neighbour solicitation, which takes the bridge's
            # link-local address for its source, and is not even sent where there is none.
            gateways.append(Address(HOST, bridge, _LINK_LOCAL))
        return (*elements, Bridge(bridge, bridge_mac(network), options.mtu), *gateways, *_switches(network, bridge))

    def endpoint(self, network: Network, endpoint: Endpoint, sandbox: Sandbox) -> Plan:
        options = read_options(network.options)
        pair = Veth(
            name=names.veth(endpoint.id),
            master=names.bridge(network.id),
            netns=sandbox.key,
            peer=endpoint.ifname,
            mac=endpoint.mac,
            mtu=options.mtu,
            isolated=not options.icc,
        )
        addresses = (*endpoint.addresses, *endpoint.link_local)
        if options.anti_spoof:
            may_send = sender_elements(pair.name, endpoint.mac, addresses)
        else:
            may_send = unguarded_elements(pair.name)
        return (*may_send, pair, *(Address(sandbox.key, endpoint.ifname, address) for address in addresses))


def read_options(raw: Mapping[str, str]) -> Options:
    """Raises Invalid, naming the option and, if it is unknown, those there are."""
    read: dict[str, str] = {}
    for key, value in raw.items():
        known = _SPELLINGS.get(key)
        if known is None:
            short = ", ".join(sorted(set(_SPELLINGS.values())))
            raise Invalid(f"unknown option {key!r} for driver bridge; it knows {short}")
        if known in read:
            raise Invalid(f"option {key!r} says again what another spelling of {known!r} said")
        read[known] = value
    return Options(
        mtu=read_int("option mtu", read.get("mtu", "1500"), low=68, high=65535),
        icc=read_bool("option icc", read.get("icc", "true")),
        masquerade=read_bool("option masquerade", read.get("masquerade", "true")),
        anti_spoof=read_bool("option anti-spoof", read.get("anti-spoof", "true")),
    )


def bridge_mac(network: Network) -> str:
    """A fixed MAC: without one a bridge takes the lowest of its ports' and changes it as they come and go."""
    return (b"\x02\x77" + bytes.fromhex(network.id[:8])).hex(":")


def _switches(network: Network, bridge: str) -> Plan:
    """The host-wide and per-bridge switches that the network needs."""
    items: list[Sysctl] = []
    if network.pool4 is not None:
        items.append(
            Sysctl(HOST, f"net.ipv4.conf.{bridge}.route_localnet", "1", "127.0.0.1:port reaches published ports")
        )
        if not network.internal:
            items.append(Sysctl(HOST, "net.ipv4.ip_forward", "1", "containers reach beyond the host"))
    if network.pool6 is not None and not network.internal:
        items.append(Sysctl(HOST, "net.ipv6.conf.all.forwarding", "1", "containers reach beyond the host"))
    return tuple(items)
