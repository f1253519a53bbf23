"""What arrives by a link is led through another first, an ifb, so that it can be made to wait there.

A queue holds what leaves by a link. What arrives by one that has no other end of weft's (macvlan, ipvlan) leaves an ifb
beside it instead: everything that the link's ingress sees is redirected there, and goes on from the link afterwards.

Numbers and layouts as in linux/pkt_cls.h (struct tc_u32_sel, tc_u32_key) and linux/tc_act/tc_mirred.h (struct
tc_mirred).
"""

from __future__ import annotations

import errno
import struct

from weft.errors import Conflict, NotFound, Unsupported
from weft.kernel import links
from weft.kernel.inside import Inside, link_in
from weft.kernel.netlink import (
    NLM_F_CREATE,
    NLM_F_EXCL,
    Failure,
    Message,
    Request,
    attr,
    attribute_map,
    nest,
    text,
    u32,
)
from weft.kernel.refusal import refusal
from weft.kernel.tcmsg import (
    FIRST_OF_ALL,
    INGRESS,
    RTM_DELQDISC,
    RTM_GETTFILTER,
    RTM_NEWQDISC,
    RTM_NEWTFILTER,
    TCA_KIND,
    TCA_OPTIONS,
    TCMSG,
    ingress_of,
)
from weft.names import CHILD_GROUP
from weft.plan import Detour

_U32_SEL, _U32_ACT = 5, 7
_MATCH_ALL = struct.pack("=BBBxHHhhI", 1, 0, 1, 0, 0, 0, 0, 0) + bytes(16)  # terminal; one key: no bit matters
_ACT_KIND, _ACT_OPTIONS = 1, 2
_MIRRED_PARMS = 2
_MIRRED = struct.Struct("=IIiiiiI")  # index, capabilities, verdict, references, bindings, what to do, link
_STOLEN, _REDIRECT = 4, 1
_HEAD = bytes(16)
"""struct ifinfomsg."""
_IFLA_IFNAME, _IFLA_LINKINFO, _IFLA_GROUP = 3, 18, 27
_INFO_KIND = 1


def ensure(there: Inside, item: Detour) -> None:
    """Raises NotFound (link), Conflict, or Unsupported where the kernel has no ifb links or no redirecting."""
    link = links.index_of(there.rtnl, item.link)
    if not link:
        raise NotFound(f"cannot {deed(item)}: there is no link {item.link}")
    around = _link(there, item)
    if _target(there, link) != around:
        requests = [
            Request(RTM_DELQDISC, 0, ingress_of(link)),
            Request(RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL, ingress_of(link) + text(TCA_KIND, "ingress")),
            Request(RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_EXCL, _redirect(link, around)),
        ]
        for failure in there.rtnl.send(requests):
            if failure.at:  # there was none before
                raise _refused(item, failure)


def holds(there: Inside, item: Detour) -> bool:
    link, around = links.index_of(there.rtnl, item.link), link_in(there, item.through)
    return around is not None and _is_right(around) and link != 0 and _target(there, link) == around.index


def remove(there: Inside, item: Detour) -> list[Failure]:
    """What another has put at the link's ingress stays, and so does a link of that name that is another's."""
    link, around = links.index_of(there.rtnl, item.link), link_in(there, item.through)
    if around is None or not _is_ours(around):
        return []
    requests = [links.delete(item.through)]
    if link and _target(there, link) == around.index:
        requests.insert(0, Request(RTM_DELQDISC, 0, ingress_of(link)))
    return list(there.rtnl.send(requests))


def deed(item: Detour) -> str:
    """What making the item is called, after "cannot"."""
    return f"lead what arrives by {item.link} in {item.netns} through {item.through}"


def _link(there: Inside, item: Detour) -> int:
    """The index of the ifb, made and set up if need be."""
    found = link_in(there, item.through)
    if found is not None and not _is_ours(found):
        raise Conflict(f"cannot {deed(item)}: a link named {item.through} exists in there and is not weft's")
    if found is None:
        values = text(_IFLA_IFNAME, item.through) + u32(_IFLA_GROUP, CHILD_GROUP)
        body = _HEAD + values + nest(_IFLA_LINKINFO, text(_INFO_KIND, "ifb"))
        for failure in there.rtnl.send([Request(links.RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body)]):
            raise _refused(item, failure)
    if found is None or not found.up:
        there.rtnl.send([links.no_own_address(item.through)])  # refused where there is no IPv6, and not needed there
        for failure in there.rtnl.send([links.set_up(item.through)]):
            raise _refused(item, failure)
    return links.index_of(there.rtnl, item.through)


def _is_ours(found: links.Link) -> bool:
    return found.kind == "ifb" and found.group == CHILD_GROUP


def _is_right(found: links.Link) -> bool:
    return _is_ours(found) and found.up


def _target(there: Inside, link: int) -> int:
    """The index of the link to which whatever arrives by a link is redirected; 0: to none."""
    messages = there.rtnl.dump(Request(RTM_GETTFILTER, 0, TCMSG.pack(0, link, 0, INGRESS, 0)))
    return next((target for target in map(_redirected, messages) if target), 0)


def _redirected(message: Message) -> int:
    attrs = attribute_map(message.body, TCMSG.size)
    if attrs.get(TCA_KIND, b"") != b"u32\0":
        return 0
    action = attribute_map(attribute_map(attribute_map(attrs.get(TCA_OPTIONS, b"")).get(_U32_ACT, b"")).get(1, b""))
    values = attribute_map(action.get(_ACT_OPTIONS, b"")).get(_MIRRED_PARMS, b"")
    if action.get(_ACT_KIND) != b"mirred\0" or len(values) < _MIRRED.size:
        return 0
    *_, does, target = _MIRRED.unpack_from(values)
    return int(target) if does == _REDIRECT else 0


def _redirect(link: int, target: int) -> bytes:
    values = attr(_MIRRED_PARMS, _MIRRED.pack(0, 0, _STOLEN, 0, 0, _REDIRECT, target))
    action = text(_ACT_KIND, "mirred") + nest(_ACT_OPTIONS, values)
    options = nest(_U32_ACT, nest(1, action)) + attr(_U32_SEL, _MATCH_ALL)
    return TCMSG.pack(0, link, 0, INGRESS, FIRST_OF_ALL) + text(TCA_KIND, "u32") + nest(TCA_OPTIONS, options)


def _refused(item: Detour, failure: Failure) -> Exception:
    if failure.errno in (errno.ENOENT, errno.EOPNOTSUPP):
        return Unsupported(
            f"cannot {deed(item)}: this kernel lacks what that takes (modprobe -a ifb sch_ingress cls_u32 act_mirred)"
        )
    return refusal(failure.errno, deed(item), failure.text)
