"""Links by rtnetlink: the requests that make, change and remove them, and what the kernel says of one.

Existing links are addressed by name; the kernel looks the index up itself.
"""

from __future__ import annotations

import fcntl
import socket
import struct
import zlib
from dataclasses import dataclass

from weft import names
from weft.kernel.netlink import (
    NLM_F_CREATE,
    NLM_F_EXCL,
    Message,
    Netlink,
    Request,
    attr,
    attribute_map,
    nest,
    text,
    u8,
    u32,
    zero_terminated,
)
from weft.names import LINK_GROUP

RTM_NEWLINK = 16
RTM_DELLINK = 17
RTM_GETLINK = 18
RTM_SETLINK = 19
RTM_NEWNSID = 88
RTM_GETNSID = 90

IFF_UP = 1
PORT_DISABLED = 0
PORT_FORWARDING = 3

LEAVING_GROUP = LINK_GROUP + 1
"""The group of links whose endpoint has left: deleted together, a little later."""

SPARE_GROUP = LINK_GROUP + 2
"""The group of links made ahead, which no container has yet."""

_IFLA_ADDRESS = 1
_IFLA_IFNAME = 3
_IFLA_MTU = 4
_IFLA_LINK = 5
_IFLA_MASTER = 10
_IFLA_LINKINFO = 18
_IFLA_STATS64 = 23
_IFLA_AF_SPEC = 26
_IFLA_GROUP = 27
_IFLA_NET_NS_FD = 28
_IFLA_EXT_MASK = 29
_IFLA_NUM_TX_QUEUES = 31
_IFLA_NUM_RX_QUEUES = 32
_IFLA_LINK_NETNSID = 37
_INFO_KIND = 1
_INFO_DATA = 2
_INFO_SLAVE_KIND = 4
_INFO_SLAVE_DATA = 5
_VETH_INFO_PEER = 1
_BR_MCAST_SNOOPING = 23
_BR_MULTI_BOOLOPT = 46
_NO_LINKLOCAL_LEARN = 1
_BRPORT_STATE = 1
_BRPORT_ISOLATED = 33
_INET6_ADDR_GEN_MODE = 8
_ADDR_GEN_NONE = 1
_NETNSA_NSID = 1
_ANY_NSID = 0xFFFFFFFF
_NETNSA_FD = 3
_RTEXT_FILTER_SKIP_STATS = 8
_SIOCGIFINDEX = 0x8933

_IFINFO = struct.Struct("=BxHiII")
_NOTHING = _IFINFO.pack(0, 0, 0, 0, 0)
_UP = _IFINFO.pack(0, 0, 0, IFF_UP, IFF_UP)
_DOWN = _IFINFO.pack(0, 0, 0, 0, IFF_UP)
_OURS = u32(_IFLA_GROUP, LINK_GROUP)
# The kernel would give each end a queue per processor; one is enough for a pair without hardware.
_ONE_QUEUE = u32(_IFLA_NUM_TX_QUEUES, 1) + u32(_IFLA_NUM_RX_QUEUES, 1)
_NO_ADDRESS_OF_ITS_OWN = nest(_IFLA_AF_SPEC, nest(socket.AF_INET6, u8(_INET6_ADDR_GEN_MODE, _ADDR_GEN_NONE)))
_QUIET = u8(_BR_MCAST_SNOOPING, 0) + attr(
    _BR_MULTI_BOOLOPT, struct.pack("=II", _NO_LINKLOCAL_LEARN, _NO_LINKLOCAL_LEARN)
)
_IS_BRIDGE = text(_INFO_KIND, "bridge") + nest(_INFO_DATA, _QUIET)
_IS_VETH = text(_INFO_KIND, "veth")
_IS_PORT = text(_INFO_SLAVE_KIND, "bridge")
_ISOLATED = (u8(_BRPORT_ISOLATED, 0), u8(_BRPORT_ISOLATED, 1))
_BRIEFLY = u32(_IFLA_EXT_MASK, _RTEXT_FILTER_SKIP_STATS)
_LEFT = u32(_IFLA_GROUP, LEAVING_GROUP)


def add_bridge(name: str, mac: str, mtu: int) -> Request:
    return Request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, _bridge(name, mac, mtu))


def change_bridge(name: str, mac: str, mtu: int) -> Request:
    return Request(RTM_NEWLINK, 0, _bridge(name, mac, mtu))


def _bridge(name: str, mac: str, mtu: int) -> bytes:
    return b"".join(
        (
            _NOTHING,
            text(_IFLA_IFNAME, name),
            _address(mac),
            u32(_IFLA_MTU, mtu),
            _OURS,
            nest(_IFLA_LINKINFO, _IS_BRIDGE),
        )
    )


def add_veth(name: str, master: int, mtu: int, peer: str, mac: str, namespace: int) -> Request:
    """A pair, both ends down: `name` as a port of the bridge with index `master`, the peer born elsewhere.

    `namespace` is a descriptor of the peer's. The peer cannot be born up, and a link moved or renamed later costs
    an RCU grace period (20 ms).
    """
    far = _NOTHING + text(_IFLA_IFNAME, peer) + _address(mac) + u32(_IFLA_MTU, mtu) + _ONE_QUEUE
    data = nest(_INFO_DATA, nest(_VETH_INFO_PEER, far + u32(_IFLA_NET_NS_FD, namespace)))
    near = _outer(name) + u32(_IFLA_MTU, mtu) + u32(_IFLA_MASTER, master) + _OURS + _ONE_QUEUE
    return Request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, near + nest(_IFLA_LINKINFO, _IS_VETH + data))


def add_spare(name: str, peer: str, namespace: int) -> Request:
    """A pair for a container to come: `name` of no bridge yet, its peer born in the namespace of that descriptor."""
    far = _NOTHING + text(_IFLA_IFNAME, peer) + _ONE_QUEUE + u32(_IFLA_NET_NS_FD, namespace)
    data = nest(_INFO_DATA, nest(_VETH_INFO_PEER, far))
    near = _outer(name) + u32(_IFLA_GROUP, SPARE_GROUP) + _ONE_QUEUE
    return Request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, near + nest(_IFLA_LINKINFO, _IS_VETH + data))


def _outer(name: str) -> bytes:
    """The host's end of a pair, with a MAC so high that a bridge which takes the lowest of its ports' has another."""
    mac = b"\xfe\xff" + zlib.crc32(name.encode()).to_bytes(4, "big")
    return _NOTHING + text(_IFLA_IFNAME, name) + attr(_IFLA_ADDRESS, mac)


def take_spare(name: str, master: int, mtu: int) -> Request:
    """A container's from now on: one of our links, a port of the bridge with index `master`."""
    values = text(_IFLA_IFNAME, name) + u32(_IFLA_MTU, mtu) + u32(_IFLA_MASTER, master)
    return Request(RTM_SETLINK, 0, _NOTHING + values + _OURS)


def no_own_address(name: str) -> Request:
    """No link-local IPv6 address: it would cost multicast to every port at each join.

    The kernel refuses this within the creating request, and it must come before the link is up.
    """
    return Request(RTM_SETLINK, 0, _NOTHING + text(_IFLA_IFNAME, name) + _NO_ADDRESS_OF_ITS_OWN)


def isolate(name: str, *, isolated: bool) -> Request:
    """Whether the port is kept from other isolated ports of its bridge."""
    return _change_port(name, _ISOLATED[isolated])


def open_port(name: str) -> Request:
    """The port forwards (again). The kernel refuses unless the link is up."""
    return _change_port(name, u8(_BRPORT_STATE, PORT_FORWARDING))


def _change_port(name: str, switch: bytes) -> Request:
    port = nest(_IFLA_LINKINFO, _IS_PORT + nest(_INFO_SLAVE_DATA, switch))
    return Request(RTM_NEWLINK, 0, _NOTHING + text(_IFLA_IFNAME, name) + port)


def set_up(name: str) -> Request:
    return Request(RTM_SETLINK, 0, _UP + text(_IFLA_IFNAME, name))


def set_master(name: str, master: int) -> Request:
    """Make it a port of the bridge with that index; 0 of none."""
    return Request(RTM_SETLINK, 0, _NOTHING + text(_IFLA_IFNAME, name) + u32(_IFLA_MASTER, master))


def set_values(name: str, *, mac: str | None = None, mtu: int | None = None) -> Request:
    address = _address(mac) if mac else b""
    size = u32(_IFLA_MTU, mtu) if mtu is not None else b""
    return Request(RTM_SETLINK, 0, _NOTHING + text(_IFLA_IFNAME, name) + address + size)


def set_up_as(name: str, *, mac: str, mtu: int) -> Request:
    values = _address(mac) + u32(_IFLA_MTU, mtu)
    return Request(RTM_SETLINK, 0, _UP + text(_IFLA_IFNAME, name) + values)


def set_group(name: str, group: int) -> Request:
    return Request(RTM_SETLINK, 0, _NOTHING + text(_IFLA_IFNAME, name) + u32(_IFLA_GROUP, group))


def leave(name: str) -> Request:
    """No packet passes from now on, and the link is marked as leaving; whoever reaps deletes it later.

    Down, not disabled as a port: the bridge opens a disabled port again as soon as anything about the link changes,
    its carrier for one, which whoever is still inside the container can bring about.
    """
    return Request(RTM_SETLINK, 0, _DOWN + text(_IFLA_IFNAME, name) + _LEFT)


def delete(name: str) -> Request:
    return Request(RTM_DELLINK, 0, _NOTHING + text(_IFLA_IFNAME, name))


def delete_group(group: int) -> Request:
    return Request(RTM_DELLINK, 0, _NOTHING + u32(_IFLA_GROUP, group))


def get(name: str) -> Request:
    return Request(RTM_GETLINK, 0, _NOTHING + text(_IFLA_IFNAME, name) + _BRIEFLY)


def get_all(*, stats: bool = False) -> Request:
    """For `Netlink.dump`."""
    return Request(RTM_GETLINK, 0, _NOTHING + (b"" if stats else _BRIEFLY))


def get_nsid(namespace: int) -> Request:
    """Under which number the socket's namespace knows the one of that descriptor."""
    return Request(RTM_GETNSID, 0, b"\0\0\0\0" + u32(_NETNSA_FD, namespace))


def give_nsid(namespace: int) -> Request:
    """Have the socket's namespace know the one of that descriptor by a number, which the kernel chooses."""
    return Request(RTM_NEWNSID, 0, b"\0\0\0\0" + u32(_NETNSA_NSID, _ANY_NSID) + u32(_NETNSA_FD, namespace))


def index_of(socket: Netlink, name: str) -> int:
    """The index of a link in the socket's namespace; 0 if there is none. Takes no lock in the kernel."""
    try:
        answer = fcntl.ioctl(socket.fileno(), _SIOCGIFINDEX, name.encode().ljust(40, b"\0"))
    except OSError:
        return 0
    index: int = struct.unpack_from("=i", answer, 16)[0]
    return index


@dataclass(frozen=True, slots=True)
class Link:
    """What the kernel says of a link."""

    index: int
    name: str
    kind: str
    """bridge, veth, …; empty for hardware and lo."""
    mac: str
    mtu: int
    group: int
    master: int
    up: bool
    peer: int
    """The index of a veth's other end, or of the link that this one branches off from."""
    nsid: int
    """The namespace of the other end as a number of the link's own; -1 if it is the same namespace."""
    learns_linklocal: bool
    """A bridge takes frames to 01:80:c2:00:00:0x for a sign of where a MAC is."""
    port_state: int | None
    """As a bridge's port; None if it is none."""
    isolated: bool


def is_marked(link: Link) -> bool:
    """Whether a link of the host bears weft's mark: the group, and a name or, a bridge, a MAC that only weft gives.

    A VLAN sub-interface has the name that its parent and tag give it.
    """
    if link.group != LINK_GROUP:
        return False
    return (
        link.kind == "vlan"
        or names.is_ours(link.name)
        or (link.kind == "bridge" and link.mac.startswith(names.BRIDGE_MAC))
    )


def parse(message: Message) -> Link:
    _, _, index, flags, _ = _IFINFO.unpack_from(message.body)
    attrs = attribute_map(message.body, _IFINFO.size)
    info = attribute_map(attrs.get(_IFLA_LINKINFO, b""))
    kind = zero_terminated(info.get(_INFO_KIND, b""))
    port: dict[int, bytes] = {}
    if info.get(_INFO_SLAVE_KIND, b"").startswith(b"bridge"):
        port = attribute_map(info.get(_INFO_SLAVE_DATA, b""))
    return Link(
        index=index,
        name=zero_terminated(attrs.get(_IFLA_IFNAME, b"")),
        kind=kind,
        mac=attrs.get(_IFLA_ADDRESS, b"").hex(":"),
        mtu=_number(attrs.get(_IFLA_MTU)),
        group=_number(attrs.get(_IFLA_GROUP)),
        master=_number(attrs.get(_IFLA_MASTER)),
        up=bool(flags & IFF_UP),
        peer=_number(attrs.get(_IFLA_LINK)),
        nsid=_signed(attrs.get(_IFLA_LINK_NETNSID)),
        learns_linklocal=_learns_linklocal(info.get(_INFO_DATA, b"")) if kind == "bridge" else False,
        port_state=port[_BRPORT_STATE][0] if _BRPORT_STATE in port else None,
        isolated=port.get(_BRPORT_ISOLATED, b"\0")[0] == 1,
    )


def _learns_linklocal(bridge: bytes) -> bool:
    options, _ = struct.unpack("=II", attribute_map(bridge).get(_BR_MULTI_BOOLOPT, bytes(8)))
    return not options & _NO_LINKLOCAL_LEARN


def parse_nsid(message: Message) -> int:
    """-1 if the namespace has no number here."""
    return _signed(attribute_map(message.body, 4).get(_NETNSA_NSID))


@dataclass(frozen=True, slots=True)
class LinkStats:
    """Counters since the link was made, as the kernel keeps them (rtnl_link_stats64)."""

    rx_packets: int
    tx_packets: int
    rx_bytes: int
    tx_bytes: int
    rx_errors: int
    tx_errors: int
    rx_dropped: int
    tx_dropped: int


def parse_stats(message: Message) -> LinkStats:
    counters = attribute_map(message.body, _IFINFO.size).get(_IFLA_STATS64, b"").ljust(64, b"\0")
    return LinkStats(*struct.unpack_from("=8Q", counters))


def _address(mac: str) -> bytes:
    return attr(_IFLA_ADDRESS, names.mac_bytes(mac))


def _number(payload: bytes | None) -> int:
    return int.from_bytes(payload, "little") if payload else 0


def _signed(payload: bytes | None) -> int:
    return int.from_bytes(payload, "little", signed=True) if payload else -1
