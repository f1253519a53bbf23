"""Bridges that were there before weft's network: looked at, plugged into, and left as they were found."""

from __future__ import annotations

from ipaddress import ip_interface

from weft.errors import Conflict, NotFound
from weft.kernel import addresses, links, sysctl
from weft.kernel.inside import Inside, link_in
from weft.model import Borrowed
from weft.plan import Bridge

_MOST = 65535


def borrow(host: Inside, name: str) -> Borrowed | None:
    """What there is to be remembered of a bridge; None if there is none, or only what a network of weft's left behind.

    Raises Conflict if it is no bridge, or down.
    """
    found = link_in(host, name)
    if found is None or links.is_marked(found):
        return None
    _check(found, name)
    listed = addresses.parse_addresses(host.rtnl.dump(addresses.get_addresses()))
    own = tuple(ip_interface((address.raw, address.length)) for address in listed if address.link == found.index)
    try:
        localnet = sysctl.read(f"net.ipv4.conf.{name.replace('.', '/')}.route_localnet") == "1"
    except OSError:
        localnet = False
    return Borrowed(addresses=own, mtu=found.mtu, route_localnet=localnet)


def ensure(host: Inside, item: Bridge) -> None:
    """See that it is there and up. Raises NotFound or Conflict where only its owner can help.

    A bridge that was told neither takes the lowest MAC and the lowest MTU of its ports', and others when the last of
    them leaves. The ports of containers have high MACs; where there are no ports yet, it is told what it has.
    """
    found = link_in(host, item.name)
    if found is None:
        raise NotFound(
            f"bridge {item.name} is gone; it was there before weft's network, and has to be made again by whoever "
            f"made it: ip link add {item.name} type bridge && ip link set {item.name} up"
        )
    _check(found, item.name)
    present = [links.parse(message) for message in host.rtnl.dump(links.get_all())]
    if not any(link.master == found.index for link in present) and found.mtu < _MOST:
        # That it has this MTU already the kernel would not even pass on to it.
        told = links.set_values(item.name, mac=found.mac, mtu=found.mtu + 1)
        host.rtnl.send([told, links.set_values(item.name, mtu=found.mtu)])


def holds(found: links.Link) -> bool:
    return found.kind == "bridge" and found.up


def _check(found: links.Link, name: str) -> None:
    if found.kind != "bridge":
        raise Conflict(f"{name} is there already, and no bridge; give the network a bridge of another name")
    if not found.up:
        raise Conflict(f"bridge {name} is down, and not weft's to change: ip link set {name} up")
