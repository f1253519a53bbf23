from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface

import pytest

from weft.explain.explanation import Line
from weft.explain.health.facts import HostFacts, LeaseUse, OwnFacts
from weft.explain.health.finding import Finding
from weft.explain.health.leases import check_leases
from weft.explain.leases import lease_lines
from weft.model import DhcpClient, DhcpLease, Endpoint

LEASE = DhcpLease(
    client=DhcpClient(endpoint="e" * 64, network="n" * 64, parent="eth0", mac="02:44:00:00:00:01", hostname="web"),
    address=IPv4Address("192.168.50.130"),
    server=IPv4Address("192.168.50.1"),
    server_mac="02:00:00:00:00:99",
    obtained=1000.0,
    renew=1500.0,
    rebind=1875.0,
    expires=2000.0,
)
USE = LeaseUse(container="web", network="lan", lease=LEASE, held=True)
ENDPOINT = Endpoint(
    id="e" * 64, network="n" * 64, sandbox="s" * 64, ifname="eth0", mac="", ipv4=IPv4Interface("192.168.50.130/24")
)


def findings(*uses: LeaseUse, now: float) -> list[Finding]:
    return list(check_leases(HostFacts(), OwnFacts(leases=uses, now=now)))


def test_where_nothing_is_leased_nothing_is_said() -> None:
    assert findings(now=1200) == []


@pytest.mark.parametrize(("now", "level"), [(1200, "ok"), (1600, "ok"), (1875, "warning"), (1999, "warning")])
def test_late_is_what_its_own_server_has_not_prolonged(now: float, level: str) -> None:
    (finding,) = findings(USE, now=now)
    assert finding.level == level


def test_what_is_lost_is_told_by_name() -> None:
    lost = replace(USE, held=False)
    told = findings(USE, lost, replace(lost, container="db"), now=1200)
    assert [(f.level, f.what.split(" has")[0]) for f in told] == [("error", "container web"), ("error", "container db")]
    assert told[0].mend == ("tcpdump -ni eth0 port 67 or port 68",)


def line(endpoint: Endpoint = ENDPOINT, *, now: float = 1200.0) -> Line:
    (line,) = lease_lines(LEASE, endpoint, now=now)
    return line


def test_a_lease_in_words() -> None:
    words = "192.168.50.130 is leased from the DHCP server 192.168.50.1 until 1970-01-01 00:33:20 UTC"
    assert line().text == words
    assert "prolonged from 1970-01-01 00:25:00 UTC on" in line().why
    assert "has stopped to answer" in line(now=1900.0).why
    assert line(replace(ENDPOINT, ipv4=None)).state == "missing"
    assert list(lease_lines(None, ENDPOINT, now=0)) == []
