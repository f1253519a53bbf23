"""Gathers what is to be known of a way from one place to another: records, kernel, other tools' rules, listeners.

Runs on the engine's worker thread, reads only. The name server's answer is fetched elsewhere, see `engine.explain`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from weft.engine import plans, stacks
from weft.engine.explain import Ask, nobody
from weft.engine.gate import Gate
from weft.engine.parts import Parts
from weft.errors import Invalid, NotFound
from weft.explain.health.facts import Chain, HostFacts
from weft.explain.reach.facts import Listener, Party, ReachFacts, Target
from weft.explain.reach.target import read_target
from weft.model import Endpoint, IPAddress, Origin, Sandbox
from weft.plan import HOST, Item

THE_HOST, OUTSIDE = "host", "outside"


class Surveyor(Protocol):
    """What is read beyond the records."""

    def host(self, *, probing: bool) -> HostFacts: ...

    def found(self, item: Item) -> str: ...

    def listeners(self, netns: str) -> Sequence[Listener]: ...

    def inner_chains(self, netns: str) -> tuple[Chain, ...]: ...

    def asker(self, netns: str, names: Sequence[str]) -> Ask: ...


class Ways:
    def __init__(self, parts: Parts, gate: Gate, surveyor: Surveyor) -> None:
        self._parts = parts
        self._records = parts.records
        self._gate = gate
        self._surveyor = surveyor

    def way(self, source_ref: str, target_text: str) -> tuple[ReachFacts, Ask]:
        """The facts without the name server's answer, and how to get that. Raises NotFound, Invalid."""
        source, asked = self._source(source_ref), read_target(target_text)
        host = self._surveyor.host(probing=False)
        target, asked = self._target(asked, source, host)
        networks = {e.network for party in (source, target) for e in party.endpoints}
        publishers = self._publishers() if target.kind == "host" else ()
        network_plans = {ident: plans.network_plan(self._records.networks[ident]) for ident in networks}
        items = [*source.plan, *target.plan, *(i for plan in network_plans.values() for i in plan)]
        items += [item for publisher in publishers for item in publisher.plan]
        missing = self._parts.kernel.missing(tuple(dict.fromkeys(items)))
        facts = ReachFacts(
            source=source,
            target=target,
            asked=asked,
            networks={ident: self._records.networks[ident] for ident in networks},
            network_plans=network_plans,
            drift={item: self._surveyor.found(item) for item in missing},
            firewall=self._gate.intact(),
            host=host,
            user_rules=self._gate.has_user_rules(),
            publishers=publishers,
            listeners=self._listeners(target),
            inner_chains=self._surveyor.inner_chains(target.sandbox.key) if target.sandbox else (),
        )
        return facts, self._asker(facts)

    def _source(self, ref: str) -> Party:
        if ref in (THE_HOST, OUTSIDE) and not self._records.has_sandbox(ref):
            return Party(kind="host", name="the host") if ref == THE_HOST else Party(kind="outside", name="outside")
        return self._party(self._records.sandbox(ref))

    def _party(self, sandbox: Sandbox) -> Party:
        if sandbox.origin is Origin.HOST:
            return Party(kind="host", name="the host")
        name, sandbox = sandbox.name, sandbox if sandbox.exit else stacks.owner_of(sandbox, self._records)
        endpoints = self._records.endpoints_of(sandbox.id)
        plan = plans.sandbox_plan(sandbox, endpoints, self._records.networks) if sandbox.exit is None else ()
        return Party(kind="container", name=name, sandbox=sandbox, endpoints=tuple(endpoints), plan=plan)

    def _target(self, asked: Target, source: Party, host: HostFacts) -> tuple[Party, Target]:
        if asked.address is not None:
            return self._at(asked.address, source, host), asked
        bearer = self._called(asked.name, source)
        if bearer is not None:
            return self._party(bearer), asked
        if asked.name == THE_HOST:
            return Party(kind="host", name="the host"), replace(asked, name="")
        try:
            sandbox = self._records.sandbox(asked.name)
        except NotFound:
            if "." in asked.name and source.kind == "container":
                return Party(kind="outside", name=asked.name), asked
            raise
        # Found by the beginning of an id, which is no name that could be resolved.
        known = asked.name in (sandbox.name, sandbox.id[:12])
        return self._party(sandbox), asked if known else replace(asked, name=sandbox.name)

    def _at(self, address: IPAddress, source: Party, host: HostFacts) -> Party:
        if address.is_loopback:
            return source
        holders = [e for e in self._records.endpoints.values() if address in [a.ip for a in e.addresses]]
        near = {endpoint.network for endpoint in source.endpoints}
        holders.sort(key=lambda endpoint: endpoint.network not in near)
        if holders:
            return self._party(self._records.sandboxes[holders[0].sandbox])
        if address in host.addresses:
            return Party(kind="host", name="the host")
        return Party(kind="outside", name=str(address))

    def _called(self, name: str, source: Party) -> Sandbox | None:
        """Whoever bears the name on the first of the source's networks that knows it."""
        if not name:
            return None
        wanted = name.lower().removesuffix(".")
        for endpoint in source.endpoints:
            suffix = f".{self._records.networks[endpoint.network].name.lower()}"
            for other in self._records.endpoints_on(endpoint.network):
                if not {wanted, wanted.removesuffix(suffix)}.isdisjoint(self._names(other)):
                    return self._records.sandboxes[other.sandbox]
        return None

    def _names(self, endpoint: Endpoint) -> list[str]:
        names = plans.holder(self._records.sandboxes[endpoint.sandbox], endpoint).names
        return [name.lower() for name in names]

    def _publishers(self) -> tuple[Party, ...]:
        live = [s for s in list(self._records.sandboxes.values()) if s.ports and s.exit is None]
        return tuple(self._party(sandbox) for sandbox in live)

    def _listeners(self, target: Party) -> Sequence[Listener] | None:
        if target.kind == "outside" or (target.sandbox is not None and target.sandbox.exit is not None):
            return None
        try:
            return self._surveyor.listeners(target.sandbox.key if target.sandbox else HOST)
        except NotFound:
            return None

    def _asker(self, facts: ReachFacts) -> Ask:
        if facts.source.kind == "outside" and facts.target.kind != "container":
            raise Invalid("from outside, weft leads to containers only: name one, or one of its addresses")
        source = facts.source.sandbox
        if source is None or source.exit is not None or self._called(facts.asked.name, facts.source) is None:
            return nobody  # what is unknown here would be asked of the world
        return self._surveyor.asker(source.key, [facts.asked.name])
