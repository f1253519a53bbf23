"""VLAN sub-interfaces of the host's links (802.1Q): made, compared, taken away.

Attributes as in linux/if_link.h (IFLA_VLAN_ID).
"""

from __future__ import annotations

import errno
import struct

from weft.errors import Conflict, NotFound, Unsupported
from weft.kernel import links
from weft.kernel.inside import Inside
from weft.kernel.netlink import NLM_F_CREATE, NLM_F_EXCL, Failure, Request, attr, attribute_map, nest, text, u32
from weft.kernel.refusal import refusal
from weft.names import LINK_GROUP
from weft.plan import Vlan

_IFLA_IFNAME, _IFLA_LINK, _IFLA_LINKINFO, _IFLA_GROUP = 3, 5, 18, 27
_INFO_KIND, _INFO_DATA = 1, 2
_VLAN_ID = 1
_IFINFO = struct.Struct("=BxHiII")


def ensure(host: Inside, item: Vlan) -> None:
    """Raises NotFound (parent), Conflict, or Unsupported where the kernel has no 802.1Q."""
    parent = links.index_of(host.rtnl, item.parent)
    if not parent:
        raise NotFound(f"there is no link {item.parent} on this host to have VLAN {item.tag} of")
    if not holds(host, item):
        _make(host, item, parent)
    failures = host.rtnl.send([links.no_own_address(item.name), links.set_up(item.name)])
    for failure in failures:
        if failure.errno == errno.ENETDOWN:
            raise Conflict(f"{item.parent} is down, and so is VLAN {item.tag} of it: `ip link set {item.parent} up`")
        if failure.errno not in (errno.EAFNOSUPPORT, errno.EOPNOTSUPP):
            raise refusal(failure.errno, f"set {item.name} up", failure.text)


def _make(host: Inside, item: Vlan, parent: int) -> None:
    deed = f"make VLAN {item.tag} of {item.parent} ({item.name})"
    for failure in host.rtnl.send([_add(item, parent)]):
        if failure.errno == errno.EEXIST:
            raise Conflict(f"cannot {deed}: another link has that name, or is that VLAN already")
        if failure.errno == errno.EOPNOTSUPP:
            raise Unsupported(f"cannot {deed}: this kernel has no 802.1Q (modprobe 8021q)")
        raise refusal(failure.errno, deed, failure.text)


def _add(item: Vlan, parent: int) -> Request:
    info = text(_INFO_KIND, "vlan") + nest(_INFO_DATA, attr(_VLAN_ID, struct.pack("=H", item.tag)))
    body = (
        _IFINFO.pack(0, 0, 0, 0, 0)
        + text(_IFLA_IFNAME, item.name)
        + u32(_IFLA_LINK, parent)
        + u32(_IFLA_GROUP, LINK_GROUP)
        + nest(_IFLA_LINKINFO, info)
    )
    return Request(links.RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body)


def holds(host: Inside, item: Vlan) -> bool:
    answer = host.rtnl.get([links.get(item.name)])[0]
    if isinstance(answer, Failure) or not answer:
        return False
    found = links.parse(answer[0])
    info = attribute_map(attribute_map(answer[0].body, _IFINFO.size).get(_IFLA_LINKINFO, b""))
    tag = int.from_bytes(attribute_map(info.get(_INFO_DATA, b"")).get(_VLAN_ID, b""), "little")
    parent = links.index_of(host.rtnl, item.parent)
    return (found.kind, found.group, found.peer, tag) == ("vlan", LINK_GROUP, parent, item.tag)


def remove(host: Inside, item: Vlan) -> list[Failure]:
    return list(host.rtnl.send([links.delete(item.name)]))
