"""Elements mean what `judge` says: every packet finds an element if it is allowed, and exactly one."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from weft.errors import Invalid
from weft.firewall.policy import endpoint_policy_elements, is_policed, judge, network_policy_elements
from weft.model import Endpoint, IPAddress, Network, Policy, PolicyRule, Pool, Proto
from weft.plan import Mac, NftElement, Span
from weft.serve.policy import read_rules

NETWORK = Network(
    id="1" * 64,
    name="front",
    driver="bridge",
    pools=(
        Pool(subnet=ip_network("10.1.0.0/24"), gateway=ip_address("10.1.0.1")),
        Pool(subnet=ip_network("fd01::/64"), gateway=ip_address("fd01::1")),
    ),
)
ENDPOINT = Endpoint(id="2" * 64, network=NETWORK.id, sandbox="3" * 64, ifname="eth0", mac="02:42:0a:01:00:02")

ADDRESSES = [ip_address(a) for a in ("0.0.0.0", "10.1.0.0", "10.1.0.1", "10.1.0.2", "10.1.1.0", "10.2.3.4")]
ADDRESSES += [ip_address(a) for a in ("255.255.255.255", "::", "fd01::1", "fd01::2", "fd02::1", "2001:db8::1")]
PORTS = [0, 1, 52, 53, 54, 80, 443, 65535]
PROTOCOLS = [0, 1, 6, 17, 58, 132, 255]


@st.composite
def rules(draw: st.DrawFn) -> PolicyRule:
    address = draw(st.sampled_from(ADDRESSES))
    length = draw(st.sampled_from([0, 1, 8, 16, 23, 24, 25, 31, 32] if address.version == 4 else [0, 16, 63, 64, 128]))
    ports = draw(st.none() | st.tuples(st.sampled_from(PORTS), st.sampled_from(PORTS)).map(lambda p: (min(p), max(p))))
    return PolicyRule(
        verdict=draw(st.sampled_from(["allow", "deny"])),
        destination=ip_network((address, length), strict=False),
        proto=draw(st.none() | st.sampled_from(list(Proto))),
        ports=ports,
    )


POLICIES = st.builds(
    Policy, default=st.sampled_from([None, "allow", "deny"]), rules=st.lists(rules(), max_size=6).map(tuple)
)
PACKETS = st.tuples(st.sampled_from(ADDRESSES), st.sampled_from(PROTOCOLS), st.sampled_from(PORTS))


def _lies_in(value: IPAddress | int, atom: object) -> bool:
    match atom:
        case Span(first=first, last=last):
            return first <= value <= last
        case str():
            return value == {"tcp": 6, "udp": 17, "sctp": 132}[atom]
        case _:
            return value == atom if isinstance(atom, IPv4Address | IPv6Address) else value in atom


def _found(elements: tuple[NftElement, ...], name: str, packet: tuple[IPAddress, int, int]) -> int:
    """In how many elements of a set a packet lies."""
    at = 2 if name.startswith("own") else 1
    return sum(
        all(_lies_in(value, atom) for value, atom in zip(packet, element.key[at:], strict=True))
        for element in elements
        if element.name == f"{name}{packet[0].version}"
    )


@given(shared=st.none() | POLICIES, own=st.none() | POLICIES, packets=st.lists(PACKETS, min_size=1, max_size=30))
@example(shared=Policy(default="deny"), own=None, packets=[(ip_address("10.1.0.2"), 6, 80)])
def test_elements_mean_what_the_policy_says(
    shared: Policy | None, own: Policy | None, packets: list[tuple[IPAddress, int, int]]
) -> None:
    network, endpoint = replace(NETWORK, policy=shared), replace(ENDPOINT, policy=own)
    of_network = network_policy_elements(network, "wb-1")
    of_endpoint = endpoint_policy_elements(network, endpoint, "wb-1")
    for packet in packets:
        if shared is not None:
            assert _found(of_network, "allowed", packet) == (judge(network, None, *packet).verdict == "allow")
        if own is not None:
            assert _found(of_endpoint, "own_allowed", packet) == (judge(network, endpoint, *packet).verdict == "allow")
        if not is_policed(network, endpoint):
            assert judge(network, endpoint, *packet).verdict == "allow"


def _rule(verdict: str, destination: str, ports: tuple[int, int] | None = None, proto: Proto | None = None):
    return PolicyRule(verdict=verdict, destination=ip_network(destination), ports=ports, proto=proto)


DENY_ALL = _rule("deny", "0.0.0.0/0")


@pytest.mark.parametrize(
    ("first", "second", "decides"),
    [
        (DENY_ALL, _rule("allow", "10.2.0.0/16"), 1),
        (_rule("allow", "10.2.3.4/32"), _rule("deny", "10.2.0.0/16", (443, 443), Proto.TCP), 0),
        (_rule("deny", "10.2.0.0/16", (400, 500)), _rule("allow", "10.2.0.0/16", (443, 443)), 1),
        (_rule("deny", "10.2.0.0/16", (443, 443)), _rule("allow", "10.2.0.0/16", (443, 443), Proto.TCP), 1),
        (_rule("allow", "10.2.0.0/16", (443, 444)), _rule("deny", "10.2.0.0/16", (442, 443)), 1),
    ],
)
def test_the_most_specific_rule_decides(first: PolicyRule, second: PolicyRule, decides: int) -> None:
    for order in ((first, second), (second, first)):
        network = replace(NETWORK, policy=Policy(rules=order))
        assert judge(network, None, ip_address("10.2.3.4"), 6, 443).rule == (first, second)[decides]


def test_an_endpoints_rules_come_first_and_its_default_ends_the_matter() -> None:
    network = replace(NETWORK, policy=Policy(default="deny", rules=(_rule("allow", "10.2.3.4/32"),)))
    packet = (ip_address("10.2.3.4"), 6, 443)
    own = replace(ENDPOINT, policy=Policy(rules=(_rule("deny", "10.0.0.0/8"),)))
    assert judge(network, own, *packet).verdict == "deny"
    own = replace(ENDPOINT, policy=Policy(rules=(_rule("deny", "10.0.0.0/16"),)))
    assert judge(network, own, *packet).verdict == "allow"
    own = replace(ENDPOINT, policy=Policy(default="deny"))
    assert judge(network, own, *packet) == ("deny", None)
    assert not is_policed(network, replace(ENDPOINT, policy=Policy(default="allow")))


def test_neighbours_are_always_allowed_and_the_host_on_the_network_is_not() -> None:
    network = replace(NETWORK, policy=Policy(default="deny"))
    said = [judge(network, None, ip_address(a), 6, 80).verdict for a in ("10.1.0.2", "10.1.0.1", "fd01::2", "fd01::1")]
    assert said == ["allow", "deny", "allow", "deny"]


def test_what_is_said_alike_is_one_element() -> None:
    rule = PolicyRule(verdict="deny", destination=ip_network("10.2.3.4/32"), proto=Proto.TCP, ports=(443, 443))
    network = replace(NETWORK, pools=NETWORK.pools[:1], policy=Policy(rules=(rule,)))
    assert [element.text() for element in network_policy_elements(network, "wb-1")] == [
        '"wb-1"',
        '"wb-1" . 0.0.0.0-10.2.3.3 . 0-255 . 0-65535',
        '"wb-1" . 10.2.3.4 . 0-5 . 0-65535',
        '"wb-1" . 10.2.3.4 . tcp . 0-442',
        '"wb-1" . 10.2.3.4 . tcp . 444-65535',
        '"wb-1" . 10.2.3.4 . 7-255 . 0-65535',
        '"wb-1" . 10.2.3.5-255.255.255.255 . 0-255 . 0-65535',
    ]
    endpoint = replace(ENDPOINT, policy=Policy(default="deny"))
    assert endpoint_policy_elements(network, endpoint, "wb-1") == (
        NftElement("own", ("wb-1", Mac(ENDPOINT.mac))),
        NftElement("own_allowed4", ("wb-1", Mac(ENDPOINT.mac), ip_address("10.1.0.0"), *_EVERYTHING)),
        NftElement(
            "own_allowed4",
            ("wb-1", Mac(ENDPOINT.mac), Span(ip_address("10.1.0.2"), ip_address("10.1.0.255")), *_EVERYTHING),
        ),
    )


_EVERYTHING = (Span(0, 255), Span(0, 65535))


def test_without_a_policy_there_is_no_element() -> None:
    assert network_policy_elements(NETWORK, "wb-1") == ()
    assert endpoint_policy_elements(replace(NETWORK, policy=Policy(default="deny")), ENDPOINT, "wb-1") == ()
    assert not is_policed(NETWORK, ENDPOINT)


def test_too_many_elements_are_refused() -> None:
    odd = tuple(_rule("deny", "0.0.0.0/0", (port, port)) for port in range(1, 400, 2))
    many = (*odd, *(_rule("deny", f"10.9.{third}.0/24", (8, 8)) for third in range(0, 200, 2)))
    with pytest.raises(Invalid, match="300 rules come to more than 4096 elements"):
        network_policy_elements(replace(NETWORK, policy=Policy(rules=many)), "wb-1")


@given(rules())
def test_a_rules_place_is_read_as_it_is_written(rule: PolicyRule) -> None:
    if rule.ports is not None and rule.ports[0] == 0:
        return  # port 0 cannot be typed
    assert list(read_rules("to", rule.verdict, rule.place)) == [rule]
