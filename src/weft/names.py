"""From ids to kernel names and marks. Every name in the kernel is derived here, never invented later."""

from __future__ import annotations

import hashlib
import secrets
from ipaddress import IPv4Address, IPv6Address

SHORT = 12
"""How many hex digits of an id name a thing to people and to the kernel (IFNAMSIZ allows 15 characters)."""

LINK_GROUP = 0x77656674
"""The group ("weft") every link of ours carries in the host's namespace: what bears it may be swept."""

BRIDGE_MAC = "02:77:"
"""How the MACs of our bridges begin: with the group it marks one whose name the user chose."""
CHILD_GROUP = LINK_GROUP + 8
"""The group of links inside containers that branch off from a link of the host: nothing on the host leads to them, so
they are known by this. Another than the host's own, since a container may be a host to a weft of its own."""

TABLE = "weft"
"""The nftables table (family inet) that weft owns whole, in the host and inside each container."""

NAMESERVER = IPv4Address("127.0.0.11")
"""Where a container finds its DNS server."""

NAMESERVER_PORT = 40053
"""The port the server's sockets really have; rules in the namespace rewrite 53 to it and back, so that a
container may run a server of its own on 0.0.0.0:53."""


def new_id(beginning: str = "") -> str:
    """A fresh id: 64 hex digits, as Docker's, the first of them given or not.

    If not, it begins with a decimal digit: things are found by the beginning of an id too, and no word ("db", "cafe")
    may find what bears another name. Its short form is not digits alone, which is no good host name.
    """
    while True:
        ident = beginning + secrets.token_hex(32)[len(beginning) :]
        if beginning or (ident[0].isdecimal() and not short(ident).isdecimal()):
            return ident


def fixed_id(place: str, name: str) -> str:
    """The id of what is called so in a place for ever, such as a network that clients count on."""
    return hashlib.sha256(f"{place}/{name}".encode()).hexdigest()


def short(ident: str) -> str:
    return ident[:SHORT]


def bridge(network_id: str) -> str:
    return f"wb-{network_id[:SHORT]}"


def veth(endpoint_id: str) -> str:
    return f"wv-{endpoint_id[:SHORT]}"


def vlan(network_id: str) -> str:
    """The sub-interface of a network that has one VLAN of its uplink."""
    return f"wl-{network_id[:SHORT]}"


def dummy(network_id: str) -> str:
    """The parent of a network that was given none."""
    return f"wd-{network_id[:SHORT]}"


def shim(network_id: str) -> str:
    """The host's own link on a macvlan network."""
    return f"ws-{network_id[:SHORT]}"


def detour(endpoint_id: str) -> str:
    """The link inside a container through which passes what arrives by another, where that is limited."""
    return f"wi-{endpoint_id[:SHORT]}"


def is_detour(link: str) -> bool:
    return link.startswith("wi-")


def is_ours(link: str) -> bool:
    """Whether a link's name is of a form that only weft gives (the group must say so too)."""
    return link.startswith(("wb-", "wv-", "wl-", "wd-", "ws-"))


def pin(run_dir: str, sandbox_id: str) -> str:
    """The path at which a sandbox's network namespace is bound: its key."""
    return f"{run_dir}/netns/{sandbox_id[:SHORT]}"


def mac_of(address: IPv4Address | IPv6Address) -> str:
    """A locally administered MAC derived from the address, so that a neighbour's stale cache entry is true.

    IPv4 uses Docker's 02:42 prefix with the four bytes; IPv6 02:43 with the last four.
    """
    prefix = b"\x02\x42" if isinstance(address, IPv4Address) else b"\x02\x43"
    return (prefix + address.packed[-4:]).hex(":")


def mac_bytes(mac: str) -> bytes:
    """As it is on the wire: six bytes."""
    return bytes.fromhex(mac.replace(":", ""))


def mac_of_endpoint(endpoint_id: str) -> str:
    """A locally administered MAC for whoever needs one before there is an address."""
    return f"02:44:{':'.join(endpoint_id[at : at + 2] for at in range(0, 8, 2))}"
