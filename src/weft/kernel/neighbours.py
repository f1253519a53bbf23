"""Whom programs on ports hand frames to: a map of who is on which bridge, which all of them share.

A frame that is handed over never comes to the bridge, which so does not learn where it came from. It is told instead
(`know`): else it would forget a container that speaks with its neighbours and the host alone, and send what is for it
to every port.

Programs outlive weftd, and hold the map. So the next one goes on with the one that it finds: otherwise a port from
before would hand frames to one that has gone.

Numbers as in linux/neighbour.h.
"""

from __future__ import annotations

import errno
from dataclasses import replace

from weft.firewall.guard_program import NEIGHBOUR, link_of_neighbour, neighbour_key, neighbour_value
from weft.kernel import links, programs, sysctl
from weft.kernel.ndmsg import NDMSG, RTM_GETNEIGH, RTM_NEWNEIGH
from weft.kernel.netlink import NLM_F_CREATE, NLM_F_REPLACE, Failure, Message, Netlink, Request, attr, attribute_map
from weft.kernel.netns import log
from weft.kernel.programs import Table
from weft.names import mac_bytes
from weft.plan import HOST, Bridge, Guard, Sysctl

_NAME = "weft_neighbour"
_AF_BRIDGE = 7
_NDA_LLADDR = 2
_NTF_MASTER = 0x04
_NUD_NOARP = 0x40
"""Of a bridge's entry: it was not learned, and does not grow old."""
_APART = "frames between containers of one network need not meet the host's rules, which costs a tenth"
BRIDGED = tuple(
    Sysctl(HOST, f"net.bridge.bridge-nf-call-{rules}", "0", _APART) for rules in ("iptables", "ip6tables", "arptables")
)
"""With one of these at 1, rules on forwarded packets are asked about frames between ports as well."""


class Neighbours:
    def __init__(self, rtnl: Netlink, found: Table | None) -> None:
        """`found`: the map of programs that are there already. Raises OSError."""
        self.table = found or programs.make_table(*NEIGHBOUR, _NAME)
        self._hosts: set[int] = set()
        """Bridges whose own link is in the map."""
        self._keys: dict[int, bytes] = {}
        """What was written of a port."""
        self.look_again()
        if found is not None:
            self._drop_gone(rtnl)

    def close(self) -> None:
        programs.close([self.table])

    def bridge_of(self, rtnl: Netlink, item: Guard) -> int:
        """The index of the bridge on which a port hands frames over; 0 if it does not."""
        return links.index_of(rtnl, item.bridge) if item.bridge and not self._others_are_asked else 0

    def look_again(self) -> None:
        """Whether somebody else's rules may count on seeing frames between ports: then they all go to the bridge."""
        self._others_are_asked = any(sysctl.is_set(replace(switch, value="1")) for switch in BRIDGED)

    def write(self, rtnl: Netlink, item: Guard, link: int, bridge: int) -> None:
        """Raises OSError."""
        key = neighbour_key(bridge, item.mac) if bridge else b""
        before = self._keys.pop(link, b"")
        if before not in (b"", key):
            self._drop(before)
        if not bridge:
            return
        if bridge not in self._hosts:
            own = next((links.parse(message) for message in _answer(rtnl, links.get(item.bridge))), None)
            if own is not None:
                programs.write_value(self.table, neighbour_key(bridge, own.mac), neighbour_value(bridge, host=True))
            self._hosts.add(bridge)
        programs.write_value(self.table, key, neighbour_value(link))
        self._keys[link] = key

    def holds(self, rtnl: Netlink, item: Guard, link: int, bridge: int) -> bool:
        """Raises OSError."""
        if not bridge:
            return True
        found = programs.read_value(self.table, neighbour_key(bridge, item.mac))
        return found == neighbour_value(link) and _is_known(rtnl, link, item.mac)

    def drop(self, rtnl: Netlink, item: Guard, link: int) -> None:
        """Nothing is handed to a port from now on. `link`: 0 where this weftd did not write of it."""
        bridge = links.index_of(rtnl, item.bridge) if item.bridge else 0
        written = self._keys.pop(link, neighbour_key(bridge, item.mac) if bridge else b"")
        if written:
            self._drop(written)

    def drop_bridge(self, rtnl: Netlink, item: Bridge) -> None:
        """Nothing is handed to the host by a bridge."""
        bridge = links.index_of(rtnl, item.name)
        self._hosts.discard(bridge)
        if bridge:
            self._drop(neighbour_key(bridge, item.mac))

    def _drop(self, key: bytes) -> None:
        try:
            programs.drop_value(self.table, key)
        except OSError as error:
            if error.errno != errno.ENOENT:
                log.warning("frames may still be handed to a port that has gone: %s", error)

    def _drop_gone(self, rtnl: Netlink) -> None:
        there = {links.parse(message).index for message in rtnl.dump(links.get_all())}
        for key in programs.keys_of(self.table):
            value = programs.read_value(self.table, key)
            if value and link_of_neighbour(value) not in there:
                self._drop(key)


def know(link: int, mac: str) -> Request:
    """The bridge has the container's MAC at its port, whoever speaks."""
    return Request(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, _entry(link, mac, state=_NUD_NOARP))


def _is_known(rtnl: Netlink, link: int, mac: str) -> bool:
    for message in _answer(rtnl, Request(RTM_GETNEIGH, 0, _entry(link, mac, state=0))):
        _, _, port, state, _, _ = NDMSG.unpack_from(message.body)
        if port == link and state & _NUD_NOARP:
            return attribute_map(message.body, NDMSG.size).get(_NDA_LLADDR) == mac_bytes(mac)
    return False


def _answer(rtnl: Netlink, request: Request) -> list[Message]:
    (answer,) = rtnl.get([request])
    return [] if isinstance(answer, Failure) else list(answer)


def _entry(link: int, mac: str, *, state: int) -> bytes:
    return NDMSG.pack(_AF_BRIDGE, 0, link, state, _NTF_MASTER, 0) + attr(_NDA_LLADDR, mac_bytes(mac))
