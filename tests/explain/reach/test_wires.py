"""Ways on networks that branch off from a link of the host: what the kernel passes on, and what weft does not see."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network
from typing import Any

import pytest

from tests.explain.health import hosts
from weft.drivers import driver_named
from weft.drivers.parents import OnParent
from weft.engine import plans
from weft.explain.reach.facts import Party, Reach, ReachFacts
from weft.explain.reach.target import read_target
from weft.explain.reach.walks import walk
from weft.model import Endpoint, Network, Pool, Sandbox
from weft.plan import HOST, Child, Parent, Route

THE_HOST = Party(kind="host", name="the host")
OUTSIDE = Party(kind="outside", name="outside")


def lan(driver: str = "macvlan", gateway: str | None = "192.168.50.1", **options: str) -> Network:
    pool = Pool(subnet=ip_network("192.168.50.0/24"), gateway=ip_address(gateway) if gateway else None)
    made = Network(id="1a" * 32, name="lan", driver=driver, pools=(pool,), options=options)
    settling = driver_named(driver)
    assert isinstance(settling, OnParent)
    return settling.settled(made)


def party(name: str, digit: str, host: int, network: Network) -> Party:
    sandbox = Sandbox(id=digit * 64, name=name, key=f"/n/{name}")
    endpoint = Endpoint(
        id=digit * 64,
        network=network.id,
        sandbox=sandbox.id,
        ifname="eth0",
        mac="",
        ipv4=ip_interface(f"192.168.50.{host}/24"),  # type: ignore[arg-type]
    )
    plan = plans.sandbox_plan(sandbox, [endpoint], {network.id: network})
    return Party(kind="container", name=name, sandbox=sandbox, endpoints=(endpoint,), plan=plan)


def way(network: Network, to: str, *, source: Party | None = None, target: Party | None = None, **facts: Any) -> Reach:
    source = source or party("web", "e", 2, network)
    target = target or party("db", "d", 3, network)
    found = ReachFacts(
        source=source,
        target=target,
        asked=read_target(to),
        networks={network.id: network},
        network_plans={network.id: plans.network_plan(network)},
        drift={},
        firewall=True,
        host=hosts.HOST,
    )
    return walk(replace(found, **facts))


@pytest.mark.parametrize(
    ("network", "arrives", "words"),
    [
        (lan(parent="eth0"), "yes", "nothing stands in the way"),
        (lan(parent="eth0", mode="private"), "no", "keeps its containers apart (macvlan, private)"),
        (lan(parent="eth0", mode="vepa"), "perhaps", "the switch behind eth0 must send it back"),
        (lan("ipvlan", None, parent="eth0", mode="l3"), "yes", "nothing stands in the way"),
        (lan("ipvlan", parent="eth0", flag="private"), "no", "keeps its containers apart (ipvlan, private)"),
        (lan("ipvlan", parent="eth0", flag="vepa"), "perhaps", "must send it back"),
        (lan(), "yes", "nothing stands in the way"),
    ],
)
def test_between_containers(network: Network, arrives: str, words: str):
    found = way(network, "192.168.50.3")
    assert found.arrives == arrives
    assert words in found.verdict


@pytest.mark.parametrize(("access", "arrives"), [("false", "no"), ("192.168.50.9", "yes")])
def test_between_container_and_host(access: str, arrives: str):
    network = lan(parent="eth0", **{"host-access": access})
    there = way(network, "192.168.50.9", target=THE_HOST)
    back = way(network, "192.168.50.3", source=THE_HOST)
    assert (there.arrives, back.arrives) == (arrives, arrives)
    if arrives == "no":
        assert "do not reach each other through eth0" in there.verdict
        assert "do not reach each other through eth0" in back.verdict


def test_a_lost_way_of_the_hosts_is_told():
    network = lan(parent="eth0", **{"host-access": "192.168.50.9"})
    target = party("db", "d", 3, network)
    lost = next(item for item in target.plan if isinstance(item, Route) and item.netns == HOST)
    found = way(network, "192.168.50.3", source=THE_HOST, target=target, drift={lost: ""})
    assert "the host has lost its way to db" in found.verdict
    shim = next(item for item in plans.network_plan(network) if isinstance(item, Child))
    found = way(network, "192.168.50.9", target=THE_HOST, drift={shim: ""})
    assert "the host has no link of its own on network lan" in found.verdict


def test_a_lost_parent_is_told():
    found = way(lan(parent="eth0"), "192.168.50.3", drift={Parent("eth0", "macvlan"): ""})
    assert "web is not connected to network lan" in found.verdict


@pytest.mark.parametrize(
    ("network", "to", "arrives", "words"),
    [
        (lan(parent="eth0"), "192.168.50.77", "perhaps", "192.168.50.77 is asked for on the wire of eth0"),
        (lan(parent="eth0"), "198.51.100.9", "perhaps", "it leaves through eth0 as it is, for a router"),
        (lan("ipvlan", None, parent="eth0", mode="l3"), "198.51.100.9", "perhaps", "it leaves through eth0 as it is"),
        (lan(gateway=None, parent="eth0"), "198.51.100.9", "no", "web has no IPv4 way out"),
        (lan(gateway=None, parent="eth0"), "192.168.50.77", "perhaps", "asked for on the wire"),
        (lan(), "192.168.50.77", "no", "network lan has no parent: wd-1a1a1a1a1a1a leads nowhere"),
    ],
)
def test_to_those_outside(network: Network, to: str, arrives: str, words: str):
    found = way(network, to, target=Party(kind="outside", name=to))
    assert found.arrives == arrives
    assert words in found.verdict


def test_from_outside_every_port_is_open():
    found = way(lan(parent="eth0"), "db:22", source=OUTSIDE)
    assert found.arrives == "perhaps"
    assert "db is on the wire of eth0 itself, at 192.168.50.3: every port is open there" in found.verdict
    inner = way(lan(), "db:22", source=OUTSIDE)
    assert inner.arrives == "no"
