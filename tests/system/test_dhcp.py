"""Containers on the LAN with addresses from the LAN's own DHCP server: dnsmasq."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.audits import assert_consistent, resolve
from tests.daemons import Weftd
from tests.enter import inside, network
from tests.hosts import PrivateHost
from tests.kinds import needs_link_kind
from tests.system.dhcp import RANGE, Dnsmasq, dnsmasq
from tests.system.lan import BEYOND4, NAS4, ROUTER4, Lan, lan_of
from tests.system.people import Listener, Question, ask, listening, pings
from tests.waiting import eventually
from weft.client import Container
from weft.errors import Conflict, Invalid, NotFound, Unavailable

pytestmark = [pytest.mark.root, pytest.mark.system]


@pytest.fixture
def lan(private_host: PrivateHost) -> Iterator[Lan]:
    needs_link_kind("macvlan")
    with lan_of(private_host) as lan:
        yield lan


@pytest.fixture
def server(lan: Lan, tmp_path: Path) -> Iterator[Dnsmasq]:
    with dnsmasq(lan.switch, "br0", tmp_path / "dnsmasq") as server:
        yield server


@pytest.fixture
def weftd(lan: Lan, tmp_path: Path) -> Iterator[Weftd]:
    with Weftd(lan.host, tmp_path) as weftd:
        yield weftd


def make(weftd: Weftd, name: str = "lan", *, pools: object = (), driver: str = "macvlan", **options: str) -> None:
    options = {"parent": "eth0", **{key.replace("_", "-"): value for key, value in options.items()}}
    weftd.client.networks.create(name, driver=driver, pools=pools, options=options, ipam="dhcp")


def join(weftd: Weftd, name: str, **wish: object) -> Container:
    return weftd.client.containers.create(name=name, networks=[{"network": "lan", **wish}])


def address_of(container: Container) -> str:
    return (container.endpoints[0].ipv4 or "").split("/")[0]


def test_a_network_is_as_the_server_says_and_takes_no_address(server: Dnsmasq, weftd: Weftd) -> None:
    weftd.cli("network", "create", "-d", "macvlan", "--ipam-driver", "dhcp", "--opt", "parent=eth0", "lan")
    made = weftd.client.networks.get("lan")
    assert [(pool.subnet, pool.gateway) for pool in made.pools] == [("192.168.50.0/24", ROUTER4)]
    assert made.ipam == "dhcp"
    assert "DHCPOFFER" in server.log
    assert "DHCPREQUEST" not in server.log
    assert server.leases == []
    assert_consistent(weftd)


def test_a_container_has_an_address_of_the_server(lan: Lan, server: Dnsmasq, weftd: Weftd) -> None:
    make(weftd)
    web, db = join(weftd, "web"), join(weftd, "db")
    given = {lease["name"]: lease for lease in server.leases}
    assert {name: lease["address"] for name, lease in given.items()} == {"web": address_of(web), "db": address_of(db)}
    assert given["web"]["mac"] == web.endpoints[0].mac
    assert RANGE[0] <= address_of(web) <= RANGE[1]
    assert web.endpoints[0].gateway4 == ROUTER4
    assert pings(weftd.host, web.netns, [NAS4, BEYOND4, address_of(db)]) == [True] * 3
    with listening(weftd, Listener("web", web.netns)):
        assert ask(weftd.host, Question(lan.nas.path, address_of(web), 80)) == [f"web {NAS4}"]

    def look() -> set[str]:
        with network(db.netns):
            return resolve("web")

    assert inside(weftd.host, look) == {address_of(web)}
    assert_consistent(weftd)


def test_its_lease_is_shown(server: Dnsmasq, weftd: Weftd) -> None:
    make(weftd)
    web = join(weftd, "web")
    lease = web.endpoints[0].lease
    assert lease is not None
    assert lease.server == ROUTER4
    assert lease.obtained < time.time() < lease.renews < lease.expires <= time.time() + 120
    assert f"{address_of(web)} is leased from the DHCP server {ROUTER4} until" in weftd.cli("explain", "web").stdout
    assert "1 address leased from DHCP servers, none overdue" in weftd.cli("doctor", "--json", check=False).stdout
    assert json.loads(weftd.cli("inspect", "web").stdout)[0]["endpoints"][0]["lease"]["server"] == ROUTER4


def test_what_leaves_gives_its_address_back(server: Dnsmasq, weftd: Weftd) -> None:
    make(weftd)
    join(weftd, "web")
    weftd.client.containers.create(name="db", networks=["none"])
    weftd.client.networks.connect("lan", "db")
    assert {lease["name"] for lease in server.leases} == {"web", "db"}
    weftd.client.containers.remove("web")
    eventually(lambda: [lease["name"] for lease in server.leases] == ["db"], within=3)
    weftd.client.networks.disconnect("lan", "db")
    eventually(lambda: server.leases == [], within=3)
    with pytest.raises(NotFound):
        weftd.client.networks.disconnect("lan", "db")
    assert server.log.count("DHCPRELEASE") == 2
    assert_consistent(weftd)


def test_who_ends_by_itself_gives_its_address_back(server: Dnsmasq, weftd: Weftd) -> None:
    make(weftd)
    weftd.cli("run", "--rm", "--network", "lan", "--", "true")
    eventually(lambda: "DHCPRELEASE" in server.log and server.leases == [], within=3)


def test_a_join_that_fails_afterwards_gives_its_address_back(server: Dnsmasq, weftd: Weftd) -> None:
    make(weftd)
    with pytest.raises(Invalid, match="leads no ports"):
        weftd.client.containers.create(name="web", networks=["lan"], ports=[80])
    assert "DHCPACK" in server.log
    eventually(lambda: server.leases == [], within=3)
    assert_consistent(weftd)


def test_a_wanted_address_is_asked_for(server: Dnsmasq, weftd: Weftd) -> None:
    make(weftd)
    assert address_of(join(weftd, "web", ip="192.168.50.137")) == "192.168.50.137"
    with pytest.raises(Conflict, match=rf"DHCP server {ROUTER4} on eth0 offers .*, not 192.168.50.137"):
        join(weftd, "db", ip="192.168.50.137")
    with pytest.raises(Conflict, match=r"offers .*, not 192\.168\.50\.20"):
        join(weftd, "db", ip="192.168.50.20")
    assert [lease["name"] for lease in server.leases] == ["web"]
    assert_consistent(weftd)


def test_a_reservation_by_mac_is_honoured(lan: Lan, weftd: Weftd, tmp_path: Path) -> None:
    reserved = ("--dhcp-host=02:00:00:00:00:09,192.168.50.20",)
    with dnsmasq(lan.switch, "br0", tmp_path / "dnsmasq", more=reserved):
        make(weftd)
        assert address_of(join(weftd, "web", mac="02:00:00:00:00:09", ip="192.168.50.20")) == "192.168.50.20"


def test_a_lease_outlives_weftd(server: Dnsmasq, weftd: Weftd) -> None:
    make(weftd)
    web = join(weftd, "web")
    before = server.log.count("DHCPACK")
    weftd.restart()
    again = weftd.client.containers.get("web")
    assert again.endpoints[0].ipv4 == web.endpoints[0].ipv4
    assert again.endpoints[0].lease == web.endpoints[0].lease
    assert server.log.count("DHCPACK") == before, "nothing was due yet"
    weftd.kill()
    weftd.start()
    weftd.client.containers.remove("web")
    eventually(lambda: server.leases == [], within=3)


def test_an_address_in_use_is_declined(lan: Lan, server: Dnsmasq, weftd: Weftd) -> None:
    make(weftd)
    for number in range(130, 140):
        if number != 135:
            lan.nas.run(f"ip address add 192.168.50.{number}/32 dev eth0")
    web = join(weftd, "web")
    assert address_of(web) == "192.168.50.135"
    assert pings(weftd.host, web.netns, [NAS4]) == [True]


def test_a_full_pool_says_so_and_leaves_nothing(lan: Lan, weftd: Weftd, tmp_path: Path) -> None:
    with dnsmasq(lan.switch, "br0", tmp_path / "dnsmasq", last=RANGE[0]) as server:
        make(weftd)
        join(weftd, "web")
        with pytest.raises(Unavailable, match="no DHCP server answers on eth0, asked for 10 s"):
            join(weftd, "db")
        assert [lease["name"] for lease in server.leases] == ["web"]
        assert_consistent(weftd)
        weftd.client.containers.remove("web")
        eventually(lambda: server.leases == [], within=3)
        join(weftd, "db")


def test_without_a_server_nothing_is_made(weftd: Weftd) -> None:
    begun = time.monotonic()
    with pytest.raises(Unavailable, match="no DHCP server answers on eth0, asked for 10 s"):
        make(weftd)
    assert time.monotonic() - begun < 13
    assert not weftd.client.networks.list()
    assert_consistent(weftd)


def test_a_subnet_that_is_named_is_not_asked_for(weftd: Weftd) -> None:
    make(weftd, pools=[{"subnet": "192.168.50.0/24", "gateway": ROUTER4}])
    begun = time.monotonic()
    with pytest.raises(Unavailable, match="no DHCP server answers on eth0, asked for 10 s"):
        join(weftd, "web")
    assert time.monotonic() - begun < 13
    assert not weftd.client.containers.list(all=True)
    assert_consistent(weftd)


def test_ipv6_is_given_out_by_weft_as_ever(server: Dnsmasq, weftd: Weftd) -> None:
    weftd.client.networks.create(
        "lan", driver="macvlan", ipv6=True, pools=["2001:db8:50::/64"], options={"parent": "eth0"}, ipam="dhcp"
    )
    web = join(weftd, "web")
    assert web.endpoints[0].ipv6 == "2001:db8:50::1/64"
    assert address_of(web) == server.leases[0]["address"]
    assert_consistent(weftd)


def test_in_passthru_the_parents_mac_asks(server: Dnsmasq, weftd: Weftd) -> None:
    mac = json.loads(weftd.host.run("ip -j link show eth0").stdout)[0]["address"]
    make(weftd, mode="passthru")
    web = join(weftd, "web")
    assert [(lease["mac"], lease["address"]) for lease in server.leases] == [(mac, address_of(web))]
    assert pings(weftd.host, web.netns, [NAS4]) == [True]
    assert_consistent(weftd)


@pytest.mark.full_kernel
@pytest.mark.parametrize("driver", ["macvlan", "ipvlan"])
def test_in_a_vlan_that_weft_makes(lan: Lan, weftd: Weftd, tmp_path: Path, driver: str) -> None:
    needs_link_kind("vlan")
    needs_link_kind(driver)
    lan.switch.run("ip link add link br0 name br0.10 type vlan id 10")
    lan.switch.run("ip address add 192.168.60.1/24 dev br0.10")
    lan.switch.run("ip link set br0.10 up")
    with dnsmasq(lan.switch, "br0.10", tmp_path / "dnsmasq", first="192.168.60.130", last="192.168.60.139"):
        make(weftd, parent="eth0.10", driver=driver)
        web = join(weftd, "web")
        assert address_of(web).startswith("192.168.60.13")
        assert pings(weftd.host, web.netns, ["192.168.60.1"]) == [True]
        assert_consistent(weftd)


@pytest.mark.full_kernel
def test_where_all_share_a_mac_each_has_a_lease_of_its_own(lan: Lan, server: Dnsmasq, weftd: Weftd) -> None:
    needs_link_kind("ipvlan")
    mac = json.loads(weftd.host.run("ip -j link show eth0").stdout)[0]["address"]
    make(weftd, driver="ipvlan")
    web, db = join(weftd, "web"), join(weftd, "db")
    assert {lease["address"] for lease in server.leases} == {address_of(web), address_of(db)}
    assert {lease["mac"] for lease in server.leases} == {mac}
    assert pings(weftd.host, web.netns, [NAS4, address_of(db)]) == [True, True]
    assert_consistent(weftd)
    weftd.client.containers.remove("web")
    eventually(lambda: [lease["name"] for lease in server.leases] == ["db"], within=3)


REFUSED = {
    "bridge": ({"driver": "bridge", "options": {}}, Invalid, "a bridge network is not on"),
    "no parent": ({"options": {}}, Invalid, "name a link of the host with --opt parent=LINK"),
    "unknown parent": ({"options": {"parent": "eth9"}}, NotFound, "did you mean 'eth0'"),
    "l3": ({"driver": "ipvlan", "options": {"parent": "eth0", "mode": "l3"}}, Invalid, "needs ipvlan's mode l2"),
    "no IPv4": ({"ipv4": False, "ipv6": True}, Invalid, "leave out --ipv4=false"),
    "range": (
        {"pools": [{"subnet": "192.168.50.0/24", "ip_range": "192.168.50.0/25"}]},
        Invalid,
        "leave out --ip-range",
    ),
    "two": ({"pools": ["192.168.50.0/24", "192.168.51.0/24"]}, Invalid, "has one IPv4 subnet"),
    "unknown": ({"ipam": "dhpc"}, NotFound, "did you mean 'dhcp'"),
    "host": (
        {"pools": ["192.168.50.0/24"], "options": {"parent": "eth0", "host-access": "true"}},
        Invalid,
        "name one that it gives to nobody",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_says_why_and_asks_nobody(weftd: Weftd, name: str) -> None:
    asked, kind, words = REFUSED[name]
    begun = time.monotonic()
    with pytest.raises(kind, match=words):
        weftd.client.networks.create(
            "lan", **{"driver": "macvlan", "options": {"parent": "eth0"}, "ipam": "dhcp", **asked}
        )
    assert time.monotonic() - begun < 5
    assert not weftd.client.networks.list()
    assert_consistent(weftd)


def test_a_name_that_is_taken_is_refused_without_asking(weftd: Weftd) -> None:
    weftd.client.networks.create("lan", pools=["10.5.0.0/24"])
    with pytest.raises(Conflict, match="'lan' already exists"):
        make(weftd)


def test_a_parent_that_is_down_is_named(weftd: Weftd) -> None:
    weftd.host.run("ip link set eth0 down")
    with pytest.raises(Unavailable, match="eth0, which is down: `ip link set eth0 up`"):
        make(weftd)


def test_edited_in_place_it_keeps_the_server_s_subnet_and_the_leases(server: Dnsmasq, weftd: Weftd) -> None:
    make(weftd)
    web = join(weftd, "web")
    with pytest.raises(Conflict, match="network 'lan' has the IPv4 subnet of its DHCP server and no other"):
        weftd.client.networks.update("lan", add_pools=["192.168.60.0/24"])
    weftd.client.networks.update("lan", name="wire", options={"mode": "private"}, add_pools=["2001:db8:50::/64"])
    assert weftd.client.networks.get("wire").ipam == "dhcp"
    late = weftd.client.containers.create(name="late", networks=["wire"])
    assert {lease["address"] for lease in server.leases} == {address_of(web), address_of(late)}
    assert (late.endpoints[0].ipv6 or "").startswith("2001:db8:50::")
    assert_consistent(weftd)
    weftd.kill()
    weftd.start()
    assert address_of(weftd.client.containers.get("web")) == address_of(web)
    assert_consistent(weftd)
