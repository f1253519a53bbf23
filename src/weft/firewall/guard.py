"""`table bridge weft`: a container sends from its own addresses only, and is nobody's router or DHCP server.

The sets here say what may leave each port, on every host. What sees to it are programs on the ports (guard_program.py),
and no chains; or, where the kernel takes none or the settings say so, the chains that this is about.

Theory of operation. Whatever enters a bridge by a container's port is looked up once, as port, MAC and IP address: an
element per endpoint and family says what may. That one lookup is all that most frames meet. What it does not find is
a suspect: ARP and neighbour discovery, whose claims are looked up likewise, and else is dropped. So a port without an
element sends nothing, and what the guard knows nothing of does not pass.

At this hook, before the bridge learns where a MAC is, a false one does not lead others' frames astray either. (What is
sent to 01:80:c2:00:00:0x does not come by here; bridges are told not to learn from it.)

There are no rules against claims of the gateway's address: it is no container's. Nor for duplicate address detection:
it asks from no address, hears nobody, and so succeeds, which is right for the one address that is the container's own.

A neighbour advertisement claims an address in its body, which nft 1.0 cannot look up as an address. So it is moved to
where the sender's address is: in an honest one the same is there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address

from weft.model import IPAddress, IPInterface
from weft.plan import Guard, Item, Mac, NftElement, Veth

# Reports of multicast listeners and router solicitations would be flooded to every port: n joins cost n * n frames.
_FLOODED = (
    "icmpv6 type { mld-listener-query, mld-listener-report, mld-listener-done, nd-router-solicit, "
    "mld2-listener-report } drop"
)

_UNGUARDED = f"""\
	chain prerouting {{
		type filter hook prerouting priority filter; policy accept;
		iifname "wv-*" {_FLOODED}
	}}
"""

# The lookup comes before the question whose port it is, though it says nothing of others': nearly all are containers'.
_GUARDED = f"""\
	chain prerouting {{
		type filter hook prerouting priority filter; policy accept;
		udp dport 68 goto suspects comment "an answer of a DHCP server"
		iifname . ether saddr . ip saddr @senders4 accept
		udp dport 546 goto suspects comment "an answer of a DHCPv6 server"
		meta l4proto != ipv6-icmp iifname . ether saddr . ip6 saddr @senders6 accept
		goto suspects
	}}

	chain suspects {{
		iifname != "wv-*" accept comment "no container's port"
		{_FLOODED}
		iifname @unguarded accept
		ether type {{ 8021q, 8021ad }} drop comment "what a tag hides would not be looked into"
		arp htype 1 arp ptype ip arp hlen 6 arp plen 4 iifname . ether saddr . arp saddr ip @senders4 \
iifname . arp saddr ether . arp saddr ip @senders4 accept
		meta l4proto ipv6-icmp iifname . ether saddr . ip6 saddr @senders6 goto neighbours
		drop
	}}

	chain neighbours {{
		icmpv6 type {{ nd-router-advert, nd-redirect }} drop comment "a container is nobody's router"
		icmpv6 type nd-neighbor-advert goto claims
		accept
	}}

	chain claims {{
		ip6 saddr set @th,64,128 iifname . ether saddr . ip6 saddr @senders6 accept comment "what it claims is its own"
		drop
	}}
"""


def chains(*, guard: bool, ipv6: bool) -> str:
    """`guard`: the rules keep some network's containers to their addresses; `ipv6`: containers may send of IPv6 what
    nothing else stops."""
    return _GUARDED if guard else _UNGUARDED if ipv6 else ""


def sender_elements(port: str, mac: str, addresses: Iterable[IPInterface]) -> tuple[NftElement, ...]:
    """What a guarded endpoint may send from; without any it may send nothing."""
    return tuple(
        NftElement(f"senders{address.version}", (port, Mac(mac), address.ip), family="bridge") for address in addresses
    )


def unguarded_elements(port: str) -> tuple[NftElement, ...]:
    """An endpoint that may send what it likes."""
    return (NftElement("unguarded", (port,), family="bridge"),)


def guards(items: Sequence[Item], *, borrowed: Collection[str] = ()) -> tuple[Guard, ...]:
    """What elements say of ports once more, port by port: of those that may not send what they like.

    On a bridge that is `borrowed` frames are what its owner makes of them: all of them go there.
    """
    free = {item.key[0] for item in items if isinstance(item, NftElement) and item.name == "unguarded"}
    macs: dict[str, str] = {}
    own: dict[str, dict[IPAddress, None]] = {}
    for item in items:
        match item:
            case NftElement(family="bridge", key=(str(port), str(mac), IPv4Address() | IPv6Address() as address)) if (
                port not in free
            ):
                macs[port] = mac
                own.setdefault(port, {})[address] = None
    pairs = (item for item in items if isinstance(item, Veth) and not item.isolated)
    bridges = {pair.name: pair.master for pair in pairs if pair.master not in borrowed}
    return tuple(Guard(port, macs[port], tuple(found), bridges.get(port, "")) for port, found in own.items())
