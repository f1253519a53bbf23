"""What is known of the two ends of a way, and what a walk along it says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from weft.explain.explanation import Drift
from weft.explain.health.facts import Chain, HostFacts
from weft.model import Endpoint, IPAddress, Network, Proto, Sandbox
from weft.plan import Plan

Kind = Literal["container", "host", "outside"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a packet is to go, as it was asked for."""

    text: str
    name: str = ""
    """Empty if an address was given."""
    address: IPAddress | None = None
    port: int | None = None
    proto: Proto = Proto.TCP

    @property
    def service(self) -> str:
        return f"port {self.port}/{self.proto}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """One end of the way."""

    kind: Kind
    name: str
    """In words: "web", "the host", "192.0.2.7"."""
    sandbox: Sandbox | None = None
    endpoints: tuple[Endpoint, ...] = ()
    """In gateway order."""
    plan: Plan = ()
    """The container's own."""

    @property
    def addresses(self) -> tuple[IPAddress, ...]:
        return tuple(interface.ip for endpoint in self.endpoints for interface in endpoint.addresses)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """A socket that waits for others."""

    proto: Proto
    address: IPAddress
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReachFacts:
    source: Party
    target: Party
    asked: Target
    networks: Mapping[str, Network]
    network_plans: Mapping[str, Plan]
    drift: Drift
    """Of both containers' plans and their networks'."""
    firewall: bool
    """Whether `table inet weft` is as it should be."""
    host: HostFacts
    user_rules: bool = False
    """Whether the user has rules that come before weft's."""
    publishers: tuple[Party, ...] = ()
    """The containers that publish ports."""
    listeners: Sequence[Listener] | None = None
    """In the target; None: not to be seen."""
    inner_chains: tuple[Chain, ...] = ()
    """Base chains inside the target container that see what it receives."""
    answers: Sequence[IPAddress] | None = None
    """What the name server said to the source when asked for the name; None: not asked, or it is silent."""
    name_server: bool = True
    """Whether the name server answered at all, if it was asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    holds: Literal["yes", "no", "perhaps"]
    """no: here the packet ends. perhaps: it depends on something that weft does not see."""
    text: str
    why: str = ""
    mend: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    source: str
    target: str
    arrives: Literal["yes", "no", "perhaps"]
    verdict: str
    steps: tuple[Step, ...]


def reach(facts: ReachFacts, steps: Sequence[Step]) -> Reach:
    """The first step that does not hold decides."""
    held = [step.holds for step in steps]
    arrives: Literal["yes", "no", "perhaps"] = "no" if "no" in held else "perhaps" if "perhaps" in held else "yes"
    verdict = "It arrives: nothing stands in the way."
    if arrives != "yes":
        decisive = next(step for step in steps if step.holds == arrives)
        lead = "It does not arrive" if arrives == "no" else "It should arrive, but weft does not see all of the way"
        verdict = f"{lead}: {decisive.text}."
    return Reach(
        source=facts.source.name, target=facts.asked.text, arrives=arrives, verdict=verdict, steps=tuple(steps)
    )
