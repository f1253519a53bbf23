"""The macvlan driver: every container has a MAC of its own on the network of a link of the host's, its parent.

No bridge, no NAT, no rules: what containers send goes onto the wire as it is. See docs/macvlan.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import ip_interface, ip_network

from weft import names
from weft.drivers.driver import Publishing, WayOut
from weft.drivers.fixed import cannot_change, check_fixed
from weft.drivers.parents import (
    SPELLINGS,
    Claim,
    Uplink,
    check_stays,
    limits_of,
    parent_links,
    read_mtu,
    read_uplink,
    refuse_way_out,
    shapers,
)
from weft.drivers.spellings import by_own_names
from weft.errors import Invalid
from weft.fields import read_address, read_bool, read_choice
from weft.ipam.leases import Leases
from weft.model import Endpoint, IPAddress, Network, Pool, Sandbox
from weft.plan import HOST, Address, Child, Item, Plan, Route, Sysctl

MODES = ("bridge", "private", "vepa", "passthru")
HOST_ACCESS = "host-access"
"""The option, and the aux-address that is the host's."""

_SPELLINGS = {**SPELLINGS, "mode": "mode", "macvlan_mode": "mode", HOST_ACCESS: HOST_ACCESS}
_ARP = (
    ("arp_ignore", "1", "the host answers here at this address alone, not at its others"),
    ("arp_announce", "2", "nobody here takes this link for the way to the host's other addresses"),
)


@dataclass(frozen=True, slots=True)
class Options:
    uplink: Uplink = field(default_factory=Uplink)
    mode: str = "bridge"
    mtu: int = 0
    host_access: bool = False
    host_addresses: tuple[IPAddress, ...] = ()
    """Those asked for; none: any."""


class MacvlanDriver:
    name = "macvlan"

    def accept(self, options: Mapping[str, str]) -> None:
        read(options)

    def accept_endpoint(self, network: Network, options: Mapping[str, str]) -> None:
        limits_of(self.name, network, options, read(network.options).mtu)

    def option(self, name: str) -> str:
        return _SPELLINGS.get(name, name)

    def has_gateway(self, options: Mapping[str, str], version: int) -> bool:
        return False

    def check(self, network: Network) -> None:
        options = read(network.options)
        refuse_way_out(network, options.uplink)
        if network.ipam == "dhcp" and options.host_access and not any(a.version == 4 for a in options.host_addresses):
            raise Invalid(
                f"option {HOST_ACCESS}: the DHCP server knows nothing of an address that weft would choose; name one "
                f"that it gives to nobody, as in {HOST_ACCESS}=ADDRESS"
            )
        self.accept_endpoint(network, {})

    def check_change(self, before: Network, after: Network) -> None:
        was, will = read(before.options), read(after.options)
        check_stays(before, (was.uplink, will.uplink), (was.mtu, will.mtu))
        check_fixed(before, after, _SPELLINGS, {HOST_ACCESS: "an address is set aside for the host, or given out"})
        if was.mode != will.mode and "passthru" in (was.mode, will.mode):
            raise cannot_change(before, "mode", "passthru gives the parent and its MAC to one container, or does not")

    def uplink(self, options: Mapping[str, str]) -> Uplink:
        return read(options).uplink

    def claim(self, network: Network) -> Claim:
        options = read(network.options)
        alone = options.mode == "passthru"
        parent = options.uplink.link(network)
        return Claim(parent=parent, kind=self.name, mode="", alone=alone, own_macs=not alone)

    def is_on_wire(self, options: Mapping[str, str]) -> bool:
        return True

    def settled(self, network: Network) -> Network:
        options = read(network.options)
        if not options.uplink.name:
            network = replace(network, internal=True)
        if not options.host_access:
            return network
        for address in options.host_addresses:
            if not any(address in pool.subnet for pool in network.pools):
                subnets = " or ".join(str(pool.subnet) for pool in network.pools)
                raise Invalid(f"option {HOST_ACCESS}: {address} is not in {subnets}")
        return replace(network, pools=tuple(_with_host(pool, options) for pool in network.pools))

    def link(self, network: Network) -> str | None:
        return None

    def links(self, network: Network) -> Sequence[str]:
        options = read(network.options)
        shim = (names.shim(network.id),) if options.host_access else ()
        return (*options.uplink.made(network), *shim)

    def way_out(self, network: Network, endpoint: Endpoint, version: int) -> WayOut | None:
        address = endpoint.address(version)
        pool = network.pool_of(address.ip) if address is not None else None
        return None if network.internal or pool is None or pool.gateway is None else WayOut(pool.gateway)

    def guards(self, network: Network) -> bool:
        return False

    def publishes(self, network: Network, version: int) -> Publishing | None:
        return None

    def network(self, network: Network) -> Plan:
        options = read(network.options)
        return (*parent_links(network, options.uplink, self.name, options.mtu), *_shim(network, options))

    def endpoint(self, network: Network, endpoint: Endpoint, sandbox: Sandbox) -> Plan:
        options = read(network.options)
        child = Child(
            netns=sandbox.key,
            name=endpoint.ifname,
            parent=options.uplink.link(network),
            kind=self.name,
            mode=options.mode,
            mac=endpoint.mac,
            mtu=options.mtu,
        )
        addresses = (*endpoint.addresses, *endpoint.link_local)
        ways = [
            Route(HOST, ip_network(address.ip), names.shim(network.id))
            for address in endpoint.addresses
            if any(host.version == address.version for host in host_addresses(network))
        ]
        return (
            child,
            *shapers(network, endpoint, child),
            *(Address(sandbox.key, endpoint.ifname, address) for address in addresses),
            *ways,
        )


def read(raw: Mapping[str, str]) -> Options:
    """Raises Invalid."""
    known = by_own_names(MacvlanDriver.name, _SPELLINGS, raw)
    mode = read_choice("option mode", known.get("mode", "bridge"), MODES)
    access, addresses = _read_access(known.get(HOST_ACCESS, "false"))
    if access and mode != "bridge":
        raise Invalid(f"option {HOST_ACCESS} needs mode bridge: in mode {mode} the kernel passes nothing to the host")
    return Options(read_uplink(known), mode, read_mtu(known), access, addresses)


def host_addresses(network: Network) -> tuple[IPAddress, ...]:
    """The host's own on the network, if it is to have any."""
    if not read(network.options).host_access:
        return ()
    return tuple(pool.aux[HOST_ACCESS] for pool in network.pools if HOST_ACCESS in pool.aux)


def _read_access(text: str) -> tuple[bool, tuple[IPAddress, ...]]:
    if not any(mark in text for mark in ".:"):
        return read_bool(f"option {HOST_ACCESS}", text), ()
    found = tuple(read_address(f"option {HOST_ACCESS}", part.strip()) for part in text.split(","))
    if len({address.version for address in found}) < len(found):
        raise Invalid(f"option {HOST_ACCESS}: {text} has more than one address of a family")
    return True, found


def _with_host(pool: Pool, options: Options) -> Pool:
    """The host's address is set aside like any other that is in use by somebody else."""
    wanted = next((a for a in options.host_addresses if a.version == pool.subnet.version), None)
    there = pool.aux.get(HOST_ACCESS)
    if (wanted is None and options.host_addresses) or (there is not None and wanted in (None, there)):
        return pool
    return replace(pool, aux={**pool.aux, HOST_ACCESS: Leases(pool).choose(wanted)})


def _shim(network: Network, options: Options) -> Plan:
    """The host's own link among the containers': the kernel passes nothing between a parent and its children."""
    addresses = host_addresses(network)
    if not addresses:
        return ()
    link = names.shim(network.id)
    child = Child(
        netns=HOST,
        name=link,
        parent=options.uplink.link(network),
        kind=MacvlanDriver.name,
        mode=options.mode,
        mac=names.mac_of(addresses[0]),
        mtu=options.mtu,
    )
    items: list[Item] = [child]
    if any(address.version == 4 for address in addresses):
        items += [Sysctl(HOST, f"net.ipv4.conf.{link}.{key}", value, why) for key, value, why in _ARP]
    # Alone, not with its subnet's length: the way to the subnet stays the parent's.
    return (*items, *(Address(HOST, link, ip_interface(address)) for address in addresses))
