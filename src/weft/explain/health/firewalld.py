"""What lets weft's bridges through firewalld, in firewalld's own words: a zone for them, and policies for forwarding.

The zone `trusted` would do it in one command, but it opens every service of the host to containers as well, which
nobody asked for: these policies are for what is forwarded alone, and in that weft decides. They also come before
zones, so that it does not matter if somebody moves a bridge to another zone, or makes another zone the default one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from weft.explain.health.facts import Chain

_ZONE, _OUT, _IN = "weft", "weft-out", "weft-in"


def is_firewallds(chain: Chain) -> bool:
    """By its table, or, where firewalld writes iptables' tables, by chains that only it has."""
    return chain.table == "firewalld" or "FORWARD_ZONES" in chain.siblings


def admitting(chain: Chain, links: Sequence[str], *, direct: bool) -> Iterator[str]:
    """The commands; what is there already is not made again.

    `links` are names, or beginnings of names with a plus sign. `direct`: containers are to be reached at their own
    addresses, too. Published ports firewalld lets through by itself.
    """
    tell = "firewall-cmd --permanent"
    if not _is_there(chain, f"FWD_{_ZONE}"):
        yield f"{tell} --new-zone={_ZONE}"
    for link in links:
        yield f"{tell} --zone={_ZONE} --add-interface={link}"
    ways = {_OUT: (_ZONE, "ANY"), **({_IN: ("ANY", _ZONE)} if direct else {})}
    for policy, (ingress, egress) in ways.items():
        if _is_there(chain, f"FWD_policy_{policy}", f"FWD_{policy}"):
            continue
        yield f"{tell} --new-policy={policy}"
        yield f"{tell} --policy={policy} --add-ingress-zone={ingress}"
        yield f"{tell} --policy={policy} --add-egress-zone={egress}"
        yield f"{tell} --policy={policy} --set-target=ACCEPT"
    yield "firewall-cmd --reload"


def _is_there(chain: Chain, *names: str) -> bool:
    """nftables' chains bear these names after `filter_`."""
    return any(sibling.removeprefix("filter_") in names for sibling in chain.siblings)
