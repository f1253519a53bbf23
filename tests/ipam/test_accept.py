"""From what a user asked for to the pool of a network, or a refusal that says why."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from weft.errors import Conflict, Exhausted, Invalid
from weft.ipam.accept import Taken, accept_pool
from weft.model import Pool

BASES = [(ip_network("172.18.0.0/16"), 16), (ip_network("192.168.0.0/16"), 20)]
TAKEN: Taken = [(ip_network("172.18.0.0/16"), "network 'blue'"), (ip_network("10.0.0.0/16"), "a route of this host")]


def accept(
    subnet: str | None = None,
    *,
    ip_range: str | None = None,
    gateway: str | None = None,
    with_gateway: bool = True,
    **aux: str,
) -> Pool:
    return accept_pool(
        subnet=ip_network(subnet) if subnet else None,
        ip_range=ip_network(ip_range) if ip_range else None,
        gateway=ip_address(gateway) if gateway else None,
        aux={name: ip_address(text) for name, text in aux.items()},
        bases=BASES,
        taken=TAKEN,
        with_gateway=with_gateway,
    )


@pytest.mark.parametrize(
    ("asked", "subnet", "gateway"),
    [
        ({}, "192.168.0.0/20", "192.168.0.1"),
        ({"subnet": "0.0.0.0/24"}, "192.168.0.0/24", "192.168.0.1"),
        ({"subnet": "10.9.0.0/24"}, "10.9.0.0/24", "10.9.0.1"),
        ({"subnet": "10.9.0.0/24", "gateway": "10.9.0.254"}, "10.9.0.0/24", "10.9.0.254"),
        ({"subnet": "10.9.0.0/24", "ip_range": "10.9.0.64/26"}, "10.9.0.0/24", "10.9.0.64"),
        ({"subnet": "10.9.0.0/24", "router": "10.9.0.1"}, "10.9.0.0/24", "10.9.0.2"),
        ({"subnet": "10.9.0.0/31"}, "10.9.0.0/31", "10.9.0.0"),
        ({"subnet": "10.9.0.0/24", "with_gateway": False}, "10.9.0.0/24", "None"),
        ({"subnet": "fd00:1::/64"}, "fd00:1::/64", "fd00:1::1"),
    ],
)
def test_what_was_left_open_is_chosen(asked: dict[str, str], subnet: str, gateway: str):
    pool = accept(**asked)
    assert (str(pool.subnet), str(pool.gateway)) == (subnet, gateway)


@pytest.mark.parametrize(
    ("asked", "refusal", "words"),
    [
        (
            {"subnet": "172.18.3.0/24"},
            Conflict,
            r"subnet 172\.18\.3\.0/24 overlaps network 'blue' \(172\.18\.0\.0/16\)",
        ),
        ({"subnet": "10.0.0.0/8"}, Conflict, "overlaps a route of this host"),
        ({"subnet": "127.1.0.0/24"}, Invalid, "loopback"),
        ({"subnet": "126.0.0.0/7"}, Invalid, "loopback"),
        ({"subnet": "224.0.0.0/24"}, Invalid, "multicast"),
        ({"subnet": "ff02::/64"}, Invalid, "multicast"),
        ({"subnet": "0.0.0.0/0"}, Invalid, "loopback"),
        ({"subnet": "0.0.0.0/15"}, Exhausted, "--subnet"),  # more than any base holds
        ({"subnet": "10.9.0.0/24", "ip_range": "10.9.1.0/26"}, Invalid, "ip-range 10.9.1.0/26 is not inside"),
        ({"subnet": "10.9.0.0/24", "ip_range": "fd00::/64"}, Invalid, "ip-range fd00::/64 is not inside"),
        ({"subnet": "10.9.0.0/24", "gateway": "10.9.1.1"}, Invalid, "gateway 10.9.1.1 is not inside"),
        ({"subnet": "10.9.0.0/24", "gateway": "10.9.0.0"}, Invalid, "the address of the subnet itself"),
        ({"subnet": "10.9.0.0/24", "gateway": "10.9.0.255"}, Invalid, "the broadcast address"),
        ({"subnet": "10.9.0.0/24", "router": "10.9.1.1"}, Invalid, "aux-address 'router' 10.9.1.1 is not inside"),
        ({"subnet": "10.9.0.0/24", "gateway": "10.9.0.1", "router": "10.9.0.1"}, Conflict, "also an aux-address"),
        ({"gateway": "10.9.0.1"}, Invalid, "need a --subnet"),
        ({"ip_range": "10.9.0.0/26"}, Invalid, "need a --subnet"),
        ({"router": "10.9.0.1"}, Invalid, "need a --subnet"),
    ],
)
def test_what_cannot_be_is_refused_by_name(asked: dict[str, str], refusal: type[Exception], words: str):
    with pytest.raises(refusal, match=words):
        accept(**asked)
