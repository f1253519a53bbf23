"""What cannot be is refused in one line that names the clash, and changes nothing."""

from __future__ import annotations

import http.client
import json
import re
import socket
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.audits import Snapshot, assert_same, snapshot
from tests.daemons import Weftd
from weft.client import Attachment, Publish

pytestmark = pytest.mark.root

REFUSED, MISUNDERSTOOD, NOT_RUN = 1, 2, 125


@pytest.fixture(scope="module")
def world(weftd: Weftd) -> Iterator[Weftd]:
    """db runs on front and publishes 8080; front has both families, inner is internal, the host has a network itself.

    A program that is not weft's listens on 9999, and there is a namespace at /run/netns/foreign.
    """
    client = weftd.client
    weftd.host.run("mkdir -p /run/netns")
    weftd.host.run("mount -t tmpfs tmpfs /run/netns")
    weftd.host.run("ip netns add foreign")
    weftd.host.run("ip link add lan type bridge")
    weftd.host.run("ip address add 192.168.77.1/24 dev lan")
    weftd.host.run("ip link set lan up")
    client.networks.create("front", ipv6=True, pools=["10.5.0.0/24", "fd05::/64"])
    client.networks.create("inner", pools=["10.6.0.0/24"], internal=True)
    client.networks.create("tiny", pools=["10.7.0.0/30"])
    client.containers.create(name="lone", networks=["tiny"])
    client.containers.run(
        ["sleep", "600"], name="db", networks=[Attachment("front", ip="10.5.0.9")], ports=[Publish(80, 8080)]
    )
    listen = ["busybox", "nc", "-l", "-p", "9999"]
    with weftd.host.popen(listen, stdin=subprocess.PIPE) as program:
        yield weftd
        program.kill()


@pytest.fixture(scope="module")
def before(world: Weftd) -> Snapshot:
    return snapshot(world)


RUN = ("run", "-d", "--name", "new", "--network", "front")
SLEEP = ("--", "sleep", "600")
ATTACH = ("attach", "--name", "new", "--netns", "/run/netns/foreign")
CREATE = ("network", "create", "fresh")

TABLE: dict[str, tuple[tuple[str, ...], int, str]] = {
    # Commands and flags
    "unknown command": (("netwrok", "ls"), MISUNDERSTOOD, "unknown command 'netwrok'.*network"),
    "unknown subcommand": (("network", "crate", "x"), MISUNDERSTOOD, "unknown command.*create"),
    "unknown flag": ((*CREATE, "--subnets", "10.9.0.0/24"), MISUNDERSTOOD, "--subnets.*--subnet"),
    "flag without a value": ((*CREATE, "--subnet"), MISUNDERSTOOD, "--subnet"),
    "no name": (("network", "create"), MISUNDERSTOOD, "NAME"),
    "too many names": (("network", "create", "a", "b"), MISUNDERSTOOD, "'b'|one"),
    # Networks
    "network name taken": (("network", "create", "front"), REFUSED, "network 'front' already exists"),
    "network name malformed": (("network", "create", "-l", "a=b", "fr ont"), REFUSED, "'fr ont' is not valid"),
    "unknown driver": ((*CREATE, "-d", "brigde"), REFUSED, "'brigde'.*'bridge'"),
    "unknown option": ((*CREATE, "-o", "mut=1400"), REFUSED, "unknown option 'mut'.*mtu"),
    "option of a wrong type": ((*CREATE, "-o", "mtu=big"), REFUSED, "mtu.*'big'"),
    "option out of range": ((*CREATE, "-o", "mtu=10"), REFUSED, "mtu.*10"),
    "subnet overlaps a network": (
        (*CREATE, "--subnet", "10.5.0.128/25"),
        REFUSED,
        r"10\.5\.0\.128/25.*network 'front'.*10\.5\.0\.0/24",
    ),
    "IPv6 subnet overlaps a network": (
        (*CREATE, "--ipv6", "--subnet", "fd05::/56"),
        REFUSED,
        "fd05::/56.*network 'front'.*fd05::/64",
    ),
    "subnet overlaps a route of the host": (
        (*CREATE, "--subnet", "192.168.0.0/16"),
        REFUSED,
        r"192\.168\.0\.0/16.*route of this host.*192\.168\.77\.0/24",
    ),
    "subnet malformed": ((*CREATE, "--subnet", "10.9.0/24"), REFUSED, "10.9.0/24"),
    "subnet with host bits": ((*CREATE, "--subnet", "10.9.0.7/24"), REFUSED, r"10\.9\.0\.7/24.*10\.9\.0\.0/24"),
    "subnet of a family that is off": ((*CREATE, "--subnet", "fd09::/64"), REFUSED, "IPv6.*--ipv6"),
    "neither family": ((*CREATE, "--ipv4=false"), REFUSED, "neither IPv4 nor IPv6"),
    "two subnets of a family that overlap": (
        (*CREATE, "--subnet", "10.9.0.0/24", "--subnet", "10.9.0.128/25"),
        REFUSED,
        r"10\.9\.0\.128/25 overlaps another subnet of the network \(10\.9\.0\.0/24\)",
    ),
    "gateway outside of the subnet": (
        (*CREATE, "--subnet", "10.9.0.0/24", "--gateway", "10.8.0.1"),
        REFUSED,
        r"10\.8\.0\.1.*10\.9\.0\.0/24|10\.8\.0\.1",
    ),
    "range outside of the subnet": (
        (*CREATE, "--subnet", "10.9.0.0/24", "--ip-range", "10.8.0.0/25"),
        REFUSED,
        r"10\.8\.0\.0/25",
    ),
    "update of nothing": (("network", "update", "front"), MISUNDERSTOOD, "what is to change"),
    "update of an option that stays": (
        ("network", "update", "front", "--label", "a=b", "--opt", "bridge=br9"),
        REFUSED,
        "option bridge of network 'front' cannot change while the network is there.*make another network",
    ),
    "update with a subnet that overlaps": (
        ("network", "update", "front", "--opt", "mtu=1400", "--add-subnet", "192.168.0.0/16"),
        REFUSED,
        r"192\.168\.0\.0/16.*route of this host.*192\.168\.77\.0/24",
    ),
    "update of a subnet in use": (
        ("network", "update", "front", "--rm-subnet", "10.5.0.0/24"),
        REFUSED,
        r"subnet 10\.5\.0\.0/24 of network 'front' is in use by db",
    ),
    "update to a name taken": (("network", "update", "front", "--name", "host"), REFUSED, "stands for the host's own"),
    "network in use": (("network", "rm", "front"), REFUSED, "network 'front' is in use by db"),
    "unknown network": (("network", "rm", "fornt"), REFUSED, "no such network: 'fornt'; did you mean 'front'"),
    # Containers
    "container name taken": (
        ("run", "-d", "--name", "db", "--network", "front", *SLEEP),
        NOT_RUN,
        "container name 'db' is already in use",
    ),
    "container name malformed": (("run", "-d", "--name", "d b", *SLEEP), NOT_RUN, "'d b' is not valid"),
    "unknown container": (("rm", "bd"), REFUSED, "no such container: 'bd'"),
    "near container": (("rm", "lome"), REFUSED, "no such container: 'lome'; did you mean 'lone'"),
    "running container": (("rm", "db"), REFUSED, "'db' is running.*rm -f"),
    "unknown network to join": (
        ("run", "-d", "--network", "fornt", *SLEEP),
        NOT_RUN,
        "no such network: 'fornt'; did you mean 'front'",
    ),
    "the same network twice": (
        ("run", "-d", "--network", "front", "--network", "front", *SLEEP),
        NOT_RUN,
        "already on network 'front'",
    ),
    "address taken": ((*RUN, "--ip", "10.5.0.9", *SLEEP), NOT_RUN, r"10\.5\.0\.9.*'db'"),
    "gateway's address": ((*RUN, "--ip", "10.5.0.1", *SLEEP), NOT_RUN, r"10\.5\.0\.1"),
    "address out of range": ((*RUN, "--ip", "10.99.0.9", *SLEEP), NOT_RUN, r"10\.99\.0\.9.*10\.5\.0\.0/24"),
    "broadcast address": ((*RUN, "--ip", "10.5.0.255", *SLEEP), NOT_RUN, r"10\.5\.0\.255"),
    "no address": ((*RUN, "--ip", "ten", *SLEEP), NOT_RUN, "'ten'"),
    "address of the wrong family": ((*RUN, "--ip", "fd05::9", *SLEEP), NOT_RUN, "fd05::9"),
    "address of a family that the network has not": (
        ("run", "-d", "--network", "inner", "--ip6", "fd06::9", *SLEEP),
        NOT_RUN,
        "fd06::9.*'inner' has no IPv6",
    ),
    "no address left": (("run", "-d", "--network", "tiny", *SLEEP), NOT_RUN, r"10\.7\.0\.0/30"),
    "MAC malformed": ((*RUN, "--mac-address", "02:42:00", *SLEEP), NOT_RUN, "'02:42:00'"),
    "MAC of a group": ((*RUN, "--mac-address", "01:00:5e:00:00:01", *SLEEP), NOT_RUN, "01:00:5e.*multicast"),
    "interface name malformed": (("run", "-d", "--network", "front:ifname=a/b", *SLEEP), NOT_RUN, "'a/b'"),
    "interface name too long": (
        ("run", "-d", "--network", "front:ifname=interface-number-1", *SLEEP),
        NOT_RUN,
        "'interface-number-1'",
    ),
    "interface name of the loopback": (("run", "-d", "--network", "front:ifname=lo", *SLEEP), NOT_RUN, "'lo'"),
    "interface name taken": (
        ("run", "-d", "--network", "front:ifname=x", "--network", "inner:ifname=x", *SLEEP),
        NOT_RUN,
        "'x' is already used",
    ),
    "unknown key of a network": (("run", "-d", "--network", "front:ipp=10.5.0.7", *SLEEP), NOT_RUN, "'ipp'"),
    "rate malformed": (("run", "-d", "--network", "front:bandwidth-in=10mbps", *SLEEP), NOT_RUN, "'10mbps' is no rate"),
    "rate of a network malformed": (("network", "create", "--opt", "bandwidth-out=0mbit", "n"), 1, "0mbit is not betw"),
    "hosts line malformed": ((*RUN, "--add-host", "name:nowhere", *SLEEP), NOT_RUN, "'nowhere'"),
    "DNS server malformed": ((*RUN, "--dns", "nowhere", *SLEEP), NOT_RUN, "'nowhere'"),
    "command that is not there": ((*RUN, "--", "no-such-command"), 127, "no-such-command"),
    "command that is no program": ((*RUN, "--", "/etc/hostname"), 126, "/etc/hostname"),
    "root directory that is not there": ((*RUN, "--rootfs", "/nowhere", *SLEEP), 126, "/nowhere"),
    # Ports
    "port taken by a program": ((*RUN, "-p", "9999:80", *SLEEP), NOT_RUN, r"9999/tcp.*(busybox|nc) \(pid \d+\)"),
    "port taken by a container": ((*RUN, "-p", "8080:80", *SLEEP), NOT_RUN, "8080/tcp.*container 'db'"),
    "port taken on one address": (
        (*RUN, "-p", "127.0.0.1:8080:80", *SLEEP),
        NOT_RUN,
        "8080/tcp.*container 'db'",
    ),
    "port asked for twice": ((*RUN, "-p", "81:80", "-p", "81:90", *SLEEP), NOT_RUN, "81/tcp.*twice"),
    "port 0": ((*RUN, "-p", "81:0", *SLEEP), NOT_RUN, "81:0.*1 to 65535"),
    "port too high": ((*RUN, "-p", "65536:80", *SLEEP), NOT_RUN, "65536"),
    "port malformed": ((*RUN, "-p", "http:80", *SLEEP), NOT_RUN, "http"),
    "unknown protocol": ((*RUN, "-p", "81:80/tpc", *SLEEP), NOT_RUN, "tpc"),
    "ranges of different length": ((*RUN, "-p", "8000-8003:80-81", *SLEEP), NOT_RUN, "8000-8003.*80-81"),
    "range the wrong way": ((*RUN, "-p", "8003-8000:80-83", *SLEEP), NOT_RUN, "8003-8000"),
    "address that the host has not": (
        (*RUN, "-p", "10.250.0.1:81:80", *SLEEP),
        NOT_RUN,
        r"no address 10\.250\.0\.1",
    ),
    "published on internal networks alone": (
        ("run", "-d", "--name", "new", "--network", "inner", "-p", "81:80", *SLEEP),
        NOT_RUN,
        "80/tcp.*internal",
    ),
    "published on the default network in vain": (
        ("run", "-d", "--name", "new", "-p", "8080:80", *SLEEP),
        NOT_RUN,
        "8080/tcp.*container 'db'",
    ),
    # Attaching
    "no such pid": (("attach", "--pid", "4194305"), REFUSED, "4194305"),
    "no namespace at the path": (("attach", "--netns", "/etc/hostname"), REFUSED, "/etc/hostname"),
    "a path that is not there": (("attach", "--netns", "/run/netns/nobody"), REFUSED, "/run/netns/nobody"),
    "the host's own namespace": (("attach", "--netns", "/proc/1/ns/net"), REFUSED, ""),
    "attached by two ways": ((*ATTACH, "--pid", "1"), REFUSED, "only one of|--pid.*--netns|--netns.*--pid"),
    "attached to an unknown network": ((*ATTACH, "--network", "fornt"), REFUSED, "'fornt'.*'front'"),
    # Connecting
    "connected already": (("network", "connect", "front", "db"), REFUSED, "'db' is already on network 'front'"),
    "connected to what is not there": (("network", "connect", "fornt", "db"), REFUSED, "'fornt'.*'front'"),
    "what is not there connected": (("network", "connect", "inner", "bdd"), REFUSED, "'bdd'"),
    "connected with a taken address": (
        ("network", "connect", "--ip", "10.5.0.9", "front", "lone"),
        REFUSED,
        r"10\.5\.0\.9.*'db'",
    ),
    "disconnected from where it is not": (("network", "disconnect", "inner", "db"), REFUSED, "'db'.*'inner'"),
    "signal that is none": (("kill", "-s", "NOPE", "db"), REFUSED, "NOPE"),
}


@pytest.mark.parametrize("name", TABLE)
def test_it_is_refused_in_one_line_and_nothing_changes(world: Weftd, before: Snapshot, name: str) -> None:
    arguments, status, words = TABLE[name]
    if name == "the host's own namespace":
        arguments, words = ("attach", "--pid", str(world.host.pid)), "the host's own network namespace"
    done = world.cli(*arguments, check=False)
    assert_same(before, snapshot(world), name)
    assert done.stdout == ""
    assert re.fullmatch(r"weft: [^\n]+\n", done.stderr), done.stderr
    assert re.search(words, done.stderr), done.stderr
    assert done.returncode == status or (done.returncode == MISUNDERSTOOD and status == REFUSED), done.returncode
    assert "Traceback" not in world.log()


def _post(weftd: Weftd, path: str, body: bytes, method: str = "POST") -> tuple[int, dict[str, Any]]:
    connection = http.client.HTTPConnection("weft", timeout=10)
    connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.sock.connect(weftd.socket)
    connection.request(method, path, body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    said = json.loads(answer.read())
    connection.close()
    return answer.status, said


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("/networks", b"{", ""),
        ("/networks", b"", ""),
        ("/networks", b"[]", "object"),
        ("/networks", b'{"name": 5}', "name"),
        ("/networks", b'{"name": "x", "internal": "yes"}', "internal"),
        ("/networks", b'{"name": "x", "subnet": "10.9.0.0/24"}', "subnet"),
        ("/networks", b'{"name": "x", "pools": [{"subnet": "10.5.0.0/24"}]}', "front"),
        ("/networks", b'{"name": "x", "options": {"mtu": 1400}}', "mtu|options"),
        ("/containers", b'{"name": "x", "networks": "front"}', "networks"),
        ("/containers", b'{"name": "x", "networks": [{"network": "front", "ip": "10.5.0.9"}]}', "db"),
        ("/containers", b'{"name": "x", "ports": [{"container_port": 70000}]}', "70000|container_port"),
        ("/containers", b'{"name": "x", "ports": [{"container_port": -1}]}', "port"),
        ("/containers", b'{"name": "x", "pid": 1.5}', "pid"),
        ("/containers", b'{"name": "x", "process": {"argv": []}}', "argv"),
        ("/containers", '{"name": "böse"}'.encode(), "böse"),
        ("/containers", b'{"name": "../../etc"}', "etc"),
        ("/networks/front/connect", b'{"container": "db"}', "already"),
        ("/networks/front/connect", b"{}", "container"),
    ],
)
def test_requests_that_are_wrong_are_told_why(
    world: Weftd, before: Snapshot, path: str, body: bytes, words: str
) -> None:
    status, said = _post(world, f"/weft/v1{path}", body)
    assert_same(before, snapshot(world), path)
    assert 400 <= status < 500
    assert said["kind"] in ("invalid", "conflict", "not-found", "exhausted")
    assert re.search(words, said["message"]), said
    assert "\n" not in said["message"]


def test_what_is_allowed_still_works_afterwards(world: Weftd) -> None:
    world.cli(*CREATE)
    world.cli("network", "rm", "fresh")
    world.cli("attach", "--name", "new", "--netns", "/run/netns/foreign", "--network", "front")
    again = world.cli("attach", "--name", "newer", "--netns", "/run/netns/foreign", "--network", "inner", check=False)
    assert "network namespace of container 'new'" in again.stderr
    world.cli("rm", "new")
