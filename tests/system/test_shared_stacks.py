"""Containers without a network of their own: on the host's, on another container's, or on none."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.audits import assert_consistent
from tests.daemons import Weftd
from tests.hosts import PrivateHost, needs_namespaces
from tests.waiting import eventually
from weft.client import Container, Publish
from weft.errors import Conflict, Invalid, NotFound

pytestmark = pytest.mark.root

SERVE = ["python3", "-m", "http.server", "80", "--directory", "/etc"]
SWITCHES = "net.ipv4.ip_unprivileged_port_start", "net.ipv4.ping_group_range"


@pytest.fixture
def weftd(tmp_path: Path) -> Iterator[Weftd]:
    needs_namespaces()
    with PrivateHost() as host, Weftd(host, tmp_path) as weftd:
        weftd.client.networks.create("front", pools=["10.1.0.0/24"])
        yield weftd
        assert_consistent(weftd)


@pytest.fixture
def web(weftd: Weftd) -> Container:
    return weftd.client.containers.run(["sleep", "600"], name="web", networks=["front"], ports=[Publish(80, 8080)])


def _run(weftd: Weftd, *arguments: str) -> str:
    return weftd.cli("run", "--rm", *arguments).stdout.strip()


def _links(text: str) -> set[str]:
    return {link["ifname"] for link in json.loads(text)}


# Another container's


def test_a_sharer_has_the_others_addresses_names_and_files(weftd: Weftd, web: Container) -> None:
    seen = _run(weftd, "--network", "container:web", "--", "sh", "-c", "ip -br -4 addr; hostname; cat /etc/hosts")
    assert "10.1.0.2/24" in seen
    assert web.hostname in seen.splitlines()
    assert f"10.1.0.2\t{web.hostname}" in seen
    weftd.client.containers.create(name="db", networks=["front"])
    assert _run(weftd, "--network", "container:web", "--", "getent", "hosts", "db").startswith("10.1.0.3")


def test_two_processes_on_one_network_talk_over_loopback_and_the_published_port(weftd: Weftd, web: Container) -> None:
    weftd.client.containers.run(SERVE, name="server", networks=["container:web"])
    eventually(lambda: "200 OK" in weftd.cli("exec", "web", "curl", "-sI", "http://127.0.0.1/", check=False).stdout)
    assert "200 OK" in weftd.host.run(["curl", "-sI", "--max-time", "5", "http://127.0.0.1:8080/"]).stdout


def test_what_becomes_of_the_owner_becomes_of_the_sharers_files(weftd: Weftd, web: Container) -> None:
    weftd.client.networks.create("back", pools=["10.2.0.0/24"])
    weftd.client.containers.run(["sleep", "600"], name="aside", networks=["container:web"])
    weftd.client.networks.connect("back", "web")
    hosts = weftd.cli("exec", "aside", "cat", "/etc/hosts").stdout
    assert "10.2.0.2" in hosts
    assert "10.2.0.2/24" in weftd.cli("exec", "aside", "ip", "-br", "-4", "addr").stdout


def test_a_sharer_of_a_sharer_shares_with_the_owner(weftd: Weftd, web: Container) -> None:
    weftd.client.containers.run(["sleep", "600"], name="aside", networks=["container:web"])
    third = weftd.client.containers.run(["sleep", "600"], name="third", networks=["container:aside"])
    assert third.network_mode == "container:web"


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["-p", "80:80"], "the container uses the network of container 'web'; publish it on 'web'"),
        (["--network", "front"], "network 'container:web' leaves no room for others: 'front' cannot be had as well"),
        (["--hostname", "other"], "hostname 'other': the container has the host name of 'web', too"),
        (["--dns", "192.0.2.1"], "dns: the container uses the network of container 'web', and so its names"),
        (["--add-host", "a:192.0.2.1"], "add-host: the container uses the network of container 'web'"),
        (["--ip", "10.1.0.9"], "network 'container:web' has no addresses, names or interfaces to choose"),
    ],
)
def test_what_belongs_to_a_network_of_ones_own_is_refused(
    weftd: Weftd, web: Container, more: list[str], words: str
) -> None:
    done = weftd.cli("run", "--network", "container:web", *more, "--", "true", check=False)
    assert done.returncode == 125
    if "--ip" not in more:
        assert words in done.stderr
    else:
        assert words in done.stderr or "which network" in done.stderr
    assert [c.name for c in weftd.client.containers.list(all=True)] == ["web"]


def test_an_unknown_or_ended_owner_is_named(weftd: Weftd) -> None:
    with pytest.raises(NotFound, match="no such container: 'wbe'"):
        weftd.client.containers.create(networks=["container:wbe"])
    done = weftd.client.containers.run(["true"], name="done", networks=["front"])
    weftd.client.containers.wait(done)
    with pytest.raises(Conflict, match="container 'done' has exited: there is no network to share"):
        weftd.client.containers.create(networks=["container:done"])


def test_an_owner_is_not_removed_under_its_sharers_and_its_end_leaves_them_alone(weftd: Weftd, web: Container) -> None:
    weftd.client.containers.run(["sleep", "600"], name="aside", networks=["container:web"])
    weftd.client.containers.stop("web", timeout=0)
    with pytest.raises(Conflict, match="container 'web' shares its network with aside; `weft rm` them first"):
        weftd.client.containers.remove("web")
    assert weftd.client.containers.get("aside").state == "running"
    assert "10.1.0.2" not in weftd.cli("exec", "aside", "ip", "addr").stdout
    weftd.client.containers.remove("web", force=True)
    assert weftd.client.containers.get("aside").network_mode == f"container:{web.id[:12]}"
    weftd.client.containers.remove("aside", force=True)


def test_a_sharers_network_is_its_owners_to_change(weftd: Weftd, web: Container) -> None:
    weftd.client.containers.run(["sleep", "600"], name="aside", networks=["container:web"])
    weftd.client.networks.create("back")
    with pytest.raises(Conflict, match="container 'aside' uses the network of 'web': connect or disconnect 'web'"):
        weftd.client.networks.connect("back", "aside")
    with pytest.raises(Conflict, match="connect or disconnect 'web'"):
        weftd.client.networks.disconnect("front", "aside")


def test_sharers_outlive_weftd_and_are_known_to_the_next(weftd: Weftd, web: Container) -> None:
    weftd.client.containers.run(SERVE, name="server", networks=["container:web"])
    weftd.client.containers.create(name="later", networks=["container:web"], process={"argv": ["sleep", "600"]})
    weftd.restart()
    modes = {c.name: (c.state, c.network_mode) for c in weftd.client.containers.list(all=True)}
    assert modes == {
        "web": ("running", ""),
        "server": ("running", "container:web"),
        "later": ("created", "container:web"),
    }
    eventually(lambda: weftd.host.run(["curl", "-sI", "http://127.0.0.1:8080/"], check=False).returncode == 0)
    weftd.client.containers.remove("server", force=True)
    assert "10.1.0.2/24" in weftd.sandbox("web", "ip", "-br", "-4", "addr").stdout, "the owner keeps its network"
    weftd.client.containers.remove("later")


def test_lists_and_explanations_say_whose_network_it_is(weftd: Weftd, web: Container) -> None:
    weftd.client.containers.run(["sleep", "600"], name="aside", networks=["container:web"])
    assert "container:web" in weftd.cli("ps").stdout
    assert "the network of container web, whole" in weftd.cli("explain", "aside").stdout
    assert "It arrives" in weftd.cli("explain", "aside", "--to", "10.1.0.1").stdout


# The host's own


def test_on_the_hosts_network_a_container_sees_the_hosts_links_and_changes_none(weftd: Weftd) -> None:
    def state() -> list[str]:
        host = weftd.host
        commands = ["ip -br link show dev uplink", "ip route", "nft list ruleset", f"sysctl {' '.join(SWITCHES)}"]
        return [host.run(command).stdout for command in commands]

    weftd.host.run("ip link add uplink type veth peer name beyond")
    weftd.client.containers.create(name="other", networks=["front"])
    before = state()
    assert "uplink" in _links(_run(weftd, "--network", "host", "--", "ip", "-j", "link"))
    hosted = weftd.client.containers.run(["sleep", "600"], name="hosted", networks=["host"])
    assert (hosted.network_mode, hosted.endpoints, hosted.netns) == ("host", (), "")
    weftd.restart()
    assert weftd.client.containers.get("hosted").state == "running"
    assert "host" in weftd.cli("ps", "--format", "{{.Networks}}").stdout.splitlines()
    assert "the host's own network" in weftd.cli("explain", "hosted").stdout
    weftd.client.containers.stop("hosted", timeout=0)
    weftd.client.containers.remove("hosted")
    assert state() == before


def test_a_server_on_the_hosts_network_has_the_hosts_ports_and_files(weftd: Weftd) -> None:
    seen = _run(weftd, "--network", "host", "--", "sh", "-c", "hostname; cat /etc/resolv.conf")
    assert seen == f"{_hostname(weftd)}\n{Path('/etc/resolv.conf').read_text()}".strip()
    weftd.client.containers.run(["python3", "-m", "http.server", "8088", "-d", "/etc"], name="s", networks=["host"])
    eventually(lambda: weftd.host.run(["curl", "-sI", "http://127.0.0.1:8088/"], check=False).returncode == 0)
    assert "http.server" in weftd.cli("logs", "s").stdout + weftd.cli("ps").stdout


def test_only_its_own_processes_are_listed(weftd: Weftd) -> None:
    weftd.client.containers.run(["sleep", "611"], name="hosted", networks=["host"])
    listed = weftd.host.run(["docker", "-H", f"unix://{weftd.socket}", "top", "hosted"]).stdout
    assert "sleep 611" in listed
    assert "weft.daemon" not in listed


def _hostname(weftd: Weftd) -> str:
    return weftd.host.run("hostname").stdout.strip()


def test_ports_on_the_hosts_network_are_refused(weftd: Weftd) -> None:
    with pytest.raises(Invalid, match="the container uses the network of the host; listen on the host's own port"):
        weftd.client.containers.create(networks=["host"], ports=[Publish(80, 8080)])
    weftd.client.containers.run(["sleep", "600"], name="hosted", networks=["host"])
    with pytest.raises(Conflict, match="container 'hosted' is on the host's own network: run it without"):
        weftd.client.networks.connect("front", "hosted")


# None


def test_alone_a_container_has_only_loopback_until_it_is_connected(weftd: Weftd) -> None:
    assert _links(_run(weftd, "--network", "none", "--", "ip", "-j", "link")) == {"lo"}
    alone = weftd.client.containers.run(["sleep", "600"], name="alone", networks=["none"])
    assert alone.network_mode == "none"
    weftd.client.networks.connect("front", "alone")
    assert weftd.client.containers.get("alone").network_mode == ""
    assert "10.1.0.2/24" in weftd.sandbox("alone", "ip", "-br", "-4", "addr").stdout
    with pytest.raises(Invalid, match=r"cannot publish 80/tcp: container '[a-z_]+' is on no network"):
        weftd.client.containers.create(networks=["none"], ports=[Publish(80)])


@pytest.mark.parametrize("name", ["none", "host"])
def test_no_network_is_called_as_what_stands_in_its_place(weftd: Weftd, name: str) -> None:
    with pytest.raises(Conflict, match=f"network '{name}' cannot be made: the name stands for"):
        weftd.client.networks.create(name)
