"""Other tools' firewalls: whose they are, whether they let containers through, what would admit them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.explain import worlds
from tests.explain.health.hosts import BACK_BRIDGE, FRONT_BRIDGE, NOTHING_YET, OWN, chain, host, own
from weft.explain.health.facts import Chain, NetworkUse, OwnFacts
from weft.explain.health.finding import Finding
from weft.explain.health.firewalls import check_forward_chains, check_input_chains, check_others_forwarding


def wrong(*chains: Chain, **facts: Any) -> list[Finding]:
    return [f for f in check_forward_chains(host(chains=chains, **facts), OWN) if f.level != "ok"]


FIREWALLD = (
    "firewall-cmd --permanent --new-zone=weft",
    "firewall-cmd --permanent --zone=weft --add-interface=wb-+",
    "firewall-cmd --permanent --new-policy=weft-out",
    "firewall-cmd --permanent --policy=weft-out --add-ingress-zone=weft",
    "firewall-cmd --permanent --policy=weft-out --add-egress-zone=ANY",
    "firewall-cmd --permanent --policy=weft-out --set-target=ACCEPT",
    "firewall-cmd --reload",
)
IPTABLES = ("iptables -I FORWARD -i wb-+ -j ACCEPT", "iptables -I FORWARD -o wb-+ -j ACCEPT")


@pytest.mark.parametrize(
    ("found", "tool", "mend"),
    [
        (chain(), "iptables", IPTABLES),
        (chain(family="ip6"), "iptables", tuple(c.replace("iptables", "ip6tables") for c in IPTABLES)),
        (
            chain(siblings=frozenset({"FORWARD", "DOCKER-USER", "DOCKER"})),
            "Docker",
            tuple(c.replace("FORWARD", "DOCKER-USER") for c in IPTABLES),
        ),
        (
            chain(siblings=frozenset({"FORWARD", "ufw-user-forward"})),
            "ufw",
            ("ufw route allow in on wb-+", "ufw route allow out on wb-+"),
        ),
        (
            chain(family="inet", table="firewalld", name="filter_FORWARD", closed="reject"),
            "firewalld",
            FIREWALLD,
        ),
        (chain(siblings=frozenset({"FORWARD", "FORWARD_ZONES"}), closed="reject"), "firewalld", FIREWALLD),
        (chain(legacy=True), "iptables-legacy", tuple(c.replace("iptables", "iptables-legacy") for c in IPTABLES)),
        (
            chain(legacy=True, siblings=frozenset({"DOCKER-USER"})),
            "Docker",
            tuple(c.replace("iptables -I FORWARD", "iptables-legacy -I DOCKER-USER") for c in IPTABLES),
        ),
        (
            chain(family="inet", table="mine", name="fwd"),
            "another firewall",
            (
                "nft insert rule inet mine fwd 'iifname \"wb-*\" accept'",
                "nft insert rule inet mine fwd 'oifname \"wb-*\" accept'",
            ),
        ),
    ],
    ids=[
        "iptables",
        "ip6tables",
        "docker",
        "ufw",
        "firewalld",
        "firewalld-iptables",
        "legacy",
        "docker-legacy",
        "unknown",
    ],
)
def test_the_tool_in_the_way_is_named_with_what_admits_weft(found: Chain, tool: str, mend: tuple[str, ...]):
    [finding] = wrong(found)
    assert finding.level == "error"
    assert finding.what.startswith(f"{tool} {found.closed}s forwarded packets")
    assert f"chain {found.name} of table {found.family} {found.table}" in finding.what
    assert finding.mend == mend
    assert not finding.fixable


@pytest.mark.parametrize(
    "found",
    [
        chain(closed=""),
        chain(admits_in=("wb-*",), admits_out=("wb-*",)),
        chain(admits_in=("wb-*",), admits_published=True),
        chain(admits_in=(FRONT_BRIDGE, BACK_BRIDGE), admits_out=(BACK_BRIDGE, FRONT_BRIDGE)),
        chain(hook="input"),
    ],
    ids=["open", "both ways", "published", "each bridge by name", "not forwarding"],
)
def test_a_chain_that_lets_containers_through_is_not_in_the_way(found: Chain):
    assert wrong(found) == []


@pytest.mark.parametrize(
    "found",
    [
        chain(admits_in=("wb-*",)),
        chain(admits_out=("wb-*",)),
        chain(admits_published=True),
        chain(admits_in=(FRONT_BRIDGE,), admits_out=(FRONT_BRIDGE,)),
        chain(admits_in=("docker*",), admits_out=("docker*",)),
    ],
    ids=["in only", "out only", "published only", "one bridge of two", "others' bridges"],
)
def test_a_chain_that_lets_half_through_is_in_the_way(found: Chain):
    assert len(wrong(found)) == 1


def test_before_there_is_a_network_it_is_a_warning():
    [finding] = check_forward_chains(host(chains=(chain(),)), NOTHING_YET)
    assert finding.level == "warning"


def test_it_is_told_if_even_neighbours_are_kept_apart():
    [finding] = wrong(chain(), sysctls={"net.bridge.bridge-nf-call-iptables": "1"})
    assert "between containers of one network" in finding.why
    [finding] = wrong(chain(), sysctls={"net.bridge.bridge-nf-call-iptables": "0"})
    assert "between containers of one network" not in finding.why


def reached_directly(*chains: Chain) -> list[Finding]:
    """What is wrong if containers on front are to be reached at their own addresses."""
    routed = own(networks=(replace(OWN.networks[0], direct=True), OWN.networks[1]))
    return [f for f in check_forward_chains(host(chains=chains), routed) if f.level != "ok"]


def test_where_containers_are_reached_directly_published_ports_are_not_enough():
    half = chain(admits_in=("wb-*",), admits_published=True)
    [finding] = reached_directly(half)
    assert "Containers are not reached at their own addresses" in finding.why
    assert finding.mend == IPTABLES
    assert reached_directly(chain(admits_in=("wb-*",), admits_out=(FRONT_BRIDGE,), admits_published=True)) == []


def test_firewalld_is_told_what_it_lacks_and_not_what_it_has():
    made = frozenset({"filter_FWD_weft", "filter_FWD_policy_weft-out"})
    [finding] = reached_directly(
        chain(family="inet", table="firewalld", name="filter_FORWARD", admits_in=("wb-*",), siblings=made)
    )
    assert finding.mend == (
        "firewall-cmd --permanent --zone=weft --add-interface=wb-+",
        "firewall-cmd --permanent --new-policy=weft-in",
        "firewall-cmd --permanent --policy=weft-in --add-ingress-zone=ANY",
        "firewall-cmd --permanent --policy=weft-in --add-egress-zone=weft",
        "firewall-cmd --permanent --policy=weft-in --set-target=ACCEPT",
        "firewall-cmd --reload",
    )


def test_a_tool_that_has_a_chain_per_family_is_told_once():
    ufw = frozenset({"FORWARD", "ufw-user-forward"})
    assert len(wrong(chain(siblings=ufw), chain(family="ip6", siblings=ufw))) == 1
    assert len(wrong(chain(), chain(family="ip6"))) == 2


DOCKER = chain(admits_in=("docker0", "wb-*"), admits_out=("wb-*",), siblings=frozenset({"DOCKER-USER"}))


def test_who_forwards_where_weft_shut_forwarding_is_told_what_lets_it_pass():
    [finding] = check_others_forwarding(host(chains=(DOCKER,)), own(closed=(4,)))
    assert finding.level == "warning"
    assert "Docker would forward from docker0" in finding.what
    assert finding.mend == ("echo 'iifname \"docker0\" accept' >> /etc/weft/forward.nft",)


@pytest.mark.parametrize(
    ("found", "state"),
    [
        (DOCKER, {"closed": ()}),
        (DOCKER, {"closed": (6,)}),
        (DOCKER, {"closed": (4,), "user_rules": True}),
        (chain(admits_in=("wb-*",)), {"closed": (4,)}),
        (chain(admits_in=("lo",)), {"closed": (4,)}),
        (chain(hook="input", admits_in=("docker0",)), {"closed": (4,)}),
    ],
    ids=["open", "the other family", "has rules of its own", "nobody else's", "the loopback", "not forwarded"],
)
def test_who_is_not_shut_out_is_told_nothing(found: Chain, state: dict[str, Any]):
    assert list(check_others_forwarding(host(chains=(found,)), own(**state))) == []


def test_rules_that_cannot_be_read_are_a_note():
    [finding] = wrong(unread_chains="libnftables is not to be had")
    assert finding.level == "note"
    assert "libnftables is not to be had" in finding.what


def test_a_host_that_guards_itself_gets_a_note():
    [finding] = check_input_chains(host(chains=(chain(hook="input", name="INPUT"),)), OWN)
    assert finding.level == "note"
    assert "unless iptables admits them" in finding.what
    admitting = chain(hook="input", name="INPUT", admits_in=("wb-*",))
    assert check_input_chains(host(chains=(admitting,)), OWN) == []


def test_bridges_with_names_of_their_own_are_named():
    uses = tuple(
        NetworkUse(network=worlds.FRONT, link=link, mtu=1500, members=0) for link in ("wb-f0f0f0f0f0f0", "br0", "wb-1")
    )
    (finding,) = check_forward_chains(host(chains=(chain(),)), OwnFacts(networks=uses))
    assert finding.mend == (
        "iptables -I FORWARD -i wb-+ -j ACCEPT",
        "iptables -I FORWARD -o wb-+ -j ACCEPT",
        "iptables -I FORWARD -i br0 -j ACCEPT",
        "iptables -I FORWARD -o br0 -j ACCEPT",
    )
