"""The tables `ip weft` and `ip6 weft` inside a container (`plan.SandboxTable`): built once as bytes, sent as they are.

The commands that mean the same are in the plan item's `describe`; a test compares the two in the kernel.
"""

from __future__ import annotations

import functools
import socket

from weft.kernel import nfnetlink as nf
from weft.kernel.listing import Listing, list_table
from weft.kernel.netlink import Failure, Netlink, Packed, Request
from weft.names import NAMESERVER, TABLE
from weft.plan import SandboxTable

_PREROUTING, _OUTPUT = 0, 3
_RAW = -300
_IIFNAME, _OIFNAME, _L4PROTO = 6, 7, 16
_LO = b"lo".ljust(16, b"\0")
_NETWORK, _TRANSPORT = 1, 2
_SOURCE_ADDRESS, _DESTINATION_ADDRESS = 12, 16
_SOURCE_PORT, _DESTINATION_PORT = 0, 2
_CHECKSUM = {socket.IPPROTO_UDP: 6, socket.IPPROTO_TCP: 16}
_ICMPV6 = 58
_ROUTER_ADVERT, _REDIRECT = 134, 137

Tables = tuple[Listing, Listing]
"""Of the families ip and ip6."""


def _requests(dns_port: int, *, ipv6: bool) -> list[Request]:
    """Both tables; the first request refuses (EEXIST) to add to one that is there.

    Two families, so that an IPv4 packet from outside meets no rule at all: every one costs the data path.
    """
    return [*_dns(dns_port), *_shield(ipv6=ipv6)]


def _dns(port: int) -> list[Request]:
    found = [
        nf.add_new_table(TABLE, family=nf.IPV4),
        nf.add_chain(TABLE, "dns", _OUTPUT, _RAW, family=nf.IPV4),
        nf.add_rule(TABLE, "dns", nf.meta(_OIFNAME) + nf.unequal(_LO), nf.leave_chain(), family=nf.IPV4),
    ]
    for proto in (socket.IPPROTO_UDP, socket.IPPROTO_TCP):
        found.append(_rewrite(proto, _DESTINATION_ADDRESS, _DESTINATION_PORT, 53, port))
        found.append(_rewrite(proto, _SOURCE_ADDRESS, _SOURCE_PORT, port, 53))
    return found


def _shield(*, ipv6: bool) -> list[Request]:
    found = [
        nf.add_new_table(TABLE, family=nf.IPV6),
        nf.add_chain(TABLE, "ipv6", _PREROUTING, _RAW, family=nf.IPV6),
    ]
    from_outside = nf.meta(_IIFNAME) + nf.unequal(_LO)
    if not ipv6:
        return [*found, nf.add_rule(TABLE, "ipv6", from_outside, nf.drop(), family=nf.IPV6)]
    for kind in (_ROUTER_ADVERT, _REDIRECT):
        icmp = nf.meta(_L4PROTO) + nf.equal(bytes((_ICMPV6,))) + nf.load(_TRANSPORT, 0, 1) + nf.equal(bytes((kind,)))
        found.append(nf.add_rule(TABLE, "ipv6", from_outside, icmp, nf.drop(), family=nf.IPV6))
    return found


def _rewrite(proto: int, address: int, port: int, old: int, new: int) -> Request:
    return nf.add_rule(
        TABLE,
        "dns",
        nf.load(_NETWORK, address, 4) + nf.equal(NAMESERVER.packed),
        nf.meta(_L4PROTO) + nf.equal(bytes((proto,))),
        nf.load(_TRANSPORT, port, 2) + nf.equal(old.to_bytes(2, "big")),
        nf.store(_TRANSPORT, port, new.to_bytes(2, "big"), _CHECKSUM[proto]),
        nf.notrack(),
        family=nf.IPV4,
    )


@functools.lru_cache(maxsize=16)
def _packed(dns_port: int, ipv6: bool) -> Packed:  # noqa: FBT001 - a cache's key
    return nf.pack_commit(_requests(dns_port, ipv6=ipv6))


def add(inside: Netlink, item: SandboxTable) -> list[Failure]:
    """Add the tables through a socket inside the container; EEXIST if there is one."""
    return inside.send_packed(_packed(item.dns_port, item.ipv6))


def replace(inside: Netlink, item: SandboxTable) -> list[Failure]:
    """Put them in the place of whatever bears their name, in one transaction."""
    return nf.commit(inside, [*_nothing(), *_requests(item.dns_port, ipv6=item.ipv6)])


def remove(inside: Netlink) -> list[Failure]:
    return nf.commit(inside, _nothing())


def _nothing() -> list[Request]:
    # Added first, so that deleting cannot fail.
    families = (nf.IPV4, nf.IPV6)
    return [what(TABLE, family=family) for family in families for what in (nf.add_table, nf.delete_table)]


def listing(inside: Netlink) -> Tables:
    """What is there, in the kernel's own words: to be compared with the same of tables that are known to be right."""
    return list_table(inside, nf.IPV4, TABLE), list_table(inside, nf.IPV6, TABLE)


def is_empty(tables: Tables) -> bool:
    return not any(listed.table for listed in tables)
