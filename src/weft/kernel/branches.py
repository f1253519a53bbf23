"""Links that branch off from others: macvlan, ipvlan and VLAN sub-interfaces, and a parent where there is none.

A child is made by one message from the host's namespace, where its parent is, and born in the container's: it is
never on the host, not even for a moment. It has no other end: it is deleted where it is, it ends with its namespace
or its parent, and a mark of its own (CHILD_GROUP) tells inside a container which links are weft's.

Attributes' numbers are those of linux/if_link.h.
"""

from __future__ import annotations

import errno
import secrets
import struct
from collections.abc import Collection
from dataclasses import dataclass

from weft.errors import Conflict, NotFound, Unsupported
from weft.kernel import links
from weft.kernel.inside import Inside, Visit
from weft.kernel.netlink import (
    NLM_F_CREATE,
    NLM_F_EXCL,
    Failure,
    Request,
    attr,
    attribute_map,
    nest,
    text,
    u32,
)
from weft.kernel.refusal import refusal
from weft.names import CHILD_GROUP, LINK_GROUP, mac_bytes
from weft.plan import HOST, Child, Dummy, Parent, Vlan

_IFLA_ADDRESS = 1
_IFLA_IFNAME = 3
_IFLA_MTU = 4
_IFLA_LINK = 5
_IFLA_LINKINFO = 18
_IFLA_GROUP = 27
_IFLA_NET_NS_FD = 28
_INFO_KIND = 1
_INFO_DATA = 2

_IFLA_VLAN_ID = 1
"""u16."""
_IFLA_MACVLAN_MODE = 1
"""u32."""
_MACVLAN_MODES = {"private": 1, "vepa": 2, "bridge": 4, "passthru": 8}
_IFLA_IPVLAN_MODE = 1
"""u16."""
_IFLA_IPVLAN_FLAGS = 2
"""u16."""
_IPVLAN_MODES = {"l2": 0, "l3": 1, "l3s": 2}
_IPVLAN_FLAGS = {"bridge": 0, "private": 1, "vepa": 2}

_IFINFO = struct.Struct("=BxHiII")
"""struct ifinfomsg."""
_HEAD = bytes(_IFINFO.size)
_NOWHERE = ("dummy", "ifb")
"""Kinds of links that lead nowhere: what is sent to an ifb, and was not redirected there, is dropped as well."""
_STACKED = ("macvlan", "ipvlan")


class Branches:
    """One item's work."""

    def __init__(self, visit: Visit) -> None:
        self._visit = visit
        self._host = visit.host

    # Making so

    def ensure(self, item: Parent | Vlan | Dummy | Child) -> None:
        """Raises WeftError."""
        match item:
            case Parent():
                self._parent(item)
            case Vlan():
                self._vlan(item)
            case Dummy():
                self._dummy(item)
            case Child():
                self._child(item)

    def _parent(self, item: Parent) -> None:
        self._index(item.name)
        # Without a parent it is refused whatever the kernel can do; but by one that has the kind, for that reason.
        probe = _HEAD + text(_IFLA_IFNAME, "weft-probe") + nest(_IFLA_LINKINFO, text(_INFO_KIND, item.kind))
        failures = self._host.rtnl.send([Request(links.RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, probe)])
        if failures and failures[0].errno == errno.EOPNOTSUPP:
            raise Unsupported(f"this kernel has no {item.kind} links (is the module {item.kind} there?)")

    def _index(self, name: str) -> int:
        check_link(self._host, name)
        return links.index_of(self._host.rtnl, name)

    def _vlan(self, item: Vlan) -> None:
        found = _look(self._host, item.name)
        if found is not None and found.link.group != LINK_GROUP:
            if found.link.kind == "vlan" and found.tag != item.tag:
                raise Conflict(
                    f"{item.name} is there, but it is VLAN {found.tag}, not {item.tag}; name it as the parent"
                )
            return
        if found is not None and not self._is_vlan(item, found):
            self._host.rtnl.send([links.delete(item.name)])
            found = None
        if found is None:
            made = nest(_INFO_DATA, attr(_IFLA_VLAN_ID, struct.pack("=H", item.tag)))
            values = u32(_IFLA_LINK, self._index(item.parent)) + u32(_IFLA_GROUP, LINK_GROUP)
            self._make(item, values, text(_INFO_KIND, "vlan") + made)
        self._set_up(self._host, item)

    def _dummy(self, item: Dummy) -> None:
        found = _look(self._host, item.name)
        if found is not None and not (found.link.kind in _NOWHERE and found.link.group == LINK_GROUP):
            raise Conflict(f"cannot make {item.name}: a link of that name exists and is not weft's")
        if found is None:
            values = u32(_IFLA_MTU, item.mtu) + u32(_IFLA_GROUP, LINK_GROUP)
            self._nowhere(item, values)
        elif found.link.mtu != item.mtu:
            self._send(self._host, item, links.set_values(item.name, mtu=item.mtu))
        self._set_up(self._host, item)

    def _nowhere(self, item: Dummy, values: bytes) -> None:
        for kind in _NOWHERE:
            try:
                return self._make(item, values, text(_INFO_KIND, kind))
            except Unsupported:
                continue
        raise Unsupported(
            f"a network without a parent needs a link that leads nowhere, and this kernel has none "
            f"({' and '.join(_NOWHERE)} are missing); name a parent"
        )

    def _make(self, item: Vlan | Dummy | Child, values: bytes, info: bytes) -> None:
        body = _HEAD + text(_IFLA_IFNAME, item.name) + values + nest(_IFLA_LINKINFO, info)
        self._send(self._host, item, Request(links.RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body))

    def _child(self, item: Child) -> None:
        there = self._visit.enter(item.netns)
        index = self._index(item.parent)
        found = _look(there, item.name)
        if found is not None and not _is_marked(item, found):
            self._visit.reaper.flush()  # a link that left just now, perhaps
            found = _look(there, item.name)
            if found is not None:
                place = f"in {item.netns}" if item.netns else "on the host"
                raise Conflict(f"cannot make {item.kind} {item.name} {place}: a link of that name exists already")
        if found is not None and not self._branches(item, found) and not self._turned(there, item, found):
            there.rtnl.send([links.delete(item.name)])
            found = None
        if found is None:
            if item.netns:
                # Or the kernel's notices of what becomes of the link would not be heard on the host.
                self._host.rtnl.send([links.give_nsid(there.descriptor)])
            self._bear(item, _child_values(item, index, there.descriptor), _child_info(item))
        elif not _has_values(item, found):
            mac = item.mac or None
            self._send(there, item, links.set_values(item.name, mac=mac, mtu=item.mtu or found.link.mtu))
        self._set_up(there, item)

    def _turned(self, there: Inside, item: Child, found: _Found) -> bool:
        """Whether a link that branches off where it should has the item's mode now: so connections over it go on."""
        if not self._branches_off(item, found):
            return False
        values = text(_IFLA_IFNAME, item.name) + nest(_IFLA_LINKINFO, _child_info(item))
        return not there.rtnl.send([Request(links.RTM_NEWLINK, 0, _HEAD + values)])

    def _bear(self, item: Child, values: bytes, info: bytes) -> None:
        """Make a child of which it is known that its name is free where it is to be born.

        Older kernels (6.1, say) look for a link of that name in the namespace that the message is from, and eth0 is
        mostly there. One that is given a number they look for by that.
        """
        body = text(_IFLA_IFNAME, item.name) + values + nest(_IFLA_LINKINFO, info)
        numbers = (0, 1 << 20 | secrets.randbits(20)) if item.netns else (0,)
        for number in numbers:
            head = _IFINFO.pack(0, 0, number, 0, 0)
            failures = self._host.rtnl.send([Request(links.RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, head + body)])
            if not failures:
                return
            if failures[0].errno != errno.EEXIST or number == numbers[-1]:
                raise _refused(item, failures[0])

    def _set_up(self, there: Inside, item: Vlan | Dummy | Child) -> None:
        there.rtnl.send([links.no_own_address(item.name)])  # refused where there is no IPv6, and not needed there
        if there is self._host:
            _be_deaf(item.name)
        self._send(there, item, links.set_up(item.name))

    def _send(self, there: Inside, item: Vlan | Dummy | Child, request: Request) -> None:
        for failure in there.rtnl.send([request]):
            raise _refused(item, failure)

    # Looking

    def holds(self, item: Parent | Vlan | Dummy | Child) -> bool:
        if isinstance(item, Parent):
            return bool(links.index_of(self._host.rtnl, item.name))
        there = self._visit.try_enter(item.netns if isinstance(item, Child) else HOST)
        found = _look(there, item.name) if there else None
        if found is None:
            return False
        match item:
            case Vlan():
                return found.link.group != LINK_GROUP or (self._is_vlan(item, found) and found.link.up)
            case Dummy():
                right = found.link.kind in _NOWHERE and found.link.group == LINK_GROUP
                return right and found.link.up and found.link.mtu == item.mtu
            case Child():
                right = _is_marked(item, found) and self._branches(item, found) and _has_values(item, found)
                return right and found.link.up

    def _is_vlan(self, item: Vlan, found: _Found) -> bool:
        return (
            found.link.kind == "vlan"
            and found.tag == item.tag
            and found.link.peer == links.index_of(self._host.rtnl, item.parent)
        )

    def _branches(self, item: Child, found: _Found) -> bool:
        """Whether a link is of the item's kind and mode, and branches off where it should."""
        return self._branches_off(item, found) and found.mode == _mode(item)

    def _branches_off(self, item: Child, found: _Found) -> bool:
        parent = _look(self._host, item.parent)
        if parent is None or found.link.kind != item.kind:
            return False
        # Of a parent that branches off itself the kernel takes the link below.
        index = parent.link.peer if parent.link.kind in _STACKED else parent.link.index
        return found.link.peer == index

    # Taking away

    def remove(self, item: Vlan | Dummy | Child) -> list[Failure]:
        """Only what bears the mark."""
        there = self._visit.try_enter(item.netns if isinstance(item, Child) else HOST)
        found = _look(there, item.name) if there else None
        if there is None or found is None:
            return []
        marked = _is_marked(item, found) if isinstance(item, Child) else links.is_marked(found.link)
        return there.rtnl.send([links.delete(item.name)]) if marked else []


def check_link(host: Inside, *names: str) -> None:
    """Raises NotFound, naming the nearest, unless there is a link of one of these names."""
    if not any(links.index_of(host.rtnl, name) for name in names):
        present = [links.parse(message) for message in host.rtnl.dump(links.get_all())]
        meant = [link.name for link in present if link.name != "lo" and link.group < LINK_GROUP]
        raise NotFound.named("link on this host", names[-1], meant)


def children(there: Inside) -> list[str]:
    """The links inside a container that bear the mark."""
    present = [links.parse(message) for message in there.rtnl.dump(links.get_all())]
    return [link.name for link in present if link.group == CHILD_GROUP]


def sweep_children(there: Inside, kept: Collection[str]) -> tuple[str, ...]:
    """Delete those that are not to be kept; their names."""
    stray = tuple(name for name in children(there) if name not in kept)
    there.rtnl.send([links.delete(name) for name in stray])
    return stray


@dataclass(frozen=True, slots=True)
class _Found:
    link: links.Link
    tag: int
    """Of a VLAN sub-interface."""
    mode: tuple[int, int]
    """Of a child: mode and flag."""


def _look(there: Inside, name: str) -> _Found | None:
    answer = there.rtnl.get([links.get(name)])[0]
    if isinstance(answer, Failure) or not answer:
        return None
    link = links.parse(answer[0])
    info = attribute_map(attribute_map(answer[0].body, len(_HEAD)).get(_IFLA_LINKINFO, b""))
    data = attribute_map(info.get(_INFO_DATA, b""))
    mode, flag = (data.get(kind, b"") for kind in (_IFLA_IPVLAN_MODE, _IFLA_IPVLAN_FLAGS))
    # macvlan's second attribute is of flags that weft does not set.
    flags = int.from_bytes(flag, "little") if link.kind == "ipvlan" else 0
    return _Found(link, int.from_bytes(data.get(_IFLA_VLAN_ID, b""), "little"), (int.from_bytes(mode, "little"), flags))


def _mode(item: Child) -> tuple[int, int]:
    if item.kind == "macvlan":
        return _MACVLAN_MODES[item.mode], 0
    return _IPVLAN_MODES[item.mode], _IPVLAN_FLAGS[item.flag]


def _is_marked(item: Child, found: _Found) -> bool:
    return found.link.group == item.group and found.link.kind in _STACKED


def _has_values(item: Child, found: _Found) -> bool:
    return item.mac in ("", found.link.mac) and item.mtu in (0, found.link.mtu)


def _child_values(item: Child, parent: int, namespace: int) -> bytes:
    values = u32(_IFLA_LINK, parent) + u32(_IFLA_GROUP, item.group)
    if item.netns != HOST:
        values += u32(_IFLA_NET_NS_FD, namespace)
    if item.mac:
        values += attr(_IFLA_ADDRESS, mac_bytes(item.mac))
    return values + u32(_IFLA_MTU, item.mtu) if item.mtu else values


def _child_info(item: Child) -> bytes:
    mode, flag = _mode(item)
    if item.kind == "macvlan":
        data = u32(_IFLA_MACVLAN_MODE, mode)
    else:
        data = attr(_IFLA_IPVLAN_MODE, struct.pack("=H", mode)) + attr(_IFLA_IPVLAN_FLAGS, struct.pack("=H", flag))
    return text(_INFO_KIND, item.kind) + nest(_INFO_DATA, data)


def _be_deaf(name: str) -> None:
    """A link of weft's on the host learns no addresses and routes from advertisements on the wire."""
    try:
        with open(f"/proc/sys/net/ipv6/conf/{name}/accept_ra", "w", encoding="ascii") as file:
            file.write("0")
    except FileNotFoundError:
        pass  # no IPv6 in this kernel


def _refused(item: Vlan | Dummy | Child, failure: Failure) -> Exception:
    place = f"in {item.netns}" if isinstance(item, Child) and item.netns else "on the host"
    what = f"make {item.kind} {item.name} on {item.parent} {place}" if isinstance(item, Child) else f"make {item.name}"
    above = "" if isinstance(item, Dummy) else item.parent
    match failure.errno:
        case errno.EEXIST if isinstance(item, Vlan):
            return Conflict(f"cannot {what}: another link has that name, or is that VLAN already")
        case errno.ENETDOWN:
            return Conflict(f"cannot {what}: {above} is down; `ip link set {above} up`")
        case errno.EADDRINUSE if isinstance(item, Child) and item.mac:
            return Conflict(f"cannot {what}: another link on {above} has the MAC {item.mac}")
        case errno.EBUSY | errno.EINVAL if isinstance(item, Child):
            return Conflict(
                f"cannot {what}: {failure.text}; {above} may be a port of a bridge or bond, carry links of another "
                f"kind or mode, have a container to itself (passthru), or have an MTU below {item.mtu or 'the usual'}"
            )
    return refusal(failure.errno, what, failure.text)
