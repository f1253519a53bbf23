"""The ipvlan driver: containers on the network of a link of the host's, its parent, whose MAC they share.

For networks that admit one MAC per port. In mode l3 and l3s the host routes between containers and parent, and no
broadcast reaches them. See docs/ipvlan.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from weft.drivers.driver import Publishing, WayOut
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
from weft.fields import read_choice
from weft.model import Endpoint, Network, Sandbox
from weft.plan import Address, Child, Plan

MODES = ("l2", "l3", "l3s")
FLAGS = ("bridge", "private", "vepa")

_SPELLINGS = {**SPELLINGS, "mode": "mode", "ipvlan_mode": "mode", "flag": "flag", "ipvlan_flag": "flag"}


@dataclass(frozen=True, slots=True)
class Options:
    uplink: Uplink = field(default_factory=Uplink)
    mode: str = "l2"
    flag: str = "bridge"
    mtu: int = 0


class IpvlanDriver:
    name = "ipvlan"

    def accept(self, options: Mapping[str, str]) -> None:
        read(options)

    def accept_endpoint(self, network: Network, options: Mapping[str, str]) -> None:
        _accept_limits(network, options)

    def option(self, name: str) -> str:
        return _SPELLINGS.get(name, name)

    def has_gateway(self, options: Mapping[str, str], version: int) -> bool:
        return False

    def check(self, network: Network) -> None:
        options = read(network.options)
        refuse_way_out(network, options.uplink)
        _accept_limits(network, {})
        gateways = [str(pool.gateway) for pool in network.pools if pool.gateway is not None]
        if gateways and options.mode != "l2":
            raise Invalid(
                f"gateway {' and '.join(gateways)}: in mode {options.mode} the way out is the link itself, and the "
                "host the router; leave out the gateway"
            )

    def check_change(self, before: Network, after: Network) -> None:
        was, will = read(before.options), read(after.options)
        check_stays(before, (was.uplink, will.uplink), (was.mtu, will.mtu))

    def uplink(self, options: Mapping[str, str]) -> Uplink:
        return read(options).uplink

    def claim(self, network: Network) -> Claim:
        options = read(network.options)
        mode = f"mode {options.mode}, flag {options.flag}"
        return Claim(parent=options.uplink.link(network), kind=self.name, mode=mode, own_macs=False)

    def is_on_wire(self, options: Mapping[str, str]) -> bool:
        return read(options).mode == "l2"

    def settled(self, network: Network) -> Network:
        return network if read(network.options).uplink.name else replace(network, internal=True)

    def link(self, network: Network) -> str | None:
        return None

    def links(self, network: Network) -> Sequence[str]:
        return read(network.options).uplink.made(network)

    def way_out(self, network: Network, endpoint: Endpoint, version: int) -> WayOut | None:
        address = endpoint.address(version)
        if network.internal or address is None:
            return None
        if read(network.options).mode != "l2":
            return WayOut(None)
        pool = network.pool_of(address.ip)
        return None if pool is None or pool.gateway is None else WayOut(pool.gateway)

    def guards(self, network: Network) -> bool:
        return False

    def publishes(self, network: Network, version: int) -> Publishing | None:
        return None

    def network(self, network: Network) -> Plan:
        options = read(network.options)
        return parent_links(network, options.uplink, self.name, options.mtu)

    def endpoint(self, network: Network, endpoint: Endpoint, sandbox: Sandbox) -> Plan:
        options = read(network.options)
        child = Child(
            netns=sandbox.key,
            name=endpoint.ifname,
            parent=options.uplink.link(network),
            kind=self.name,
            mode=options.mode,
            flag=options.flag,
            mtu=options.mtu,
        )
        addresses = (*endpoint.addresses, *endpoint.link_local)
        return (
            child,
            *shapers(network, endpoint, child),
            *(Address(sandbox.key, endpoint.ifname, address) for address in addresses),
        )


def _accept_limits(network: Network, of_endpoint: Mapping[str, str]) -> None:
    """Raises Invalid."""
    options = read(network.options)
    wanted = limits_of(IpvlanDriver.name, network, of_endpoint, options.mtu)
    if wanted.inward is not None and options.mode == "l3s":
        raise Invalid(
            "option bandwidth-in: in mode l3s what a container receives comes to it past its own link, where it could "
            "be held; bandwidth-out can be had, or mode l2 or l3"
        )


def read(raw: Mapping[str, str]) -> Options:
    """Raises Invalid."""
    known = by_own_names(IpvlanDriver.name, _SPELLINGS, raw)
    return Options(
        read_uplink(known),
        read_choice("option mode", known.get("mode", "l2"), MODES),
        read_choice("option flag", known.get("flag", "bridge"), FLAGS),
        read_mtu(known),
    )
