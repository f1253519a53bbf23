"""The bridge driver: a Linux bridge per network, a veth pair per endpoint, the host as router.

Options are read under Docker's names and short ones of our own (`bridge_options`); see docs/bridge.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_interface

from weft import names
from weft.drivers import bandwidth, wires
from weft.drivers.bandwidth import Bandwidth
from weft.drivers.bridge_options import SPELLINGS, Options, read_options
from weft.drivers.driver import Manners, Publishing, WayOut
from weft.drivers.fixed import cannot_change, check_fixed
from weft.errors import Invalid
from weft.firewall.elements import Direct, Family, network_elements
from weft.firewall.guard import sender_elements, unguarded_elements
from weft.model import Endpoint, IPInterface, Network, Sandbox
from weft.plan import HOST, Address, Bridge, Item, Plan, Sysctl, Veth

_LINK_LOCAL = ip_interface("fe80::1/64")
_WIRED = "it says what wire the network is one with"
_FIXED = {
    "bridge": "containers are plugged into that bridge",
    "prefix": "containers have interfaces of that name",
    **dict.fromkeys(wires.OPTIONS, _WIRED),
}
_DIRECT: Mapping[str, Direct] = {"routed": "published", "nat-unprotected": "everything"}


class BridgeDriver:
    name = "bridge"

    def accept(self, options: Mapping[str, str]) -> None:
        read_options(options)

    def accept_endpoint(self, network: Network, options: Mapping[str, str]) -> None:
        _bandwidth(network, options)

    def option(self, name: str) -> str:
        return SPELLINGS.get(name, name)

    def asked_link(self, options: Mapping[str, str]) -> str:
        return read_options(options).bridge

    def has_gateway(self, options: Mapping[str, str], version: int) -> bool:
        return read_options(options).family(version).mode != "isolated"

    def check(self, network: Network) -> None:
        options = read_options(network.options)
        _bandwidth(network, {})
        if not any(options.family(pool.subnet.version).mode == "isolated" for pool in network.pools):
            return
        if not network.internal:
            raise Invalid(f"gateway mode isolated is for internal networks: make {network.name!r} with --internal")
        if network.borrowed is not None:
            raise Invalid(
                f"gateway mode isolated leaves nothing of the host on the bridge, and {options.bridge} is there "
                "already, as the host's: leave out --opt bridge, or the mode"
            )

    def check_change(self, before: Network, after: Network) -> None:
        check_fixed(before, after, SPELLINGS, _FIXED)
        was, will = read_options(before.options), read_options(after.options)
        for version in (4, 6):
            isolated = {options.family(version).mode == "isolated" for options in (was, will)}
            if before.pools_of(version) and after.pools_of(version) and len(isolated) > 1:
                why = "whether the host is on it, with a gateway set aside, is decided when it is made"
                raise cannot_change(before, f"gateway-mode-ipv{version}=isolated", why)

    def link(self, network: Network) -> str:
        return read_options(network.options).bridge or names.bridge(network.id)

    def links(self, network: Network) -> Sequence[str]:
        made = () if network.borrowed is not None else (self.link(network),)
        return (*made, *wires.made_links(read_options(network.options).wire, network))

    def leans_on(self, network: Network) -> Sequence[str]:
        return read_options(network.options).wire.links

    def answers_on(self, options: Mapping[str, str], version: int) -> str:
        return read_options(options).wire.proxy(version)

    def way_out(self, network: Network, endpoint: Endpoint, version: int) -> WayOut | None:
        address = endpoint.address(version)
        pool = network.pool_of(address.ip) if address is not None else None
        return None if network.internal or pool is None or pool.gateway is None else WayOut(pool.gateway)

    def passes_host(self, network: Network) -> bool:
        return not read_options(network.options).wire.uplink

    def guards(self, network: Network) -> bool:
        return read_options(network.options).anti_spoof

    def publishes(self, network: Network, version: int) -> Publishing | None:
        options = read_options(network.options)
        leads_out = not network.internal and any(pool.gateway is not None for pool in network.pools_of(version))
        if not leads_out or (version == 4 and options.inhibit_ipv4):
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
        return (
            *elements,
            link,
            *wires.uplink(options.wire, network, bridge),
            *addresses,
            *_switches(network, options, bridge),
            *wires.switches(options.wire),
        )

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
        if options.anti_spoof and not _is_router(network, endpoint):
            may_send = sender_elements(pair.name, endpoint.mac, addresses)
        else:
            may_send = unguarded_elements(pair.name)
        limits = bandwidth.shapers(
            _bandwidth(network, endpoint.options),
            outer=(HOST, pair.name),
            inner=(sandbox.key, endpoint.ifname),
            mtu=pair.mtu,
        )
        inside = (Address(sandbox.key, endpoint.ifname, address) for address in addresses)
        return (*may_send, pair, *limits, *inside, *wires.answers(options.wire, endpoint))


def _is_router(network: Network, endpoint: Endpoint) -> bool:
    """Whether the network says that it passes on what others send."""
    own = [interface.ip for interface in endpoint.addresses]
    return any(route.gateway in own for route in network.routes)


def bridge_mac(network: Network) -> str:
    """A fixed MAC: without one a bridge takes the lowest of its ports' and changes it as they come and go."""
    return names.BRIDGE_MAC + bytes.fromhex(network.id[:8]).hex(":")


def _mtu(network: Network, options: Options) -> int:
    return options.mtu or (1500 if network.borrowed is None else network.borrowed.mtu)


def _bandwidth(network: Network, of_endpoint: Mapping[str, str]) -> Bandwidth:
    """Raises Invalid for options of the endpoint that are unknown, malformed, or do not go with the network's."""
    mtu = _mtu(network, read_options(network.options))
    return bandwidth.bandwidth_of("bridge", network.options, of_endpoint, mtu)


def _families(network: Network, options: Options) -> Iterator[Family]:
    for version in (4, 6):
        subnets = tuple(pool.subnet for pool in network.pools_of(version))
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
        if pool.gateway is not None and _is_host(network, options, pool.subnet.version):
            yield ip_interface(f"{pool.gateway}/{pool.subnet.prefixlen}")
    if _is_host(network, options, 6):
        # What the host forwards to a container is preceded by a neighbour solicitation, which takes the bridge's
        # link-local address for its source, and is not even sent where there is none.
        yield _LINK_LOCAL


def _is_host(network: Network, options: Options, version: int) -> bool:
    """Whether the host is on the network itself, in a family."""
    if not network.pools_of(version) or (version == 4 and options.inhibit_ipv4):
        return False
    return options.family(version).mode != "isolated"


def _switches(network: Network, options: Options, bridge: str) -> Iterator[Item]:
    """The host-wide and per-bridge switches that the network needs."""
    key = bridge.replace(".", "/")
    if _is_host(network, options, 4) and options.ipv4.mode != "routed":
        found = None if network.borrowed is None else str(int(network.borrowed.route_localnet))
        reason = "127.0.0.1:port reaches published ports"
        yield Sysctl(HOST, f"net.ipv4.conf.{key}.route_localnet", "1", reason, before=found)
    if not network.internal:
        reason = "containers reach beyond the host"
        if network.pools_of(4):
            yield Sysctl(HOST, "net.ipv4.ip_forward", "1", reason)
        if network.pools_of(6):
            yield Sysctl(HOST, "net.ipv6.conf.all.forwarding", "1", reason)
    yield from _isolating(network, options, key)


def _isolating(network: Network, options: Options, key: str) -> Iterator[Item]:
    """A host takes packets to any of its addresses from any of its links, even from one without an address."""
    reason = "the network is isolated from the host as well"
    isolated = {version: options.family(version).mode == "isolated" for version in (4, 6)}
    if network.pools_of(4) and isolated[4]:
        # No route leads back to anybody on the bridge, so nothing from there is taken.
        yield Sysctl(HOST, f"net.ipv4.conf.{key}.rp_filter", "1", reason)
    if isolated[6] if network.pools_of(6) else isolated[4]:
        yield Sysctl(HOST, f"net.ipv6.conf.{key}.disable_ipv6", "1", reason, optional=True)
