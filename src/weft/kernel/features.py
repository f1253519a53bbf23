"""What this kernel can do, found out by having it done in a namespace of its own that is thrown away."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import replace

from weft.errors import WeftError
from weft.explain.health.facts import Feature
from weft.kernel import guards, links
from weft.kernel.netlink import NLM_F_CREATE, NLM_F_EXCL, Netlink, Request, nest, text
from weft.kernel.nft import Nft

_FILTER = """table inet t {
	set s { type ifname . ifname; }
	chain c { type filter hook forward priority 0; iifname . oifname @s ct state established accept; }
}"""
_NAT = """table inet t {
	map m { type inet_proto . inet_service : ipv4_addr . inet_service; }
	chain c {
		type nat hook prerouting priority dstnat;
		fib daddr type local dnat ip to meta l4proto . th dport map @m
	}
	chain d { type nat hook postrouting priority srcnat; masquerade; }
}"""
_REWRITE = """table inet t {
	chain c { type filter hook output priority raw; udp dport 53 udp dport set 40053 notrack; }
}"""
_ON_BRIDGES = """table bridge t {
	set s { type ifname . ether_addr . ipv4_addr; }
	chain c {
		type filter hook prerouting priority 0;
		iifname . ether saddr . ip saddr @s accept
		ip6 saddr set @th,64,128 drop
	}
}"""


def probe() -> tuple[Feature, ...]:
    """To be called inside a namespace that is thrown away: leaves links and tables behind."""
    return (
        _feature("bridges", "bridge", _add_link("bridge")),
        _feature("veth pairs", "veth", _add_link("veth")),
        _feature("nftables", "nf_tables", _load(_FILTER)),
        _feature("NAT by maps", "nft_chain_nat", _load(_NAT)),
        _feature("rewriting without connection tracking", "nft_ct", _load(_REWRITE)),
        _feature("filters on bridges", "nf_tables_bridge", _load(_ON_BRIDGES)),
        replace(
            _feature("programs on ports", "cls_bpf", guards.why_not, needed=False),
            without="Rules keep containers to their own addresses in their stead, which costs packets more.",
        ),
    )


def _feature(name: str, module: str, attempt: Callable[[], str], *, needed: bool = True) -> Feature:
    try:
        refused = attempt()
    except WeftError as error:
        refused = error.message
    except OSError as error:
        refused = os.strerror(error.errno or 0)
    return Feature(name=name, module=module, refused=refused, needed=needed)


def _add_link(kind: str) -> Callable[[], str]:
    def attempt() -> str:
        socket_ = Netlink(socket.NETLINK_ROUTE)
        try:
            failures = socket_.send([_new_link(kind)])
        finally:
            socket_.close()
        return failures[0].text if failures else ""

    return attempt


def _new_link(kind: str) -> Request:
    # Header, name and kind alone: what each kind needs beyond these has a default.
    info = nest(18, text(1, kind))
    return Request(links.RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, bytes(16) + text(3, f"probe-{kind}") + info)


def _load(ruleset: str) -> Callable[[], str]:
    def attempt() -> str:
        nft = Nft()
        try:
            nft.run(f"flush ruleset\n{ruleset}")
        finally:
            nft.close()
        return ""

    return attempt
