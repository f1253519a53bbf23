"""Egress policy: what containers may send to beyond their own network, as elements of a fixed number of rules.

Theory of operation. Of all rules that match a packet the most specific one decides: the longest prefix, then the
narrowest range of ports, then a protocol rather than any, then `deny`. Sets of the kernel do not look for the most
specific of overlapping elements, so the rules are cut into regions that do not overlap: ranges of addresses, protocols
and ports with one verdict each. What is allowed is listed; on a network with a policy all else is refused, also what
cannot be looked up, because it has no ports or is cut short.

An endpoint's own rules come before its network's. One that has any is known by its MAC, and its regions are worked
out from both.

Packets are judged in `prerouting`, before a published port rewrites them: by the address that the container wrote, and
whether it is the host's own or somebody else's. Answers, and what belongs to a connection that was let through, pass
before that. The addresses of the network itself are always allowed, but for the host's own: neighbours are reached
over the bridge, where none of this is asked.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_network
from itertools import pairwise
from typing import NamedTuple

from weft.errors import Invalid
from weft.model import Endpoint, IPAddress, IPNetwork, Network, Policy, PolicyRule, Proto, Verdict
from weft.plan import Atom, Mac, NftElement, Span

CHAINS = """\
	chain egress {
		type filter hook prerouting priority mangle; policy accept;
		ct state established,related accept
		iifname . ether saddr @own goto egress-own
		iifname @policed goto egress-network
	}

	chain egress-own {
		icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit } accept
		iifname . ether saddr . ip daddr . meta l4proto . th dport @own_allowed4 accept
		iifname . ether saddr . ip6 daddr . meta l4proto . th dport @own_allowed6 accept
		goto refuse
	}

	chain egress-network {
		icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit } accept
		iifname . ip daddr . meta l4proto . th dport @allowed4 accept
		iifname . ip6 daddr . meta l4proto . th dport @allowed6 accept
		goto refuse
	}

	chain refuse {
		meta l4proto tcp reject with tcp reset
		reject with icmpx type admin-prohibited
	}
"""

MOST_ELEMENTS = 4096
"""Of one policy and family: what the cut into regions may come to."""

_NUMBERS = {Proto.TCP: 6, Proto.UDP: 17, Proto.SCTP: 132}
_PROTOCOLS = (Span(0, 5), Span(6, 6), Span(7, 16), Span(17, 17), Span(18, 131), Span(132, 132), Span(133, 255))
_NAMES = {Span(number, number): proto.value for proto, number in _NUMBERS.items()}
_PORTS = 65535


class Judgement(NamedTuple):
    verdict: Verdict
    rule: PolicyRule | None
    """None: no rule matches, and it is what is said of everything else."""


def judge(network: Network, endpoint: Endpoint | None, address: IPAddress, proto: int, port: int) -> Judgement:
    """What becomes of a packet: the meaning of policies, of which the elements are a translation.

    `endpoint`: None for one without a policy of its own; `port` counts only for protocols that have ports.
    """
    if address not in _gateways(network) and any(address in subnet for subnet in _own_subnets(network)):
        return Judgement("allow", None)
    order, default = _order(network, endpoint)
    rule = next((rule for rule in order if _matches(rule, address, proto, port)), None)
    return Judgement(default if rule is None else rule.verdict, rule)


def is_policed(network: Network, endpoint: Endpoint | None) -> bool:
    """Whether anything is refused at all."""
    order, default = _order(network, endpoint)
    return default == "deny" or any(rule.verdict == "deny" for rule in order)


def _order(network: Network, endpoint: Endpoint | None) -> tuple[tuple[PolicyRule, ...], Verdict]:
    """The rules in the order in which they are asked, and what holds where none matches."""
    shared = network.policy or Policy()
    own = (endpoint.policy if endpoint is not None else None) or Policy()
    order = tuple(sorted(own.rules, key=_rank, reverse=True))
    if own.default is not None:
        return order, own.default
    return (*order, *sorted(shared.rules, key=_rank, reverse=True)), shared.default or "allow"


def _rank(rule: PolicyRule) -> tuple[int, int, bool, bool]:
    first, last = rule.ports or (0, _PORTS)
    return (rule.destination.prefixlen, first - last, rule.proto is not None, rule.verdict == "deny")


def _matches(rule: PolicyRule, address: IPAddress, proto: int, port: int) -> bool:
    if rule.destination.version != address.version or address not in rule.destination:
        return False
    if rule.proto is not None and _NUMBERS[rule.proto] != proto:
        return False
    return rule.ports is None or (proto in _NUMBERS.values() and rule.ports[0] <= port <= rule.ports[1])


def network_policy_elements(network: Network, bridge: str) -> tuple[NftElement, ...]:
    """None for a network without a policy. Raises Invalid if it comes to too many elements; likewise below."""
    if network.policy is None:
        return ()
    return (NftElement("policed", (bridge,)), *_allowed("allowed", (bridge,), network, None))


def endpoint_policy_elements(network: Network, endpoint: Endpoint, bridge: str) -> tuple[NftElement, ...]:
    """Its own policy with what that leaves to the network's."""
    if endpoint.policy is None:
        return ()
    who = (bridge, Mac(endpoint.mac))
    return (NftElement("own", who), *_allowed("own_allowed", who, network, endpoint))


def _allowed(name: str, who: tuple[Atom, ...], network: Network, endpoint: Endpoint | None) -> Iterator[NftElement]:
    order, default = _order(network, endpoint)
    for version in _versions(network):
        for region in _cut(order, default, version, _own_subnets(network), _gateways(network)):
            yield NftElement(f"{name}{version}", (*who, *region))


def _versions(network: Network) -> list[int]:
    return [version for version in (4, 6) if network.pools_of(version)]


def _own_subnets(network: Network) -> tuple[IPNetwork, ...]:
    return tuple(pool.subnet for pool in network.pools)


def _gateways(network: Network) -> tuple[IPAddress, ...]:
    return tuple(pool.gateway for pool in network.pools if pool.gateway is not None)


_Region = tuple[Atom, Atom, Atom]
"""Addresses, protocols, ports."""

_Column = tuple[tuple[Span, Verdict], ...]
"""The verdicts for all ports of one protocol."""

_Block = tuple[tuple[Span, _Column], ...]
"""The columns for all protocols."""


@lru_cache(maxsize=1024)
def _cut(
    order: tuple[PolicyRule, ...],
    default: Verdict,
    version: int,
    own: tuple[IPNetwork, ...],
    gateways: tuple[IPAddress, ...],
) -> tuple[_Region, ...]:
    """What is allowed of a family's addresses, in order, without overlaps."""
    rules = tuple(rule for rule in order if rule.destination.version == version)
    found: list[_Region] = []
    for first, last, block in _merged(_strips(rules, default, version, own, gateways)):
        place = _place(version, first, last)
        found += [
            (place, _NAMES.get(protocols, protocols), ports)
            for protocols, column in block
            for ports, verdict in column
            if verdict == "allow"
        ]
        if len(found) > MOST_ELEMENTS:
            raise Invalid(
                f"the policy's {len(order)} rules come to more than {MOST_ELEMENTS} elements in the firewall: every "
                "rule with ports multiplies what lies within its subnet; take wider ranges, or fewer of them"
            )
    return tuple(found)


def _strips(
    rules: tuple[PolicyRule, ...],
    default: Verdict,
    version: int,
    own: Sequence[IPNetwork],
    gateways: Sequence[IPAddress],
) -> Iterator[tuple[int, int, _Block]]:
    """(first address, last address, what is said of it), wherever that may change."""
    ranges = [_bounds(rule.destination) for rule in rules]
    near = [_bounds(subnet) for subnet in own if subnet.version == version]
    hosts = {int(gateway) for gateway in gateways if gateway.version == version}
    bounds = [*ranges, *near, *((host, host) for host in hosts)]
    end = 1 << (32 if version == 4 else 128)
    cuts = sorted({0, end, *(first for first, _ in bounds), *(last + 1 for _, last in bounds)})
    coming = sorted(range(len(rules)), key=lambda position: ranges[position][0], reverse=True)
    here: list[int] = []  # positions of the rules for a strip, in order
    for first, after in pairwise(cuts):
        here = [position for position in here if ranges[position][1] >= first]
        while coming and ranges[coming[-1]][0] <= first:
            insort(here, coming.pop())
        if first not in hosts and any(low <= first <= high for low, high in near):
            yield first, after - 1, _block((), "allow")
        else:
            yield first, after - 1, _block(tuple(rules[position] for position in here), default)


def _bounds(subnet: IPNetwork) -> tuple[int, int]:
    return int(subnet.network_address), int(subnet.broadcast_address)


def _merged(strips: Iterable[tuple[int, int, _Block]]) -> Iterator[tuple[int, int, _Block]]:
    """Neighbours of which the same is said, together."""
    begun: tuple[int, int, _Block] | None = None
    for first, last, block in strips:
        if begun is not None and begun[2] == block:
            begun = (begun[0], last, block)
            continue
        if begun is not None:
            yield begun
        begun = (first, last, block)
    if begun is not None:
        yield begun


@lru_cache(maxsize=4096)
def _block(rules: tuple[PolicyRule, ...], default: Verdict) -> _Block:
    """`rules`: those for one place, the first that matches decides."""
    columns: list[tuple[Span, _Column]] = []
    for protocols in _PROTOCOLS:
        column = _column([rule for rule in rules if _speaks_of(rule, protocols)], default)
        if columns and columns[-1][1] == column:
            columns[-1] = (Span(columns[-1][0].first, protocols.last), column)
        else:
            columns.append((protocols, column))
    return tuple(columns)


def _speaks_of(rule: PolicyRule, protocols: Span) -> bool:
    if rule.proto is not None:
        return protocols.first == _NUMBERS[rule.proto]
    return rule.ports is None or protocols.first in _NUMBERS.values()


def _column(rules: Sequence[PolicyRule], default: Verdict) -> _Column:
    ranges = [rule.ports or (0, _PORTS) for rule in rules]
    cuts = sorted({0, _PORTS + 1, *(first for first, _ in ranges), *(last + 1 for _, last in ranges)})
    column: list[tuple[Span, Verdict]] = []
    for first, after in pairwise(cuts):
        matching = (r.verdict for r, (low, high) in zip(rules, ranges, strict=True) if low <= first <= high)
        verdict = next(matching, default)
        if column and column[-1][1] == verdict:
            column[-1] = (Span(column[-1][0].first, after - 1), verdict)
        else:
            column.append((Span(first, after - 1), verdict))
    return tuple(column)


def _place(version: int, first: int, last: int) -> Atom:
    """An address, a subnet, or else a range: as nft lists them."""
    size = last - first + 1
    if size & (size - 1) or first % size:
        return Span(_address(version, first), _address(version, last))
    address = _address(version, first)
    return address if size == 1 else ip_network((address, address.max_prefixlen - size.bit_length() + 1))


def _address(version: int, number: int) -> IPAddress:
    return IPv4Address(number) if version == 4 else IPv6Address(number)
