"""Ports published on a running container, and taken back from it, while connections through others go on."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

from tests.audits import assert_consistent, assert_same, snapshot
from tests.daemons import Weftd
from tests.enter import inside
from tests.hosts import Namespace
from tests.system.people import HOST4, HOST6, REFUSED, SILENCE, Listener, Question, ask, listening
from tests.waiting import eventually
from weft.client import Container, Publish
from weft.errors import Conflict, Invalid, NotFound

pytestmark = pytest.mark.root

NOBODY = {REFUSED, SILENCE}


@pytest.fixture
def web(weftd: Weftd, outside: Namespace) -> Iterator[Container]:
    weftd.client.networks.create("front", ipv6=True, pools=["10.1.0.0/24", "fd01::/64"])
    web = weftd.client.containers.run(["sleep", "600"], name="web", networks=["front"], ports=[Publish(80, 8080)])
    with listening(weftd, Listener("web", web.netns), Listener("udp", web.netns, proto="udp", port=53)):
        yield web
    assert_consistent(weftd)
    for container in weftd.client.containers.list(all=True):
        weftd.client.containers.remove(container, force=True)
    weftd.client.networks.remove("front")


def _from_outside(weftd: Weftd, outside: Namespace, port: int, proto: str = "tcp") -> list[str]:
    questions = [Question(outside.path, host, port, proto) for host in (HOST4, HOST6)]
    return [answer.partition(" ")[0] for answer in ask(weftd.host, *questions)]


def test_a_port_added_leads_in_at_once_and_one_taken_back_no_more(
    weftd: Weftd, outside: Namespace, web: Container
) -> None:
    assert set(_from_outside(weftd, outside, 8081)) <= NOBODY
    weftd.cli("port", "add", "web", "8081:80", "5353:53/udp")
    assert _from_outside(weftd, outside, 8081) == ["web", "web"]
    assert _from_outside(weftd, outside, 5353, "udp") == ["udp", "udp"]
    assert ask(weftd.host, Question("", "127.0.0.1", 8081), Question("", "::1", 8081))[0].startswith("web")
    assert "8081->80/tcp" in weftd.cli("ps").stdout
    weftd.cli("port", "rm", "web", "8081:80", "53/udp")
    assert set(_from_outside(weftd, outside, 8081)) <= NOBODY
    assert set(_from_outside(weftd, outside, 5353, "udp")) <= NOBODY
    assert _from_outside(weftd, outside, 8080) == ["web", "web"]
    assert weftd.cli("port", "web").stdout.splitlines() == ["80/tcp -> 0.0.0.0:8080", "80/tcp -> [::]:8080"]


def test_connections_through_other_ports_go_on_and_those_through_a_port_taken_back_end(
    weftd: Weftd, web: Container
) -> None:
    echo = weftd.host.popen(["nsenter", f"--net={web.netns}", "busybox", "nc", "-ll", "-p", "7", "-e", "cat"])
    try:
        weftd.client.containers.publish("web", [Publish(7, 7007), Publish(7, 7008)])

        def talk() -> tuple[bytes, bytes | None]:
            kept, cut = (_connected(port) for port in (7007, 7008))
            assert _said(kept) == b"hello"
            assert _said(cut) == b"hello"
            weftd.client.containers.unpublish("web", [{"container_port": 7, "host_port": 7008}])
            weftd.client.containers.publish("web", [Publish(7, 7009)])
            return _said(kept), _said(cut)

        assert inside(weftd.host, talk) == (b"hello", None)
    finally:
        echo.kill()
        echo.wait()


def _connected(port: int) -> socket.socket:
    for _ in range(500):
        try:
            return socket.create_connection((HOST4, port), timeout=1)
        except ConnectionRefusedError:
            time.sleep(0.01)
    raise AssertionError(f"nobody listens behind port {port}")


def _said(echo: socket.socket) -> bytes | None:
    """What is echoed; None if nothing is."""
    try:
        echo.sendall(b"hello")
        return echo.recv(16)
    except OSError:
        return None


@pytest.mark.parametrize(
    ("ports", "error", "words"),
    [
        ([Publish(81, 8080)], Conflict, "port 8080/tcp is already published by container 'web'"),
        ([Publish(81, 9081), Publish(82, 9081)], Conflict, "port 9081/tcp is asked for twice"),
        ([Publish(81, 9081), Publish(0, 9082)], Invalid, "container port 0 is not valid"),
        ([Publish(81, 9081), Publish(82, 9999)], Conflict, "9999"),
    ],
)
def test_of_ports_that_cannot_all_be_had_none_is_published(
    weftd: Weftd, web: Container, ports: list[Publish], error: type[Exception], words: str
) -> None:
    before = snapshot(weftd)
    taken = weftd.host.popen(["busybox", "nc", "-l", "-p", "9999"])
    try:
        eventually(lambda: ":9999 " in weftd.host.run(["ss", "-tln"]).stdout)
        with pytest.raises(error, match=words):
            weftd.client.containers.publish("web", ports)
    finally:
        taken.kill()
        taken.wait()
    assert_same(before, snapshot(weftd), "a refused port")
    assert [port.host_port for port in weftd.client.containers.get("web").ports] == [8080]


def test_who_cannot_have_ports_is_told_why(weftd: Weftd, web: Container) -> None:
    client = weftd.client
    client.networks.create("inner", internal=True)
    client.containers.create(name="shut", networks=["inner"])
    with pytest.raises(Invalid, match="cannot publish 80/tcp: every network of container 'shut' is internal"):
        client.containers.publish("shut", [80])
    client.containers.run(["sleep", "600"], name="aside", networks=["container:web"])
    with pytest.raises(Conflict, match="container 'aside' uses the network of 'web'"):
        client.containers.publish("aside", [80])
    done = client.containers.run(["true"], name="done", networks=["front"])
    client.containers.wait(done)
    with pytest.raises(Conflict, match="container 'done' has exited: no port leads to it any more"):
        client.containers.publish("done", [80])
    client.containers.remove("shut")
    client.networks.remove("inner")


def test_what_is_not_published_is_named_with_what_is_and_nothing_goes(weftd: Weftd, web: Container) -> None:
    with pytest.raises(NotFound, match="container 'web' publishes no port 443/tcp; it publishes 8080->80/tcp"):
        weftd.client.containers.unpublish("web", [80, 443])
    assert len(weftd.client.containers.get("web").ports) == 1
    assert [port.host_port for port in weftd.client.containers.unpublish("web")] == [8080]
    assert weftd.client.containers.unpublish("web") == ()
    done = weftd.cli("port", "rm", "web", check=False)
    assert (done.returncode, "which ports? Name some, or say --all" in done.stderr) == (2, True)


def test_ports_added_survive_a_restart_and_are_free_after_they_were_taken_back(weftd: Weftd, web: Container) -> None:
    weftd.client.containers.publish("web", [Publish(8000, 8000, container_port_end=8004, host_port_end=8004)])
    weftd.restart()
    assert len(weftd.client.containers.get("web").ports) == 6
    assert_consistent(weftd)
    weftd.cli("port", "rm", "web", "8000-8004:8000-8004")
    other = weftd.client.containers.create(name="other", networks=["front"], ports=[Publish(80, 8000)])
    assert [port.host_port for port in other.ports] == [8000]


def test_events_and_docker_say_so(weftd: Weftd, web: Container) -> None:
    weftd.client.containers.publish("web", [Publish(81, 8081)])
    weftd.client.containers.unpublish("web", [81])
    said = weftd.cli("events", "--follow=false", "--since", "1h").stdout
    assert "container publish web (ports=8081->81/tcp)" in said
    assert "container unpublish web (ports=8081->81/tcp)" in said
