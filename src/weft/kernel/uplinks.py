"""Links of the host that are ports of a network's bridge: put there and taken away, and otherwise left as they are."""

from __future__ import annotations

import socket
from ipaddress import ip_interface

from weft.errors import Conflict, NotFound
from weft.kernel import addresses, links
from weft.kernel.inside import Inside, link_in
from weft.kernel.netlink import Failure
from weft.kernel.refusal import refusal
from weft.plan import Uplink


def ensure(host: Inside, item: Uplink) -> None:
    """Raises NotFound, or Conflict for a link that is in use otherwise."""
    bridge = links.index_of(host.rtnl, item.master)
    found = link_in(host, item.link)
    if found is None:
        raise NotFound(f"there is no link {item.link} on this host to be the uplink of {item.master}")
    if found.master != bridge:
        _check_free(host, found)
    requests = [] if found.master == bridge else [links.set_master(item.link, bridge)]
    requests += [] if found.up else [links.set_up(item.link)]
    failures = host.rtnl.send(requests) if requests else []
    if failures:
        raise refusal(failures[0].errno, f"make {item.link} a port of {item.master}", failures[0].text)


def _check_free(host: Inside, found: links.Link) -> None:
    if found.master:
        raise Conflict(
            f"{found.name} belongs to {_name_of(host, found.master)} already: take it out with "
            f"`ip link set {found.name} nomaster`, or name another uplink"
        )
    for address in addresses.parse_addresses(host.rtnl.dump(addresses.get_addresses())):
        shown = ip_interface((address.raw, address.length))
        # The kernel itself gives every link an IPv6 link-local one.
        if address.link == found.index and not (len(address.raw) == 16 and shown.ip.is_link_local):
            raise Conflict(
                f"{found.name} has the address {shown}, at which the host would answer no more as a port of a bridge: "
                f"take it away with `ip address del {shown} dev {found.name}`, or name another uplink"
            )


def _name_of(host: Inside, index: int) -> str:
    try:
        return socket.if_indextoname(index)
    except OSError:
        return f"link {index}"


def holds(host: Inside, item: Uplink) -> bool:
    found = link_in(host, item.link)
    return found is not None and found.up and found.master == links.index_of(host.rtnl, item.master) != 0


def remove(host: Inside, item: Uplink) -> list[Failure]:
    """Only if it is a port of that bridge."""
    found = link_in(host, item.link)
    if found is None or not found.master or found.master != links.index_of(host.rtnl, item.master):
        return []
    return list(host.rtnl.send([links.set_master(item.link, 0)]))
