"""From networks and published ports to elements."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.firewall.elements import Family, network_elements, port_elements, routed_port_elements
from weft.firewall.layout import SETS
from weft.model import IPAddress, PortBinding, Proto
from weft.plan import NftElement

V4, V6 = ip_address("172.18.0.2"), ip_address("fd00::2")


def published(host_ip: str | None, ipv4: IPAddress | None = V4, ipv6: IPAddress | None = V6) -> list[str]:
    binding = PortBinding(
        proto=Proto.TCP,
        container_port=80,
        host_port=8080,
        host_ip=ip_address(host_ip) if host_ip else None,
    )
    return [f"{element.name} {element.text()}" for element in port_elements([binding], ipv4, ipv6)]


@pytest.mark.parametrize(
    ("host_ip", "elements"),
    [
        (None, ["ports4 tcp . 8080 : 172.18.0.2 . 80", "ports6 tcp . 8080 : fd00::2 . 80"]),
        ("127.0.0.1", ["addr_ports4 127.0.0.1 . tcp . 8080 : 172.18.0.2 . 80"]),
        ("192.0.2.1", ["addr_ports4 192.0.2.1 . tcp . 8080 : 172.18.0.2 . 80"]),
        ("2001:db8::1", ["addr_ports6 2001:db8::1 . tcp . 8080 : fd00::2 . 80"]),
        ("::1", []),  # the kernel cannot rewrite from ::1: the relay's
    ],
)
def test_where_a_port_is_published(host_ip: str | None, elements: list[str]):
    assert published(host_ip) == elements


def test_a_container_without_ipv6_is_published_on_ipv4_alone():
    assert published(None, ipv6=None) == ["ports4 tcp . 8080 : 172.18.0.2 . 80"]
    assert published("2001:db8::1", ipv6=None) == []  # the relay's


def test_a_container_on_internal_networks_alone_is_not_published():
    assert published(None, ipv4=None, ipv6=None) == []


FOUR, SIX = (ip_network("10.0.0.0/24"),), (ip_network("fd00::/64"),)


def of_network(*families: Family, internal: bool = False, trusted: tuple[str, ...] = ()) -> list[str]:
    made = network_elements("wb-1", families, internal=internal, icc=True, trusted=trusted)
    return [f"{element.name} {element.text()}" for element in made]


SAME = ['bridges "wb-1"', 'same "wb-1" . "wb-1"']


def test_a_network_is_closed_before_it_is_open():
    names = [line.split()[0] for line in of_network(Family(4, FOUR), Family(6, SIX), internal=True)]
    assert names == ["subnets4", "subnets6", "internal", "bridges", "same"]


def test_addresses_that_are_seen_outside_are_not_dropped_on_arrival():
    assert of_network(Family(4, FOUR, masquerade=False)) == SAME


def test_each_family_is_let_in_and_out_in_its_own_way():
    routed = Family(6, SIX, masquerade=False, direct="published")
    assert of_network(Family(4, FOUR), routed) == [
        "subnets4 10.0.0.0/24",
        *SAME,
        'outbound ipv4 . "wb-1"',
        'routed ipv6 . "wb-1"',
    ]


def test_open_to_everybody_it_still_leaves_under_the_host_s_address():
    assert of_network(Family(4, FOUR, direct="everything")) == [*SAME, 'outbound ipv4 . "wb-1"', 'open ipv4 . "wb-1"']


def test_an_address_to_leave_under_takes_the_place_of_the_interface_s():
    family = Family(4, FOUR, source=ip_address("192.0.2.9"))
    assert of_network(family) == ["subnets4 10.0.0.0/24", *SAME, 'snat4 "wb-1" : 192.0.2.9']
    hidden = Family(4, FOUR, source=ip_address("192.0.2.9"), masquerade=False)
    assert of_network(hidden) == SAME, "who does not rewrite rewrites to nothing"


def test_trusted_interfaces_are_let_in_after_everybody_was_shut_out():
    made = of_network(Family(4, FOUR), Family(6, SIX), trusted=("eth1", "wg0"))
    assert made[:2] == ["subnets4 10.0.0.0/24", "subnets6 fd00::/64"]
    assert [line for line in made if line.startswith("trusted")] == [
        'trusted4 "eth1" . 10.0.0.0/24',
        'trusted4 "wg0" . 10.0.0.0/24',
        'trusted6 "eth1" . fd00::/64',
        'trusted6 "wg0" . fd00::/64',
    ]


@pytest.mark.parametrize("direct", ["nobody", "published", "everything"])
def test_an_internal_network_opens_to_nobody(direct: str):
    family = Family(4, FOUR, source=ip_address("192.0.2.9"), direct=direct)  # type: ignore[arg-type]
    made = of_network(family, internal=True, trusted=("eth1",))
    assert made == ["subnets4 10.0.0.0/24", 'internal "wb-1"', *SAME]


@pytest.mark.parametrize(
    ("host_ip", "elements"),
    [
        (None, ["172.18.0.2 . tcp . 80", "fd00::2 . tcp . 80"]),
        ("192.0.2.1", ["172.18.0.2 . tcp . 80"]),
        ("2001:db8::1", ["fd00::2 . tcp . 80"]),
        ("127.0.0.1", []),
        ("::1", []),
    ],
)
def test_a_routed_port_is_opened_at_the_containers_address(host_ip: str | None, elements: list[str]):
    host = ip_address(host_ip) if host_ip else None
    twice = [PortBinding(proto=Proto.TCP, container_port=80, host_port=number, host_ip=host) for number in (8080, 8081)]
    made = [element.text() for address in (V4, V6) for element in routed_port_elements(twice, address)]
    assert made == elements


bindings = st.builds(
    PortBinding,
    proto=st.sampled_from(Proto),
    container_port=st.integers(1, 65535),
    host_port=st.integers(1, 65535),
    host_ip=st.none() | st.ip_addresses(),
)


@given(st.lists(bindings, max_size=20), st.none() | st.ip_addresses(v=4), st.none() | st.ip_addresses(v=6))
def test_every_element_fits_its_set(ports: list[PortBinding], ipv4: IPAddress | None, ipv6: IPAddress | None):
    routed = [element for address in (ipv4, ipv6) if address for element in routed_port_elements(ports, address)]
    for element in (*port_elements(ports, ipv4, ipv6), *routed):
        assert fits(element)


def fits(element: NftElement) -> bool:
    layout = SETS[element.name]
    same_value = (element.value is None) == (layout.value is None)
    parts = zip((*layout.key, *(layout.value or ())), (*element.key, *(element.value or ())), strict=True)
    return same_value and all(
        getattr(part, "version", None) == {"ipv4_addr": 4, "ipv6_addr": 6}.get(kind) for kind, part in parts
    )
