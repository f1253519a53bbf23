"""What all messages of traffic control (queueing and filters) have in common: linux/rtnetlink.h, struct tcmsg."""

from __future__ import annotations

import struct

from weft.kernel.netlink import Message

RTM_NEWQDISC, RTM_DELQDISC, RTM_GETQDISC = 36, 37, 38
RTM_NEWTFILTER, RTM_DELTFILTER, RTM_GETTFILTER = 44, 45, 46

TCMSG = struct.Struct("=BxxxiIII")
"""Family, padding, index, handle, parent, info."""
TCA_KIND, TCA_OPTIONS = 1, 2


def link_of(message: Message) -> int:
    """The index of the link that a message is about."""
    index: int = TCMSG.unpack_from(message.body)[1]
    return index
