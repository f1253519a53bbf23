from __future__ import annotations

import socket

import pytest

from weft.resolver.servers import AVOID, SERVERS_MAX, Endpoint, Health, read_resolv_conf


def test_the_servers_of_a_resolv_conf_in_order_and_once() -> None:
    text = """# nameserver 9.9.9.9
search a b
 nameserver\t10.0.0.1 # first
nameserver fe80::1%lo
nameserver 10.0.0.1
nameserver
"""
    assert read_resolv_conf(text) == ("10.0.0.1", "fe80::1%lo")


@pytest.mark.parametrize(
    ("text", "family", "address"),
    [
        ("127.0.0.53", socket.AF_INET, ("127.0.0.53", 53)),
        ("fd00::53", socket.AF_INET6, ("fd00::53", 53, 0, 0)),
        ("fe80::1%1", socket.AF_INET6, ("fe80::1", 53, 0, 1)),
        ("fe80::1%lo", socket.AF_INET6, ("fe80::1", 53, 0, socket.if_nametoindex("lo"))),
    ],
)
def test_an_address_as_connect_wants_it(text: str, family: int, address: tuple[object, ...]) -> None:
    assert (Endpoint(text).family, Endpoint(text).address) == (family, address)


@pytest.mark.parametrize("text", ["", "localhost", "1.2.3", "fe80::1%nosuch", "::g", "1.2.3.4%lo/24:x"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not the address"):
        Endpoint(text)


def order(health: Health, now: float, *servers: str) -> list[str]:
    return [e.text for e in health.order(servers, now)]


def test_a_server_that_failed_is_asked_last_for_a_while() -> None:
    health = Health()
    assert order(health, 0.0, "10.0.0.1", "bad", "10.0.0.2") == ["10.0.0.1", "10.0.0.2"]
    health.failed(Endpoint("10.0.0.1"), 0.0)
    assert order(health, 1.0, "10.0.0.1", "10.0.0.2") == ["10.0.0.2", "10.0.0.1"]
    assert order(health, AVOID, "10.0.0.1", "10.0.0.2") == ["10.0.0.1", "10.0.0.2"]
    health.failed(Endpoint("10.0.0.1"), 0.0)
    health.answered(Endpoint("10.0.0.1"))
    assert order(health, 1.0, "10.0.0.1", "10.0.0.2") == ["10.0.0.1", "10.0.0.2"]


def test_no_more_than_some_servers_are_asked() -> None:
    assert len(order(Health(), 0.0, *(f"10.0.0.{n}" for n in range(20)))) == SERVERS_MAX
