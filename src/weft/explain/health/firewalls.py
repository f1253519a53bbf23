"""Other tools' firewalls. A packet must pass every chain of a hook: what weft accepts, another may still drop.

Nothing of theirs is ever changed by weft. What would admit the containers is said, in the tool's own words.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase

from weft.explain.health import firewalld
from weft.explain.health.facts import Chain, HostFacts, OwnFacts
from weft.explain.health.finding import Finding, fine

_ANY_BRIDGE = "wb-*"


def check_forward_chains(host: HostFacts, own: OwnFacts) -> list[Finding]:
    if host.unread_chains:
        return [
            Finding(
                check="other-firewalls",
                subject="host",
                level="note",
                what=f"other tools' rules could not be read: {host.unread_chains}",
                why="If one of them drops forwarded packets, containers reach nothing beyond the host.",
                mend=("nft list ruleset",),
            )
        ]
    bridges = _bridges(own)
    direct = [use.link for use in own.networks if use.link and use.direct]
    shut = shut_chains(host, bridges, direct)
    if not shut:
        return [fine("other-firewalls", "host", "no other firewall drops what the containers send or receive")]
    found = [in_the_way(chain, host, bridges, direct, hurts=bool(own.networks)) for chain in shut]
    # Tools that write a chain per family are told once.
    return [finding for at, finding in enumerate(found) if finding.mend not in {each.mend for each in found[:at]}]


def _bridges(own: OwnFacts) -> list[str]:
    return [use.link for use in own.networks if use.link] or [_ANY_BRIDGE]


def shut_chains(host: HostFacts, bridges: Sequence[str], direct: Sequence[str] = ()) -> list[Chain]:
    """The chains of others that drop what is forwarded from or to one of the bridges.

    `direct`: those of the bridges whose containers are to be reached at their own addresses, too.
    """
    return [chain for chain in host.chains if chain.hook == "forward" and _harm(chain, bridges, direct)]


def _harm(chain: Chain, bridges: Sequence[str], direct: Sequence[str]) -> str:
    """What containers cannot do because of a chain; empty if it lets them."""
    if not chain.closed:
        return ""
    harm = []
    if not _covers(chain.admits_in, bridges):
        harm.append("containers do not reach the outside")
    if not _admits_published(chain) and not _covers(chain.admits_out, bridges):
        harm.append("published ports are not reached")
    elif not _covers(chain.admits_out, direct):
        harm.append("containers are not reached at their own addresses, as their network is meant to let them")
    return ", and ".join(harm)


def _admits_published(chain: Chain) -> bool:
    """firewalld always does, also where its rules cannot be read: those of iptables' own matches."""
    return chain.admits_published or firewalld.is_firewallds(chain)


def _covers(patterns: Sequence[str], bridges: Sequence[str]) -> bool:
    return all(any(fnmatchcase(bridge, pattern) for pattern in patterns) for bridge in bridges)


def in_the_way(
    chain: Chain, host: HostFacts, bridges: Sequence[str], direct: Sequence[str] = (), *, hurts: bool
) -> Finding:
    """`bridges` are those that should be let through, `direct` as in `shut_chains`.

    `hurts`: there are containers already that suffer from it.
    """
    tool = tool_of(chain)
    patterns = list(dict.fromkeys(_ANY_BRIDGE if bridge.startswith("wb-") else bridge for bridge in bridges))
    where = f"chain {chain.name} of table {chain.family} {chain.table}"
    bridged = host.sysctls.get("net.bridge.bridge-nf-call-iptables") == "1" and chain.family in ("ip", "inet")
    harm = _harm(chain, bridges, direct)
    why = (
        "A forwarded packet has to pass every chain on its way; what weft accepts, this one drops. "
        f"{harm[:1].upper()}{harm[1:]}."
    )
    if bridged:
        why += " As bridge-nf-call-iptables is 1, it even sees frames between containers of one network."
    return Finding(
        check="other-firewalls",
        subject="host",
        level="error" if hurts else "warning",
        what=f"{tool or 'another firewall'} {chain.closed}s forwarded packets ({where})",
        why=why,
        mend=tuple(_mend(chain, tool, patterns, direct=bool(direct))),
    )


def tool_of(chain: Chain) -> str:
    """Whose chain it is, as its table's other chains tell; empty if they do not."""
    if firewalld.is_firewallds(chain):
        return "firewalld"
    if any(name.startswith(("ufw-", "ufw6-")) for name in chain.siblings):
        return "ufw"
    if "DOCKER-USER" in chain.siblings or chain.table.startswith("docker-"):
        return "Docker"
    if chain.legacy:
        return "iptables-legacy"
    if chain.family in ("ip", "ip6") and chain.table == "filter" and chain.name.isupper():
        return "iptables"
    return ""


def _mend(chain: Chain, tool: str, patterns: Sequence[str], *, direct: bool) -> Iterable[str]:
    program = ("ip6tables" if chain.family == "ip6" else "iptables") + ("-legacy" if chain.legacy else "")
    # iptables and its like write "any link whose name begins so" with a plus sign.
    plus = [pattern.replace("*", "+") for pattern in patterns]
    match tool:
        case "firewalld":
            return firewalld.admitting(chain, plus, direct=direct)
        case "ufw":
            return [f"ufw route allow {way} on {link}" for link in plus for way in ("in", "out")]
        case "Docker" if "DOCKER-USER" in chain.siblings:
            return _iptables(program, "DOCKER-USER", plus)
        case "iptables" | "iptables-legacy":
            return _iptables(program, "FORWARD", plus)
    place = f"{chain.family} {chain.table} {chain.name}"
    ways = ("iifname", "oifname")
    return [f"nft insert rule {place} '{way} \"{link}\" accept'" for link in patterns for way in ways]


def _iptables(program: str, chain: str, links: Sequence[str]) -> Iterable[str]:
    return [f"{program} -I {chain} {way} {link} -j ACCEPT" for link in links for way in ("-i", "-o")]


def check_others_forwarding(host: HostFacts, own: OwnFacts) -> Iterator[Finding]:
    """Whether somebody came later who forwards packets, too, where weft shut forwarding to all but its own."""
    shut = {f"ip{version}".replace("ip4", "ip") for version in own.closed}
    theirs = [
        chain for chain in host.chains if chain.hook == "forward" and (chain.family in shut or chain.family == "inet")
    ]
    ours = (_ANY_BRIDGE, *_bridges(own), "lo")  # nothing is forwarded from lo, though firewalld has a rule for it
    links = sorted({link for chain in theirs for link in chain.admits_in if not _covers(ours, [link])})
    if not shut or not links or own.user_rules:
        return
    tools = sorted({tool_of(chain) or f"table {chain.family} {chain.table}" for chain in theirs if chain.admits_in})
    versions = " and ".join(f"IPv{version}" for version in own.closed)
    yield Finding(
        check="others-forwarding",
        subject="host",
        level="warning",
        what=f"weft drops what {' and '.join(tools)} would forward from {', '.join(links)}",
        why=f"This host forwarded no {versions} before weft needed it, so weft forwards for its own containers alone: "
        "the host must not become a router for everybody. Who came later is shut out, too, until rules of yours "
        "let them pass, with weftd's next look at its firewall. Their own rules still decide on such packets.",
        mend=tuple(f"echo 'iifname \"{link}\" accept' >> /etc/weft/forward.nft" for link in links),
    )


def check_input_chains(host: HostFacts, own: OwnFacts) -> list[Finding]:
    bridges = _bridges(own)
    shut = [c for c in host.chains if c.hook == "input" and c.closed and not _covers(c.admits_in, bridges)]
    if not shut:
        return []
    tools = sorted({tool_of(chain) or f"table {chain.family} {chain.table}" for chain in shut})
    return [
        Finding(
            check="host-services",
            subject="host",
            level="note",
            what=f"containers do not reach services of the host itself, unless {' and '.join(tools)} admits them",
            why="Packets to the host's own addresses are dropped by default (hook input). Networks, names and "
            "published ports do not depend on it; programs on the host that containers shall reach do, and "
            "connections to published ports that weftd passes on from one address family to the other.",
        )
    ]
