"""Other tools' rules, made with the other tools' own programs."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from tests.hosts import in_private_host, needs_root
from tests.waiting import PACE
from weft.explain.health.facts import Chain
from weft.kernel.foreign import foreign_bridge_tables, foreign_chains
from weft.kernel.legacy import legacy_chains


def shell(*commands: str) -> None:
    for command in commands:
        done = subprocess.run(["bash", "-ec", command], capture_output=True, text=True, timeout=20 * PACE, check=False)
        assert done.returncode == 0, f"{command}: {done.stderr}"


def load(ruleset: str) -> None:
    subprocess.run(["nft", "-f", "-"], input=ruleset, text=True, check=True, timeout=20 * PACE)


def needs(program: str) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")


def needs_legacy_tables() -> None:
    needs_root("in a user namespace nobody is told which of the old tables are in use")
    needs("iptables-legacy")


def the_chain(name: str = "FORWARD") -> Chain:
    [found] = [chain for chain in foreign_chains() if chain.name == name]
    return found


@in_private_host
def test_a_host_without_rules_has_no_chains():
    assert foreign_chains() == ()
    assert legacy_chains() == ()


@in_private_host
def test_wefts_own_tables_are_nobody_elses():
    shell("nft add table inet weft; nft 'add chain inet weft f { type filter hook forward priority 0; policy drop; }'")
    shell("nft add table ip weft; nft 'add chain ip weft i { type filter hook input priority 0; policy drop; }'")
    assert foreign_chains() == ()


@in_private_host
def test_tables_with_rules_on_what_crosses_a_bridge():
    chains = ("prerouting", "forward"), ("forward",), ("output",), ()
    for table, hooks in zip(("wall", "weft", "out", "empty"), chains, strict=True):
        shell(f"nft add table bridge {table}; nft add chain bridge {table} mere")
        for hook in hooks:
            shell(f"nft 'add chain bridge {table} {hook}s {{ type filter hook {hook} priority 0; }}'")
    assert foreign_bridge_tables() == ("wall",)
    assert foreign_chains() == ()


@in_private_host
def test_dockers_chains():
    needs("iptables-nft")
    shell(
        "iptables-nft -P FORWARD DROP; iptables-nft -N DOCKER-USER; iptables-nft -A FORWARD -j DOCKER-USER",
        "iptables-nft -A DOCKER-USER -j RETURN",
        "iptables-nft -A FORWARD -i docker0 ! -o docker0 -j ACCEPT",
    )
    found = the_chain()
    assert (found.closed, found.admits_in, found.admits_out) == ("drop", (), ())
    assert "DOCKER-USER" in found.siblings
    # What doctor tells people to do:
    shell("iptables-nft -I DOCKER-USER -i wb-+ -j ACCEPT", "iptables-nft -I DOCKER-USER -o wb-+ -j ACCEPT")
    found = the_chain()
    assert (found.closed, found.admits_in, found.admits_out) == ("drop", ("wb-*",), ("wb-*",))


FIREWALLD = """
table inet firewalld {
	chain filter_FORWARD {
		type filter hook forward priority filter + 10; policy accept;
		ct state { established, related } accept
		ct status dnat accept
		iifname "lo" accept
		jump filter_FORWARD_ZONES
		ct state invalid drop
		reject with icmpx admin-prohibited
	}
	chain filter_INPUT {
		type filter hook input priority filter + 10; policy accept;
		iifname "lo" accept
		reject with icmpx admin-prohibited
	}
	chain filter_FORWARD_ZONES {
		%s
		goto filter_FWD_public
	}
	chain filter_FWD_public { ct state new drop; }
	chain filter_FWD_trusted { jump filter_FWD_trusted_pre; accept; }
	chain filter_FWD_trusted_pre { }
}
"""


@in_private_host
def test_firewallds_chains():
    load(FIREWALLD % "")
    found = the_chain("filter_FORWARD")
    assert (found.family, found.closed, found.admits_in, found.admits_published) == ("inet", "reject", ("lo",), True)
    assert the_chain("filter_INPUT").closed == "reject"


@in_private_host
def test_a_trusted_zone_of_firewalld_admits():
    load(FIREWALLD % 'iifname "wb-*" goto filter_FWD_trusted')
    found = the_chain("filter_FORWARD")
    assert (found.admits_in, found.admits_published) == (("lo", "wb-*"), True)
    assert the_chain("filter_INPUT").admits_in == ("lo",)


RULES = {
    "an open chain": ("policy accept;", "ct state invalid drop", ""),
    "a policy": ("policy drop;", "ct state established accept", "drop"),
    "a last rule": ("policy accept;", "iifname eth9 accept; counter log drop", "drop"),
    "a refusal": ("policy accept;", "reject", "reject"),
    "an accepting rule before": ("policy drop;", "accept; drop", ""),
    "a jump to what drops": ("policy accept;", "jump shut", "drop"),
    "a jump on a condition": ("policy accept;", "iifname eth9 jump shut", ""),
    "a limit": ("policy accept;", "limit rate 1/second drop", ""),
    "a jump to what says nothing": ("policy accept;", "jump empty; drop", "drop"),
    "a goto, from which nothing returns": ("policy accept;", "goto empty; drop", ""),
}


@pytest.mark.parametrize(("policy", "rules", "closed"), RULES.values(), ids=RULES)
@in_private_host
def test_what_becomes_of_a_packet_that_nothing_matches(policy: str, rules: str, closed: str):
    shell("nft add table inet t; nft add chain inet t empty")
    shell("nft add chain inet t shut; nft add rule inet t shut drop")
    shell(f"nft 'add chain inet t f {{ type filter hook forward priority 0; {policy} }}'")
    shell(*(f"nft 'add rule inet t f {rule}'" for rule in rules.split("; ")))
    assert the_chain("f").closed == closed


@in_private_host
def test_a_rule_that_asks_for_more_admits_nothing():
    shell(
        "nft add table ip t; nft 'add chain ip t f { type filter hook forward priority 0; policy drop; }'",
        "nft 'add rule ip t f iifname \"wb-*\" tcp dport 80 accept'",
        "nft 'add rule ip t f iifname != \"wb-*\" accept'",
        'nft \'add rule ip t f oifname { "wb-1", "wb-2" } accept\'',
        "nft 'add chain ip t unreached; add rule ip t unreached iifname \"wb-*\" accept'",
    )
    found = the_chain("f")
    assert (found.closed, found.admits_in, found.admits_out) == ("drop", (), ())


@in_private_host
def test_rules_of_iptables_legacy_are_read_from_the_kernel():
    needs_legacy_tables()
    shell(
        "iptables-legacy -P FORWARD DROP",
        "iptables-legacy -N ufw-user-forward; iptables-legacy -A FORWARD -j ufw-user-forward",
        "iptables-legacy -A ufw-user-forward -i wb-+ -j ACCEPT",
        "iptables-legacy -A FORWARD -o wb-0123456789ab -j ACCEPT",
        "iptables-legacy -A FORWARD -i eth+ -p tcp -j ACCEPT",
        "iptables-legacy -A FORWARD -i eth+ -s 10.0.0.0/8 -j ACCEPT",
        "iptables-legacy -A FORWARD -i eth+ -m conntrack --ctstate NEW -j ACCEPT",
        "iptables-legacy -A FORWARD -i eth+ -j DROP",
    )
    assert legacy_chains() == (
        Chain(
            family="ip",
            table="filter",
            name="FORWARD",
            hook="forward",
            closed="drop",
            admits_in=("wb-*",),
            admits_out=("wb-0123456789ab",),
            siblings=frozenset({"ufw-user-forward"}),
            legacy=True,
        ),
    )


@in_private_host
def test_legacy_tables_of_ipv6_are_read_too_and_open_ones_are_open():
    needs_legacy_tables()
    shell("ip6tables-legacy -A FORWARD -i wb-+ -j ACCEPT")
    [found] = legacy_chains()
    assert (found.family, found.closed, found.admits_in) == ("ip6", "", ("wb-*",))
    shell("ip6tables-legacy -P FORWARD DROP")
    [found] = legacy_chains()
    assert found.closed == "drop"


@in_private_host
def test_asking_for_legacy_tables_makes_none():
    needs_legacy_tables()
    legacy_chains()
    with open("/proc/thread-self/net/ip_tables_names", encoding="ascii") as file:
        assert file.read() == ""
