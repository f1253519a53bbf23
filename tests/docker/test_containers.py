"""weft's containers, as Docker's own clients see them and deal with them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.docker.conftest import World
from weft.client import Container, Publish

pytestmark = pytest.mark.root

SLEEP = ("sleep", "60")


@pytest.fixture(scope="module")
def crowd(world: World) -> Iterator[dict[str, Container]]:
    """Of every kind one: running with ports, of two networks, ended, made but not started, attached."""
    client = world.weftd.client
    client.networks.create("blue", pools=["10.7.0.0/24"], ipv6=True)
    client.networks.create("red", pools=["10.8.0.0/24"], internal=True)
    run = client.containers.run
    with world.host.container() as foreign:
        yield {
            "web": run(
                SLEEP,
                name="web",
                networks=[{"network": "blue", "aliases": ["www"], "ip": "10.7.0.9"}, "red"],
                ports=[Publish(80, 8080), Publish(53, 5353, proto="udp", host_ip="127.0.0.1")],
                labels={"tier": "front"},
                env={"A": "b"},
                dns=["9.9.9.9"],
                extra_hosts=[("other", "10.1.1.1")],
            ),
            "job": ended(world, "exit 3", name="job", networks=["blue"], labels={"tier": "back"}),
            "made": client.containers.create(name="made", networks=["blue"], process={"argv": ["sleep", "60"]}),
            "lent": client.containers.create(name="lent", networks=["blue"], pid=foreign.pid),
        }
        world.empty()


def ended(world: World, script: str, **options: Any) -> Container:
    made = world.weftd.client.containers.run(["sh", "-c", script], **options)
    world.weftd.client.containers.wait(made)
    return world.weftd.client.containers.get(made)


def names(world: World, *arguments: str, client: str = "docker") -> list[str]:
    return world.lines("ps", *arguments, "--format", "{{.Names}}", client=client)


def inspected(world: World, name: str, version: str = "1.50") -> dict[str, Any]:
    document = world.ask("GET", f"/containers/{name}/json", version=version).json
    assert isinstance(document, dict)
    return document


# Lists


@pytest.mark.usefixtures("crowd")
def test_ps_shows_those_that_run_newest_first(world: World, client: str):
    assert names(world, client=client) == ["lent", "web"]
    assert names(world, "-a", client=client) == ["lent", "made", "job", "web"]
    assert names(world, "-n", "2", client=client) == ["lent", "made"]
    assert names(world, "-l", client=client) == ["lent"]


def test_ps_shows_what_there_is_to_see(world: World, crowd: dict[str, Container], client: str):
    shape = "{{.ID}}|{{.Status}}|{{.Networks}}|{{.Labels}}|{{.Command}}|{{.Ports}}"
    line = world.lines("ps", "--filter", "name=web", "--format", shape, client=client)[0].split("|")
    assert line[0] == crowd["web"].id[:12]
    assert line[1].startswith("Up ")
    assert sorted(line[2].split(",")) == ["blue", "red"]
    assert line[3:5] == ["tier=front", '"sleep 60"']
    assert line[5].startswith("127.0.0.1:5353->53/udp, 0.0.0.0:8080->80/tcp, ")
    assert "::" in line[5]


@pytest.mark.usefixtures("crowd")
def test_ps_says_how_it_ended(world: World):
    shape = "{{.State}}|{{.Status}}|{{.Ports}}"
    state, status, ports = world.lines("ps", "-a", "--filter", "name=job", "--format", shape)[0].split("|")
    assert (state, ports) == ("exited", "")
    assert status.startswith("Exited (3) ")
    assert status.endswith(" ago")
    assert world.lines("ps", "-a", "--filter", "name=made", "--format", "{{.Status}}") == ["Created"]


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        (["name=^/web$"], ["web"]),
        (["name=e"], ["lent", "web"]),
        (["name=["], []),
        (["name=w.b+$"], ["web"]),
        (["network=red"], ["web"]),
        (["network=blue"], ["lent", "web"]),
        (["network=red", "network=blue"], ["lent", "web"]),
        (["label=tier=front"], ["web"]),
        (["label=tier"], ["web"]),
        (["status=exited"], ["job"]),
        (["status=created"], ["made"]),
        (["status=running", "status=exited"], ["lent", "job", "web"]),
        (["status=paused"], []),
        (["exited=3"], ["job"]),
        (["exited=0"], []),
        (["publish=8080"], ["web"]),
        (["publish=5353/udp"], ["web"]),
        (["publish=5353"], []),
        (["expose=79-81/tcp"], ["web"]),
        (["health=none"], ["lent", "web"]),
        (["ancestor=debian"], []),
        (["volume=data"], []),
        (["is-task=false"], ["lent", "web"]),
        (["since=job"], ["lent", "made"]),
        (["before=job"], ["web"]),
        (["name=web", "status=exited"], []),
    ],
)
@pytest.mark.usefixtures("crowd")
def test_ps_filters(world: World, filters: list[str], found: list[str]):
    assert names(world, *(word for text in filters for word in ("--filter", text))) == found


def test_ps_filters_by_network_id_and_container_id(world: World, crowd: dict[str, Container]):
    assert names(world, "--filter", f"network={crowd['web'].endpoints[1].network_id}") == ["web"]
    assert names(world, "--filter", f"id={crowd['web'].id[:12]}") == ["web"]


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        ("colour=red", "invalid filter 'colour'"),
        ("status=tired", "invalid filter 'status=tired'"),
        ("exited=x", "invalid filter 'exited=x'"),
        (
            "name=(a+)+$",
            "invalid filter 'name=(a+)+$': at most three of *, +, ?, {, and none behind a bracket",
        ),
        ("publish=http", "invalid filter 'publish=http'"),
        ("is-task=perhaps", "invalid filter 'is-task=[perhaps]'"),
        ("since=nobody", "No such container: nobody"),
    ],
)
@pytest.mark.usefixtures("crowd")
def test_ps_refuses_filters_that_mean_nothing(world: World, text: str, refusal: str):
    assert world.refusal("ps", "--filter", text) == refusal


# One by itself


def test_inspect_says_where_it_is_on_its_networks(world: World, crowd: dict[str, Container], client: str):
    (shown,) = json.loads(world.docker("inspect", "web", client=client).stdout)
    on_blue = shown["NetworkSettings"]["Networks"]["blue"]
    web = crowd["web"]
    blue = next(endpoint for endpoint in web.endpoints if endpoint.network == "blue")
    assert (on_blue["IPAddress"], on_blue["IPPrefixLen"], on_blue["Gateway"]) == ("10.7.0.9", 24, "10.7.0.1")
    assert f"{on_blue['GlobalIPv6Address']}/{on_blue['GlobalIPv6PrefixLen']}" == blue.ipv6
    assert on_blue["IPv6Gateway"] == blue.gateway6
    assert (on_blue["MacAddress"], on_blue["EndpointID"], on_blue["NetworkID"]) == (blue.mac, blue.id, blue.network_id)
    on_red = shown["NetworkSettings"]["Networks"]["red"]
    assert (on_red["IPAddress"][:5], on_red["Gateway"]) == ("10.8.", "")
    assert on_blue["Aliases"][0] == "www"


def test_inspect_says_what_it_is(world: World, crowd: dict[str, Container]):
    shown = inspected(world, "web")
    web = crowd["web"]
    assert (shown["Id"], shown["Name"], shown["Path"], shown["Args"]) == (web.id, "/web", "sleep", ["60"])
    state = shown["State"]
    assert (state["Status"], state["Running"], state["Pid"], state["ExitCode"]) == ("running", True, web.pid, 0)
    assert shown["Created"] < state["StartedAt"]
    assert state["FinishedAt"] == "0001-01-01T00:00:00Z"
    config, host = shown["Config"], shown["HostConfig"]
    assert (config["Hostname"], config["Cmd"], config["Env"]) == (web.id[:12], ["sleep", "60"], ["A=b"])
    assert config["Labels"] == {"tier": "front"}
    assert sorted(config["ExposedPorts"]) == ["53/udp", "80/tcp"]
    assert (host["NetworkMode"], host["AutoRemove"], host["Dns"]) == ("blue", False, ["9.9.9.9"])
    assert host["ExtraHosts"] == ["other:10.1.1.1"]
    assert host["PortBindings"]["80/tcp"] == [{"HostIp": "", "HostPort": "8080"}]
    assert shown["NetworkSettings"]["SandboxKey"] == web.netns
    assert shown["NetworkSettings"]["Ports"] == {
        "80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}, {"HostIp": "::", "HostPort": "8080"}],
        "53/udp": [{"HostIp": "127.0.0.1", "HostPort": "5353"}],
    }


def test_inspect_follows_the_version(world: World, crowd: dict[str, Container]):
    short = crowd["web"].id[:12]
    old, new = (inspected(world, "web", version)["NetworkSettings"] for version in ("1.44", "1.52"))
    assert old["Networks"]["blue"]["Aliases"] == ["www", short]
    assert new["Networks"]["blue"]["Aliases"] == ["www"]
    assert new["Networks"]["blue"]["DNSNames"] == ["web", "www", short]
    assert old["IPAddress"] == ""  # of the default network alone, and gone since
    assert "IPAddress" not in new


@pytest.mark.usefixtures("crowd")
def test_inspect_shows_what_was_asked_of_an_endpoint(world: World):
    world.docker("network", "create", "--subnet", "10.9.0.0/24", "green")
    switch = "com.docker.network.endpoint.sysctls=net.ipv4.conf.IFNAME.log_martians=1"
    asked = ("--link", "lent:loan", "--link-local-ip", "169.254.9.9", "--driver-opt", switch, "--alias", "x")
    world.docker("network", "connect", *asked, "green", "web")
    on_green = inspected(world, "web")["NetworkSettings"]["Networks"]["green"]
    assert on_green["Links"] == ["lent:loan"]
    assert on_green["IPAMConfig"] == {"LinkLocalIPs": ["169.254.9.9"]}
    assert ["=".join(pair) for pair in on_green["DriverOpts"].items()] == [switch]
    assert on_green["Aliases"] == ["x"]
    world.docker("network", "disconnect", "green", "web")


@pytest.mark.usefixtures("crowd")
def test_inspect_of_one_that_has_ended(world: World):
    shown = inspected(world, "job")
    state = shown["State"]
    assert (state["Status"], state["Running"], state["Pid"], state["ExitCode"]) == ("exited", False, 0, 3)
    assert shown["Created"] <= state["StartedAt"] <= state["FinishedAt"]
    assert shown["NetworkSettings"]["SandboxKey"] == ""
    assert shown["NetworkSettings"]["Ports"] == {}


def test_inspect_of_one_that_has_no_process_of_wefts(world: World, crowd: dict[str, Container]):
    shown = inspected(world, "lent")
    assert (shown["State"]["Status"], shown["State"]["Pid"]) == ("running", crowd["lent"].pid)
    assert (shown["Path"], shown["Config"]["Cmd"], shown["LogPath"]) == ("", [], "")
    assert shown["Id"] == crowd["lent"].id


@pytest.mark.usefixtures("crowd")
def test_inspect_finds_networks_too_and_says_what_there_is_not(world: World, client: str):
    assert world.docker("inspect", "-f", "{{.Name}}", "blue", client=client).stdout == "blue\n"
    assert world.refusal("inspect", "nobody", client=client) == "No such object: nobody"


@pytest.mark.usefixtures("crowd")
def test_port(world: World, client: str):
    found = (line.replace(":::", "[::]:") for line in world.lines("port", "web", client=client))
    assert sorted(found) == [
        "53/udp -> 127.0.0.1:5353",
        "80/tcp -> 0.0.0.0:8080",
        "80/tcp -> [::]:8080",
    ]
    assert world.lines("port", "web", "80", client=client)[0] == "0.0.0.0:8080"


def test_top_shows_the_processes_inside(world: World, crowd: dict[str, Container], client: str):
    heading, *rows = world.lines("top", "web", client=client)
    assert heading.split() == ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
    pids = {row.split()[1]: row for row in rows}
    assert str(crowd["web"].pid) in pids
    assert any(row.endswith("sleep 60") for row in rows)
    assert len(rows) == 2  # the command and what reaps for it; nothing of other containers
    assert world.refusal("top", "job", client=client) == f"container {crowd['job'].id} is not running"


@pytest.mark.usefixtures("crowd")
def test_stats_count_what_passes(world: World, client: str):
    line = world.lines("stats", "--no-stream", "--format", "{{.Name}}|{{.NetIO}}|{{.PIDs}}", "web", client=client)
    assert line[0].startswith("web|")
    assert line[0].endswith("|2")
    document = world.ask("GET", "/containers/web/stats?stream=false").json
    assert sorted(document["networks"]) == ["eth0", "eth1"]
    before = document["networks"]["eth0"]["tx_packets"]
    world.weftd.sandbox("web", "ping", "-c", "1", "-W", "2", "10.7.0.1")
    after = world.ask("GET", "/containers/web/stats?stream=0").json["networks"]["eth0"]["tx_packets"]
    assert after > before


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "json"),
        ("GET", "logs?stdout=1"),
        ("GET", "top"),
        ("GET", "stats"),
        ("POST", "start"),
        ("POST", "stop"),
        ("POST", "restart"),
        ("POST", "kill"),
        ("POST", "wait"),
        ("POST", "rename?name=x"),
        ("DELETE", ""),
    ],
)
def test_nobody_is_not_found(world: World, method: str, path: str):
    answer = world.ask(method, f"/containers/nobody/{path}".rstrip("/"))
    assert (answer.status, answer.message) == (404, "No such container: nobody")
