"""What attackers try against weft, and that they would succeed without it."""

from __future__ import annotations

import json

import pytest

from tests.security import attacks
from tests.security.attacks import answers
from tests.security.engines import Weft
from tests.security.scene import ADDRESSES, OPEN, PUBLISHED, SHUT, Scene
from tests.system.people import HOST4, HOST6
from tests.waiting import eventually

pytestmark = pytest.mark.root


@pytest.mark.statement(1)
@pytest.mark.parametrize(
    "attack",
    [
        attacks.loopback_from_the_wire,
        attacks.loopback_from_a_lax_wire,
        attacks.loopback_from_a_neighbour,
        attacks.loopback_from_another_network,
    ],
)
def test_nothing_of_the_host_s_loopback_is_reached(scene: Scene, attack) -> None:
    """Neither its own services nor ports that are published there."""
    assert attack(scene) == []


@pytest.mark.statement(4)
def test_who_has_a_route_to_the_containers_reaches_no_port_that_is_not_published(scene: Scene) -> None:
    assert attacks.lan_to_unpublished_ports(scene) == []


@pytest.mark.statement(5)
def test_nor_one_that_is_but_at_the_host_s_address(scene: Scene) -> None:
    assert attacks.lan_to_published_ports_at_own_address(scene) == []
    assert len(answers(scene, "outside", [HOST4, HOST6], [PUBLISHED])) == 4


@pytest.mark.statement(6)
def test_networks_are_apart_even_for_containers_with_routes_of_their_own(scene: Scene) -> None:
    assert attacks.network_to_network(scene) == []
    assert len(answers(scene, "stranger", [HOST4, HOST6], [PUBLISHED])) == 4
    assert len(answers(scene, "beside", ADDRESSES["web"], [OPEN, SHUT])) == 8


@pytest.mark.statement(8)
def test_nothing_leads_out_of_an_internal_network_or_into_it(scene: Scene) -> None:
    assert attacks.out_of_an_internal_network(scene) == []
    assert attacks.into_an_internal_network(scene) == []


@pytest.mark.statement(8)
def test_no_name_leads_out_of_an_internal_network(scene: Scene) -> None:
    assert attacks.names_out_of_an_internal_network(scene) == []
    with attacks.overheard(scene) as asked:
        attacks.look_up(scene, "beside", "secret.example", 1)
    assert asked == ["secret.example"], "where it is not internal, the name is asked for"


@pytest.mark.statement(10, 11)
def test_no_router_that_nobody_asked_for_is_believed(scene: Scene) -> None:
    assert attacks.rogue_router(scene) == []


@pytest.mark.statement(13)
def test_the_host_does_not_become_a_router_for_its_wires(scene: Scene) -> None:
    assert attacks.through_the_host(scene) == []


@pytest.mark.statement(22)
def test_the_names_of_neighbours_are_not_told_to_the_world(scene: Scene) -> None:
    assert attacks.local_names_to_the_world(scene) == []


def test_nobody_sends_under_a_neighbour_s_address(scene: Scene) -> None:
    assert attacks.borrowed_address(scene) == []


def test_all_of_it_succeeds_without_what_weft_puts_in_the_way(scene: Scene) -> None:
    """So that the tests above can fail: the same attacks, and not one fails, once rules and programs are gone."""
    assert isinstance(scene.engine, Weft)
    weftd = scene.engine.weftd
    weftd.kill()
    try:
        scene.host.run("nft delete table inet weft")
        scene.host.run("nft delete table bridge weft")
        for link in json.loads(scene.host.run("ip -j link").stdout):
            if link["ifname"].startswith("wv-"):
                scene.host.run(["tc", "qdisc", "del", "dev", link["ifname"], "ingress"], check=False)
        _believe_routers(scene, "plain")
        got = {play.__name__: play(scene) for play in RULES_ALONE}
        assert [name for name, through in got.items() if not through] == []
        assert got["loopback_from_a_lax_wire"][0].startswith("the host's own service")
        for whole in ("lan_to_unpublished_ports", "network_to_network", "out_of_an_internal_network"):
            assert {"fd0" in each or "2001:" in each for each in got[whole]} == {True, False}, f"{whole}: both families"
    finally:
        weftd.start()
    assert attacks.lan_to_unpublished_ports(scene) == []


def _believe_routers(scene: Scene, who: str) -> None:
    """As a container does whose engine has not thought of it."""
    scene.run(who, "nft delete table ip6 weft")
    for setting in ("disable_ipv6=1", "addr_gen_mode=0", "accept_ra=2", "disable_ipv6=0"):
        scene.run(who, f"sysctl -qw net.ipv6.conf.eth0.{setting}")
    eventually(
        lambda: "tentative" not in (said := scene.run(who, "ip -6 address show eth0")) and "fe80" in said, within=5
    )


RULES_ALONE = (
    attacks.loopback_from_a_lax_wire,
    attacks.loopback_from_a_neighbour,
    attacks.lan_to_unpublished_ports,
    attacks.lan_to_published_ports_at_own_address,
    attacks.network_to_network,
    attacks.out_of_an_internal_network,
    attacks.into_an_internal_network,
    attacks.through_the_host,
    attacks.rogue_router,
    attacks.borrowed_address,
)
