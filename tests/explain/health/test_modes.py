from __future__ import annotations

from ipaddress import ip_address

from tests.explain import worlds
from tests.explain.health import hosts
from weft.explain.health.facts import Link, NetworkUse, OwnFacts
from weft.explain.health.modes import check_sources, check_trusted
from weft.model import IPAddress


def own(*sources: IPAddress, trusted: tuple[str, ...] = ()) -> OwnFacts:
    use = NetworkUse(network=worlds.FRONT, link="wb-x", mtu=1500, members=0, sources=sources, trusted=trusted)
    return OwnFacts(networks=(use,))


def test_an_address_that_the_host_does_not_have_is_told():
    address = ip_address("192.0.2.200")
    (found,) = check_sources(hosts.host(addresses=()), own(address))
    assert found.what == "packets from network front leave under 192.0.2.200, which is no address of this host"
    assert list(check_sources(hosts.host(addresses=(address,)), own(address))) == []


def test_an_interface_that_is_not_there_is_told():
    (found,) = check_trusted(hosts.host(links=()), own(trusted=("eth7",)))
    assert found.what == "network front trusts interface eth7, which is not there"
    there = hosts.host(links=(Link(name="eth7", group=0, mtu=1500),))
    assert list(check_trusted(there, own(trusted=("eth7",)))) == []
