"""What all messages of traffic control (queueing and filters) have in common: linux/rtnetlink.h, struct tcmsg."""

from __future__ import annotations

import socket
import struct

from weft.kernel.netlink import Message

RTM_NEWQDISC, RTM_DELQDISC, RTM_GETQDISC = 36, 37, 38
RTM_NEWTFILTER, RTM_DELTFILTER, RTM_GETTFILTER = 44, 45, 46

TCMSG = struct.Struct("=BxxxiIII")
"""Family, padding, index, handle, parent, info."""
TCA_KIND, TCA_OPTIONS = 1, 2

INGRESS = 0xFFFF0000
"""The handle of a link's qdisc for what arrives by it, in which filters are."""
_INGRESS_PARENT = 0xFFFFFFF1
FIRST = 1 << 16
"""The priority of a filter that is asked before all others."""
FIRST_OF_ALL = FIRST | socket.htons(0x0003)
"""The same, about all protocols (ETH_P_ALL)."""


def ingress_of(link: int) -> bytes:
    return TCMSG.pack(0, link, INGRESS, _INGRESS_PARENT, 0)


def link_of(message: Message) -> int:
    """The index of the link that a message is about."""
    index: int = TCMSG.unpack_from(message.body)[1]
    return index
