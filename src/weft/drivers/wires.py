"""What ties a bridge network to a wire of the host's: an uplink among the bridge's ports, and answers given there.

With an uplink (or a VLAN of it) the network is the wire's own: its containers are neighbours of whatever is there.
Where the host answers on a wire for containers' addresses (NDP and ARP proxying), it stays their router, and those out
there need no route to them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from weft import names
from weft.errors import Invalid
from weft.fields import read_int
from weft.model import Endpoint, Network
from weft.plan import HOST, Plan, ProxyNeighbour, Sysctl, Uplink, Vlan

OPTIONS = ("uplink", "vlan", "ndp-proxy", "arp-proxy")

_LINK = re.compile(r"[^\s/:]{1,15}")


@dataclass(frozen=True, slots=True)
class Wire:
    uplink: str = ""
    """A link of the host that becomes a port of the bridge; empty: none."""
    vlan: int = 0
    """Not the uplink itself, but its frames with this tag; 0: itself."""
    ndp_proxy: str = ""
    """The link on which the host answers for the containers' IPv6 addresses; empty: none."""
    arp_proxy: str = ""
    """Likewise for IPv4."""

    def proxy(self, version: int) -> str:
        return self.arp_proxy if version == 4 else self.ndp_proxy

    @property
    def links(self) -> tuple[str, ...]:
        """Those of the host that the network leans on."""
        return tuple(dict.fromkeys(link for link in (self.uplink, self.ndp_proxy, self.arp_proxy) if link))


NO_WIRE = Wire()


def read_wire(options: Mapping[str, str]) -> Wire:
    """`options` under their own names. Raises Invalid."""
    vlan = read_int("option vlan", options["vlan"], low=1, high=4094) if "vlan" in options else 0
    wire = Wire(
        uplink=_link("uplink", options),
        vlan=vlan,
        ndp_proxy=_link("ndp-proxy", options),
        arp_proxy=_link("arp-proxy", options),
    )
    if vlan and not wire.uplink:
        raise Invalid(f"option vlan={vlan} needs the link whose frames bear that tag: uplink=LINK")
    return wire


def _link(option: str, options: Mapping[str, str]) -> str:
    name = options.get(option, "")
    if option not in options:
        return ""
    if not _LINK.fullmatch(name) or name in (".", "..", "lo") or names.is_ours(name):
        raise Invalid(f"option {option}: {name!r} is no link of the host's that leads anywhere, such as eth1")
    return name


def uplink(wire: Wire, network: Network, bridge: str) -> Plan:
    """The wire's port of the bridge."""
    if not wire.uplink:
        return ()
    if not wire.vlan:
        return (Uplink(wire.uplink, bridge),)
    tagged = names.vlan(network.id)
    return (Vlan(tagged, wire.uplink, wire.vlan), Uplink(tagged, bridge))


def made_links(wire: Wire, network: Network) -> tuple[str, ...]:
    return (names.vlan(network.id),) if wire.vlan else ()


def switches(wire: Wire) -> Plan:
    switches: list[Sysctl] = []
    if wire.ndp_proxy:
        key = f"net.ipv6.conf.{_in_key(wire.ndp_proxy)}.proxy_ndp"
        switches.append(Sysctl(HOST, key, "1", f"the host answers on {wire.ndp_proxy} for containers' addresses"))
    for family, link in (("ipv4", wire.arp_proxy), ("ipv6", wire.ndp_proxy)):
        if link:
            # By itself the kernel waits up to 0.8 s, for whoever really has the address to answer first.
            key = f"net.{family}.neigh.{_in_key(link)}.proxy_delay"
            switches.append(Sysctl(HOST, key, "0", f"answers on {link} for containers' addresses come at once"))
    return tuple(switches)


def _in_key(link: str) -> str:
    return link.replace(".", "/")


def answers(wire: Wire, endpoint: Endpoint) -> Plan:
    """What the host answers for on the wire."""
    return tuple(
        ProxyNeighbour(link, interface.ip)
        for interface in endpoint.addresses
        if (link := wire.proxy(interface.version))
    )
