"""The native API's requests about where containers may send to."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_network

from weft.engine.policies import Policies, PolicyChange
from weft.engine.worker import Worker
from weft.errors import Invalid
from weft.fields import read_choice, read_int, read_network
from weft.model import IPNetwork, Policy, PolicyRule, Proto, Verdict
from weft.serve import types
from weft.serve.routes import Call, Route

_ANY = (ip_network("0.0.0.0/0"), ip_network("::/0"))
# 10.1.0.0/16, 10.1.0.0/16:443/tcp, [fd00::/8]:53-60/udp, fd00::/8, any:53; ports may be *.
_PLACE = re.compile(
    r"(?P<bare>[^\[\]]*:[^\[\]]*:[^\[\]]*)|(?:\[(?P<inner>[^\[\]]+)\]|(?P<plain>[^\[\]:]+))"
    r"(?::(?P<ports>\*|\d+(?:-\d+)?)(?:/(?P<proto>[a-z]+))?)?"
)


@dataclass(frozen=True, slots=True)
class PolicyRoutes:
    policies: Policies
    worker: Worker

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(
                method="GET",
                path="/networks/{ref}/policy",
                handler=self.show_policy,
                query=("container",),
                answer=types.Policy,
                summary="Where a network's containers may send to, or one of them by rules of its own",
            ),
            Route(
                method="PUT",
                path="/networks/{ref}/policy",
                handler=self.replace_policy,
                request=types.PolicyReplace,
                answer=types.Policy,
                summary="Replace a policy as a whole; an empty one forbids nothing",
            ),
            Route(
                method="POST",
                path="/networks/{ref}/policy",
                handler=self.change_policy,
                request=types.PolicyChange,
                answer=types.Policy,
                summary="Add rules to a policy, take some away, set its default, all or nothing",
            ),
        )

    async def show_policy(self, call: Call) -> types.Policy:
        return _answer(self.policies.of(call.ref, call.query.get("container")))

    async def replace_policy(self, call: Call) -> types.Policy:
        asked: types.PolicyReplace = call.body
        change = PolicyChange(reset=True, default=asked.default, add=tuple(_rules("rules", asked.rules)))
        return _answer(await self.worker.call(self.policies.change, call.ref, asked.container, change))

    async def change_policy(self, call: Call) -> types.Policy:
        asked: types.PolicyChange = call.body
        gone = (rule for text in asked.remove for rule in read_rules("remove", "deny", text))
        change = PolicyChange(default=asked.default, add=tuple(_rules("add", asked.add)), remove=tuple(gone))
        return _answer(await self.worker.call(self.policies.change, call.ref, asked.container, change))


def _rules(field: str, rules: Sequence[types.PolicyRuleCreate]) -> Iterator[PolicyRule]:
    for rule in rules:
        yield from read_rules(field, rule.verdict, rule.to)


def read_rules(field: str, verdict: Verdict, text: str) -> Iterator[PolicyRule]:
    """One rule, or one for each family for `any`. Raises Invalid."""
    found = _PLACE.fullmatch(text.strip().lower())
    if found is None:
        raise Invalid(f"{field}: {text!r} is no destination such as 10.1.0.0/16, 10.1.0.0/16:443/tcp or [fd00::/8]:53")
    proto = found["proto"] and Proto(read_choice(f"{field}: {text}", found["proto"], [p.value for p in Proto]))
    ports = None if found["ports"] in (None, "*") else _ports(f"{field}: {text}", found["ports"])
    for destination in _destinations(field, found["bare"] or found["inner"] or found["plain"]):
        yield PolicyRule(verdict=verdict, destination=destination, proto=proto or None, ports=ports)


def _destinations(field: str, text: str) -> tuple[IPNetwork, ...]:
    if text == "any":
        return _ANY
    if re.search(r"[g-z]", text):
        raise Invalid(f"{field}: {text!r} is no address; names are not looked up here, say which addresses are meant")
    return (read_network(field, text),)


def _ports(field: str, text: str) -> tuple[int, int]:
    first, _, last = text.partition("-")
    low = read_int(field, first, low=1, high=65535)
    return low, read_int(field, last or first, low=low, high=65535)


def _answer(policy: Policy) -> types.Policy:
    return types.Policy(
        default=policy.default,
        rules=[types.PolicyRule(verdict=rule.verdict, to=rule.place) for rule in policy.rules],
    )
