"""A program of weft's at a link's ingress: put there, told from others, replaced without a gap, taken away.

It is a filter of tc's, with direct action. That costs a frame some 60 ns more than the newer way, tcx, but is put
there and taken away in no time. With tcx the kernel waits for a grace period of RCU (5 to 28 ms, measured) at each
container's start and again at its end, and meanwhile nobody can change any link.

Numbers and layouts as in linux/pkt_sched.h and linux/pkt_cls.h (TCA_BPF_*).
"""

from __future__ import annotations

import errno
from typing import NamedTuple

from weft.kernel.netlink import (
    NLM_F_CREATE,
    NLM_F_EXCL,
    Failure,
    Message,
    Netlink,
    Request,
    attribute_map,
    nest,
    text,
    u32,
    zero_terminated,
)
from weft.kernel.tcmsg import (
    FIRST,
    FIRST_OF_ALL,
    RTM_DELQDISC,
    RTM_DELTFILTER,
    RTM_GETQDISC,
    RTM_GETTFILTER,
    RTM_NEWQDISC,
    RTM_NEWTFILTER,
    TCA_KIND,
    TCA_OPTIONS,
    TCMSG,
    ingress_of,
    link_of,
)

NAME = "weft_guard"
_INGRESS = 0xFFFFFFF2
"""Of a link with the qdisc ingress, or clsact."""
_OURS = 1
"""The handle of our filter, at priority 1."""
_BPF_FD, _BPF_NAME, _BPF_FLAGS, _BPF_TAG, _BPF_ID = 6, 7, 8, 10, 11
_DIRECT_ACTION = 1


class Filter(NamedTuple):
    """One that a weftd put there."""

    tag: bytes
    """What the kernel calls the program, by its instructions (`programs.tags`)."""
    program: int
    """Its id."""


def attach(rtnl: Netlink, link: int, program: int) -> Failure | None:
    """In place of what filter of ours there was, if any: a frame meets the one or the other.

    `program`: its descriptor.
    """
    options = nest(TCA_OPTIONS, u32(_BPF_FD, program), text(_BPF_NAME, NAME), u32(_BPF_FLAGS, _DIRECT_ACTION))
    requests = [
        Request(RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL, ingress_of(link) + text(TCA_KIND, "ingress")),
        Request(RTM_NEWTFILTER, NLM_F_CREATE, _ours(link) + options),
    ]
    for failure in rtnl.send(requests):
        if failure.at or failure.errno != errno.EEXIST:  # somebody else's qdisc will do
            return failure
    return None


def detach(rtnl: Netlink, link: int) -> list[Failure]:
    """What others have there stays."""
    if found(rtnl, link) is None:
        return []
    failures = rtnl.send([Request(RTM_DELTFILTER, 0, _ours(link))])
    if not failures and not _listed(rtnl, link):
        failures = rtnl.send([Request(RTM_DELQDISC, 0, ingress_of(link))])
    return list(failures)


def found(rtnl: Netlink, link: int) -> Filter | None:
    """Ours, on that link."""
    return next((one for message in _listed(rtnl, link) if (one := _parse(message)) is not None), None)


def links_with_filters(rtnl: Netlink) -> frozenset[int]:
    """Links that may have some, of anybody's."""
    listed = rtnl.dump(Request(RTM_GETQDISC, 0, TCMSG.pack(0, 0, 0, 0, 0)))
    return frozenset(link_of(message) for message in listed if _is_for_filters(message))


def _is_for_filters(message: Message) -> bool:
    return attribute_map(message.body, TCMSG.size).get(TCA_KIND) in (b"ingress\0", b"clsact\0")


def _ours(link: int) -> bytes:
    return TCMSG.pack(0, link, _OURS, _INGRESS, FIRST_OF_ALL) + text(TCA_KIND, "bpf")


def _listed(rtnl: Netlink, link: int) -> list[Message]:
    """The filters at a link's ingress."""
    messages = rtnl.dump(Request(RTM_GETTFILTER, 0, TCMSG.pack(0, link, 0, _INGRESS, 0)))
    return [message for message in messages if TCMSG.unpack_from(message.body)[2]]  # not those that hold others


def _parse(message: Message) -> Filter | None:
    _, _, handle, _, info = TCMSG.unpack_from(message.body)
    attrs = attribute_map(message.body, TCMSG.size)
    if info & ~0xFFFF != FIRST or handle != _OURS or attrs.get(TCA_KIND) != b"bpf\0":
        return None
    options = attribute_map(attrs.get(TCA_OPTIONS, b""))
    direct = options.get(_BPF_FLAGS, b"\0")[0] & _DIRECT_ACTION
    if not direct or zero_terminated(options.get(_BPF_NAME, b"")) != NAME:
        return None
    return Filter(options.get(_BPF_TAG, b""), int.from_bytes(options.get(_BPF_ID, b""), "little"))
