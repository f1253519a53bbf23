"""What making an item is called when it cannot be, and why it could not."""

from __future__ import annotations

import errno

from weft.errors import Conflict, Exhausted, WeftError
from weft.kernel import detours, guards, qdiscs
from weft.kernel.netlink import Failure
from weft.kernel.refusal import refusal
from weft.plan import (
    Address,
    Bridge,
    Child,
    Detour,
    Dummy,
    Guard,
    Item,
    Loopback,
    Netns,
    NftElement,
    Parent,
    ProxyNeighbour,
    Route,
    SandboxTable,
    Shaper,
    Sysctl,
    Uplink,
    Veth,
    Vlan,
)

_MOST_PORTS = 1023


def deed(item: Item) -> str:
    """What making the item is called, after "cannot"."""
    match item:
        case Bridge():
            return f"make bridge {item.name}"
        case Veth():
            return f"make veth {item.name} on {item.master} with {item.peer} in {item.netns}"
        case Guard():
            return guards.deed(item)
        case Uplink():
            return f"make {item.link} a port of {item.master}"
        case ProxyNeighbour():
            return f"answer on {item.link} for {item.address}"
        case Parent():
            return f"have {item.kind} links on {item.name}"
        case Vlan():
            return f"make VLAN {item.tag} of {item.parent} ({item.name})"
        case Dummy():
            return f"make {item.name}, a link that leads nowhere"
        case Child():
            return f"make {item.kind} {item.name} on {item.parent} {_place(item.netns)}"
        case Address():
            return f"add {item.address} to {item.link} {_place(item.netns)}"
        case Route():
            via = f" via {item.via}" if item.via else ""
            return f"add a route to {item.destination}{via} dev {item.link} {_place(item.netns)}"
        case Detour():
            return detours.deed(item)
        case Shaper():
            return qdiscs.deed(item)
        case Loopback():
            return f"set lo up {_place(item.netns)}"
        case SandboxTable():
            return f"add the tables weft {_place(item.netns)}"
        case Netns():
            return f"bind a network namespace at {item.path}"
        case Sysctl():
            return f"set {item.key} {_place(item.netns)}"
        case NftElement():
            return f"add {item.text()} to {item.name}"


def _place(netns: str) -> str:
    return f"in {netns}" if netns else "on the host"


def refused(item: Item, failure: Failure) -> WeftError:
    """For what the kernel said when the item was to be made."""
    if isinstance(item, Veth) and failure.errno == errno.EXFULL:
        return Exhausted(
            f"bridge {item.master} is full: a Linux bridge has at most {_MOST_PORTS:,} ports, one per container; make "
            "another network, and connect to both whoever must be reached from both"
        )
    if failure.errno == errno.EEXIST and isinstance(item, Veth):
        return Conflict(f"cannot {deed(item)}: a link named {item.name} or, in there, {item.peer} exists already")
    if failure.errno == errno.EEXIST and isinstance(item, Bridge):
        return Conflict(f"cannot {deed(item)}: a link of that name exists and is no bridge of weft's")
    return refusal(failure.errno, deed(item), failure.text)
