"""Limits of bandwidth hold for real traffic, in each direction, and for nobody else; whatever happens, they stay."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.audits import assert_consistent
from tests.daemons import Weftd
from tests.hosts import needs_root
from tests.kinds import needs_link_kind
from tests.waiting import eventually
from weft.client import Attachment, Client, Container
from weft.errors import Invalid, NotFound
from weft.names import veth

MBIT = 1e6
SECONDS = 2
PORT = 5201


@pytest.fixture
def client(weftd: Weftd) -> Iterator[Client]:
    """With a network `front` of both families and nobody on it but `far`, who has no limits."""
    needs_root("containers run processes of their own")
    weftd.client.networks.create("front", ipv6=True, pools=["10.5.0.0/24", "fd05::/64"])
    weftd.client.containers.create(name="far", networks=["front"])
    yield weftd.client
    for container in weftd.client.containers.list(all=True):
        weftd.client.containers.remove(container, force=True)
    weftd.client.networks.remove("front")
    assert_consistent(weftd)


def limited(client: Client, name: str = "web", **options: str) -> Container:
    given = {key.replace("_", "-"): value for key, value in options.items()}
    return client.containers.create(name=name, networks=[Attachment("front", options=given)])


def address(client: Client, name: str, version: int) -> str:
    (endpoint,) = client.containers.get(name).endpoints
    interface = endpoint.ipv4 if version == 4 else endpoint.ipv6
    assert interface is not None
    return interface.partition("/")[0]


@contextmanager
def serving(weftd: Weftd, name: str) -> Iterator[None]:
    """iperf3's server in a container."""
    key = weftd.client.containers.get(name).netns
    command = ["nsenter", f"--net={key}", "iperf3", "-s", "-p", str(PORT)]
    server = weftd.host.popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        eventually(lambda: f":{PORT} " in weftd.sandbox(name, "ss", "-Hltn").stdout)
        yield
    finally:
        server.terminate()
        server.wait()


def measured(weftd: Weftd, source: str, target: str, *more: str, version: int = 4) -> float:
    """Bits a second of payload that arrive at `target`, where iperf3 serves, from `source`."""
    where = address(weftd.client, target, version)
    command = ["iperf3", "-J", "-c", where, "-p", str(PORT), "-t", str(SECONDS), *more]
    said: dict[str, Any] = json.loads(weftd.sandbox(source, *command, timeout=30).stdout)
    end = said["end"]
    # Of UDP the sum is the sender's, and how much of it was lost is the receiver's.
    if "-u" in more:
        return float(end["sum"]["bits_per_second"]) * (1 - float(end["sum"]["lost_percent"]) / 100)
    return float(end["sum_received"]["bits_per_second"])


UDP = ("-u", "-b", "400M", "-l", "1400")


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("kind", [(), UDP], ids=["tcp", "udp"])
def test_each_direction_has_its_own_rate(weftd: Weftd, client: Client, kind: tuple[str, ...], version: int) -> None:
    limited(client, bandwidth_in="20mbit", bandwidth_out="100mbit")
    with serving(weftd, "web"), serving(weftd, "far"):
        inward = measured(weftd, "far", "web", *kind, version=version)
        outward = measured(weftd, "web", "far", *kind, version=version)
    assert inward == pytest.approx(20 * MBIT, rel=0.1)
    assert outward == pytest.approx(100 * MBIT, rel=0.1)


@pytest.mark.parametrize(("rate", "bits"), [("5mbit", 5 * MBIT), ("1gbit", 1000 * MBIT)])
def test_slow_and_fast_rates_are_held_as_well(weftd: Weftd, client: Client, rate: str, bits: float) -> None:
    limited(client, bandwidth_in=rate, bandwidth_out=rate)
    client.containers.create(name="free", networks=["front"])
    with serving(weftd, "web"), serving(weftd, "far"):
        unlimited = measured(weftd, "free", "far")
        if unlimited < 1.3 * bits:
            pytest.skip(
                f"this machine passes {unlimited / MBIT:.0f} mbit between containers: too few to limit to {rate}"
            )
        assert measured(weftd, "far", "web") == pytest.approx(bits, rel=0.1)
        assert measured(weftd, "web", "far") == pytest.approx(bits, rel=0.1)


def test_neighbours_are_not_slowed_down(weftd: Weftd, client: Client) -> None:
    limited(client, bandwidth_in="5mbit", bandwidth_out="5mbit")
    limited(client, "other", bandwidth_in="50mbit")
    client.containers.create(name="free", networks=["front"])
    with serving(weftd, "other"), serving(weftd, "far"):
        busy = [weftd.client.containers.get("web").netns, address(client, "far", 4)]
        command = ["nsenter", f"--net={busy[0]}", "iperf3", "-c", busy[1], "-p", str(PORT), "-t", "30"]
        load = weftd.host.popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            assert measured(weftd, "free", "other") == pytest.approx(50 * MBIT, rel=0.1)
        finally:
            load.terminate()
            load.wait()
        assert load.returncode != 0, "it was at it all the time"
    with serving(weftd, "far"):
        assert measured(weftd, "free", "far") > 100 * MBIT


def test_who_waits_does_not_wait_long(weftd: Weftd, client: Client) -> None:
    limited(client, bandwidth_in="20mbit")
    with serving(weftd, "web"):
        key, where = weftd.client.containers.get("far").netns, address(client, "web", 4)
        command = ["nsenter", f"--net={key}", "iperf3", "-c", where, "-p", str(PORT), "-t", "30"]
        load = weftd.host.popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            shown = weftd.sandbox("far", "ping", "-q", "-i", "0.05", "-c", "30", where).stdout
        finally:
            load.terminate()
            load.wait()
    longest = float(shown.rsplit("=", 1)[1].split("/")[2])
    assert 5 < longest < 80  # 50 ms, and what the burst lasts


def roots(weftd: Weftd, name: str) -> tuple[str, str]:
    """The queues of the two ends of a container's first interface."""
    (endpoint, *_) = weftd.client.containers.get(name).endpoints
    outer = weftd.host.run(["tc", "qdisc", "show", "dev", veth(endpoint.id)]).stdout
    return outer, weftd.sandbox(name, "tc", "qdisc", "show", "dev", endpoint.ifname).stdout


def assert_held(weftd: Weftd, name: str = "web") -> None:
    outer, inner = roots(weftd, name)
    assert "tbf" in outer
    assert "rate 20Mbit" in outer
    assert "rate 10Mbit" in inner


def test_what_was_deleted_comes_back_at_once(weftd: Weftd, client: Client) -> None:
    web = limited(client, bandwidth_in="20mbit", bandwidth_out="10mbit")
    assert_held(weftd)
    weftd.host.run(["tc", "qdisc", "del", "dev", veth(web.endpoints[0].id), "root"])
    eventually(lambda: "rate 20Mbit" in roots(weftd, "web")[0])
    weftd.sandbox("web", "tc", "qdisc", "del", "dev", "eth0", "root")
    eventually(lambda: "rate 10Mbit" in roots(weftd, "web")[1])
    weftd.sandbox("web", "tc", "qdisc", "replace", "dev", "eth0", "root", "pfifo")
    eventually(lambda: "rate 10Mbit" in roots(weftd, "web")[1])
    assert_consistent(weftd)


def test_doctor_and_explain_name_what_was_changed(weftd: Weftd, client: Client) -> None:
    web = limited(client, bandwidth_in="20mbit", bandwidth_out="10mbit")
    outer = veth(web.endpoints[0].id)
    shown = weftd.cli("explain", "web").stdout
    assert f"a limit of 20 Mbit/s to what it receives, 25,000 bytes at once (on {outer})" in shown
    assert "a limit of 10 Mbit/s to what it sends, 16,384 bytes at once (on eth0)" in shown
    weftd.host.run(f"tc qdisc change dev {outer} root tbf rate 30mbit burst 25000b limit 150000b")
    assert "30000000 bit/s" in weftd.cli("explain", "web", check=False).stdout
    assert "container web lacks a limit of 20 Mbit/s" in " ".join(weftd.cli("doctor", check=False).stdout.split())
    weftd.restart()
    eventually(lambda: "rate 20Mbit" in roots(weftd, "web")[0])
    assert_consistent(weftd)


def test_they_outlive_weftd_and_are_remembered(weftd: Weftd, client: Client) -> None:
    limited(client, bandwidth_in="20mbit", bandwidth_out="10mbit")
    weftd.kill()
    weftd.start()
    assert_held(weftd)
    (endpoint,) = weftd.client.containers.get("web").endpoints
    assert endpoint.options == {"bandwidth-in": "20mbit", "bandwidth-out": "10mbit"}
    assert_consistent(weftd)


def test_connecting_and_disconnecting_bring_and_take_them(weftd: Weftd, client: Client) -> None:
    client.networks.create("back")
    client.containers.create(name="web", networks=["back"])
    try:
        assert "tbf" not in "".join(roots(weftd, "web"))
        weftd.cli("network", "connect", "--driver-opt", "bandwidth-out=10mbit", "front:bandwidth-in=20mbit", "web")
        assert "rate 10Mbit" in weftd.sandbox("web", "tc", "qdisc", "show", "dev", "eth1").stdout
        weftd.cli("network", "disconnect", "front", "web")
        eventually(lambda: "tbf" not in weftd.host.run("tc qdisc show").stdout)  # the link goes a moment later
        assert "tbf" not in weftd.sandbox("web", "tc", "qdisc", "show").stdout
        assert_consistent(weftd)
    finally:
        client.containers.remove("web", force=True)
        client.networks.remove("back")


def test_a_limit_is_changed_while_a_connection_goes_on(weftd: Weftd, client: Client) -> None:
    limited(client, bandwidth_in="5mbit", bandwidth_out="10mbit")
    with serving(weftd, "web"):
        key, where = client.containers.get("far").netns, address(client, "web", 4)
        command = ["nsenter", f"--net={key}", "iperf3", "-J", "-c", where, "-p", str(PORT), "-t", "6"]
        load = weftd.host.popen(command, stdout=subprocess.PIPE)
        time.sleep(2.5)
        weftd.cli("network", "limit", "front", "web", "--in", "50mbit")
        said = json.loads(load.communicate(timeout=20)[0])
    rates = [interval["sum"]["bits_per_second"] for interval in said["intervals"]]
    assert rates[1] == pytest.approx(5 * MBIT, rel=0.3)
    assert rates[4] == pytest.approx(50 * MBIT, rel=0.1)
    assert client.containers.get("web").endpoints[0].options == {"bandwidth-in": "50mbit", "bandwidth-out": "10mbit"}
    assert_consistent(weftd)


def test_limits_come_and_go_while_it_runs(weftd: Weftd, client: Client) -> None:
    client.containers.create(name="web", networks=["front"])
    assert "tbf" not in "".join(roots(weftd, "web"))
    weftd.cli("network", "limit", "front", "web", "--in", "20mbit", "--out", "10mbit", "--out-burst", "64KiB")
    assert_held(weftd)
    assert "burst 64Kb" in roots(weftd, "web")[1]
    assert_consistent(weftd)
    client.networks.adjust("front", "web", {"bandwidth-out": "20mbit"})
    assert "burst 64Kb" in roots(weftd, "web")[1]
    weftd.cli("network", "limit", "front", "web", "--out", "default")
    assert_consistent(weftd)
    weftd.restart()
    assert "rate 20Mbit" in roots(weftd, "web")[0]
    assert "tbf" not in roots(weftd, "web")[1]
    weftd.cli("network", "limit", "front", "web", "--in", "none")
    assert "tbf" not in "".join(roots(weftd, "web"))
    assert_consistent(weftd)


def test_a_change_that_is_refused_leaves_all_as_it_was(weftd: Weftd, client: Client) -> None:
    limited(client, bandwidth_in="20mbit", bandwidth_out="10mbit")
    refused: list[tuple[dict[str, str | None], str]] = [
        ({"bandwidth-in": "10"}, "is no rate"),
        ({"bandwidth-in": None, "bandwidth-in-burst": "64KiB"}, "a burst of what"),
        ({"speed": "10mbit"}, "unknown option 'speed'"),
    ]
    for changes, why in refused:
        with pytest.raises(Invalid, match=why):
            client.networks.adjust("front", "web", changes)
    client.networks.connect("bridge", "far")
    with pytest.raises(NotFound, match="container 'web' is not on network 'bridge'"):
        client.networks.adjust("bridge", "web", {"bandwidth-in": "10mbit"})
    said = weftd.cli("network", "limit", "front", "web", check=False)
    assert (said.returncode, "--in RATE" in said.stderr) == (2, True)
    assert_held(weftd)
    assert_consistent(weftd)


def test_a_network_s_limits_are_its_containers_s(weftd: Weftd, client: Client) -> None:
    weftd.cli("network", "create", "--opt", "bandwidth-in=20mbit", "--opt", "bandwidth-out=10mbit", "slow")
    try:
        client.containers.create(name="web", networks=["slow"])
        assert_held(weftd)
        client.containers.create(name="quick", networks=[Attachment("slow", options={"bandwidth-in": "none"})])
        assert "tbf" not in roots(weftd, "quick")[0]
        assert "rate 10Mbit" in roots(weftd, "quick")[1]
    finally:
        for name in ("web", "quick"):
            client.containers.remove(name, force=True)
        client.networks.remove("slow")


@pytest.mark.full_kernel
@pytest.mark.parametrize("mode", ["macvlan", "ipvlan", "ipvlan-l3"])
def test_a_link_without_an_end_on_the_host_is_limited_both_ways(weftd: Weftd, client: Client, mode: str) -> None:
    driver, _, mode = mode.partition("-")
    needs_link_kind(driver)
    client.networks.create("wire", driver=driver, ipv6=True, options={"mode": mode} if mode else {})
    client.networks.disconnect("front", "far")
    client.networks.connect("wire", "far")
    limits = {"bandwidth-in": "20mbit", "bandwidth-out": "40mbit"}
    client.containers.create(name="web", networks=[Attachment("wire", options=limits)])
    try:
        assert_consistent(weftd)
        for version in (4, 6):
            with serving(weftd, "web"), serving(weftd, "far"):
                assert measured(weftd, "far", "web", version=version) == pytest.approx(20 * MBIT, rel=0.1)
                assert measured(weftd, "web", "far", *UDP, version=version) == pytest.approx(40 * MBIT, rel=0.1)
        shown = weftd.cli("explain", "web").stdout
        assert "a limit of 20 Mbit/s to what it receives, 25,000 bytes at once (on wi-" in shown
        weftd.sandbox("web", "tc", "qdisc", "del", "dev", "eth0", "ingress")
        eventually(lambda: "ingress" in weftd.sandbox("web", "tc", "qdisc", "show", "dev", "eth0").stdout)
        weftd.kill()
        weftd.start()
        assert_consistent(weftd)
        weftd.cli("network", "limit", "wire", "web", "--in", "none", "--out", "none")
        assert_consistent(weftd)
        assert "wi-" not in weftd.sandbox("web", "ip", "link").stdout
        weftd.cli("network", "limit", "wire", "web", "--in", "10mbit")
        client.networks.connect("front", "web")
        client.networks.disconnect("wire", "web")
        assert "wi-" not in weftd.sandbox("web", "ip", "link").stdout
        assert_consistent(weftd)
    finally:
        client.containers.remove("web", force=True)
        client.networks.disconnect("wire", "far")
        client.networks.remove("wire")


def test_what_is_refused_leaves_nothing(weftd: Weftd, client: Client) -> None:
    before = weftd.marks()
    with pytest.raises(Invalid, match="option bandwidth-in: '10' is no rate"):
        limited(client, bandwidth_in="10")
    with pytest.raises(Invalid, match="unknown option 'speed' for an endpoint of driver bridge"):
        limited(client, speed="10")
    assert weftd.marks() == before
    assert [container.name for container in client.containers.list(all=True)] == ["far"]
