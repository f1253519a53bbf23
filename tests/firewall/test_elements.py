"""From networks and published ports to elements."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.firewall.elements import network_elements, port_elements
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


def test_a_network_is_closed_before_it_is_open():
    names = [
        element.name
        for element in network_elements(
            "wb-1", [ip_network("10.0.0.0/24"), ip_network("fd00::/64")], internal=True, masquerade=True, icc=True
        )
    ]
    assert names == ["subnets4", "subnets6", "internal", "bridges", "same"]


def test_addresses_that_are_seen_outside_are_not_dropped_on_arrival():
    elements = network_elements("wb-1", [ip_network("10.0.0.0/24")], internal=False, masquerade=False, icc=True)
    assert [element.name for element in elements] == ["bridges", "same"]


bindings = st.builds(
    PortBinding,
    proto=st.sampled_from(Proto),
    container_port=st.integers(1, 65535),
    host_port=st.integers(1, 65535),
    host_ip=st.none() | st.ip_addresses(),
)


@given(st.lists(bindings, max_size=20), st.none() | st.ip_addresses(v=4), st.none() | st.ip_addresses(v=6))
def test_every_element_fits_its_set(ports: list[PortBinding], ipv4: IPAddress | None, ipv6: IPAddress | None):
    for element in port_elements(ports, ipv4, ipv6):
        assert fits(element)


def fits(element: NftElement) -> bool:
    layout = SETS[element.name]
    same_value = (element.value is None) == (layout.value is None)
    parts = zip((*layout.key, *(layout.value or ())), (*element.key, *(element.value or ())), strict=True)
    return same_value and all(
        getattr(part, "version", None) == {"ipv4_addr": 4, "ipv6_addr": 6}.get(kind) for kind, part in parts
    )
