"""What the source's network, or the source's own rules, say of where a packet is to go."""

from __future__ import annotations

from collections.abc import Iterator

from weft.explain.reach import steps
from weft.explain.reach.facts import ReachFacts, Step
from weft.firewall.policy import Judgement, is_policed, judge
from weft.model import Endpoint, IPAddress, Network, Proto
from weft.names import veth
from weft.plan import NftElement, Veth

_NUMBERS = {Proto.TCP: 6, Proto.UDP: 17, Proto.SCTP: 132}
_PING = {4: 1, 6: 58}


def asked(endpoint: Endpoint, network: Network, facts: ReachFacts) -> Iterator[Step]:
    """Nothing, where there is no policy."""
    if not is_policed(network, endpoint):
        return
    source = facts.source.name
    whose = f"network {network.name}" if endpoint.policy is None else f"{source} on network {network.name}"
    address = facts.asked.address
    if address is None:
        yield Step(
            holds="perhaps",
            text=f"{whose} has an egress policy, which judges addresses",
            why="Ask again with the address that the packet is to go to.",
        )
        return
    found = judge(network, endpoint, address, *_service(facts, address))
    if found.verdict == "allow":
        opening = _elements(endpoint, network, facts)
        yield steps.weft_lets_pass(opening, f"the egress policy of {whose} allows it ({_reason(found)})", facts)
        return
    yield Step(
        holds="no",
        text=f"the egress policy of {whose} refuses it ({_reason(found)})",
        why="The host answers at once that it is refused: by a TCP reset, or by ICMP (administratively prohibited).",
        mend=(f"weft network policy {network.name}{_own(found, endpoint, source)} --allow {_place(facts, address)}",),
    )


def _service(facts: ReachFacts, address: IPAddress) -> tuple[int, int]:
    if facts.asked.port is None:
        return _PING[address.version], 0
    return _NUMBERS[facts.asked.proto], facts.asked.port


def _elements(endpoint: Endpoint, network: Network, facts: ReachFacts) -> list[NftElement]:
    names = ("policed", "own", "allowed4", "allowed6", "own_allowed4", "own_allowed6")
    plan = facts.source.plan if endpoint.policy is not None else facts.network_plans[network.id]
    bridges = {i.master for i in facts.source.plan if isinstance(i, Veth) and i.name == veth(endpoint.id)}
    return [i for i in plan if isinstance(i, NftElement) and i.name in names and i.key[0] in bridges]


def _reason(found: Judgement) -> str:
    return "no rule matches" if found.rule is None else f"{found.rule.verdict} {found.rule.place}"


def _own(found: Judgement, endpoint: Endpoint, source: str) -> str:
    own = endpoint.policy
    decides = own is not None and (found.rule in own.rules or (found.rule is None and own.default is not None))
    return f" --container {source}" if decides else ""


def _place(facts: ReachFacts, address: IPAddress) -> str:
    if facts.asked.port is None:
        return str(address)
    host = f"[{address}]" if address.version == 6 else str(address)
    return f"{host}:{facts.asked.port}/{facts.asked.proto}"
