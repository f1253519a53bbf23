"""Networks that branch off from a link of the host: what the drivers macvlan and ipvlan have in common.

The parent is a link of the host, a VLAN sub-interface of one (eth0.10, which weft makes if it is not there), or, if
none is named, a link of weft's own that leads nowhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from weft import names
from weft.drivers import bandwidth
from weft.drivers.bandwidth import Bandwidth
from weft.drivers.fixed import cannot_change
from weft.errors import Conflict, Invalid
from weft.fields import read_int
from weft.model import Endpoint, Network
from weft.plan import Child, Dummy, Parent, Plan, Vlan

SPELLINGS = {
    "parent": "parent",
    "vlan": "vlan",
    "mtu": "mtu",
    "com.docker.network.driver.mtu": "mtu",
    **{name: name for name in bandwidth.OPTIONS},
}
"""Of the options that both drivers have."""

_LINK = re.compile(r"[^\s/:]{1,15}")
_MOST_TAG = 4094
USUAL_MTU = 1500


@dataclass(frozen=True, slots=True)
class Uplink:
    """The parent as it was asked for."""

    name: str = ""
    """Empty: none was named."""
    base: str = ""
    """Of what it is a VLAN sub-interface, if it is one that weft would make."""
    tag: int = 0

    def link(self, network: Network) -> str:
        return self.name or names.dummy(network.id)

    def made(self, network: Network) -> tuple[str, ...]:
        """The link that weft makes (if it is not there), by name."""
        return () if self.name and not self.base else (self.link(network),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What a network makes of its parent."""

    parent: str
    kind: str
    mode: str
    """All that the networks of one parent must agree on, in words; empty: nothing."""
    alone: bool = False
    """One container has the parent to itself."""
    own_macs: bool = True
    """Containers have a MAC of their own; else the parent's."""


@runtime_checkable
class OnParent(Protocol):
    """A driver whose networks branch off from a link of the host."""

    def uplink(self, options: Mapping[str, str]) -> Uplink:
        """The parent that was asked for. Raises Invalid."""

    def claim(self, network: Network) -> Claim: ...

    def is_on_wire(self, options: Mapping[str, str]) -> bool:
        """Whether containers are neighbours of those on the parent's wire, broadcasts and all."""

    def settled(self, network: Network) -> Network:
        """The network with what the driver decides for it. Raises Invalid or Conflict (an address of the host's)."""


def read_uplink(read: Mapping[str, str]) -> Uplink:
    parent, vlan = read.get("parent", ""), read.get("vlan", "")
    if not parent:
        if vlan:
            raise Invalid(f"option vlan: {vlan} is a VLAN of which link? Add parent=LINK")
        return Uplink()
    if parent == "lo":
        raise Invalid("option parent: lo leads nowhere; name a link of the host such as eth0, or none")
    if not _LINK.fullmatch(parent):
        raise Invalid(f"option parent: {parent!r} cannot be the name of a link")
    if names.is_ours(parent):
        raise Invalid(f"option parent: {parent} is weft's own; name another link of the host, or none")
    if vlan:
        return _sub_interface(parent, read_int("option vlan", vlan, low=1, high=_MOST_TAG))
    base, dot, tag = parent.rpartition(".")
    if not (base and dot and tag.isascii() and tag.isdigit()):
        return Uplink(parent)
    number = read_int(f"option parent: the VLAN of {parent}", tag, low=1, high=_MOST_TAG)
    return Uplink(parent, base, number)


def _sub_interface(base: str, tag: int) -> Uplink:
    name = f"{base}.{tag}"
    if not _LINK.fullmatch(name):
        raise Invalid(f"option vlan: {name} would be longer than the 15 characters that a link's name may have")
    return Uplink(name, base, tag)


def read_mtu(read: Mapping[str, str]) -> int:
    """0: the parent's."""
    return read_int("option mtu", read["mtu"], low=68, high=65535) if "mtu" in read else 0


def limits_of(driver: str, network: Network, endpoint: Mapping[str, str], mtu: int) -> Bandwidth:
    """What an endpoint with these options may receive and send. Raises Invalid."""
    return bandwidth.bandwidth_of(driver, network.options, endpoint, mtu or USUAL_MTU)


def shapers(network: Network, endpoint: Endpoint, child: Child) -> Plan:
    return bandwidth.shapers_alone(
        limits_of(child.kind, network, endpoint.options, child.mtu),
        netns=child.netns,
        link=child.name,
        beside=names.detour(endpoint.id),
        mtu=child.mtu or USUAL_MTU,
    )


def check_stays(network: Network, uplinks: tuple[Uplink, Uplink], mtus: tuple[int, int]) -> None:
    """Each before and after. Raises Conflict for another parent, or its MTU where there was another."""
    if uplinks[0] != uplinks[1]:
        raise cannot_change(network, "parent", "containers' interfaces branch off from it")
    if mtus[0] and not mtus[1]:
        raise cannot_change(network, "mtu", "interfaces take the parent's when they are made; say which number")


def refuse_way_out(network: Network, uplink: Uplink) -> None:
    """Raises Invalid for an internal network on a wire: weft has no hand in what passes there."""
    if network.internal and uplink.name:
        raise Invalid(
            f"network {network.name!r} cannot be internal: its parent {uplink.name} leads out; leave out the parent"
        )


def parent_links(network: Network, uplink: Uplink, kind: str, mtu: int) -> Plan:
    """The parent, made if need be."""
    name = uplink.link(network)
    if uplink.base:
        return Vlan(name, uplink.base, uplink.tag), Parent(name, kind)
    if not uplink.name:
        return Dummy(name, mtu or USUAL_MTU), Parent(name, kind)
    return (Parent(name, kind),)


def refuse_shared_parent(network: Network, claim: Claim, others: Iterable[tuple[Network, Claim]]) -> None:
    """Raises Conflict where two networks want more of a parent than the kernel gives."""
    for other, theirs in others:
        if theirs.parent != claim.parent:
            continue
        has = (
            f"parent {claim.parent} is network {other.name!r}'s ({theirs.kind}{', ' * bool(theirs.mode)}{theirs.mode})"
        )
        if theirs.kind != claim.kind:
            raise Conflict(f"{has}: a link carries either macvlan or ipvlan; take another, or a VLAN of it")
        if theirs.alone or claim.alone:
            raise Conflict(f"{has}: passthru needs a parent alone; take another, or a VLAN of it")
        if theirs.mode != claim.mode:
            raise Conflict(f"{has}: all {claim.kind} networks of a parent have one mode and flag, {network.name!r} not")
