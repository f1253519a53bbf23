"""Networks of several subnets: whose address is chosen where, and what leads from one to the other."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from tests.engine.house import House, house, wrong
from tests.hosts import in_private_host
from weft.engine import plans
from weft.engine.specs import ContainerSpec, EndpointSpec, PoolSpec
from weft.errors import Conflict, Exhausted, Invalid
from weft.model import Endpoint, Network
from weft.plan import Route


def pools(*subnets: str) -> tuple[PoolSpec, ...]:
    return tuple(PoolSpec(subnet=ip_network(subnet)) for subnet in subnets)


def net(made: House, *subnets: str, **spec: object) -> Network:
    return made.network("net", ipv6=any(":" in subnet for subnet in subnets), pools=pools(*subnets), **spec)


def join(made: House, name: str, ip: str | None = None, ip6: str | None = None) -> Endpoint:
    spec = EndpointSpec(network="net", ipv4=ip and ip_address(ip), ipv6=ip6 and ip_address(ip6))
    sandbox = made.controller.create_container(ContainerSpec(name=name, networks=(spec,)))
    (endpoint,) = made.parts.records.endpoints_of(sandbox.id)
    return endpoint


def routes(made: House, name: str) -> list[str]:
    sandbox = made.parts.records.sandbox(name)
    plan = plans.sandbox_plan(sandbox, made.parts.records.endpoints_of(sandbox.id), made.parts.records.networks)
    return [f"{item.destination} {item.via or item.link}" for item in plan if isinstance(item, Route)]


@in_private_host
def test_addresses_come_from_the_first_subnet_with_room():
    made = house()
    net(made, "10.7.0.0/30", "10.8.0.0/24", "fd07::/126", "fd08::/64")
    assert [str(a) for a in join(made, "one").addresses] == ["10.7.0.2/30", "fd07::2/126"]
    assert [str(a) for a in join(made, "two").addresses] == ["10.8.0.2/24", "fd07::3/126"]
    assert [str(a) for a in join(made, "three").addresses] == ["10.8.0.3/24", "fd08::2/64"]
    made.controller.remove_container("one")
    assert [str(a) for a in join(made, "four").addresses] == ["10.7.0.2/30", "fd07::2/126"]


@in_private_host
def test_an_address_asked_for_is_had_in_the_subnet_that_it_lies_in():
    made = house()
    net(made, "10.7.0.0/24", "10.8.0.0/24", "fd07::/64", "fd08::/64")
    asked = join(made, "one", "10.8.0.9", "fd08::9")
    assert [str(a) for a in asked.addresses] == ["10.8.0.9/24", "fd08::9/64"]
    with pytest.raises(Invalid, match=r"10\.9\.0\.9 is in none of the network's subnets: 10\.7\.0\.0/24, 10\.8\.0"):
        join(made, "two", "10.9.0.9")
    with pytest.raises(Conflict, match=r"10\.8\.0\.9 is already in use by container 'one'"):
        join(made, "two", "10.8.0.9")
    with pytest.raises(Conflict, match=r"10\.8\.0\.1 is reserved: it is the network's gateway"):
        join(made, "two", "10.8.0.1")


@in_private_host
def test_when_all_are_full_each_is_named():
    made = house()
    net(made, "10.7.0.0/30", "10.8.0.0/30")
    join(made, "one")
    join(made, "two")
    with pytest.raises(Exhausted) as refused:
        join(made, "three")
    assert str(refused.value) == (
        "no address is left in 10.7.0.0/30: 1 are in use; no address is left in 10.8.0.0/30: 1 are in use"
    )


@in_private_host
def test_the_way_out_is_the_own_subnet_s_gateway_and_the_others_are_next_door():
    made = house()
    net(made, "10.7.0.0/24", "10.8.0.0/24", "fd07::/64", "fd08::/64")
    join(made, "one")
    join(made, "two", "10.8.0.9", "fd08::9")
    assert routes(made, "one") == ["10.8.0.0/24 eth0", "fd08::/64 eth0", "0.0.0.0/0 10.7.0.1", "::/0 fd07::1"]
    assert routes(made, "two") == ["10.7.0.0/24 eth0", "fd07::/64 eth0", "0.0.0.0/0 10.8.0.1", "::/0 fd08::1"]
    for name in ("one", "two"):
        assert wrong(made.explain(name)) == []


@in_private_host
def test_each_subnet_left_open_is_chosen_anew():
    made = house()
    made.network("net", pools=(PoolSpec(subnet=ip_network("0.0.0.0/24")), PoolSpec(subnet=ip_network("0.0.0.0/24"))))
    first, second = made.parts.records.network("net").pools
    assert (first.subnet.prefixlen, second.subnet.prefixlen) == (24, 24)
    assert not first.subnet.overlaps(second.subnet)


@in_private_host
def test_after_a_restart_each_subnet_goes_on_where_it_was():
    made = house()
    net(made, "10.7.0.0/24", "10.8.0.0/24")
    join(made, "one")
    join(made, "two", "10.8.0.7")
    for name in ("one", "two"):
        made.controller.remove_container(name)
    directory = made.config.run_dir.removesuffix("/run")
    made.parts.store.close()
    made.kernel.close()
    again = house(directory=directory)
    again.converge.start(rebooted=False)
    assert str(join(again, "three").ipv4) == "10.7.0.3/24"
    (_, second) = again.parts.records.leases(again.parts.records.network("net").id)
    assert str(second.choose()) == "10.8.0.8"
