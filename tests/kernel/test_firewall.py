"""The table is replaced as a whole, compared with what was asked for, and its elements packed as nft packs them."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from tests.hosts import in_private_host
from tests.kernel.world import NETWORK, RULES, World, elements, sh
from weft.errors import Conflict, Invalid
from weft.firewall.layout import BRIDGE_SETS, SETS
from weft.firewall.ruleset import ruleset
from weft.kernel.linux import LinuxKernel
from weft.plan import Mac, NftElement, SandboxTable, Span

ELEMENTS = tuple(item for item in NETWORK if isinstance(item, NftElement))
MAC = Mac("02:42:ac:12:00:02")
SAMPLES = (
    NftElement("bridges", ("wb-0123456789ab",)),
    NftElement("internal", ("wb-tcp",)),
    NftElement("outbound", ("ipv4", "wb-x")),
    NftElement("snat4", ("wb-x",), (ip_address("192.0.2.9"),)),
    NftElement("snat6", ("wb-x",), (ip_address("2001:db8::9"),)),
    NftElement("routed", ("ipv6", "wb-x")),
    NftElement("open", ("ipv4", "br0.7")),
    NftElement("trusted4", ("eth0", ip_network("10.0.0.0/8"))),
    NftElement("trusted4", ("eth0", ip_network("192.0.2.7/32"))),
    NftElement("trusted4", ("eth0.10", ip_network("255.255.255.0/24"))),
    NftElement("trusted6", ("eth0", ip_network("fd00:5::/48"))),
    NftElement("routed_ports4", (ip_address("10.0.0.2"), "tcp", 80)),
    NftElement("routed_ports6", (ip_address("fd00:5::2"), "sctp", 65535)),
    NftElement("same", ("wb-x", "wb-y")),
    NftElement("subnets4", (ip_network("10.0.0.0/8"),)),
    NftElement("subnets4", (ip_network("192.0.2.7/32"),)),
    NftElement("subnets4", (ip_network("255.255.255.0/24"),)),
    NftElement("subnets6", (ip_network("fd00:5::/48"),)),
    NftElement("ports4", ("tcp", 65535), (ip_address("172.18.0.2"), 1)),
    NftElement("ports6", ("sctp", 256), (ip_address("fd00::2"), 255)),
    NftElement("addr_ports4", (ip_address("192.0.2.1"), "udp", 53), (ip_address("172.18.0.2"), 5353)),
    NftElement("senders4", ("wv-0123456789ab", Mac("02:42:ac:12:00:02"), ip_address("172.18.0.2")), family="bridge"),
    NftElement("senders6", ("wv-0123456789ab", Mac("02:42:ac:12:00:02"), ip_address("fd00::2")), family="bridge"),
    NftElement("unguarded", ("wv-ba9876543210",), family="bridge"),
    NftElement("addr_ports6", (ip_address("2001:db8::1"), "tcp", 80), (ip_address("fd00::2"), 8080)),
    NftElement("policed", ("wb-x",)),
    NftElement("allowed4", ("wb-x", ip_network("0.0.0.0/0"), Span(0, 255), Span(0, 65535))),
    NftElement("allowed4", ("wb-y", Span(ip_address("10.0.0.1"), ip_address("10.0.0.6")), "udp", Span(53, 60))),
    NftElement("allowed6", ("wb-x", Span(ip_address("::"), ip_address("fd00::1")), Span(7, 16), Span(1, 1))),
    NftElement("own", ("wb-x", MAC)),
    NftElement("own_allowed4", ("wb-x", MAC, ip_address("10.0.0.1"), "tcp", Span(443, 443))),
    NftElement("own_allowed6", ("wb-x", MAC, ip_network("fd00::/8"), Span(133, 255), Span(0, 65535))),
)


@in_private_host
def test_elements_are_packed_as_nft_packs_them():
    assert {element.name for element in SAMPLES} == {*SETS, *BRIDGE_SETS}
    world = World()
    world.kernel.replace_firewall(RULES, ())
    world.kernel.ensure(SAMPLES)
    packed = sh("nft list ruleset")
    world.kernel.replace_firewall(RULES, ())
    for element in SAMPLES:
        (command,) = element.describe()
        sh(command)
    assert sh("nft list ruleset") == packed
    assert world.kernel.missing(SAMPLES) == ()
    assert world.kernel.firewall_intact(RULES, SAMPLES)
    for element in SAMPLES:
        world.kernel.remove((element,))
        assert world.kernel.missing((element,)) == (element,)
    assert [elements(name) for name in SETS] == [[]] * len(SETS)
    assert [elements(name, "bridge") for name in BRIDGE_SETS] == [[]] * len(BRIDGE_SETS)
    world.kernel.remove(SAMPLES)


@in_private_host
def test_many_elements_at_once():
    world = World()
    many = tuple(NftElement("ports4", ("tcp", port), (ip_address("10.1.0.2"), port)) for port in range(1, 2001))
    world.kernel.ensure(many)
    assert world.kernel.missing(many) == ()
    world.kernel.remove(many[:1000])
    assert world.kernel.missing(many) == many[:1000]
    world.kernel.ensure(many[500:1500])
    assert world.kernel.missing(many) == many[:500]
    world.kernel.remove(many)
    assert elements("ports4") == []


@in_private_host
def test_a_published_port_is_moved_in_one_step():
    world = World()
    here = NftElement("ports4", ("tcp", 80), (ip_address("10.1.0.2"), 80))
    there = replace(here, value=(ip_address("10.1.0.3"), 8080))
    beside = NftElement("ports4", ("tcp", 81), (ip_address("10.1.0.2"), 80))
    world.kernel.ensure((here, beside))
    world.kernel.ensure((there, beside))
    assert world.kernel.missing((here, there, beside)) == (here,)


@in_private_host
def test_all_elements_of_a_refused_transaction_stay_out():
    world = World()
    good = NftElement("ports4", ("tcp", 80), (ip_address("10.1.0.2"), 80))
    with pytest.raises(Conflict, match=r"10\.1\.0\.0/25 to subnets4"):
        world.kernel.ensure((good, NftElement("subnets4", (ip_network("10.1.0.0/25"),))))
    assert elements("ports4") == []


@in_private_host
def test_replacing_keeps_what_is_asked_for_and_nothing_else():
    world = World()
    sh("nft add rule inet weft forward counter; nft add element inet weft bridges '{ \"stray\" }'")
    sh("nft add table inet other")
    world.kernel.replace_firewall(RULES, ELEMENTS)
    assert world.kernel.missing(ELEMENTS) == ()
    assert world.kernel.firewall_intact(RULES, ELEMENTS)
    assert "stray" not in sh("nft list table inet weft")
    assert "table inet other" in sh("nft list tables")
    assert "table bridge weft" in sh("nft list tables")
    assert "chain forward" in world.kernel.firewall_text()


TAMPERINGS = {
    "table deleted": "nft delete table inet weft",
    "bridge table deleted": "nft delete table bridge weft",
    "chain flushed": "nft flush chain inet weft forward",
    "rule inserted": "nft insert rule inet weft forward accept",
    "rules in another order": "nft -a list chain inet weft raw-prerouting | sed -n 's/.*return # handle //p' | tail -1"
    " | xargs nft delete rule inet weft raw-prerouting handle;"
    " nft add rule inet weft raw-prerouting iifname @bridges return",
    "chain added": "nft add chain inet weft extra",
    "policy": "nft add chain inet weft forward '{ policy drop; }'",
    "set added": "nft add set inet weft extra '{ type ipv4_addr; }'",
    "table asleep": "nft add table inet weft '{ flags dormant; }'",
    "element deleted": "nft flush set inet weft bridges",
    "element added": "nft add element inet weft bridges '{ \"stray\" }'",
    "bridge chain flushed": "nft flush chain bridge weft prerouting",
    "sender added": "nft add element bridge weft senders4 '{ \"stray\" . 02:42:0a:01:00:02 . 10.1.0.2 }'",
    "map's element added": "nft add element inet weft ports4 '{ tcp . 1 : 10.1.0.2 . 1 }'",
}


@pytest.mark.parametrize("tampering", TAMPERINGS)
@in_private_host
def test_tampering_is_told(tampering: str):
    world = World()
    world.kernel.replace_firewall(RULES, ELEMENTS)
    assert world.kernel.firewall_intact(RULES, ELEMENTS)
    sh(TAMPERINGS[tampering])
    assert not world.kernel.firewall_intact(RULES, ELEMENTS)
    world.kernel.replace_firewall(RULES, ELEMENTS)
    assert world.kernel.firewall_intact(RULES, ELEMENTS)


@in_private_host
def test_a_fresh_kernel_knows_a_right_table_from_a_wrong_one():
    world = World()
    world.kernel.replace_firewall(RULES, ELEMENTS)
    fresh = LinuxKernel(world.run_dir)
    assert fresh.firewall_intact(RULES, ELEMENTS)
    assert not fresh.firewall_intact(RULES, ())
    assert not fresh.firewall_intact(ruleset(closed=(4,)), ELEMENTS)


@in_private_host
def test_what_counts_is_not_tampering():
    world = World()
    rules = ruleset(user_rules=("ip protocol icmp counter accept", "tcp dport { 22, 80 } limit rate 10/second drop"))
    world.kernel.replace_firewall(rules, ELEMENTS)
    sh("nft add table ip x; nft delete table ip x; ping -c1 -W1 127.0.0.1")
    assert world.kernel.firewall_intact(rules, ELEMENTS)


@in_private_host
def test_a_rule_that_nft_refuses_is_quoted_and_nothing_changes():
    world = World()
    world.kernel.replace_firewall(RULES, ELEMENTS)
    with pytest.raises(Invalid, match="frobnicate"):
        world.kernel.replace_firewall(ruleset(user_rules=("frobnicate",)), ())
    assert world.kernel.firewall_intact(RULES, ELEMENTS)


@pytest.mark.parametrize("ipv6", [False, True])
@in_private_host
def test_the_containers_table_is_what_its_commands_say(ipv6: bool):
    world = World()
    world.kernel.ensure(world.container(1))
    item = SandboxTable(world.pin(1), 40053, ipv6)
    world.kernel.ensure((item,))
    by_hand = sh("nft list ruleset", world.pin(1))
    sh("nft flush ruleset", world.pin(1))
    for command in item.describe():
        subprocess.run(command, shell=True, check=True)
    assert sh("nft list ruleset", world.pin(1)) == by_hand
    assert world.kernel.missing((item,)) == ()
    assert world.kernel.missing((replace(item, ipv6=not ipv6),)) != ()
    assert world.kernel.missing((replace(item, dns_port=40054),)) != ()


@in_private_host
def test_memory_does_not_grow_with_replacing():
    world = World()
    many = tuple(NftElement("ports4", ("tcp", port), (ip_address("10.1.0.2"), port)) for port in range(1, 501))
    for _ in range(20):
        world.kernel.replace_firewall(RULES, many)
    before = resident()
    for _ in range(100):
        world.kernel.replace_firewall(RULES, many)
    assert resident() - before < 2_000, "KiB"


def resident() -> int:
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
