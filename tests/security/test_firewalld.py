"""firewalld beside weft: what weft promises holds whatever firewalld does, and what firewalld shuts doctor opens."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from tests.daemons import Weftd
from tests.hosts import Namespace, PrivateHost, needs_namespaces
from tests.security import attacks
from tests.security.attacks import answers
from tests.security.engines import Weft
from tests.security.firewalld import Firewalld
from tests.security.scene import ADDRESSES, OPEN, PUBLISHED, Scene, scene_of, wires
from tests.system.people import HOST4, HOST6, OUTSIDE4, OUTSIDE6, Listener, listening
from tests.waiting import eventually
from weft.client import Publish

pytestmark = [pytest.mark.root, pytest.mark.system, pytest.mark.slow]

ROUTED = ("10.7.0.11", "fd07::11")


@pytest.fixture(scope="module", params=["nftables", "iptables"])
def backend(request: pytest.FixtureRequest) -> str:
    """How firewalld writes its rules: in a table of its own, or in those of iptables."""
    return str(request.param)


@pytest.fixture(scope="module")
def host(backend: str) -> Iterator[PrivateHost]:
    """One for each of firewalld's ways."""
    needs_namespaces()
    with PrivateHost() as host:
        yield host


@pytest.fixture(scope="module")
def others(host: PrivateHost) -> Iterator[tuple[Namespace, Namespace]]:
    with wires(host) as others:
        yield others


@pytest.fixture(scope="module")
def firewalld(
    host: PrivateHost, others: object, backend: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Firewalld]:
    with Firewalld(host, tmp_path_factory.mktemp("firewalld"), backend=backend) as firewalld:
        yield firewalld


@pytest.fixture(scope="module")
def weftd(host: PrivateHost, firewalld: Firewalld, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Weftd]:
    # Bridged frames go through iptables' rules only if asked to, as on a host without Docker.
    host.run("sysctl -qw net.bridge.bridge-nf-call-iptables=0 net.bridge.bridge-nf-call-ip6tables=0", check=False)
    with Weftd(host, tmp_path_factory.mktemp("weftd"), settings=("--dns", OUTSIDE4)) as weftd:
        yield weftd


@pytest.fixture(scope="module")
def scene(weftd: Weftd, others: tuple[Namespace, Namespace]) -> Iterator[Scene]:
    with scene_of(Weft(weftd), *others) as scene:
        yield scene


def in_the_way(weftd: Weftd) -> list[dict[str, object]]:
    findings = json.loads(weftd.cli("doctor", "--json", check=False).stdout)["findings"]
    return [each for each in findings if each["check"] == "other-firewalls" and each["level"] != "ok"]


def mend(weftd: Weftd) -> list[str]:
    """Does what doctor says, word for word; the commands."""
    commands = [command for finding in in_the_way(weftd) for command in finding["mend"]]
    for command in commands:
        weftd.host.run(["sh", "-c", command], timeout=60)
    return commands


def reached_from_outside(scene: Scene) -> int:
    """Of the published port's ways: both families, both protocols; from the wire, the host, another network, 12 in all.

    The host asks 127.0.0.1 and ::1; the latter by TCP goes through weftd.
    """
    everywhere = {"outside": [HOST4, HOST6], "host": ["127.0.0.1", "::1"], "stranger": [HOST4, HOST6]}
    return sum(len(answers(scene, who, addresses, [PUBLISHED])) for who, addresses in everywhere.items())


def out(scene: Scene) -> int:
    return len(answers(scene, "web", [OUTSIDE4, OUTSIDE6], [OPEN]))


def test_published_ports_need_nothing_and_the_way_out_is_shut_until_doctor_s_mend(
    scene: Scene, weftd: Weftd, backend: str
) -> None:
    assert reached_from_outside(scene) == 12
    assert len(answers(scene, "beside", ADDRESSES["web"], [OPEN])) == 4
    assert out(scene) == 0
    (finding,) = in_the_way(weftd)
    assert str(finding["what"]).startswith("firewalld rejects forwarded packets"), backend
    assert "Containers do not reach the outside." in str(finding["why"])
    assert any("--new-zone=weft" in command for command in mend(weftd))
    assert out(scene) == 4
    assert in_the_way(weftd) == []
    assert "firewalld would forward" not in weftd.cli("doctor", check=False).stdout


def test_the_mend_opens_no_service_of_the_host_s_to_containers(scene: Scene) -> None:
    """Which the zone `trusted` would; firewalld refuses them as it did."""
    with listening(scene.engine, Listener("own", "", "tcp", 9999)):  # type: ignore[arg-type]
        assert answers(scene, "web", [HOST4, "10.1.0.1", "fd01::1"], [9999]) == []
        scene.host.run("firewall-cmd --zone=trusted --change-interface=" + scene.link_to("web"))
        assert len(answers(scene, "web", [HOST4, "10.1.0.1", "fd01::1"], [9999])) == 3
        scene.host.run("firewall-cmd --reload", timeout=60)


TROUBLE: dict[str, Callable[[Firewalld, str], object]] = {
    "reload": lambda firewalld, bridge: firewalld.tell("--reload"),
    "complete reload": lambda firewalld, bridge: firewalld.tell("--complete-reload"),
    "restart": lambda firewalld, bridge: firewalld.restart(),
    "a bridge in zone drop": lambda firewalld, bridge: firewalld.tell("--zone=drop", f"--change-interface={bridge}"),
    "a bridge in zone trusted": lambda firewalld, bridge: firewalld.tell(
        "--zone=trusted", f"--change-interface={bridge}"
    ),
    "default zone drop": lambda firewalld, bridge: firewalld.tell("--set-default-zone=drop"),
    "default zone trusted": lambda firewalld, bridge: firewalld.tell("--set-default-zone=trusted"),
    "wire in zone trusted": lambda firewalld, bridge: firewalld.tell("--zone=trusted", "--change-interface=uplink"),
    "reload of all that": lambda firewalld, bridge: firewalld.tell("--reload"),
}


@pytest.mark.statement(2, 3, 18)
@pytest.mark.parametrize("trouble", TROUBLE)
def test_whatever_firewalld_does_what_was_reached_is_and_what_was_not_is_not(
    scene: Scene, weftd: Weftd, firewalld: Firewalld, trouble: str
) -> None:
    before = weftd.host.run("nft list table inet weft").stdout
    TROUBLE[trouble](firewalld, scene.link_to("web"))
    assert weftd.host.run("nft list table inet weft").stdout == before
    assert reached_from_outside(scene) == 12
    assert out(scene) == 4
    for attack in ATTACKS:
        assert attack(scene) == [], attack.__name__
    assert in_the_way(weftd) == []


ATTACKS = (
    attacks.loopback_from_the_wire,
    attacks.loopback_from_another_network,
    attacks.lan_to_unpublished_ports,
    attacks.lan_to_published_ports_at_own_address,
    attacks.network_to_network,
    attacks.out_of_an_internal_network,
    attacks.into_an_internal_network,
)


@pytest.mark.statement(18)
def test_what_goes_while_firewalld_reloads_leaves_no_rule(scene: Scene, weftd: Weftd, firewalld: Firewalld) -> None:
    """Neither in weft's tables nor, as nothing of weft's is ever there, in firewalld's."""
    publish = [Publish(80, 8099)]
    made = weftd.client.containers.create(name="brief", networks=["a"], ports=publish)
    with listening(scene.engine, Listener("brief", made.netns)):  # type: ignore[arg-type]
        assert len(answers(scene, "outside", [HOST4, HOST6], [8099])) == 2
        firewalld.tell("--reload")
        weftd.client.containers.remove("brief", force=True)
        firewalld.tell("--reload")
        assert answers(scene, "outside", [HOST4, HOST6], [8099]) == []
    assert "8099" not in weftd.host.run("nft list ruleset").stdout


def test_a_routed_network_is_reached_once_doctor_s_further_mend_is_done(scene: Scene, weftd: Weftd) -> None:
    weftd.host.run("firewall-cmd --set-default-zone=public", timeout=60)
    weftd.client.networks.create(
        "routed", ipv6=True, pools=["10.7.0.0/24", "fd07::/64"], options={"gateway-mode": "routed"}
    )
    wish = {"network": "routed", "ip": ROUTED[0], "ip6": ROUTED[1]}
    made = weftd.client.containers.create(name="routed", networks=[wish], ports=[Publish(80, 80)])
    with listening(scene.engine, *(Listener("routed", made.netns, "tcp", port) for port in (80, 81))):  # type: ignore[arg-type]
        assert answers(scene, "outside", ROUTED, [80, 81]) == []
        (finding,) = in_the_way(weftd)
        assert "Containers are not reached at their own addresses" in str(finding["why"])
        assert not any("new-zone" in command or "weft-out" in command for command in mend(weftd)), "it is there"
        eventually(lambda: len(answers(scene, "outside", ROUTED, [80])) == 2, within=3)
        assert answers(scene, "outside", ROUTED, [81]) == []
        assert in_the_way(weftd) == []
    assert attacks.network_to_network(scene) == []


def test_without_weft_firewalld_s_trusted_zone_would_let_the_lan_in(scene: Scene, weftd: Weftd) -> None:
    """So that the tests above can fail: it is weft's table that keeps the LAN out, not firewalld's."""
    weftd.kill()
    try:
        weftd.host.run("nft delete table inet weft")
        weftd.host.run("firewall-cmd --zone=trusted --change-interface=uplink", timeout=60)
        assert attacks.lan_to_unpublished_ports(scene) != []
        assert attacks.network_to_network(scene) != []
    finally:
        weftd.start()
