"""Checks of the host: each says what, why and what mends it, and says nothing wrong of what is right."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from ipaddress import ip_network
from typing import Any

import pytest

from tests.explain.health.hosts import HOST, NOTHING_YET, OWN, host, levels, own
from weft.explain.health import host as checks
from weft.explain.health.checks import CHECKS, examine
from weft.explain.health.facts import DefaultRoute, Feature, HostFacts, HostRoute, Link, OwnFacts
from weft.explain.health.finding import Finding

RA = "net.ipv6.conf.uplink.accept_ra"
LACKING = Feature(name="bridges", module="bridge", refused="Operation not supported", needed=True)

Check = Callable[[HostFacts, OwnFacts], Iterable[Finding]]


def test_nothing_is_wrong_with_a_healthy_host():
    report = examine(HOST, OWN)
    assert report.worst == "ok"
    assert set(levels(list(report.findings))) == {"ok"}


def test_nothing_is_wrong_before_there_is_a_network():
    off = host(sysctls={"net.ipv4.ip_forward": "0", "net.ipv6.conf.all.forwarding": "0"})
    assert examine(off, NOTHING_YET).worst == "ok"


def test_a_host_of_which_nothing_can_be_read_is_no_reason_to_fail():
    assert examine(HostFacts(), NOTHING_YET).worst == "warning"  # no name server


WRONG: list[tuple[Check, HostFacts, OwnFacts, str, str, str]] = [
    (checks.check_kernel, host(features=(LACKING,)), OWN, "error", "bridges", "modprobe bridge"),
    (checks.check_kernel, host(features=(replace(LACKING, needed=False),)), OWN, "note", "bridges", "modprobe bridge"),
    (
        checks.check_forwarding,
        host(sysctls={"net.ipv4.ip_forward": "0"}),
        OWN,
        "error",
        "does not forward IPv4",
        "sysctl -w net.ipv4.ip_forward=1",
    ),
    (
        checks.check_forwarding,
        host(sysctls={"net.ipv4.conf.uplink.forwarding": "0"}),
        OWN,
        "error",
        "arrives on uplink",
        "sysctl -w net.ipv4.conf.uplink.forwarding=1",
    ),
    (
        checks.check_router_advertisements,
        host(sysctls={RA: "1"}, default_routes=(DefaultRoute(version=6, link="uplink", advertised=True),)),
        OWN,
        "warning",
        "advertisements on uplink are ignored",
        f"sysctl -w {RA}=2",
    ),
    (checks.check_router_advertisements, host(sysctls={RA: "1"}), OWN, "note", "uplink", f"sysctl -w {RA}=2"),
    (
        checks.check_ipv6,
        host(sysctls={"net.ipv6.conf.all.disable_ipv6": "1"}),
        OWN,
        "error",
        "turned off",
        "sysctl -w net.ipv6.conf.all.disable_ipv6=0",
    ),
    (
        checks.check_bridge_netfilter,
        host(sysctls={"net.bridge.bridge-nf-call-iptables": "1"}),
        OWN,
        "note",
        "frames between containers",
        "sysctl -w net.bridge.bridge-nf-call-iptables=0",
    ),
    (
        checks.check_mtu,
        host(links=(Link(name="uplink", group=0, mtu=1420),)),
        OWN,
        "warning",
        "network front has MTU 1500, but uplink, the way out, takes 1420",
        "--opt mtu=1420",
    ),
    (
        checks.check_overlap,
        host(routes=(HostRoute(destination=ip_network("10.7.0.0/16"), link="tun0"),)),
        OWN,
        "warning",
        "network front (10.7.0.0/24) overlaps the host's route to 10.7.0.0/16 through tun0",
        "weft network rm front",
    ),
    (
        checks.check_conntrack,
        host(sysctls={"net.netfilter.nf_conntrack_count": "220000"}),
        OWN,
        "warning",
        "220000 of 262144",
        "sysctl -w net.netfilter.nf_conntrack_max=524288",
    ),
    (
        checks.check_conntrack,
        host(sysctls={"net.netfilter.nf_conntrack_count": "262100"}),
        OWN,
        "error",
        "262100 of 262144",
        "sysctl -w net.netfilter.nf_conntrack_max=524288",
    ),
    (
        checks.check_neighbour_table,
        HOST,
        own(networks=(replace(OWN.networks[0], members=900),)),
        "warning",
        "at most 1024 neighbours",
        "sysctl -w net.ipv4.neigh.default.gc_thresh3=4096",
    ),
    (
        checks.check_bridge_ports,
        HOST,
        own(networks=(replace(OWN.networks[0], members=1000),)),
        "warning",
        "network front has 1000 containers; a bridge takes 1023",
        "weft network create",
    ),
    (checks.check_nameservers, host(nameservers=()), OWN, "warning", "names no server", "/etc/weft/weft.toml"),
]


@pytest.mark.parametrize(
    ("check", "facts", "of_weft", "level", "what", "mend"), WRONG, ids=[f"{c[0].__name__}-{c[3]}" for c in WRONG]
)
def test_what_is_wrong_is_found_with_reason_and_mend(
    check: Check, facts: HostFacts, of_weft: OwnFacts, level: str, what: str, mend: str
):
    [finding] = [f for f in check(facts, of_weft) if f.level != "ok"]
    assert finding.level == level
    assert what in finding.what
    assert finding.why
    assert any(mend in command for command in finding.mend)
    assert finding.fixable == (finding.mend == ("sysctl -w net.ipv4.ip_forward=1",))
    assert list(check(HOST, OWN)) == [f for f in check(HOST, OWN) if f.level == "ok"]


def test_every_check_of_the_host_is_asked():
    every = {value for name, value in vars(checks).items() if name.startswith("check_")}
    assert every <= set(CHECKS)


INTERNAL = own(networks=(OWN.networks[1],))


@pytest.mark.parametrize(
    ("check", "facts"),
    [
        (checks.check_forwarding, {"sysctls": {"net.ipv4.ip_forward": "0"}}),
        (checks.check_mtu, {"links": (Link(name="uplink", group=0, mtu=1420),)}),
        (checks.check_ipv6, {"sysctls": {"net.ipv6.conf.all.disable_ipv6": "1"}}),
    ],
)
def test_what_only_internal_ipv4_networks_do_not_need_is_not_missed(check: Check, facts: dict[str, Any]):
    assert {f.level for f in check(host(**facts), INTERNAL)} <= {"ok"}


def test_a_host_without_ipv6_that_needs_none_is_fine():
    assert examine(host(sysctls={"net.ipv6.conf.all.disable_ipv6": None}), INTERNAL).worst == "ok"


def test_a_link_with_a_dot_in_its_name_is_spelled_as_sysctl_wants_it():
    vlan = host(
        sysctls={"net.ipv4.conf.eth0/5.forwarding": "0"}, default_routes=(DefaultRoute(version=4, link="eth0.5"),)
    )
    [finding] = [f for f in checks.check_forwarding(vlan, OWN) if f.level == "error"]
    assert finding.mend == ("sysctl -w net.ipv4.conf.eth0/5.forwarding=1",)


def test_subnets_of_the_other_family_do_not_overlap():
    routes = (HostRoute(destination=ip_network("fd00:8::/64"), link="tun0"),)
    assert not list(checks.check_overlap(host(routes=routes), OWN))
