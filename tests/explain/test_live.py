"""`weft explain` and `weft doctor` against a running weftd, and what is said of ways compared with real connections."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemons import Weftd
from tests.hosts import Namespace, PrivateHost, needs_namespaces

HOST_ADDRESS, OUTSIDE_ADDRESS = "192.0.2.2", "192.0.2.9"
SERVE = (
    "import socket, sys\n"
    "servers = []\n"
    "for place in sys.argv[1:]:\n"
    "    host, port = place.rsplit(':', 1)\n"
    "    servers.append(socket.create_server((host, int(port))))\n"
    "import time; time.sleep(600)\n"
)
CONNECT = (
    "import socket, sys\n"
    "try:\n"
    "    socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=1).close()\n"
    "except OSError as error:\n"
    "    sys.exit(str(error))\n"
)


class World:
    """web on front and back, shy on front, db on back (internal), i1 and i2 on iso; and somebody outside."""

    def __init__(self, weftd: Weftd, outside: Namespace) -> None:
        self.weftd = weftd
        self.outside = outside

    def said(self, source: str, target: str) -> str:
        done = self.weftd.cli("explain", source, "--to", target, "--json", check=False)
        found = json.loads(done.stdout)
        assert done.returncode == (1 if found["arrives"] == "no" else 0)
        return str(found["arrives"])

    def connects(self, source: str, host: str, port: int) -> bool:
        probe = ("python3", "-c", CONNECT, host, str(port))
        if source == "outside":
            return self.outside.run(probe, check=False).returncode == 0
        if source == "host":
            return self.weftd.host.run(probe, check=False).returncode == 0
        return self.weftd.cli("exec", source, *probe, check=False).returncode == 0

    def address(self, container: str, network: str) -> str:
        endpoints = self.weftd.json("inspect", container)[0]["endpoints"]
        return str(next(e for e in endpoints if e["network"] == network)["ipv4"]).split("/")[0]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    needs_namespaces()
    directory: Path = tmp_path_factory.mktemp("weft")
    with PrivateHost() as host, host.container() as outside, Weftd(host, directory) as weftd:
        host.run(f"ip link add up0 type veth peer name eth0 netns {outside.pid}")
        host.run(f"ip address add {HOST_ADDRESS}/24 dev up0")
        host.run("ip link set up0 up")
        outside.run(f"ip address add {OUTSIDE_ADDRESS}/24 dev eth0")
        outside.run("ip link set eth0 up")
        server = outside.popen(["python3", "-c", SERVE, "0.0.0.0:9000"])
        try:
            make(weftd)
            yield World(weftd, outside)
        finally:
            server.kill()
            server.wait()


def make(weftd: Weftd) -> None:
    weftd.cli("network", "create", "front", "--ipv6")
    weftd.cli("network", "create", "back", "--internal")
    weftd.cli("network", "create", "iso", "-o", "icc=false")
    ports = ("-p", "8080:8000", "-p", "127.0.0.1:8081:8001")
    run(weftd, "web", ("front", "back"), "0.0.0.0:8000", "0.0.0.0:8001", more=ports)
    run(weftd, "shy", ("front",), "127.0.0.1:8000")
    run(weftd, "db", ("back",), "0.0.0.0:5432")
    run(weftd, "i1", ("iso",), "0.0.0.0:8000")
    run(weftd, "i2", ("iso",), "0.0.0.0:8000")


def run(weftd: Weftd, name: str, networks: tuple[str, ...], *places: str, more: tuple[str, ...] = ()) -> None:
    flags = [word for network in networks for word in ("--network", network)]
    weftd.cli("run", "-d", "--name", name, *flags, *more, "--", "python3", "-c", SERVE, *places)
    wait_for(lambda: weftd.sandbox(name, "ss", "-Hltn").stdout.count("LISTEN") > len(places))


def wait_for(true: object) -> None:
    deadline = time.monotonic() + 10
    assert callable(true)
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


# (from, to as asked, where that really is, whether it is to be reached)
WAYS = [
    ("web", "db:5432", ("db", 5432), True),
    ("db", "web:8000", ("web", 8000), True),
    ("web", "db:5433", ("db", 5433), False),
    ("web", "shy:8000", ("shy", 8000), False),
    ("shy", "shy:8000", ("127.0.0.1", 8000), True),
    ("shy", "db:5432", ("db", 5432), False),
    ("i1", "i2:8000", ("i2", 8000), False),
    ("i1", f"{HOST_ADDRESS}:8080", (HOST_ADDRESS, 8080), True),
    ("i1", f"{HOST_ADDRESS}:8082", (HOST_ADDRESS, 8082), False),
    ("web", f"{OUTSIDE_ADDRESS}:9000", (OUTSIDE_ADDRESS, 9000), True),
    ("db", f"{OUTSIDE_ADDRESS}:9000", (OUTSIDE_ADDRESS, 9000), False),
    ("outside", "web:8000", (HOST_ADDRESS, 8080), True),
    ("outside", "web:8001", (HOST_ADDRESS, 8081), False),
    ("outside", "i1:8000", (HOST_ADDRESS, 8000), False),
]


@pytest.mark.parametrize(("source", "asked", "real", "reached"), WAYS, ids=[f"{w[0]} to {w[1]}" for w in WAYS])
def test_what_is_said_of_a_way_is_what_happens(
    world: World, source: str, asked: str, real: tuple[str, int], reached: bool
):
    assert world.connects(source, *real) == reached
    assert world.said(source, asked) == ("yes" if reached else "no")


def test_the_host_reaches_containers_by_address(world: World):
    for container, network in (("web", "front"), ("db", "back"), ("i1", "iso")):
        port = 5432 if container == "db" else 8000
        address = world.address(container, network)
        assert world.connects("host", address, port)
        assert world.said("host", f"{container}:{port}") == "yes"
        assert world.said("host", f"{address}:{port}") == "yes"


def test_another_firewall_in_the_way_is_blamed_for_what_it_drops(world: World):
    host = world.weftd.host
    host.run("iptables -P FORWARD DROP")
    try:
        for source, asked, real in (
            ("web", f"{OUTSIDE_ADDRESS}:9000", (OUTSIDE_ADDRESS, 9000)),
            ("outside", "web:8000", (HOST_ADDRESS, 8080)),
        ):
            assert not world.connects(source, *real)
            told = world.weftd.cli("explain", source, asked, check=False).stdout
            assert "✗ iptables drops forwarded packets (chain FORWARD of table ip filter)" in told
            assert "$ iptables -I FORWARD -i wb-+ -j ACCEPT" in told
        # Frames within a network are another matter.
        assert world.connects("web", "db", 5432)
        assert world.said("web", "db:5432") == "yes"
        doctor = world.weftd.cli("doctor", check=False)
        assert doctor.returncode == 1
        assert "error: iptables drops forwarded packets" in doctor.stdout
        for command in ("iptables -I FORWARD -i wb-+ -j ACCEPT", "iptables -I FORWARD -o wb-+ -j ACCEPT"):
            host.run(command)
        assert world.connects("web", OUTSIDE_ADDRESS, 9000)
        assert world.said("web", f"{OUTSIDE_ADDRESS}:9000") == "yes"
    finally:
        host.run("iptables -P FORWARD ACCEPT")
        host.run("iptables -F FORWARD")


def test_a_firewall_inside_a_container_is_said_to_be_there(world: World):
    world.weftd.sandbox("web", "nft", "add table inet own")
    chain = "add chain inet own i { type filter hook input priority 0; policy drop; }"
    world.weftd.sandbox("web", "nft", chain)
    try:
        assert not world.connects("db", "web", 8000)
        assert world.said("db", "web:8000") == "perhaps"
        told = world.weftd.cli("explain", "db", "web:8000").stdout
        assert "web has a firewall of its own, which drops what it does not expect" in " ".join(told.split())
    finally:
        world.weftd.sandbox("web", "nft", "delete table inet own")
    assert world.said("db", "web:8000") == "yes"


# The commands


def test_explain_finds_everything_in_order(world: World):
    for name in ("web", "shy", "db", "i1", "front", "back", "iso"):
        done = world.weftd.cli("explain", name)
        assert "things that were checked are there." in done.stdout
        assert "✗" not in done.stdout
        assert "\x1b" not in done.stdout  # no terminal, no colours


def test_names_are_really_asked(world: World):
    sections = {s["title"]: s["lines"] for s in world.weftd.json("explain", "web", "--json")["sections"]}
    names = [line for line in sections["Its names"] if not line["commands"]]
    assert len(names) == 4
    assert {line["state"] for line in names} == {"present"}


def test_explain_takes_a_container_before_a_network_of_that_name(world: World):
    world.weftd.cli("network", "create", "shy")
    try:
        assert world.weftd.cli("explain", "shy").stdout.startswith("container shy")
        assert world.weftd.cli("explain", "--network", "shy").stdout.startswith("network shy")
    finally:
        world.weftd.cli("network", "rm", "shy")


def test_brief_and_commands_are_less_and_more(world: World):
    full, brief, commands = (
        world.weftd.cli("explain", "web", *flags).stdout for flags in ((), ("--brief",), ("--commands",))
    )
    assert len(brief.splitlines()) < len(full.splitlines()) / 1.5
    assert "\nip link add wb-" in commands
    assert "ip address add" in commands


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (("nix",), 1, "no such container or network: 'nix'"),
        (("wep",), 1, "did you mean 'web'?"),
        (("web", "nix"), 1, "no such container: 'nix'"),
        (("nix", "web"), 1, "no such container: 'nix'"),
        (("web", "db:no"), 1, "to: 'no' is not a whole number"),
        (("web", "db", "--to", "db"), 2, "give the target once"),
        (("web", "--json", "--commands"), 2, "exclude each other"),
        ((), 2, "something is missing"),
        (("outside", OUTSIDE_ADDRESS), 1, "from outside, weft leads to containers only"),
    ],
)
def test_what_cannot_be_explained_is_refused(world: World, arguments: tuple[str, ...], code: int, complaint: str):
    done = world.weftd.cli("explain", *arguments, check=False)
    assert (done.returncode, done.stdout) == (code, "")
    assert complaint in done.stderr


def test_drift_is_shown_or_healed_but_never_missed(world: World):
    """weft heals within moments; whichever was quicker, what explain says is true."""
    key = world.weftd.json("inspect", "shy")[0]["netns"]
    world.weftd.host.run(["nsenter", f"--net={key}", "ip", "route", "del", "default"])
    told = world.weftd.cli("explain", "shy", check=False)
    there = "default" in world.weftd.sandbox("shy", "ip", "route").stdout
    if told.returncode == 0:
        assert there
    else:
        assert "✗ default via" in told.stdout
    wait_for(lambda: world.weftd.cli("explain", "shy", check=False).returncode == 0)


def test_an_ended_container_is_explained_as_one(world: World):
    world.weftd.cli("run", "-d", "--name", "brief", "--network", "front", "--", "sh", "-c", "exit 3")
    world.weftd.cli("wait", "brief")
    told = world.weftd.cli("explain", "brief").stdout
    assert told == f"container brief · exited with code 3: nothing is left of its network · {ident(world, 'brief')}\n"
    assert world.said("web", "brief") == "no"
    world.weftd.cli("rm", "brief")


def ident(world: World, name: str) -> str:
    return str(world.weftd.json("inspect", name)[0]["id"])[:12]


def test_the_doctor_finds_nothing_wrong_and_fixes_nothing(world: World):
    report = world.weftd.json("doctor", "--json")
    levels = {finding["check"]: finding["level"] for finding in report["findings"]}
    own = ("records", "firewall", "leftovers", "resolver", "forwarding", "kernel", "other-firewalls")
    assert {levels[check] for check in own} == {"ok"}
    assert report["counters"]["queries"] > 0
    before = world.weftd.host.run("nft list ruleset").stdout
    assert world.weftd.cli("doctor", "--fix").returncode == 0
    assert world.weftd.host.run("nft list ruleset").stdout == before


def test_the_doctor_tells_who_else_would_forward_but_is_shut_out(world: World):
    run = world.weftd.host.run
    run("iptables -P FORWARD DROP")
    for rule in ("-i docker0", "-i wb-+", "-o wb-+"):
        run(f"iptables -A FORWARD {rule} -j ACCEPT")
    try:
        report = json.loads(world.weftd.cli("doctor", "--json", check=False).stdout)
        [found] = [f for f in report["findings"] if f["check"] == "others-forwarding"]
        assert "iptables would forward from docker0" in found["what"]
    finally:
        run("iptables -P FORWARD ACCEPT")
        run("iptables -F FORWARD")
    assert "others-forwarding" not in world.weftd.cli("doctor", "--json", check=False).stdout


def test_the_doctor_mends_what_bears_wefts_mark(world: World):
    world.weftd.host.run("ip link add wb-ffffffffffff group 2003134068 type bridge")
    told = world.weftd.cli("doctor", check=False)
    assert told.returncode == 1
    assert "link wb-ffffffffffff" in told.stdout
    assert world.weftd.cli("doctor", "--fix").returncode == 0
    assert world.weftd.host.run("ip link show wb-ffffffffffff", check=False).returncode == 1


def test_the_doctor_is_of_use_without_a_daemon(world: World, tmp_path: Path):
    done = world.weftd.cli("--host", f"unix://{tmp_path}/none.sock", "doctor", check=False)
    assert done.returncode == 1
    assert "✗ error: no weftd at" in done.stdout
    assert "$ systemctl start weftd" in done.stdout


def test_the_api_describes_these_routes(world: World):
    client_document = world.weftd.host.run(
        ["curl", "-s", "--unix-socket", world.weftd.socket, "http://weft/weft/v1/openapi.json"]
    )
    paths = json.loads(client_document.stdout)["paths"]
    assert {
        "/weft/v1/containers/{ref}/explain",
        "/weft/v1/networks/{ref}/explain",
        "/weft/v1/reach",
        "/weft/v1/doctor",
        "/weft/v1/doctor/fix",
    } <= set(paths)
    assert [p["name"] for p in paths["/weft/v1/reach"]["get"]["parameters"]] == ["from", "to"]
