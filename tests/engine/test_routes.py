"""Routes that networks have: which are refused, and which a container is given."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from tests.engine.house import House, house, shell, wrong
from tests.engine.test_subnets import pools, routes
from tests.hosts import in_private_host
from weft.engine.routes import check_routes
from weft.engine.specs import EndpointSpec
from weft.errors import Conflict, Invalid, WeftError
from weft.model import Pool, StaticRoute

POOLS = tuple(Pool(subnet=ip_network(subnet)) for subnet in ("10.7.0.0/24", "10.8.0.0/24", "fd07::/64"))


def static(text: str) -> StaticRoute:
    destination, gateway = text.split(" ")
    return StaticRoute(destination=ip_network(destination), gateway=ip_address(gateway))


def _refusal(*texts: str) -> WeftError:
    with pytest.raises(WeftError) as refused:
        check_routes([static(text) for text in texts], POOLS, "net")
    return refused.value


def test_what_cannot_be_is_refused_by_name():
    cases = {
        ("10.9.0.0/16 fd07::5",): "route 10.9.0.0/16: the gateway fd07::5 is of the other family",
        ("0.0.0.0/0 10.7.0.5",): "route 0.0.0.0/0: the way to everywhere is the subnet's --gateway",
        ("10.9.0.0/16 10.6.0.5",): "route 10.9.0.0/16: gateway 10.6.0.5 is in no subnet of network 'net' "
        "(IPv4: 10.7.0.0/24, 10.8.0.0/24); a router is a neighbour",
        (
            "10.9.0.0/16 10.8.0.0",
        ): "route 10.9.0.0/16: gateway 10.8.0.0 is the address of the subnet 10.8.0.0/24 itself",
    }
    for texts, said in cases.items():
        refused = _refusal(*texts)
        assert (type(refused), str(refused)) == (Invalid, said)
    twice = _refusal("fd09::/64 fd07::5", "fd09::/64 fd07::6")
    assert (type(twice), str(twice)) == (
        Conflict,
        "route fd09::/64 is given twice, by way of fd07::5 and of fd07::6: leave one out",
    )
    own = _refusal("10.8.0.128/25 10.7.0.5")
    assert (type(own), str(own)) == (
        Conflict,
        "route 10.8.0.128/25 is within the network's own subnet 10.8.0.0/24: no router is needed",
    )


def _net(made: House, name: str, subnet: str, *texts: str) -> None:
    made.network(name, pools=pools(subnet), routes=tuple(static(text) for text in texts))


@in_private_host
def test_a_refused_route_leaves_no_network():
    made = house()
    with pytest.raises(Invalid):
        _net(made, "net", "10.7.0.0/24", "10.9.0.0/16 10.6.0.5")
    assert made.parts.records.networks == {}


@in_private_host
def test_the_first_in_gateway_order_leads_and_the_other_takes_over():
    made = house()
    _net(made, "a", "10.1.0.0/24", "10.9.0.0/16 10.1.0.5", "10.10.0.0/16 10.1.0.5")
    _net(made, "b", "10.2.0.0/24", "10.9.0.0/16 10.2.0.5")
    made.container("web", "a")
    assert routes(made, "web") == ["10.9.0.0/16 10.1.0.5", "10.10.0.0/16 10.1.0.5", "0.0.0.0/0 10.1.0.1"]
    made.controller.connect("b", "web", EndpointSpec(network="b", gw_priority=5))
    assert routes(made, "web") == ["10.9.0.0/16 10.2.0.5", "10.10.0.0/16 10.1.0.5", "0.0.0.0/0 10.2.0.1"]
    assert wrong(made.explain("web")) == []
    made.controller.disconnect("b", "web")
    assert routes(made, "web") == ["10.9.0.0/16 10.1.0.5", "10.10.0.0/16 10.1.0.5", "0.0.0.0/0 10.1.0.1"]
    assert wrong(made.explain("web")) == []


@pytest.mark.parametrize(("subnet", "router", "other"), [("10.9.0.0/24", "10.1.0.5", "10.1.0.0/24")])
@in_private_host
def test_what_is_next_door_goes_before_a_route_there(subnet: str, router: str, other: str):
    made = house()
    _net(made, "a", other, f"{subnet} {router}", f"10.9.0.128/25 {router}", f"10.8.0.0/13 {router}")
    _net(made, "b", subnet)
    web = made.container("web", "a")
    everywhere = "0.0.0.0/0 10.1.0.1"
    assert routes(made, "web") == [
        f"{subnet} {router}",
        f"10.9.0.128/25 {router}",
        f"10.8.0.0/13 {router}",
        everywhere,
    ]
    made.controller.connect("b", "web", EndpointSpec(network="b"))
    assert routes(made, "web") == [f"10.8.0.0/13 {router}", everywhere]
    assert wrong(made.explain("web")) == []
    shown = _routes_inside(web.key)
    assert f"{subnet} via {router}" not in shown
    assert f"{subnet} dev eth1" in shown
    made.controller.disconnect("b", "web")
    assert wrong(made.explain("web")) == []
    assert f"{subnet} via {router} dev eth0" in _routes_inside(web.key)


def _routes_inside(netns: str) -> str:
    return shell(f"nsenter --net={netns} ip route")
