"""Whole commands, as typed, against the real API and engine with nothing behind them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.serve.house import House, served
from weft.client import Publish
from weft.doors.cli.main import run

Weft = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """front (10.7.0.0/24): db with two ports, job that has ended; back, internal: nobody."""
    with served(tmp_path_factory.mktemp("house")) as house:
        client = house.client
        client.networks.create("front", pools=["10.7.0.0/24"], labels={"tier": "one"})
        client.networks.create("back", pools=["10.8.0.0/24"], internal=True)
        client.containers.run(
            ["redis-server", "--port", "6379"],
            name="db",
            networks=["front"],
            ports=[Publish(6379, 6379), Publish(53, 53, proto="udp", host_ip="127.0.0.1")],
            labels={"app": "shop"},
        )
        job = client.containers.run(["true"], name="job", networks=["front"])
        house.runtime.end(job.id, 3)
        assert client.containers.wait(job) == 3
        yield house


@pytest.fixture
def weft(world: House, capsys: pytest.CaptureFixture[str]) -> Weft:
    return typing(world, capsys)


@pytest.fixture
def weft_alone(house: House, capsys: pytest.CaptureFixture[str]) -> Weft:
    """On a house of the test's own."""
    return typing(house, capsys)


def typing(house: House, capsys: pytest.CaptureFixture[str]) -> Weft:
    def typed(*words: str) -> tuple[int, str, str]:
        code = run(["--host", house.host, *words])
        out, err = capsys.readouterr()
        return code, out, err

    return typed


def ident(house: House, name: str) -> str:
    return house.client.containers.get(name).id


def test_ps(world: House, weft: Weft):
    code, out, err = weft("ps")
    heading, *lines = out.splitlines()
    assert (code, err, len(lines)) == (0, "", 1)
    assert heading.split() == ["CONTAINER", "ID", "NAME", "STATUS", "NETWORKS", "PORTS", "COMMAND"]
    assert lines[0].startswith(ident(world, "db")[:12] + "   db ")
    assert "front 10.7.0.2   6379->6379/tcp, 127.0.0.1:53->53/udp   redis-server --port 6379" in lines[0]


def test_ps_shows_the_ended_when_asked_the_newest_first(world: House, weft: Weft):
    assert weft("ps", "-a", "--format", "{{.Names}} {{.State}}")[1] == "job exited\ndb running\n"
    assert weft("ps", "--filter", "status=exited", "--format", "{{.Names}}: {{.Status}} {{.Ports}}")[1].startswith(
        "job: Exited (3) "
    )


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (("-q",), ["db"]),
        (("-aq",), ["job", "db"]),
        (("-q", "-f", "label=app=shop"), ["db"]),
        (("-q", "-f", "label=app=other"), []),
        (("-aq", "--filter", "name=jo"), ["job"]),
        (("-q", "--filter", "network=front"), ["db"]),
        (("-q", "--filter", "network=back"), []),
    ],
)
def test_ps_quiet_and_filtered(world: House, weft: Weft, words: tuple[str, ...], shown: list[str]):
    assert weft("ps", *words)[1].split() == [ident(world, name)[:12] for name in shown]


def test_ps_for_programs(world: House, weft: Weft):
    assert weft("ps", "-q", "--no-trunc")[1].strip() == ident(world, "db")
    assert [c["name"] for c in json.loads(weft("ps", "--json")[1])] == ["db"]
    assert json.loads(weft("ps", "--format", "json")[1])["Names"] == "db"
    assert weft("ps", "--format", "table {{.Names}}\\t{{.Ports}}")[1] == (
        "NAMES   PORTS\ndb      6379->6379/tcp, 127.0.0.1:53->53/udp\n"
    )


def test_ps_refuses_a_field_that_is_not_there(weft: Weft):
    code, out, err = weft("ps", "--format", "{{.Colour}}")
    assert (code, out) == (1, "")
    assert err.startswith("weft: format: there is no field .Colour; fields are .ID, .Names")


def test_network_ls(world: House, weft: Weft):
    front = world.client.networks.get("front").id
    assert weft("network", "ls", "--filter", "name=front")[1] == (
        f"NETWORK ID     NAME    DRIVER   SUBNETS       INTERNAL\n{front[:12]}   front   bridge   10.7.0.0/24   no\n"
    )
    assert weft("network", "ls", "-q", "--no-trunc", "-f", "label=tier")[1].strip() == front
    assert weft("network", "ls", "--format", "{{.Name}} {{.Internal}}")[1] == "front no\nback yes\n"


def test_inspect_finds_containers_and_networks(world: House, weft: Weft):
    (db,) = json.loads(weft("inspect", "db")[1])
    assert db["endpoints"][0]["ipv4"] == "10.7.0.2/24"
    both = json.loads(weft("inspect", "db", "back")[1])
    assert [each["name"] for each in both] == ["db", "back"]
    assert weft("inspect", "-f", "{{range .Endpoints}}{{.IPv4}}{{end}}", "db")[1] == "10.7.0.2/24\n"
    assert weft("network", "inspect", "front", "--format", "{{range .Endpoints}}{{.Name}}{{end}}")[1] == "db\n"
    assert weft("inspect", "dbx") == (1, "", "weft: no such container: 'dbx'; did you mean 'db'?\n")


def test_port(weft: Weft):
    assert weft("port", "db")[1] == "6379/tcp -> 0.0.0.0:6379\n6379/tcp -> [::]:6379\n53/udp -> 127.0.0.1:53\n"
    assert weft("port", "db", "53/udp")[1] == "127.0.0.1:53\n"
    assert weft("port", "db", "53") == (1, "", "weft: container 'db' publishes no port 53/tcp\n")


def test_events(weft: Weft):
    lines = weft("events", "--since", "0", "--follow=false", "--filter", "name=job", "-f", "type=container")[1]
    assert [line.split(" ", 1)[1] for line in lines.splitlines()] == [
        "container create job",
        "container start job",
        "container die job (code=3)",
    ]
    shown = weft("events", "--since", "0", "--follow=false", "--format", "{{.Action}}", "-f", "name=back")[1]
    assert shown == "create\n"


def test_version(weft: Weft, capsys: pytest.CaptureFixture[str], tmp_path: Path):
    assert weft("version")[1].startswith("weft 0")
    assert json.loads(weft("--version", "--json")[1])["weftd"]
    assert run(["--host", f"unix://{tmp_path}/no.sock", "version"]) == 1
    out, err = capsys.readouterr()
    assert out.startswith("weft 0")
    assert err == f"weft: no weftd at unix://{tmp_path}/no.sock: start it with 'systemctl start weftd' or 'weftd'\n"


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("pz",), 2, "unknown command 'pz'; did you mean ps?; see 'weft --help'"),
        (("--hast", "x"), 2, "unknown flag '--hast'"),
        (("network", "craete", "x"), 2, "unknown command 'weft network craete'; did you mean create?"),
        (("network", "create"), 2, "something is missing: weft network create NAME"),
        (("rm", "--forse", "x"), 2, "unknown flag --forse; did you mean --force?; see 'weft rm --help'"),
        (("run", "--nme", "x"), 125, "unknown flag --nme; did you mean --name?"),
        (("run", "-d"), 125, "something is missing: weft run [--] COMMAND…"),
        (("run", "-p", "http", "true"), 125, "port 'http': 'http' is not a port"),
        (("run", "--network", "front,back", "true"), 125, "no such network: 'front,back'"),
        (("exec", "db"), 125, "something is missing: weft exec CONTAINER COMMAND…"),
        (("exec", "nix", "ls"), 125, "no such container: 'nix'"),
        (("attach", "--pid", "x"), 2, "--pid: 'x' is not a process id"),
        (("attach", "--pid", "1", "--netns", "x"), 2, "--pid or --netns, not both"),
        (("attach",), 2, "which namespace?"),
        (("attach", "--pid", "5"), 1, "no process has the pid 5"),
        (("network", "rm", "front"), 1, "network 'front' is in use by db"),
        (("kill", "-s", "NONE", "db"), 1, "signal: 'NONE' is none"),
        (("logs", "--tail", "few", "db"), 1, "tail: 'few' is not a number"),
        (("completion", "tcsh"), 2, "no completion for 'tcsh'"),
        (("help", "nix"), 2, "unknown command 'nix'"),
    ],
)
def test_refusals_are_one_line_and_a_code(weft: Weft, words: tuple[str, ...], code: int, message: str):
    got, out, err = weft(*words)
    assert (got, out) == (code, "")
    assert err.startswith(f"weft: {message}")
    assert err.count("\n") == 1


def test_network_create_and_all_its_flags(house: House, weft_alone: Weft):
    code, out, _ = weft_alone(
        *("network", "create", "-d", "bridge", "--subnet", "10.7.0.0/24", "--subnet", "fd00:7::/64", "--ipv6"),
        *("--ip-range", "10.7.0.128/25", "--gateway", "10.7.0.254", "--aux-address", "nas=10.7.0.5"),
        *("--internal", "-o", "mtu=1400", "--label", "a=b", "-l", "c", "lab"),
    )
    made = house.client.networks.get("lab")
    assert (code, out.strip()) == (0, made.id)
    four, six = made.pools
    assert (four.subnet, four.ip_range, four.gateway, four.aux) == (
        "10.7.0.0/24",
        "10.7.0.128/25",
        "10.7.0.254",
        {"nas": "10.7.0.5"},
    )
    assert six.subnet == "fd00:7::/64"
    assert (made.internal, made.options, made.labels) == (True, {"mtu": "1400"}, {"a": "b", "c": ""})
    assert weft_alone("network", "create", "--ipv4=false", "--ipv6", "six")[0] == 0
    assert [pool.subnet.count(":") > 1 for pool in house.client.networks.get("six").pools] == [True]
    assert weft_alone("network", "create", "lab") == (1, "", "weft: network 'lab' already exists\n")
    assert weft_alone("network", "rm", "lab", "absent", "six") == (1, "lab\nsix\n", "weft: no such network: 'absent'\n")


def test_run_in_the_background_with_all_its_flags(house: House, weft_alone: Weft):
    for name in ("front", "back"):
        house.client.networks.create(name)
    address = str(house.client.networks.get("back").pools[0].subnet).replace("0.0/16", "0.99")
    code, out, err = weft_alone(
        *(
            "run",
            "-dit",
            "--rm",
            "--name",
            "web",
            "--network",
            "front:gw-priority=9,alias=w",
            "--net=back:ip=" + address,
        ),
        *(
            "-p",
            "8080:80",
            "-p9000-9001:9000-9001/udp",
            "-h",
            "web.example",
            "--dns",
            "9.9.9.9",
            "--dns-search=example",
        ),
        *("--dns-option", "ndots:2", "--add-host", "gate:host-gateway", "-l", "a=b", "-eA=1", "--env", "B=2"),
        *("-w", "/tmp", "--rootfs", "/srv/root", "--", "nginx", "-g", "daemon off;", "--rm"),
    )
    assert (code, err) == (0, "")
    made = house.client.containers.get("web")
    assert out.strip() == made.id
    assert made.process == {
        "argv": ["nginx", "-g", "daemon off;", "--rm"],
        "env": {"A": "1", "B": "2"},
        "cwd": "/tmp",
        "rootfs": "/srv/root",
        "tty": True,
        "open_stdin": True,
    }
    assert (made.state, made.auto_remove, made.hostname, made.labels) == ("running", True, "web.example", {"a": "b"})
    assert [(e.network, e.aliases, e.ipv4) for e in made.endpoints] == [
        ("front", ["w"], made.endpoints[0].ipv4),
        ("back", [], f"{address}/16"),
    ]
    assert [(p.proto, p.host_port) for p in made.ports] == [("tcp", 8080), ("udp", 9000), ("udp", 9001)]


def test_run_of_what_cannot_be_executed(house: House, weft_alone: Weft):
    assert weft_alone("run", "-d", "nonexistent") == (127, "", "weft: nonexistent: no such file or directory\n")
    assert house.client.containers.list(all=True) == ()


def test_flags_for_the_only_network(house: House, weft_alone: Weft):
    house.client.networks.create("front", pools=["10.7.0.0/24"])
    weft_alone(*("run", "-d", "--name", "a", "--network", "front", "--ip", "10.7.0.9", "--network-alias", "x", "true"))
    (endpoint,) = house.client.containers.get("a").endpoints
    assert (endpoint.ipv4, endpoint.aliases) == ("10.7.0.9/24", ["x"])
    code, _, err = weft_alone("run", "-d", "--network", "front", "--network", "back", "--ip", "10.7.0.8", "true")
    assert (code, err.startswith("weft: which network are --ip")) == (125, True)


def test_attach_of_somebody_elses_namespace(house: House, weft_alone: Weft):
    house.client.networks.create("front")
    code, out, _ = weft_alone("attach", "--name", "lab", "--netns", "/run/netns/lab", "--network", "front", "-p", "80")
    made = house.client.containers.get("lab")
    assert (code, out.strip(), made.origin) == (0, made.id, "path")
    assert weft_alone("attach", "--name", "job", "--pid", "1234")[0] == 0
    assert "(process 1234)" in weft_alone("ps")[1]
    assert weft_alone("attach", "lab")[2].startswith("weft: container 'lab' has no console")
    assert weft_alone("logs", "lab")[2].startswith("weft: container 'lab' has no log")


def test_connect_and_disconnect(house: House, weft_alone: Weft):
    house.client.networks.create("front")
    house.client.networks.create("back", pools=["10.8.0.0/24"])
    house.client.containers.create(name="db", networks=["front"])
    connect = ("network", "connect", "--alias", "x", "--ifname", "lan0", "--gw-priority", "4")
    assert weft_alone(*connect, "back:ip=10.8.0.8", "db") == (0, "", "")
    (first, _) = house.client.containers.get("db").endpoints
    assert (first.network, first.ipv4, first.aliases, first.ifname) == ("back", "10.8.0.8/24", ["x"], "lan0")
    assert weft_alone("network", "disconnect", "back", "db") == (0, "", "")
    assert weft_alone("network", "disconnect", "back", "db")[0] == 1
    assert weft_alone("network", "disconnect", "-f", "back", "db") == (0, "", "")


def test_stop_kill_wait_rm(house: House, weft_alone: Weft):
    for name in ("a", "b"):
        house.client.containers.run(["sleep"], name=name)
    assert weft_alone("kill", "-s", "HUP", "a", "b") == (0, "a\nb\n", "")
    assert weft_alone("rm", "a")[2].startswith("weft: container 'a' is running")
    assert weft_alone("stop", "a", "nix", "b") == (1, "a\nb\n", "weft: no such container: 'nix'\n")
    assert weft_alone("wait", "a", "b") == (0, "143\n143\n", "")
    assert weft_alone("rm", "-f", "a", "nix", "b") == (1, "a\nb\n", "weft: no such container: 'nix'\n")
    assert weft_alone("ps", "-aq") == (0, "", "")
    assert weft_alone("network", "prune")[0] == 0
