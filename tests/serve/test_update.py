"""A network edited by the native API: what it says afterwards, and what is refused by name."""

from __future__ import annotations

import pytest

from tests.serve.house import House
from weft.client import Network, Subnet
from weft.errors import Conflict, Invalid, NotFound, WeftError


@pytest.fixture
def front(house: House) -> Network:
    return house.client.networks.create("front", pools=["10.7.0.0/24"], options={"mtu": "1400"}, labels={"a": "1"})


def test_the_answer_and_whoever_looks_see_what_it_is_then(house: House, front: Network):
    networks = house.client.networks
    changed = networks.update(
        "front",
        labels={"a": None, "b": "2"},
        options={"mtu": None, "icc": "false"},
        internal=True,
        ipv6=True,
        add_pools=[Subnet("10.8.0.0/24", gateway="10.8.0.9", aux={"nas": "10.8.0.5"})],
        add_routes=[("10.9.0.0/16", "10.7.0.5")],
    )
    assert (changed.id, changed.name, changed.created) == (front.id, "front", front.created)
    assert (changed.labels, changed.options, changed.internal) == ({"b": "2"}, {"icc": "false"}, True)
    assert (changed.ipv4, changed.ipv6) == (True, True)
    assert [pool.subnet for pool in changed.pools[:2]] == ["10.7.0.0/24", "10.8.0.0/24"]
    assert (changed.pools[1].gateway, changed.pools[1].aux) == ("10.8.0.9", {"nas": "10.8.0.5"})
    assert [(route.destination, route.gateway) for route in changed.routes] == [("10.9.0.0/16", "10.7.0.5")]
    assert networks.list() == (changed,)
    again = networks.update(
        "front", internal=False, remove_pools=["10.8.0.0/24"], remove_routes=["10.9.0.0/16"], options={"icc": None}
    )
    assert (again.internal, again.routes, again.options) == (False, (), {})
    assert [pool.subnet for pool in again.pools] == ["10.7.0.0/24", changed.pools[2].subnet]


def test_it_is_known_by_its_new_name(house: House, front: Network):
    assert house.client.networks.update(front, name="shop").id == front.id
    assert house.client.networks.get("shop").id == front.id
    with pytest.raises(NotFound):
        house.client.networks.get("front")
    assert house.client.networks.create("front").id != front.id


def test_it_is_told_as_an_event_if_anything_has_changed(house: House, front: Network):
    networks = house.client.networks
    networks.update("front", labels={"a": "1"}, options={"mtu": "1400"})
    networks.update("front", labels={"a": None}, options={"icc": "false"}, add_pools=["10.8.0.0/24"])
    (event,) = [e for e in house.client.events(since=0, follow=False) if e.action == "update"]
    assert (event.type, event.id, event.name) == ("network", front.id, "front")
    assert event.attributes == {"driver": "bridge", "changes": "label:a= option:icc=false +10.8.0.0/24"}


@pytest.mark.parametrize(
    ("kind", "body", "said"),
    [
        (Invalid, {"options": {"colour": "red"}}, "unknown option 'colour' for driver bridge"),
        (Invalid, {"colour": 1}, "unknown field 'colour'"),
        (Invalid, {"options": {"mtu": 1400}}, r"options\[...\]: expected 'str | null', got 'int'"),
        (Invalid, {"remove_pools": ["10.7.0.0/99"]}, r"remove_pools\[0\]"),
        (Invalid, {"add_pools": [{"gateway": "10.8.0.1"}]}, "has to be named"),
        (NotFound, {"options": {"icc": None}}, "no such option of network 'front': 'icc'"),
        (Conflict, {"options": {"prefix": "lan"}}, "option prefix of network 'front' cannot change"),
        (Conflict, {"name": "none"}, "stands for no network at all"),
    ],
)
def test_what_is_refused_names_the_field_and_changes_nothing(
    house: House, front: Network, kind: type[WeftError], body: dict[str, object], said: str
):
    with pytest.raises(kind, match=said):
        house.client.wire.call("PATCH", "/networks/front", {"labels": {"b": "2"}, **body})
    assert house.client.networks.list() == (front,)
