"""A host on which all is well, and what may be changed about it."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network
from typing import Any

from tests.explain.worlds import BACK, FRONT
from weft.explain.health.facts import Chain, DefaultRoute, Feature, HostFacts, HostRoute, Link, NetworkUse, OwnFacts
from weft.explain.health.finding import Finding

FRONT_BRIDGE, BACK_BRIDGE = "wb-f0f0f0f0f0f0", "wb-babababababa"

HOST = HostFacts(
    features=(Feature(name="bridges", module="bridge", refused="", needed=True),),
    sysctls={
        "net.ipv4.ip_forward": "1",
        "net.ipv6.conf.all.forwarding": "1",
        "net.ipv6.conf.all.disable_ipv6": "0",
        "net.ipv4.conf.uplink.forwarding": "1",
        "net.ipv6.conf.uplink.forwarding": "1",
        "net.ipv6.conf.uplink.accept_ra": "0",
        "net.bridge.bridge-nf-call-iptables": "0",
        "net.netfilter.nf_conntrack_count": "12",
        "net.netfilter.nf_conntrack_max": "262144",
        "net.ipv4.neigh.default.gc_thresh3": "1024",
    },
    links=(Link(name="uplink", group=0, mtu=1500),),
    default_routes=(DefaultRoute(version=4, link="uplink"), DefaultRoute(version=6, link="uplink")),
    routes=(HostRoute(destination=ip_network("192.0.2.0/24"), link="uplink"),),
    nameservers=("192.0.2.53",),
)

OWN = OwnFacts(
    networks=(
        NetworkUse(network=FRONT, link=FRONT_BRIDGE, mtu=1500, members=1),
        NetworkUse(network=BACK, link=BACK_BRIDGE, mtu=1500, members=2),
    ),
    containers=2,
    resolver_pid=77,
)

NOTHING_YET = OwnFacts(resolver_pid=77)


def host(*, sysctls: dict[str, str | None] | None = None, **changes: Any) -> HostFacts:
    """The healthy host with other facts; a switch that is None is not there at all."""
    switches = {key: value for key, value in {**HOST.sysctls, **(sysctls or {})}.items() if value is not None}
    return replace(HOST, sysctls=switches, **changes)


def own(**changes: Any) -> OwnFacts:
    return replace(OWN, **changes)


def chain(**changes: Any) -> Chain:
    """Somebody's chain that drops whatever is forwarded."""
    fields: dict[str, Any] = {
        "family": "ip",
        "table": "filter",
        "name": "FORWARD",
        "hook": "forward",
        "closed": "drop",
    }
    return Chain(**{**fields, **changes})


def levels(findings: list[Finding]) -> list[str]:
    return [finding.level for finding in findings]
