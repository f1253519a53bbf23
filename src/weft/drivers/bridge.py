"""The bridge driver: a Linux bridge per network, a veth pair per endpoint, the host as router.

Options are read under Docker's names and short ones of our own; see docs/bridge.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_interface

from weft import names
from weft.drivers import wires
from weft.drivers.driver import Publishing, WayOut, subnets_of
from weft.errors import Invalid
from weft.fields import read_bool, read_int
from weft.firewall.elements import network_elements
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
    **{option: option for option in wires.OPTIONS},
}


@dataclass(frozen=True, slots=True)
class Options:
    mtu: int = 1500
    icc: bool = True
    """Whether containers on the network reach each other."""
    masquerade: bool = True
    """Whether packets leave the host under the host's address."""
    wire: wires.Wire = field(default_factory=wires.Wire)


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
        return (names.bridge(network.id), *wires.made_links(read_options(network.options).wire, network))

    def leans_on(self, network: Network) -> Sequence[str]:
        return read_options(network.options).wire.links

    def answers_on(self, options: Mapping[str, str], version: int) -> str:
        return read_options(options).wire.proxy(version)

    def way_out(self, network: Network, endpoint: Endpoint, version: int) -> WayOut | None:
        address = endpoint.address(version)
        pool = network.pool_of(address.ip) if address is not None else None
        return None if network.internal or pool is None or pool.gateway is None else WayOut(pool.gateway)

    def publishes(self, network: Network, version: int) -> Publishing | None:
        leads_out = not network.internal and any(pool.gateway is not None for pool in network.pools_of(version))
        return "nat" if leads_out else None

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
        if network.pools_of(6):
            # What the host forwards to a container is preceded by a neighbour solicitation, which takes the bridge's
            # link-local address for its source, and is not even sent where there is none.
            gateways.append(Address(HOST, bridge, _LINK_LOCAL))
        return (
            *elements,
            Bridge(bridge, bridge_mac(network), options.mtu),
            *wires.uplink(options.wire, network, bridge),
            *gateways,
            *_switches(network, bridge),
            *wires.switches(options.wire),
        )

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
        inside = (Address(sandbox.key, endpoint.ifname, address) for address in addresses)
        return (pair, *inside, *wires.answers(options.wire, endpoint))


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
        wire=wires.read_wire(read),
    )


def bridge_mac(network: Network) -> str:
    """A fixed MAC: without one a bridge takes the lowest of its ports' and changes it as they come and go."""
    return (b"\x02\x77" + bytes.fromhex(network.id[:8])).hex(":")


def _switches(network: Network, bridge: str) -> Plan:
    """The host-wide and per-bridge switches that the network needs."""
    items: list[Sysctl] = []
    if network.pools_of(4):
        items.append(
            Sysctl(HOST, f"net.ipv4.conf.{bridge}.route_localnet", "1", "127.0.0.1:port reaches published ports")
        )
        if not network.internal:
            items.append(Sysctl(HOST, "net.ipv4.ip_forward", "1", "containers reach beyond the host"))
    if network.pools_of(6) and not network.internal:
        items.append(Sysctl(HOST, "net.ipv6.conf.all.forwarding", "1", "containers reach beyond the host"))
    return tuple(items)
