"""Egress policies, set and changed while containers run.

The record comes first. Then the firewall is replaced as a whole, in one transaction: packets meet the old policy or the
new one. Last, connections that the new one refuses lose their tracking entries, so that their next packet is judged
again; the next start does that, too, for whoever dies before.

Runs on the engine's worker thread.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from weft.drivers import driver_named
from weft.drivers.driver import Passing
from weft.engine import wanted
from weft.engine.gate import Gate
from weft.engine.needs import Flow
from weft.engine.parts import Parts
from weft.engine.through import go_through
from weft.errors import Conflict, Invalid, NotFound
from weft.firewall.policy import endpoint_policy_elements, is_policed, judge, network_policy_elements
from weft.model import Endpoint, IPAddress, IPNetwork, Network, Policy, PolicyRule, Verdict

_log = logging.getLogger("weft.engine")

_Record = TypeVar("_Record", Network, Endpoint)


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyChange:
    reset: bool = False
    """Begin with no policy, not with the present one."""
    default: Verdict | None = None
    """None: stays as it is."""
    add: tuple[PolicyRule, ...] = ()
    """A rule for a place that has one already takes its place."""
    remove: tuple[PolicyRule, ...] = ()
    """Whatever their verdict."""


@dataclass(frozen=True, slots=True)
class Policies:
    parts: Parts
    gate: Gate

    def of(self, network_ref: str, container_ref: str | None) -> Policy:
        """A network's, or that of a container's own there. Raises NotFound."""
        network, endpoint = self._whose(network_ref, container_ref)
        return (network if endpoint is None else endpoint).policy or Policy()

    def change(self, network_ref: str, container_ref: str | None, change: PolicyChange) -> Policy:
        """What it is then. Raises NotFound (a rule to remove, too), Invalid, Conflict (it cannot be enforced there)."""
        network, endpoint = self._whose(network_ref, container_ref)
        _check_enforced(network)
        _check_consistent(change.add)
        for rule in change.add:
            check_beyond(rule, network)
        old = (network if endpoint is None else endpoint).policy
        found = _changed(Policy() if change.reset or old is None else old, change)
        new = None if found == Policy() else found
        if new != old:
            if endpoint is None:
                self._change_network(network, new)
            else:
                self._change_endpoint(network, endpoint, new)
            self._emit(network, endpoint, found)
        return found

    def _whose(self, network_ref: str, container_ref: str | None) -> tuple[Network, Endpoint | None]:
        records = self.parts.records
        network = records.network(network_ref)
        if container_ref is None:
            return network, None
        return network, wanted.find_endpoint(network, records.sandbox(container_ref), records)

    def _change_network(self, network: Network, policy: Policy | None) -> None:
        after, records = replace(network, policy=policy), self.parts.records
        bridge = driver_named(network.driver).link(network) or ""
        network_policy_elements(after, bridge)  # refused here, if it is too intricate
        for endpoint in records.endpoints_on(network.id):
            endpoint_policy_elements(after, endpoint, bridge)

        def put(record: Network) -> None:
            self.parts.store.put(network=record)
            records.change_network(record)

        self._put(put, network, after)

    def _change_endpoint(self, network: Network, endpoint: Endpoint, policy: Policy | None) -> None:
        after = replace(endpoint, policy=policy)
        endpoint_policy_elements(network, after, driver_named(network.driver).link(network) or "")

        def put(record: Endpoint) -> None:
            self.parts.store.put(endpoints=(record,))
            self.parts.records.change_endpoint(record)

        self._put(put, endpoint, after)

    def _put(self, put: Callable[[_Record], None], before: _Record, after: _Record) -> None:
        try:
            put(after)
            self.gate.replace()
            cut_refused(self.parts)
        except BaseException:
            try:
                go_through(lambda: put(before), self.gate.replace)
            except Exception:
                _log.exception("cannot take everything back; the next audit will")
            raise

    def _emit(self, network: Network, endpoint: Endpoint | None, policy: Policy) -> None:
        said = {"rules": str(len(policy.rules)), "default": policy.default or ""}
        if endpoint is not None:
            said["container"] = self.parts.records.sandboxes[endpoint.sandbox].name
        shown = {name: text for name, text in said.items() if text}
        self.parts.events.emit_network("policy", network, **shown)


def cut_refused(parts: Parts) -> None:
    """Forget the connections that policies refuse."""
    begun_by: dict[IPAddress, tuple[Network, Endpoint]] = {}
    for endpoint in list(parts.records.endpoints.values()):
        network = parts.records.networks[endpoint.network]
        if is_policed(network, endpoint):
            begun_by |= {interface.ip: (network, endpoint) for interface in endpoint.addresses}

    def allowed(flow: Flow) -> bool:
        verdict = judge(*begun_by[flow.source], flow.destination, flow.proto, flow.port).verdict
        return verdict == "allow"

    if begun_by:
        parts.kernel.cut_flows(begun_by.keys(), allowed)


def _check_enforced(network: Network) -> None:
    driver = driver_named(network.driver)
    if not isinstance(driver, Passing) or not driver.passes_host(network):
        raise Conflict(
            f"network {network.name!r} leads to the wire past this host's firewall, where no policy can be enforced; "
            "it takes a bridge network without an uplink"
        )


def _check_consistent(rules: Sequence[PolicyRule]) -> None:
    said: dict[str, Verdict] = {}
    for rule in rules:
        if said.setdefault(rule.place, rule.verdict) != rule.verdict:
            raise Invalid(f"policy: {rule.place} is both allowed and denied; which of the two?")


def check_beyond(rule: PolicyRule, network: Network) -> None:
    """Raises Invalid for a rule of which nobody would ever be asked."""
    subnet = next((p for p in network.pools_of(rule.destination.version) if _within(rule, p.subnet)), None)
    if subnet is not None and rule.destination.network_address != subnet.gateway:
        raise Invalid(
            f"policy: {rule.place} is on network {network.name!r} itself, where containers reach each other over the "
            "bridge and no policy is asked; put them on different networks, or make one with -o icc=false"
        )


def _within(rule: PolicyRule, subnet: IPNetwork) -> bool:
    return int(rule.destination.network_address) & int(subnet.netmask) == int(subnet.network_address) and (
        rule.destination.prefixlen >= subnet.prefixlen
    )


def _changed(policy: Policy, change: PolicyChange) -> Policy:
    rules = {rule.place: rule for rule in policy.rules}
    for rule in change.remove:
        if rules.pop(rule.place, None) is None:
            there = ", ".join(list(rules)[:5]) + (", …" if len(rules) > 5 else "")
            raise NotFound(f"there is no rule for {rule.place}; there are rules for {there or 'nothing'}")
    for rule in change.add:
        rules.pop(rule.place, None)
        rules[rule.place] = rule
    return Policy(default=change.default or policy.default, rules=tuple(rules.values()))
