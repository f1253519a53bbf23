"""Leases as time goes by, with a server that has moods: prolonged, refused, lost, had again."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.audits import assert_consistent, resolve
from tests.daemons import Weftd
from tests.enter import inside, network
from tests.hosts import PrivateHost
from tests.kinds import needs_link_kind
from tests.system.dhcp import Leaser, moody
from tests.system.lan import NAS4, ROUTER4, Lan, lan_of
from tests.system.people import pings
from tests.system.test_dhcp import address_of, join, make
from tests.waiting import eventually
from weft.client import Container, connect
from weft.errors import Conflict, Unavailable, WeftError

pytestmark = [pytest.mark.root]

FIRST, SECOND = "192.168.50.140", "192.168.50.141"
SERVER = "192.168.50.2"
"""The second server's address, where there is one."""


@pytest.fixture
def lan(private_host: PrivateHost) -> Iterator[Lan]:
    needs_link_kind("macvlan")
    with lan_of(private_host) as lan:
        yield lan


@pytest.fixture
def server(lan: Lan, tmp_path: Path) -> Iterator[Leaser]:
    with moody(lan.switch, "br0", tmp_path / "leaser") as server:
        yield server


@pytest.fixture
def weftd(server: Leaser, lan: Lan, tmp_path: Path) -> Iterator[Weftd]:
    with Weftd(lan.host, tmp_path) as weftd:
        make(weftd)
        yield weftd


def now(weftd: Weftd, name: str = "web") -> Container:
    return weftd.client.containers.get(name)


def address(weftd: Weftd) -> str:
    return address_of(now(weftd))


def events(weftd: Weftd, action: str) -> list[dict[str, str]]:
    lines = weftd.cli("events", "--follow=false", "--filter", f"action={action}", "--json").stdout.splitlines()
    return [json.loads(line)["attributes"] for line in lines]


def whole(weftd: Weftd) -> None:
    """What was told of last is in place everywhere."""
    assert_consistent(weftd, within=2)


def test_it_is_prolonged_by_its_server(server: Leaser, weftd: Weftd) -> None:
    web = join(weftd, "web")
    first = web.endpoints[0].lease
    assert first is not None
    eventually(lambda: len(server.heard("request")) >= 3, within=8)
    renewal = server.heard("request")[1]
    assert renewal["in_use"] == FIRST
    assert renewal["at"] - first.obtained == pytest.approx(2.0, abs=0.7), "T1 is half the lease"
    assert renewal["mac"] == web.endpoints[0].mac
    later = now(weftd).endpoints[0].lease
    assert later is not None
    assert later.expires > first.expires
    assert address(weftd) == FIRST
    assert not events(weftd, "readdress")
    whole(weftd)


def test_it_is_prolonged_after_kill_and_restart(server: Leaser, weftd: Weftd) -> None:
    join(weftd, "web")
    weftd.kill()
    time.sleep(2.5)
    begun = time.time()
    weftd.start()
    eventually(lambda: server.heard("request", since=begun), within=3)
    assert server.heard("request", since=begun)[0]["in_use"] == FIRST
    assert not server.heard("release")
    assert address(weftd) == FIRST
    whole(weftd)


def test_it_is_had_again_where_weftd_was_away_too_long(server: Leaser, weftd: Weftd) -> None:
    join(weftd, "web")
    weftd.kill()
    time.sleep(4.5)
    begun = time.time()
    weftd.start()
    eventually(lambda: server.heard("request", since=begun), within=3)
    reclaim = server.heard("request", since=begun)[0]
    assert (reclaim["asked"], reclaim["in_use"], reclaim["server"]) == (FIRST, "0.0.0.0", ""), "RFC 2131, INIT-REBOOT"
    eventually(lambda: (lease := now(weftd).endpoints[0].lease) and lease.expires > time.time(), within=3)
    assert address(weftd) == FIRST
    assert not events(weftd, "readdress"), "it was never taken away"
    whole(weftd)


def test_another_address_takes_its_place_everywhere(lan: Lan, server: Leaser, weftd: Weftd) -> None:
    join(weftd, "web")
    server.turns(addresses=(SECOND, "192.168.50.142"))
    eventually(lambda: address(weftd) == SECOND, within=8)
    web = now(weftd)
    eventually(lambda: pings(weftd.host, web.netns, [NAS4, ROUTER4]) == [True, True], within=3)

    def look() -> set[str]:
        with network(web.netns):
            return resolve("web")

    assert inside(weftd.host, look) == {SECOND}
    inner = ["nsenter", f"--net={web.netns}"]
    assert FIRST not in weftd.host.run([*inner, "ip", "address"]).stdout
    assert f"default via {ROUTER4}" in weftd.host.run([*inner, "ip", "route"]).stdout
    assert not events(weftd, "heal"), "nothing was left to be found missing"
    told = events(weftd, "readdress")[-1]
    assert (told["container"], told["old"], told["new"]) == ("web", f"{FIRST}/24", f"{SECOND}/24")
    whole(weftd)
    weftd.restart()
    assert address(weftd) == SECOND
    whole(weftd)


def test_any_server_prolongs_it_when_its_own_is_gone(lan: Lan, server: Leaser, weftd: Weftd, tmp_path: Path) -> None:
    join(weftd, "web")
    lan.nas.run(f"ip address add {SERVER}/24 dev eth0")
    server.turns(manner="silent")
    with moody(lan.nas, "eth0", tmp_path / "other", server=SERVER, addresses=(FIRST,)) as other:
        eventually(lambda: (lease := now(weftd).endpoints[0].lease) and lease.server == SERVER, within=8)
        assert other.heard("request")[0]["in_use"] == FIRST
        assert address(weftd) == FIRST
        assert not events(weftd, "readdress")


def test_a_lease_that_runs_out_is_let_go_and_another_is_asked_for(server: Leaser, weftd: Weftd) -> None:
    server.turns(seconds=6, times=(1, 2))
    web = join(weftd, "web")
    server.turns(manner="silent")
    eventually(lambda: "no DHCP server prolongs" in weftd.cli("doctor", check=False).stdout, within=6)
    eventually(lambda: now(weftd).endpoints[0].ipv4 is None, within=6)
    inner = ["nsenter", f"--net={web.netns}"]
    eventually(lambda: FIRST not in weftd.host.run([*inner, "ip", "address"]).stdout)
    assert "container web has no address on network lan: its lease ran out" in weftd.cli("doctor", check=False).stdout
    assert f"{FIRST} is lost" in weftd.cli("explain", "web", check=False).stdout
    assert events(weftd, "readdress")[-1]["new"] == ""
    whole(weftd)
    weftd.restart()
    assert now(weftd).endpoints[0].ipv4 is None
    server.turns()
    eventually(lambda: address(weftd) == FIRST, within=15)
    eventually(lambda: pings(weftd.host, web.netns, [NAS4]) == [True], within=3)
    whole(weftd)
    weftd.client.containers.remove("web")
    eventually(lambda: server.heard("release"), within=3)


def test_a_renamed_container_tells_its_new_name(server: Leaser, weftd: Weftd) -> None:
    join(weftd, "web")
    weftd.client.containers.rename("web", "www")
    eventually(lambda: server.heard("request")[-1]["name"] == "www", within=6)


def test_an_address_that_somebody_has_is_declined(lan: Lan, server: Leaser, weftd: Weftd) -> None:
    lan.nas.run(f"ip address add {FIRST}/32 dev eth0")
    assert address_of(join(weftd, "web")) == SECOND
    assert [said["asked"] for said in server.heard("decline")] == [FIRST]


def test_lies_are_not_believed(server: Leaser, weftd: Weftd) -> None:
    server.turns(manner="lie")
    with pytest.raises(Unavailable, match="no DHCP server answers"):
        join(weftd, "web")
    assert not server.heard("request")
    server.turns(mask=None, router=None, addresses=("10.66.0.9",))
    with pytest.raises(Conflict, match=r"10\.66\.0\.9, which is not in the subnet 192\.168\.50\.0/24"):
        join(weftd, "web")
    server.turns(addresses=(ROUTER4,), server="192.168.50.3", router=None)
    with pytest.raises(Conflict, match=r"offers 192\.168\.50\.1, but 192\.168\.50\.1 is reserved: it is the network's"):
        join(weftd, "web")
    whole(weftd)


def test_a_refusal_is_told(server: Leaser, weftd: Weftd) -> None:
    server.turns(manner="nak")
    with pytest.raises(Unavailable, match=rf"DHCP server {ROUTER4} refuses {FIRST} \(go off\)"):
        join(weftd, "web")
    whole(weftd)


def test_of_two_servers_the_one_that_will_do_is_taken(lan: Lan, server: Leaser, weftd: Weftd, tmp_path: Path) -> None:
    """The other is quicker, but of another subnet."""
    lan.nas.run(f"ip address add {SERVER}/24 dev eth0")
    server.turns(delay=0.5)
    with moody(lan.nas, "eth0", tmp_path / "rogue", server=SERVER, addresses=("10.66.0.9",)) as rogue:
        web = join(weftd, "web")
        assert address_of(web) == FIRST
        assert web.endpoints[0].lease is not None
        assert web.endpoints[0].lease.server == ROUTER4
        assert [said["server"] for said in rogue.heard("request")] == [ROUTER4], "it hears that it was not chosen"


def test_a_slow_server_holds_up_nobody_else(server: Leaser, weftd: Weftd) -> None:
    weftd.client.networks.create("front", pools=["10.5.0.0/24"])
    server.turns(delay=2.5)
    joined: list[float] = []

    def join_slowly() -> None:
        with connect(f"unix://{weftd.socket}") as another:
            another.containers.create(name="web", networks=["lan"])
        joined.append(time.monotonic())

    waiting = threading.Thread(target=join_slowly)
    begun = time.monotonic()
    waiting.start()
    eventually(lambda: len(server.heard("discover")) == 2, within=3)
    for number in range(5):
        weftd.client.containers.create(name=f"quick{number}", networks=["front"])
    weftd.client.networks.list()
    others = time.monotonic()
    waiting.join()
    assert joined, weftd.log()
    assert joined[0] - begun > 2.5
    assert others < joined[0] - 1.5, "they did not wait for it"


def test_what_a_dead_weftd_was_about_to_have_is_given_back(server: Leaser, weftd: Weftd) -> None:
    server.turns(manner="offer only")

    def join_in_vain() -> None:
        with connect(f"unix://{weftd.socket}") as another, contextlib.suppress(WeftError):
            another.containers.create(name="web", networks=["lan"])

    waiting = threading.Thread(target=join_in_vain)
    waiting.start()
    eventually(lambda: server.heard("request"), within=5)
    weftd.kill()
    waiting.join()
    server.turns()
    weftd.start()
    eventually(lambda: server.heard("release"), within=3)
    assert not weftd.client.containers.list(all=True)
    time.sleep(0.3)
    weftd.restart()
    time.sleep(0.5)
    assert len(server.heard("release")) == 1, "it has been forgotten"
    whole(weftd)
