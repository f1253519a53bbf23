"""Containers on the LAN behind the host's eth0, each with a MAC of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.audits import assert_consistent, resolve
from tests.daemons import Weftd
from tests.enter import inside, network
from tests.hosts import PrivateHost
from tests.kinds import needs_link_kind
from tests.system.frames import who_has
from tests.system.lan import BEYOND4, BEYOND6, HOST4, HOST6, NAS4, NAS6, ROUTER4, ROUTER6, Lan, lan_of
from tests.system.people import SILENCE, Listener, Question, ask, listening, pings
from tests.waiting import PACE, eventually
from weft.client import Container, Publish
from weft.errors import Conflict, Exhausted, Invalid, NotFound

pytestmark = pytest.mark.root

SUBNET4, SUBNET6 = "192.168.50.0/24", "2001:db8:50::/64"
LIMIT = 3.0 * PACE
"""Seconds until a network is whole again after its parent is back."""


@pytest.fixture
def lan(private_host: PrivateHost) -> Iterator[Lan]:
    needs_link_kind("macvlan")
    with lan_of(private_host) as lan:
        yield lan


@pytest.fixture
def weftd(lan: Lan, tmp_path: Path) -> Iterator[Weftd]:
    with Weftd(lan.host, tmp_path) as weftd:
        yield weftd


def make(weftd: Weftd, name: str = "lan", pools: Sequence[object] | None = None, **options: str) -> None:
    asked = pools or [{"subnet": SUBNET4, "gateway": ROUTER4, "ip_range": "192.168.50.128/25"}]
    options = {"parent": "eth0", **{key.replace("host_access", "host-access"): v for key, v in options.items()}}
    weftd.client.networks.create(name, driver="macvlan", pools=asked, options=options)


def join(weftd: Weftd, name: str, *networks: object, **options: object) -> Container:
    return weftd.client.containers.create(name=name, networks=networks or ["lan"], **options)


def reaches(weftd: Weftd, netns: str, *addresses: str) -> list[bool]:
    return pings(weftd.host, netns or "/proc/self/ns/net", addresses)


def soon(weftd: Weftd, netns: str, *addresses: str) -> bool:
    """Whether they are reached by the time that a wire plugged in anew takes to be one."""
    end = time.monotonic() + LIMIT
    while not all(reaches(weftd, netns, *addresses)):
        if time.monotonic() > end:
            return False
    return True


def shim_of(weftd: Weftd, name: str = "lan") -> str:
    return f"ws-{weftd.client.networks.get(name).id[:12]}"


def links_of(weftd: Weftd) -> set[str]:
    """The host's, but those that weftd makes ahead."""
    listed = json.loads(weftd.host.run("ip -j link").stdout)
    return {link["ifname"] for link in listed if not link["ifname"].startswith("wv-")}


def test_the_lan_and_a_container_reach_each_other(lan: Lan, weftd: Weftd) -> None:
    pools = [{"subnet": SUBNET4, "gateway": ROUTER4}, {"subnet": SUBNET6, "gateway": ROUTER6}]
    weftd.client.networks.create("lan", driver="macvlan", ipv6=True, pools=pools, options={"parent": "eth0"})
    web = join(weftd, "web", {"network": "lan", "ip": "192.168.50.200", "ip6": "2001:db8:50::200"})
    assert reaches(weftd, web.netns, NAS4, NAS6, BEYOND4, BEYOND6) == [True] * 4
    with listening(weftd, Listener("web", web.netns)):
        answers = ask(
            weftd.host,
            Question(lan.nas.path, "192.168.50.200", 80),
            Question(lan.nas.path, "2001:db8:50::200", 80),
            Question("", "192.168.50.200", 80),
        )
    assert answers == [f"web {NAS4}", f"web {NAS6}", SILENCE], "no NAT; and the kernel keeps parent and children apart"
    assert reaches(weftd, web.netns, HOST4, HOST6) == [False, False]
    assert_consistent(weftd)
    assert weftd.client.networks.get("lan").parent == "eth0"
    shown = weftd.client.containers.get("web").endpoints[0]
    assert (shown.gateway4, shown.gateway6, shown.mac) == (ROUTER4, ROUTER6, "02:42:c0:a8:32:c8")


def test_the_host_routes_nothing_for_it(weftd: Weftd) -> None:
    make(weftd)
    join(weftd, "web")
    assert weftd.host.run("sysctl -n net.ipv4.ip_forward").stdout.strip() == "0"
    assert not any("192.168.50" in line for line in weftd.host.run("nft list ruleset").stdout.splitlines())


def test_names_are_known_at_once(weftd: Weftd) -> None:
    make(weftd)
    web, db = join(weftd, "web"), join(weftd, "db")

    def look() -> set[str]:
        with network(web.netns):
            return resolve("db")

    assert inside(weftd.host, look) == {(db.endpoints[0].ipv4 or "").split("/")[0]}


MODES = {"bridge": [True, True], "private": [False, True], "vepa": [False, True]}


@pytest.mark.parametrize("mode", MODES)
def test_a_mode_says_who_reaches_whom(weftd: Weftd, mode: str) -> None:
    make(weftd, macvlan_mode=mode) if mode == "bridge" else make(weftd, mode=mode)
    web = join(weftd, "web")
    join(weftd, "db", {"network": "lan", "ip": "192.168.50.201"})
    assert reaches(weftd, web.netns, "192.168.50.201", NAS4) == MODES[mode]


def test_in_mode_vepa_the_switch_may_send_it_back(lan: Lan, weftd: Weftd) -> None:
    lan.reflect()
    make(weftd, mode="vepa")
    web = join(weftd, "web")
    join(weftd, "db", {"network": "lan", "ip": "192.168.50.201"})
    assert reaches(weftd, web.netns, "192.168.50.201") == [True]


def test_passthru_is_for_one_container(lan: Lan, weftd: Weftd) -> None:
    mac = json.loads(weftd.host.run("ip -j link show eth0").stdout)[0]["address"]
    make(weftd, mode="passthru")
    with pytest.raises(Conflict, match="passthru needs a parent alone"):
        make(weftd, "other", ["192.168.51.0/24"])
    with pytest.raises(Invalid, match="have that of eth0"):
        join(weftd, "web", {"network": "lan", "mac": "02:00:00:00:00:09"})
    for number in (1, 2):
        web = join(weftd, f"web{number}")
        assert reaches(weftd, web.netns, NAS4) == [True]
        assert mac in weftd.host.run(["nsenter", f"--net={web.netns}", "ip", "link", "show", "eth0"]).stdout
        with pytest.raises(Exhausted, match=f"'web{number}' has eth0 to itself"):
            join(weftd, "second")
        assert_consistent(weftd)
        weftd.client.containers.remove(web.id)


def test_two_networks_on_one_parent(lan: Lan, weftd: Weftd) -> None:
    make(weftd)
    make(weftd, "more", ["192.168.51.0/24"])
    web = join(weftd, "web", "lan", "more")
    assert reaches(weftd, web.netns, NAS4) == [True]
    weftd.client.networks.disconnect("lan", "web")
    assert_consistent(weftd)
    weftd.client.networks.remove("lan")
    weftd.client.containers.remove("web")
    weftd.client.networks.remove("more")
    assert_consistent(weftd)


# The host


def test_with_host_access_host_and_containers_talk(lan: Lan, weftd: Weftd) -> None:
    before = weftd.host.run("ip -o -4 address show eth0").stdout
    pools = [{"subnet": SUBNET4, "ip_range": "192.168.50.128/25"}, {"subnet": SUBNET6}]
    options = {"parent": "eth0", "host-access": "192.168.50.130,2001:db8:50::130"}
    weftd.client.networks.create("lan", driver="macvlan", ipv6=True, pools=pools, options=options)
    web = join(weftd, "web", {"network": "lan", "ip": "192.168.50.200", "ip6": "2001:db8:50::200"})
    with listening(weftd, Listener("web", web.netns)):
        answers = ask(
            weftd.host,
            Question("", "192.168.50.200", 80),
            Question("", "2001:db8:50::200", 80),
            Question(lan.nas.path, "192.168.50.200", 80),
        )
    assert answers == ["web 192.168.50.130", "web 2001:db8:50::130", f"web {NAS4}"]
    assert reaches(weftd, web.netns, "192.168.50.130", "2001:db8:50::130", NAS4) == [True, True, True]
    assert reaches(weftd, "", NAS4, NAS6) == [True, True], "the way to the LAN is the parent's"
    assert weftd.host.run("ip -o -4 address show eth0").stdout == before
    assert_consistent(weftd)
    weftd.client.containers.remove("web")
    eventually(lambda: "192.168.50.200" not in weftd.host.run("ip route").stdout)
    weftd.client.networks.remove("lan")
    assert_consistent(weftd)
    assert "ws-" not in weftd.host.run("ip link").stdout


def test_the_hosts_address_is_set_aside_and_nobody_takes_the_shim_for_the_host(lan: Lan, weftd: Weftd) -> None:
    make(weftd, host_access="true")
    web = join(weftd, "web")
    aux = weftd.client.networks.get("lan").pools[0].aux["host-access"]
    assert aux == "192.168.50.128"
    with pytest.raises(Conflict, match="set aside as 'host-access'"):
        join(weftd, "db", {"network": "lan", "ip": aux})
    assert reaches(weftd, web.netns, aux) == [True]
    own = json.loads(weftd.host.run("ip -j link show eth0").stdout)[0]["address"]

    def ask_who_has(address: str) -> set[str]:
        with network(lan.nas.path):
            return who_has("eth0", address, own=NAS4, seconds=0.3 * PACE)

    assert inside(weftd.host, lambda: ask_who_has(HOST4)) == {own}
    assert inside(weftd.host, lambda: ask_who_has(aux)) >= {"02:42:c0:a8:32:80"}


# Where no IPv6 was asked for, and where it was


@pytest.mark.statement(10)
def test_not_even_in_the_moment_of_joining(lan: Lan, weftd: Weftd) -> None:
    make(weftd)
    command = [sys.executable, "-P", "-m", "tests.system.frames", "2001:db8:bad::"]
    with lan.nas.popen(command, stdout=subprocess.PIPE, env=weftd.environment) as flooding:
        assert flooding.stdout is not None
        assert flooding.stdout.readline() == "ready\n"
        try:
            for number in range(10):
                web = join(weftd, f"web{number}")
                inner = ["nsenter", f"--net={web.netns}", "ip", "-6", "-o", "address", "show", "dev", "eth0"]
                assert weftd.host.run(inner).stdout == ""
        finally:
            flooding.kill()


@pytest.mark.statement(17)
def test_who_remembers_another_mac_is_told(lan: Lan, weftd: Weftd) -> None:
    make(weftd)
    lan.knows("192.168.50.200", "02:00:00:00:00:99")
    join(weftd, "web", {"network": "lan", "ip": "192.168.50.200"})
    end = time.monotonic() + 1 * PACE
    while "02:42:c0:a8:32:c8" not in (known := lan.nas.run("ip neigh show 192.168.50.200").stdout):
        assert time.monotonic() < end, known
        time.sleep(0.01)


# Without a parent


def test_without_a_parent_it_is_internal(lan: Lan, weftd: Weftd) -> None:
    made = weftd.client.networks.create("alone", driver="macvlan", pools=["10.9.0.0/24"])
    assert made.internal
    web, db = join(weftd, "web", "alone"), join(weftd, "db", "alone")
    address = (db.endpoints[0].ipv4 or "").split("/")[0]
    assert reaches(weftd, web.netns, address, NAS4, HOST4) == [True, False, False]
    assert_consistent(weftd)
    for name in ("web", "db"):
        weftd.client.containers.remove(name)
    weftd.client.networks.remove("alone")
    assert_consistent(weftd)
    assert "wd-" not in weftd.host.run("ip link").stdout


# Refusals


REFUSED = {
    "unknown parent": ({"parent": "eth1"}, NotFound, "did you mean 'eth0'"),
    "lo": ({"parent": "lo"}, Invalid, "lo leads nowhere"),
    "mode": ({"parent": "eth0", "mode": "bridged"}, Invalid, "is none of bridge, private"),
    "vlan": ({"parent": "eth0.4095"}, Invalid, "between 1 and 4094"),
    "no such base": ({"parent": "eht0.10"}, NotFound, "did you mean 'eth0'"),
    "option": ({"parnet": "eth0"}, Invalid, "unknown option 'parnet'"),
    "mtu": ({"parent": "eth0", "mtu": "9"}, Invalid, "not between"),
    "host access": ({"parent": "eth0", "host-access": "10.0.0.1"}, Invalid, "is not in 192.168.50.0/24"),
    "host access, mode": ({"parent": "eth0", "host-access": "on", "mode": "vepa"}, Invalid, "needs mode bridge"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_says_why_and_changes_nothing(weftd: Weftd, name: str) -> None:
    options, kind, words = REFUSED[name]
    before = links_of(weftd)
    with pytest.raises(kind, match=words):
        weftd.client.networks.create("lan", driver="macvlan", pools=[SUBNET4], options=options)
    assert links_of(weftd) == before
    assert not weftd.client.networks.list()
    assert_consistent(weftd)


def test_the_parents_own_subnet_may_be_shared_and_no_other(weftd: Weftd) -> None:
    weftd.host.run("ip link add vpn0 type veth peer name vpn1")
    weftd.host.run("ip address add 10.99.0.1/24 dev vpn0")
    weftd.host.run("ip link set vpn0 up")
    weftd.host.run("ip link set vpn1 up")
    weftd.host.run(f"ip route add 10.98.0.0/24 via {ROUTER4}")
    for subnet in ("10.99.0.0/24", "10.98.0.0/16"):
        with pytest.raises(Conflict, match="a route of this host"):
            make(weftd, pools=[subnet])
    with pytest.raises(Conflict, match="a route of this host"):
        weftd.client.networks.create("front", pools=[SUBNET4])
    make(weftd)
    assert "overlaps the host's route" not in weftd.cli("doctor", check=False).stdout


def test_ports_are_published_by_another_network_or_not_at_all(weftd: Weftd) -> None:
    make(weftd)
    with pytest.raises(
        Invalid, match=r"leads no ports to container 'web' on 'lan' \(macvlan\); a bridge network would"
    ):
        join(weftd, "web", ports=[Publish(80, 8080)])
    weftd.client.networks.create("front", pools=["10.5.0.0/24"])
    web = join(weftd, "web", "lan", {"network": "front", "gw_priority": 1}, ports=[Publish(80, 8080)])
    with listening(weftd, Listener("web", web.netns)):
        assert ask(weftd.host, Question("", "127.0.0.1", 8080))[0].startswith("web")
    assert_consistent(weftd)


def test_internal_and_a_parent_do_not_go_together(weftd: Weftd) -> None:
    with pytest.raises(Invalid, match="cannot be internal: its parent eth0 leads out"):
        weftd.client.networks.create("lan", driver="macvlan", internal=True, options={"parent": "eth0"})


# Coming and going


def test_an_address_is_had_again_at_once(weftd: Weftd) -> None:
    make(weftd)
    for _ in range(5):
        web = join(weftd, "web", {"network": "lan", "ip": "192.168.50.200"})
        assert reaches(weftd, web.netns, NAS4) == [True]
        weftd.client.containers.remove("web")


def test_a_namespace_of_somebody_elses_is_left_as_it_was(weftd: Weftd) -> None:
    make(weftd)
    with weftd.host.container() as theirs:
        theirs.run("ip link add eth0 type veth peer name other")
        with pytest.raises(Conflict, match="exists already"):
            join(weftd, "web", netns=theirs.path)
        theirs.run("ip link del eth0")
        join(weftd, "web", netns=theirs.path)
        assert "macvlan" in theirs.run("ip -d link show eth0").stdout
        weftd.client.containers.remove("web")
        assert "eth0" not in theirs.run("ip link").stdout
        assert_consistent(weftd)


def test_a_running_container_is_connected_and_disconnected(weftd: Weftd) -> None:
    make(weftd)
    weftd.client.networks.create("front", pools=["10.5.0.0/24"])
    web = join(weftd, "web", "front")
    for _ in range(2):
        weftd.client.networks.connect("lan", "web")
        assert reaches(weftd, web.netns, NAS4) == [True]
        weftd.client.networks.disconnect("lan", "web")
        assert_consistent(weftd)


# Damage


def until_whole(weftd: Weftd) -> None:
    assert_consistent(weftd, within=LIMIT)


DAMAGE = {
    "eth0 deleted": "ip link del eth0",
    "eth0 down": "ip link set eth0 down",
    "address removed": "ip address flush dev eth0",
    "way out removed": "ip route del default",
    "mac changed": "ip link set eth0 address 02:00:00:00:00:77",
}


def test_what_somebody_breaks_is_mended(weftd: Weftd) -> None:
    make(weftd, host_access="true")
    web = join(weftd, "web")
    own = (web.endpoints[0].ipv4 or "").split("/")[0]
    for name, command in DAMAGE.items():
        weftd.host.run(["nsenter", f"--net={web.netns}", *command.split()])
        if name == "mac changed":  # nothing went away: an audit finds it
            weftd.client.wire.call("POST", "/doctor/fix")
        until_whole(weftd)
        assert reaches(weftd, web.netns, NAS4) == [True], name
    shim = shim_of(weftd)
    for command in (f"ip link del {shim}", f"ip link set {shim} down", f"ip route del {own} dev {shim}"):
        weftd.host.run(command)
        until_whole(weftd)
        assert reaches(weftd, "", own) == [True], command


def test_a_parent_that_is_lost_and_comes_back(lan: Lan, weftd: Weftd) -> None:
    make(weftd, host_access="true")
    web = join(weftd, "web")
    weftd.host.run("ip link del eth0")
    time.sleep(0.2 * PACE)
    assert "eth0 is gone, the parent of network lan" in weftd.cli("doctor", check=False).stdout
    shown = weftd.cli("explain", "web", check=False).stdout
    assert "✗ eth0 is the parent of macvlan links" in shown
    assert "✗ eth0, macvlan of eth0" in shown
    lan.plug_host()
    until_whole(weftd)
    assert soon(weftd, web.netns, NAS4)
    assert weftd.log().count("cannot restore network") == 1, "it is said once, however often it is tried"


def test_restart_is_invisible(lan: Lan, weftd: Weftd) -> None:
    make(weftd, host_access="true")
    web = join(weftd, "web")

    def number() -> int:
        """Another if the link was made anew."""
        listed = weftd.host.run(["nsenter", f"--net={web.netns}", "ip", "-j", "link", "show", "eth0"]).stdout
        return int(json.loads(listed)[0]["ifindex"])

    before = number()
    weftd.kill()
    assert reaches(weftd, web.netns, NAS4) == [True]
    weftd.start()
    assert_consistent(weftd)
    assert number() == before
    assert reaches(weftd, web.netns, NAS4) == [True]


def test_a_parent_that_was_lost_while_weftd_was_away(lan: Lan, weftd: Weftd) -> None:
    make(weftd)
    web = join(weftd, "web")
    weftd.kill()
    weftd.host.run("ip link del eth0")
    weftd.start()
    lan.plug_host()
    until_whole(weftd)
    assert soon(weftd, web.netns, NAS4)


# Explaining


def test_the_ways_of_packets_are_explained(lan: Lan, weftd: Weftd) -> None:
    make(weftd)
    web = join(weftd, "web", {"network": "lan", "ip": "192.168.50.200"})
    join(weftd, "db", {"network": "lan", "ip": "192.168.50.201"})
    says = {
        "db:80": "the kernel passes it on beneath eth0",
        HOST4: "do not reach each other through eth0",
        NAS4: "is asked for on the wire of eth0",
        BEYOND4: "leaves through eth0 as it is",
    }
    with listening(weftd, Listener("db", "")):
        for target, words in says.items():
            assert words in weftd.cli("explain", "web", "--to", target, check=False).stdout.replace("\n    ", " ")
    assert "every port is open there" in weftd.cli("explain", "outside", "--to", "web", check=False).stdout
    assert "do not reach each other" in weftd.cli("explain", "host", "--to", "web", check=False).stdout
    assert "All" in weftd.cli("explain", "web").stdout
    assert "web at 192.168.50.200" in weftd.cli("explain", "network", "lan", check=False).stdout or web
    assert weftd.cli("stats", "--no-stream", "web", check=False).stdout


def test_a_policy_that_no_rule_of_weft_could_enforce_is_refused(weftd: Weftd) -> None:
    make(weftd)
    refused = weftd.cli("network", "policy", "lan", "--deny", "192.0.2.0/24", check=False)
    assert refused.returncode == 1
    assert "'lan'" in refused.stderr
