"""A network explained: the bridge and its addresses, the kernel's switches, the firewall, who is on it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from weft.explain.container import Neighbour, neighbour_line, shared_line, table_line
from weft.explain.explanation import Drift, Explanation, Line, Section, explanation, state_of
from weft.explain.items import item_line, wording
from weft.model import Network
from weft.names import TABLE
from weft.plan import Item, NftElement, Parent, Plan, Sysctl


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A container on the network, with the link that plugs it in."""

    neighbour: Neighbour
    plug: Item | None
    """None where the driver needs no link on the host."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkFacts:
    network: Network
    members: tuple[Member, ...]
    plan: Plan
    drift: Drift
    """Of the plan and the members' plugs."""
    firewall: bool
    """Whether the rules of `table inet weft` are as written."""
    ruleset: str
    """The table's text, as nft reads it."""


def explain_network(facts: NetworkFacts) -> Explanation:
    network = facts.network
    condition = f"{network.driver}, internal" if network.internal else network.driver
    sections = (_links(facts), _switches(facts), _firewall(facts), _members(facts))
    return explanation("network", network.id, network.name, condition, sections)


def _links(facts: NetworkFacts) -> Section:
    subnets = ", ".join(str(pool.subnet) for pool in facts.network.pools)
    return Section(
        title="On the host",
        intro=f"Its containers have addresses in {subnets}.{_routes(facts.network)}",
        lines=tuple(
            shared_line(item, facts.network, facts.drift)
            for item in facts.plan
            if not isinstance(item, NftElement | Sysctl)
        ),
    )


def _routes(network: Network) -> str:
    shown = ", ".join(f"{route.destination} by way of {route.gateway}" for route in network.routes)
    return f" They reach {shown}." if shown else ""


def _switches(facts: NetworkFacts) -> Section:
    return Section(
        title="Switches of the kernel",
        intro="Set if they differ; those of the whole host are never taken back.",
        lines=tuple(item_line(item, facts.drift) for item in facts.plan if isinstance(item, Sysctl)),
    )


def _firewall(facts: NetworkFacts) -> Section:
    elements = [item_line(item, facts.drift) for item in facts.plan if isinstance(item, NftElement)]
    command = f"nft -f - <<'END'\n{facts.ruleset}END"
    return Section(
        title="What the host lets pass",
        intro="One table of rules for all networks. The rules look things up in sets and maps, which are all that "
        "grows with containers and ports.",
        lines=(
            table_line(intact=facts.firewall, commands=(f"nft list table inet {TABLE} >/dev/null 2>&1 || {command}",)),
            *elements,
        ),
    )


def _members(facts: NetworkFacts) -> Section:
    return Section(
        title="Who is on it",
        intro=f"{_how_they_talk(facts)} by any of these names.",
        lines=tuple(_member_lines(facts)),
    )


def _how_they_talk(facts: NetworkFacts) -> str:
    parent = next((item for item in facts.plan if isinstance(item, Parent)), None)
    if parent is None:
        return "They reach each other directly, through the bridge,"
    return f"They are on the wire of {parent.name}, and known to each other"


def _member_lines(facts: NetworkFacts) -> Iterator[Line]:
    for member in facts.members:
        line = neighbour_line(member.neighbour)
        if member.plug is None:
            yield line
            continue
        state, found = state_of(member.plug, facts.drift)
        text, why = wording(member.plug)
        yield Line(text=f"{line.text}: {text}", why=why, state=state, found=found)
