"""Gathers what explanations need: the records, their plans, and what the kernel does not hold of them.

Runs on the engine's worker thread, reads only. What takes long, asking the name server, is handed back as a function
to be called elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from weft.drivers import driver_named
from weft.engine import plans
from weft.engine.gate import Gate
from weft.engine.parts import Parts
from weft.engine.stacks import network_mode
from weft.explain.container import Attachment, ContainerFacts, Neighbour, qualified
from weft.explain.network import Member, NetworkFacts
from weft.model import Endpoint, IPAddress, Network, Sandbox
from weft.plan import Child, Item, Plan, Veth

Ask = Callable[[], Mapping[str, Sequence[IPAddress]] | None]


class Look(Protocol):
    """What is read beyond `Kernel.missing`."""

    def found(self, item: Item) -> str:
        """What is there in the place of an item that is not as it should be; "" for nothing."""

    def asker(self, netns: str, names: Sequence[str]) -> Ask:
        """A function that asks the name server inside the namespace for names, to be called once, on any thread.

        It gives name to addresses, empty where there is no such name, or None if nobody answers; in seconds at most.
        """


class Explainer:
    def __init__(self, parts: Parts, gate: Gate, look: Look) -> None:
        self._parts = parts
        self._records = parts.records
        self._gate = gate
        self._look = look

    def container(self, ref: str) -> tuple[ContainerFacts, Ask]:
        """The facts without answers, and how to get those. Raises NotFound, Conflict (ambiguous)."""
        sandbox = self._records.sandbox(ref)
        if sandbox.exit is not None:
            return self._ended(sandbox), nobody
        endpoints = self._records.endpoints_of(sandbox.id)
        plan = plans.sandbox_plan(sandbox, endpoints, self._records.networks)
        attachments = tuple(self._attachment(endpoint) for endpoint in endpoints)
        shared = tuple(item for attachment in attachments for item in attachment.plan)
        facts = ContainerFacts(
            sandbox=sandbox,
            condition=self._condition(sandbox),
            attachments=attachments,
            plan=plan,
            drift=self.drift((*shared, *plan)),
            firewall=self._gate.intact(),
            answers=None,
            elsewhere=network_mode(sandbox, self._records),
            now=self._parts.clock.time(),
            holds_ports=not endpoints or plans.holds_ports(endpoints, self._records.networks),
        )
        return facts, self._asker(sandbox, attachments)

    def network(self, ref: str) -> NetworkFacts:
        """Raises NotFound, Conflict (ambiguous)."""
        network = self._records.network(ref)
        plan = plans.network_plan(network)
        members = tuple(self._member(network, endpoint) for endpoint in self._records.endpoints_on(network.id))
        plugs = tuple(member.plug for member in members if member.plug is not None)
        return NetworkFacts(
            network=network,
            members=members,
            plan=plan,
            drift=self.drift((*plan, *plugs)),
            firewall=self._gate.intact(),
            ruleset=self._gate.text(),
        )

    def drift(self, plan: Plan) -> dict[Item, str]:
        """What the kernel does not hold as it should, each with what is there instead."""
        return {item: self._look.found(item) for item in self._parts.kernel.missing(plan)}

    def _condition(self, sandbox: Sandbox) -> str:
        if sandbox.process is None:
            return "running"
        pids = self._parts.runtime.pids(sandbox.id)
        return "running" if pids else "created, not started yet"

    def _ended(self, sandbox: Sandbox) -> ContainerFacts:
        assert sandbox.exit is not None
        return ContainerFacts(
            sandbox=sandbox,
            condition=f"exited with code {sandbox.exit.code}: nothing is left of its network",
            attachments=(),
            plan=(),
            drift={},
            firewall=None,
            answers=None,
        )

    def _attachment(self, endpoint: Endpoint) -> Attachment:
        network = self._records.networks[endpoint.network]
        others = [other for other in self._records.endpoints_on(network.id) if other.id != endpoint.id]
        return Attachment(
            endpoint=endpoint,
            network=network,
            names=plans.holder(self._records.sandboxes[endpoint.sandbox], endpoint).names,
            neighbours=tuple(sorted((self._neighbour(other) for other in others), key=lambda n: n.name)),
            plan=plans.network_plan(network),
            lease=self._records.dhcp_leases.get(endpoint.id),
        )

    def _neighbour(self, endpoint: Endpoint) -> Neighbour:
        sandbox = self._records.sandboxes[endpoint.sandbox]
        return Neighbour(
            name=sandbox.name,
            addresses=tuple(interface.ip for interface in endpoint.addresses),
            mac=endpoint.mac,
            names=plans.holder(sandbox, endpoint).names,
        )

    def _member(self, network: Network, endpoint: Endpoint) -> Member:
        sandbox = self._records.sandboxes[endpoint.sandbox]
        plan = driver_named(network.driver).endpoint(network, endpoint, sandbox)
        plug = next((item for item in plan if isinstance(item, Veth | Child)), None)
        return Member(neighbour=self._neighbour(endpoint), plug=plug)

    def _asker(self, sandbox: Sandbox, attachments: Sequence[Attachment]) -> Ask:
        names = [qualified(name, attachment.network.name) for attachment in attachments for name in attachment.names]
        return self._look.asker(sandbox.key, names) if names else nobody


def nobody() -> None:
    """There is no name to ask for."""
