"""The host's tables: their chains and empty sets, as nft reads them. Here `table inet weft`; guard.py has the other.

Theory of operation. Everything is refused unless one of these holds, asked in this order in `forward`:
the user's own rules decided; the flow is established; both ends are on one network; the packet was published
(its destination was rewritten by `publish`), or it is addressed to a container directly and the network, the port, the
interface that it came by or its mark allow that. An internal network is out of all this. What does not touch a bridge
of weft's is none of our business, except that a host which routed nothing before weft came (`closed`) goes on routing
nothing else.

Two things must happen before that, in `raw-prerouting`: a packet from outside that is addressed to a container
directly, on a network that is reached by published ports of the host alone, is dropped before it costs a connection
tracking entry, and nobody reaches the host's loopback over a wire, though the bridges have route_localnet (which
127.0.0.1:port of a published port needs for its answers), and others may have it too: somebody else's proxy would open
the sockets of the relay. What is asked for the few that are trusted stands in a chain that only packets about to be
dropped come to.

`publish` never rewrites a packet to 127.0.0.0/8 that arrived from a wire: rewriting comes before the kernel's own
check for such packets and would defeat it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from weft.firewall import guard as bridge
from weft.firewall import policy
from weft.firewall.layout import BRIDGE_SETS, SETS, SetLayout
from weft.names import TABLE

_CHAINS = """\
	chain raw-prerouting {
		type filter hook prerouting priority raw; policy accept;
		iifname "lo" return
		ip daddr 127.0.0.0/8 drop comment "the host's loopback is reached from no wire"
		iifname @bridges return
		ip daddr @subnets4 goto direct
		ip6 daddr @subnets6 goto direct
	}

	chain direct {
%(marked_direct)s		iifname . ip daddr @trusted4 return
		iifname . ip6 daddr @trusted6 return
		drop comment "no container address is reached from outside"
	}

	chain nat-prerouting {
		type nat hook prerouting priority dstnat; policy accept;
		ip daddr 127.0.0.0/8 return comment "never from a wire"
		fib daddr type local jump publish
	}

	chain nat-output {
		type nat hook output priority -100; policy accept;
		ip6 daddr ::1 return comment "the relay serves ::1"
		fib daddr type local jump publish
	}

	chain publish {
		dnat ip to ip daddr . meta l4proto . th dport map @addr_ports4
		dnat ip6 to ip6 daddr . meta l4proto . th dport map @addr_ports6
		dnat ip to meta l4proto . th dport map @ports4
		dnat ip6 to meta l4proto . th dport map @ports6
	}

	chain nat-postrouting {
		type nat hook postrouting priority srcnat; policy accept;
		iifname @bridges oifname @bridges ct status dnat masquerade comment "answers must come back through the host"
		ip saddr 127.0.0.0/8 oifname @bridges masquerade comment "127.0.0.1 is nobody to a container"
		oifname != @bridges snat ip to iifname map @snat4
		oifname != @bridges snat ip6 to iifname map @snat6
		meta nfproto . iifname @outbound oifname != @bridges masquerade
	}

	chain forward {
		type filter hook forward priority filter; policy accept;
		jump user
		ct state established,related accept
		iifname . oifname @same accept comment "one network"
		iifname @internal drop
		oifname @internal drop
		oifname @bridges ct status dnat accept comment "a published port"
		ip daddr . meta l4proto . th dport @routed_ports4 accept comment "a port published at the container's address"
		ip6 daddr . meta l4proto . th dport @routed_ports6 accept comment "a port published at the container's address"
		meta nfproto . oifname @routed meta l4proto { icmp, ipv6-icmp } accept comment "ping, and what paths report"
		meta nfproto . oifname @open accept comment "every port"
		iifname . ip daddr @trusted4 accept
		iifname . ip6 daddr @trusted6 accept
%(marked)s		oifname @bridges drop comment "everything else stays out"
		iifname @bridges ct state invalid drop comment "would leave without being masqueraded"
%(closed)s	}

	chain user {
%(user)s	}
"""

_BRIDGE_TABLE = """\
add table bridge weft
delete table bridge weft
"""


def ruleset(
    *,
    closed: Sequence[int] = (),
    user_rules: Sequence[str] = (),
    ipv6: bool = False,
    guard: bool = False,
    accept_mark: tuple[int, int] | None = None,
) -> str:
    """Text for nft: the tables with empty sets.

    `closed` lists the IP versions for which forwarding between interfaces that are not weft's is refused: those for
    which weft itself turned forwarding on. `user_rules` go first in `forward`. `ipv6`: some network has it. `guard`:
    some network's containers are kept to their own addresses. `accept_mark` is (mark, mask): packets that bear it are
    let through to containers.
    """
    shut = "".join(
        f'\t\tmeta nfproto ipv{version} iifname != @bridges drop comment "this host routed nothing before weft came"\n'
        for version in closed
    )
    marked = "" if accept_mark is None else f"meta mark & {accept_mark[1]:#x} == {accept_mark[0]:#x}"
    chains = _CHAINS % {
        "closed": shut,
        "user": "".join(f"\t\t{rule}\n" for rule in user_rules),
        "marked": f'\t\toifname @bridges {marked} accept comment "accept-mark"\n' if marked else "",
        "marked_direct": f'\t\t{marked} return comment "accept-mark"\n' if marked else "",
    }
    table = f"table inet {TABLE} {{\n{_declare_all(SETS)}\n{chains}\n{policy.CHAINS}}}\n"
    on_bridges = bridge.chains(guard=guard, ipv6=ipv6)
    bridge_table = f"table bridge {TABLE} {{\n{_declare_all(BRIDGE_SETS)}{on_bridges and chr(10)}{on_bridges}}}\n"
    return table + _BRIDGE_TABLE + bridge_table


def _declare_all(sets: Mapping[str, SetLayout]) -> str:
    return "\n".join(_declare(name, layout) for name, layout in sets.items())


def _declare(name: str, layout: SetLayout) -> str:
    lines = [f"type {' . '.join(layout.key)}"]
    if layout.value:
        lines[0] += f" : {' . '.join(layout.value)}"
    if layout.interval:
        lines.append("flags interval")
    lines.append(f'comment "{layout.comment}"')
    body = "".join(f"\t\t{line};\n" for line in lines)
    return f"\t{'map' if layout.value else 'set'} {name} {{\n{body}\t}}\n"
