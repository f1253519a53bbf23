"""Rates of links: a token bucket (TBF) as the root of a link's queueing, made, compared, taken away.

Numbers and layouts as in linux/pkt_sched.h (struct tc_tbf_qopt, TCA_TBF_*).
Replacing one by one of the same kind changes it in place: what is queued stays queued.
"""

from __future__ import annotations

import errno
import struct
from typing import NamedTuple

from weft.errors import NotFound, Unsupported
from weft.kernel import links
from weft.kernel.inside import Inside
from weft.kernel.netlink import (
    NLM_F_CREATE,
    NLM_F_ECHO,
    NLM_F_REPLACE,
    Failure,
    Message,
    Netlink,
    Request,
    attr,
    attribute_map,
    nest,
    text,
    u32,
    zero_terminated,
)
from weft.kernel.refusal import refusal
from weft.kernel.tcmsg import RTM_DELQDISC, RTM_GETQDISC, RTM_NEWQDISC, TCA_KIND, TCA_OPTIONS, TCMSG
from weft.plan import Shaper

_ROOT = 0xFFFFFFFF
_TBF_PARMS, _TBF_RATE64, _TBF_BURST = 1, 4, 6
_RATESPEC = struct.Struct("=BBHhHI")  # cell_log, linklayer, overhead, cell_align, mpu, bytes a second
_QOPT = struct.Struct("=12s12sIII")  # rate, peakrate, limit, buffer, mtu
_ETHERNET = 1
_NO_PEAK = bytes(12)
_MOST_32 = 0xFFFFFFFF
_TICK = 64
"""Nanoseconds: in what the kernel counts the time that a burst lasts at the rate."""


class Bucket(NamedTuple):
    """What the kernel says of a token bucket."""

    rate: int
    """Bytes a second."""
    queue: int
    burst: int
    """Ticks."""


def ensure(there: Inside, item: Shaper) -> None:
    """Raises NotFound (link), or Unsupported where the kernel has no TBF."""
    link = links.index_of(there.rtnl, item.link)
    if not link:
        raise NotFound(f"cannot {deed(item)}: there is no link {item.link}")
    for failure in there.rtnl.send([_replace(link, item)]):
        if failure.errno == errno.ENOENT:
            raise Unsupported(f"cannot {deed(item)}: this kernel has no token buckets (modprobe sch_tbf)")
        raise refusal(failure.errno, deed(item), failure.text)


def holds(there: Inside, item: Shaper) -> bool:
    link = links.index_of(there.rtnl, item.link)
    found = _bucket_of(there.rtnl, link) if link else None
    if found is None or (found.rate, found.queue) != (item.rate // 8, item.queue):
        return False
    ticks = item.burst * 10**9 // (item.rate // 8) // _TICK
    return abs(found.burst - ticks) <= ticks // 1000 + 2  # the kernel rounds


def found(rtnl: Netlink, item: Shaper) -> str:
    """What is there in its place, in a few words for people."""
    link = links.index_of(rtnl, item.link)
    bucket = _bucket_of(rtnl, link) if link else None
    if bucket is None:
        return ""
    burst = bucket.burst * _TICK * bucket.rate // 10**9
    return f"{bucket.rate * 8} bit/s, {burst:,} bytes at once, {bucket.queue:,} bytes waiting"


def remove(there: Inside, item: Shaper) -> list[Failure]:
    """One of another kind is somebody else's, and stays."""
    link = links.index_of(there.rtnl, item.link)
    if not link or _bucket_of(there.rtnl, link) is None:
        return []
    return list(there.rtnl.send([Request(RTM_DELQDISC, 0, _root_of(link))]))


def deed(item: Shaper) -> str:
    """What making the item is called, after "cannot"."""
    place = f"in {item.netns}" if item.netns else "on the host"
    return f"limit what leaves by {item.link} {place} to {item.rate} bit/s"


def _replace(link: int, item: Shaper) -> Request:
    rate = item.rate // 8
    spec = _RATESPEC.pack(0, _ETHERNET, 0, 0, 0, min(rate, _MOST_32))
    options = attr(_TBF_PARMS, _QOPT.pack(spec, _NO_PEAK, item.queue, 0, 0)) + u32(_TBF_BURST, item.burst)
    if rate > _MOST_32:
        options += attr(_TBF_RATE64, struct.pack("=Q", rate))
    body = _root_of(link) + text(TCA_KIND, "tbf") + nest(TCA_OPTIONS, options)
    return Request(RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE, body)


def _root_of(link: int) -> bytes:
    return TCMSG.pack(0, link, 0, _ROOT, 0)


def _bucket_of(rtnl: Netlink, link: int) -> Bucket | None:
    """None if the link's root is something else."""
    (answer,) = rtnl.get([Request(RTM_GETQDISC, NLM_F_ECHO, _root_of(link))])  # else it tells only its listeners
    return None if isinstance(answer, Failure) or not answer else _parse(answer[0])


def _parse(message: Message) -> Bucket | None:
    attrs = attribute_map(message.body, TCMSG.size)
    if zero_terminated(attrs.get(TCA_KIND, b"")) != "tbf":
        return None
    options = attribute_map(attrs.get(TCA_OPTIONS, b""))
    spec, _, queue, burst, _ = _QOPT.unpack_from(options[_TBF_PARMS])
    rate = _RATESPEC.unpack(spec)[-1]
    if _TBF_RATE64 in options:
        (rate,) = struct.unpack("=Q", options[_TBF_RATE64])
    return Bucket(rate, queue, burst)
