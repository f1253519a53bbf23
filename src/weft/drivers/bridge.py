"""The bridge driver: a Linux bridge per network, a veth pair per endpoint, the host as router.

Options are read under Docker's names and short ones of our own (`bridge_options`); see docs/bridge.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_interface

from weft import names
from weft.drivers.bridge_options import SPELLINGS, Options, read_options
from weft.drivers.driver import Manners, Publishing, WayOut
from weft.errors import Invalid
from weft.firewall.elements import Direct, Family, network_elements
from weft.model import Endpoint, IPInterface, Network, Pool, Sandbox
from weft.plan import HOST, Address, Bridge, Item, Plan, Sysctl, Veth

_LINK_LOCAL = ip_interface("fe80::1/64")
_DIRECT: Mapping[str, Direct] = {"routed": "published", "nat-unprotected": "everything"}


class BridgeDriver:
    name = "bridge"

    def accept(self, options: Mapping[str, str]) -> None:
        read_options(options)

    def option(self, name: str) -> str:
        return SPELLINGS.get(name, name)

    def asked_link(self, options: Mapping[str, str]) -> str:
        return read_options(options).bridge

    def has_gateway(self, options: Mapping[str, str], version: int) -> bool:
        return read_options(options).family(version).mode != "isolated"

    def check(self, network: Network) -> None:
        options = read_options(network.options)
        if not any(options.family(pool.subnet.version).mode == "isolated" for pool in network.pools):
            return
        if not network.internal:
            raise Invalid(f"gateway mode isolated is for internal networks: make {network.name!r} with --internal")
        if network.borrowed is not None:
            raise Invalid(
                f"gateway mode isolated leaves nothing of the host on the bridge, and {options.bridge} is there "
                "already, as the host's: leave out --opt bridge, or the mode"
            )

    def link(self, network: Network) -> str:
        return read_options(network.options).bridge or names.bridge(network.id)

    def links(self, network: Network) -> Sequence[str]:
        return () if network.borrowed is not None else (self.link(network),)

    def way_out(self, network: Network, version: int) -> WayOut | None:
        pool = network.pool4 if version == 4 else network.pool6
        return None if network.internal or pool is None or pool.gateway is None else WayOut(pool.gateway)

    def publishes(self, network: Network, version: int) -> Publishing | None:
        options = read_options(network.options)
        if self.way_out(network, version) is None or (version == 4 and options.inhibit_ipv4):
            return None  # with another router as the gateway, answers would not come back through this host
        return "routed" if options.family(version).mode == "routed" else "nat"

    def manners(self, network: Network) -> Manners:
        options = read_options(network.options)
        return Manners(prefix=options.prefix, host_binding=options.host_binding, advertise=options.advertise)

    def network(self, network: Network) -> Plan:
        options, bridge = read_options(network.options), self.link(network)
        elements = network_elements(
            bridge, _families(network, options), internal=network.internal, icc=options.icc, trusted=options.trusted
        )
        link = Bridge(bridge, bridge_mac(network), _mtu(network, options), borrowed=network.borrowed is not None)
        own = {} if network.borrowed is None else {a.ip: a for a in network.borrowed.addresses}
        addresses = (Address(HOST, bridge, a) for a in _addresses(network, options) if a.ip not in own)
        return (*elements, link, *addresses, *_switches(network, options, bridge))

    def endpoint(self, network: Network, endpoint: Endpoint, sandbox: Sandbox) -> Plan:
        options = read_options(network.options)
        pair = Veth(
            name=names.veth(endpoint.id),
            master=self.link(network),
            netns=sandbox.key,
            peer=endpoint.ifname,
            mac=endpoint.mac,
            mtu=_mtu(network, options),
            isolated=not options.icc,
        )
        addresses = (*endpoint.addresses, *endpoint.link_local)
        return (pair, *(Address(sandbox.key, endpoint.ifname, address) for address in addresses))


def bridge_mac(network: Network) -> str:
    """A fixed MAC: without one a bridge takes the lowest of its ports' and changes it as they come and go."""
    return names.BRIDGE_MAC + bytes.fromhex(network.id[:8]).hex(":")


def _mtu(network: Network, options: Options) -> int:
    return options.mtu or (1500 if network.borrowed is None else network.borrowed.mtu)


def _families(network: Network, options: Options) -> Iterator[Family]:
    for version in (4, 6):
        subnets = tuple(pool.subnet for pool in network.pools if pool.subnet.version == version)
        if subnets:
            wanted = options.family(version)
            yield Family(
                version,
                subnets,
                masquerade=wanted.rewrites,
                source=wanted.source,
                direct=_DIRECT.get(wanted.mode, "nobody"),
            )


def _addresses(network: Network, options: Options) -> Iterator[IPInterface]:
    """The bridge's own."""
    for pool in network.pools:
        if pool.gateway is not None and _is_host(pool, options):
            yield ip_interface(f"{pool.gateway}/{pool.subnet.prefixlen}")
    if network.pool6 is not None and _is_host(network.pool6, options):
        # What the host forwards to a container is preceded by a neighbour solicitation, which takes the bridge's
        # link-local address for its source, and is not even sent where there is none.
        yield _LINK_LOCAL


def _is_host(pool: Pool, options: Options) -> bool:
    """Whether the host is on the subnet itself."""
    version = pool.subnet.version
    return options.family(version).mode != "isolated" and not (version == 4 and options.inhibit_ipv4)


def _switches(network: Network, options: Options, bridge: str) -> Iterator[Item]:
    """The host-wide and per-bridge switches that the network needs."""
    key = bridge.replace(".", "/")
    if network.pool4 is not None and _is_host(network.pool4, options) and options.ipv4.mode != "routed":
        found = None if network.borrowed is None else str(int(network.borrowed.route_localnet))
        reason = "127.0.0.1:port reaches published ports"
        yield Sysctl(HOST, f"net.ipv4.conf.{key}.route_localnet", "1", reason, before=found)
    if not network.internal:
        reason = "containers reach beyond the host"
        if network.pool4 is not None:
            yield Sysctl(HOST, "net.ipv4.ip_forward", "1", reason)
        if network.pool6 is not None:
            yield Sysctl(HOST, "net.ipv6.conf.all.forwarding", "1", reason)
    yield from _isolating(network, options, key)


def _isolating(network: Network, options: Options, key: str) -> Iterator[Item]:
    """A host takes packets to any of its addresses from any of its links, even from one without an address."""
    reason = "the network is isolated from the host as well"
    modes = {version: options.family(version).mode for version in (4, 6)}
    if network.pool4 is not None and modes[4] == "isolated":
        # No route leads back to anybody on the bridge, so nothing from there is taken.
        yield Sysctl(HOST, f"net.ipv4.conf.{key}.rp_filter", "1", reason)
    alone = network.pool6 is None and modes[4] == "isolated"
    if alone or (network.pool6 is not None and modes[6] == "isolated"):
        yield Sysctl(HOST, f"net.ipv6.conf.{key}.disable_ipv6", "1", reason, optional=True)
