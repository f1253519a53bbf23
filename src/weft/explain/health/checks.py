"""All checks, in the order in which they are told."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from weft.explain.health import firewalls, host, leases, modes, own, parents
from weft.explain.health.facts import HostFacts, OwnFacts
from weft.explain.health.finding import Finding, Report, report

Check = Callable[[HostFacts, OwnFacts], Iterable[Finding]]

CHECKS: tuple[Check, ...] = (
    host.check_kernel,
    host.check_forwarding,
    host.check_router_advertisements,
    host.check_ipv6,
    firewalls.check_forward_chains,
    firewalls.check_others_forwarding,
    firewalls.check_input_chains,
    host.check_bridge_netfilter,
    host.check_mtu,
    host.check_overlap,
    parents.check_parents,
    leases.check_leases,
    host.check_conntrack,
    host.check_neighbour_table,
    host.check_bridge_ports,
    host.check_nameservers,
    modes.check_sources,
    modes.check_trusted,
    own.check_upstream,
    own.check_records,
    own.check_table,
    own.check_guard,
    own.check_rules,
    own.check_leftovers,
    own.check_resolver,
    own.check_resolver_errors,
    own.check_resolver_sandbox,
)


def examine(host_facts: HostFacts, own_facts: OwnFacts) -> Report:
    return report([finding for check in CHECKS for finding in check(host_facts, own_facts)], own_facts.counters)
