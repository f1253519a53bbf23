"""A network edited while its containers talk: who is there sees what it should at once, and connections go on."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.audits import assert_consistent, resolve
from tests.daemons import Weftd
from tests.enter import inside, network
from tests.hosts import Namespace
from tests.system.nameserver import ANSWER, answering
from tests.system.people import (
    HOST4,
    HOST6,
    OUTSIDE4,
    OUTSIDE6,
    REFUSED,
    SECOND4,
    SILENCE,
    Listener,
    Question,
    ask,
    listening,
    pings,
)
from tests.waiting import PACE, eventually
from weft.client import Attachment, Container, Publish
from weft.errors import Conflict

pytestmark = pytest.mark.root

NOBODY = (REFUSED, SILENCE)
ECHO = 7


@pytest.fixture
def web(weftd: Weftd, outside: Namespace) -> Iterator[Container]:
    """On network front, with a published port and a neighbour; everybody listens at port 80."""
    weftd.client.networks.create("front", ipv6=True, pools=["10.1.0.0/24", "fd01::/64"])
    published = [Publish(80, 8080), Publish(ECHO, 7007)]
    wish = Attachment("front", ip="10.1.0.11", ip6="fd01::11")
    web = weftd.client.containers.run(["sleep", "600"], name="web", networks=[wish], ports=published)
    wish = Attachment("front", ip="10.1.0.12", ip6="fd01::12")
    near = weftd.client.containers.create(name="near", networks=[wish])
    with listening(weftd, *(Listener(n, p) for n, p in (("web", web.netns), ("near", near.netns)))):
        with listening(weftd, Listener("outside", outside.path)):
            yield web
    assert_consistent(weftd)
    for container in weftd.client.containers.list(all=True):
        weftd.client.containers.remove(container, force=True)
    for each in weftd.client.networks.list():
        weftd.client.networks.remove(each)


@pytest.fixture
def near(weftd: Weftd, web: Container) -> Container:
    return weftd.client.containers.get("near")


def update(weftd: Weftd, **change: object) -> None:
    weftd.client.networks.update("front", **change)


@contextmanager
def echoing(weftd: Weftd, *paths: str) -> Iterator[None]:
    servers = [
        weftd.host.popen(["nsenter", f"--net={path}", "busybox", "nc", "-ll", "-p", str(ECHO), "-e", "cat"])
        for path in paths
    ]
    try:
        for path in paths:
            probe = ["nsenter", f"--net={path}", "ss", "-Hltn"]
            eventually(lambda probe=probe: f":{ECHO} " in weftd.host.run(probe).stdout)
        yield
    finally:
        for server in servers:
            server.kill()
            server.wait()


def connected(path: str, address: str, port: int) -> socket.socket:
    """From a namespace; to be called inside the host."""
    with network(path):
        return socket.create_connection((address, port), timeout=2 * PACE)


def talks(stream: socket.socket, *, size: int = 100_000, patience: float = 5.0) -> bool:
    """Whether all that is said comes back: many full packets in each direction."""
    stream.settimeout(patience * PACE)
    try:
        left = size
        while left:
            stream.sendall(b"x" * min(left, 10_000))
            heard = 0
            while heard < min(left, 10_000):
                got = stream.recv(1 << 16)
                if not got:
                    return False
                heard += len(got)
            left -= heard
    except OSError:
        return False
    return True


CHANGES: dict[str, dict[str, object]] = {
    "label": {"labels": {"tier": "web"}},
    "smaller": {"options": {"mtu": "1280"}},
    "larger": {"options": {"mtu": "9000"}},
    "usual": {"options": {"mtu": None}},
    "masquerade off": {"options": {"masquerade": "false"}},
    "masquerade on": {"options": {"masquerade": "true"}},
    "anti-spoof off": {"options": {"anti-spoof": "false"}},
    "anti-spoof on": {"options": {"anti-spoof": "true"}},
    "limits": {"options": {"bandwidth-in": "1gbit", "bandwidth-out": "1gbit"}},
    "no limits": {"options": {"bandwidth-in": None, "bandwidth-out": None}},
    "subnet": {"add_pools": ["10.2.0.0/24", "fd02::/64"]},
    "no subnet": {"remove_pools": ["10.2.0.0/24", "fd02::/64"]},
    "route": {"add_routes": [("10.99.0.0/16", "10.1.0.12")]},
    "trusted": {"options": {"trusted-interfaces": "uplink"}},
    "open": {"options": {"gateway-mode": "nat-unprotected"}},
    "closed": {"options": {"gateway-mode": None}},
    "name": {"name": "shop"},
    "old name": {"name": "front"},
}


def test_connections_of_every_kind_go_on_whatever_changes(
    weftd: Weftd, web: Container, near: Container, outside: Namespace
) -> None:
    def talk() -> list[tuple[str, list[bool]]]:
        streams = [
            connected(outside.path, HOST4, 7007),
            connected(outside.path, HOST6, 7007),
            connected(near.netns, "10.1.0.11", ECHO),
            connected(near.netns, "fd01::11", ECHO),
            connected(web.netns, OUTSIDE4, ECHO),
            connected(web.netns, OUTSIDE6, ECHO),
        ]
        said = [("before", [talks(stream) for stream in streams])]
        name = "front"
        for what, change in CHANGES.items():
            name = weftd.client.networks.update(name, **change).name
            said.append((what, [talks(stream) for stream in streams]))
        return said

    with echoing(weftd, web.netns, outside.path):
        said = inside(weftd.host, talk, seconds=120)
    assert said == [(what, [True] * 6) for what in ("before", *CHANGES)]


def test_the_mtu_holds_inside_and_outside_for_who_is_there_and_who_comes(
    weftd: Weftd, web: Container, near: Container
) -> None:
    def fits(size: int) -> bool:
        ping = ["ping", "-c1", "-W1", "-q", "-M", "do", "-s", str(size - 28), "10.1.0.12"]
        return weftd.sandbox("web", *ping, check=False).returncode == 0

    assert fits(1500)
    weftd.cli("network", "update", "front", "--opt", "mtu=1300")
    assert "mtu 1300" in weftd.sandbox("web", "ip", "link", "show", "eth0").stdout
    bridge = weftd.client.networks.get("front").bridge
    assert "mtu 1300" in weftd.host.run(f"ip link show {bridge}").stdout
    assert fits(1300)
    assert not fits(1301)
    weftd.client.containers.create(name="late", networks=["front"])
    assert "mtu 1300" in weftd.sandbox("late", "ip", "link", "show", "eth0").stdout
    update(weftd, options={"mtu": "9000"})
    assert fits(9000)


def test_neighbours_are_parted_and_brought_together_at_once(weftd: Weftd, web: Container, near: Container) -> None:
    def reached() -> list[str]:
        return ask(weftd.host, Question(near.netns, "10.1.0.11", 80), Question(near.netns, "fd01::11", 80))

    together = ["web 10.1.0.12", "web fd01::12"]
    assert reached() == together
    for _ in range(2):
        update(weftd, options={"icc": "false"})
        assert reached() == [SILENCE, SILENCE]
        assert ask(weftd.host, Question("", "10.1.0.11", 80)) == ["web 10.1.0.1"], "the host reaches both"
        update(weftd, options={"icc": None})
        assert reached() == together


def test_a_connection_of_neighbours_waits_until_they_may_talk_again(
    weftd: Weftd, web: Container, near: Container
) -> None:
    def talk() -> list[bool]:
        stream = connected(near.netns, "10.1.0.11", ECHO)
        said = [talks(stream, size=10)]
        update(weftd, options={"icc": "false"})
        said.append(talks(stream, size=10, patience=0.5))
        update(weftd, options={"icc": "true"})
        stream.settimeout(10 * PACE)
        return [*said, stream.recv(16) == b"x" * 10]

    with echoing(weftd, web.netns):
        assert inside(weftd.host, talk) == [True, False, True]


def test_with_ipv6_added_who_comes_has_both_families_and_who_is_there_once_it_is_connected_anew(
    weftd: Weftd, web: Container, outside: Namespace
) -> None:
    client = weftd.client
    client.networks.create("old", pools=["10.5.0.0/24"])
    first = client.containers.create(name="first", networks=["old"], ports=[Publish(80, 8081)])
    (shown,) = weftd.json("network", "update", "old", "--ipv6", "--format", "json")
    assert shown["ipv6"]
    gateway = shown["pools"][1]["gateway"]
    assert first.endpoints == client.containers.get("first").endpoints
    assert "inet6" not in weftd.sandbox("first", "ip", "address", "show", "eth0").stdout
    second = client.containers.create(name="second", networks=["old"], ports=[Publish(80, 8082)])
    assert second.endpoints[0].ipv6 is not None
    own = second.endpoints[0].ipv6.partition("/")[0]
    with listening(weftd, Listener("first", first.netns), Listener("second", second.netns)):
        assert pings(weftd.host, "/proc/self/ns/net", [gateway, own]) == [True, True]
        for host, asker in ((HOST4, OUTSIDE4), (HOST6, OUTSIDE6)):
            assert ask(weftd.host, Question(outside.path, host, 8082)) == [f"second {asker}"]
        with listening(weftd, Listener("there", outside.path, port=81)):
            assert ask(weftd.host, Question(second.netns, OUTSIDE6, 81)) == [f"there {HOST6}"]
        client.networks.disconnect("old", "first")
        client.networks.connect("old", "first")
        assert ask(weftd.host, Question(first.netns, own, 80))[0].startswith("second fd")
        assert ask(weftd.host, Question(outside.path, HOST6, 8081)) == [f"first {OUTSIDE6}"]


def test_an_added_subnet_is_room_for_more_and_all_are_neighbours_at_once(weftd: Weftd, web: Container) -> None:
    client = weftd.client
    client.networks.create("small", pools=["10.5.0.0/30"])
    first = client.containers.create(name="first", networks=["small"])
    refused = weftd.cli("run", "-d", "--network", "small", "--", "true", check=False)
    assert "no address is left in 10.5.0.0/30" in refused.stderr
    weftd.cli("network", "update", "small", "--add-subnet", "10.6.0.0/24", "--gateway", "10.6.0.254")
    second = client.containers.create(name="second", networks=["small"])
    assert second.endpoints[0].ipv4 == "10.6.0.1/24"
    assert second.endpoints[0].gateway4 == "10.6.0.254"
    with listening(weftd, Listener("first", first.netns), Listener("second", second.netns)):
        assert ask(
            weftd.host,
            Question(first.netns, "10.6.0.1", 80),
            Question(second.netns, "10.5.0.2", 80),
            Question(second.netns, OUTSIDE4, 80),
        ) == ["second 10.5.0.2", "first 10.6.0.1", f"outside {HOST4}"]
    with pytest.raises(Conflict, match=r"10\.6\.0\.0/24 of network 'small' is in use by second"):
        client.networks.update("small", remove_pools=["10.6.0.0/24"])
    client.containers.remove("second", force=True)
    client.networks.update("small", remove_pools=["10.6.0.0/24"])
    assert "10.6.0" not in weftd.sandbox("first", "ip", "route").stdout


def test_the_outside_sees_under_which_address_containers_leave(weftd: Weftd, web: Container) -> None:
    def seen() -> list[str]:
        questions = [Question(web.netns, address, 80) for address in (OUTSIDE4, OUTSIDE6)]
        return [answer.partition(" ")[2] for answer in ask(weftd.host, *questions)]

    assert seen() == [HOST4, HOST6]
    update(weftd, options={"masquerade": "false"})
    assert seen() == ["10.1.0.11", "fd01::11"]
    update(weftd, options={"masquerade-ipv6": "true"})
    assert seen() == ["10.1.0.11", HOST6]
    update(weftd, options={"masquerade": None, "masquerade-ipv6": None, "snat-ipv4": SECOND4})
    assert seen() == [SECOND4, HOST6]
    update(weftd, options={"snat-ipv4": None})
    assert seen() == [HOST4, HOST6]


def test_a_gateway_mode_opens_and_shuts_what_it_should(weftd: Weftd, web: Container, outside: Namespace) -> None:
    def reached() -> list[bool]:
        """The container's own port that is published, its others, and the host's port; in each family."""
        asked = [
            Question(outside.path, address, port)
            for address, port in (
                *((own, port) for port in (80, 81) for own in ("10.1.0.11", "fd01::11")),
                *((host, 8080) for host in (HOST4, HOST6)),
            )
        ]
        return [answer not in NOBODY for answer in ask(weftd.host, *asked)]

    with listening(weftd, Listener("web81", web.netns, port=81)):
        nat, opened, routed = [0, 0, 0, 0, 1, 1], [1, 1, 1, 1, 1, 1], [1, 1, 0, 0, 0, 0]
        for mode, wanted in (
            (None, nat),
            ("routed", routed),
            ("nat", nat),
            ("nat-unprotected", opened),
            ("routed", routed),
            ("nat-unprotected", opened),
            ("nat", nat),
        ):
            if mode is not None:
                update(weftd, options={"gateway-mode": mode})
            assert reached() == [bool(one) for one in wanted], mode
            assert_consistent(weftd)
        update(weftd, options={"gateway-mode-ipv6": "routed"})
        assert reached() == [False, True, False, False, True, True], "over IPv6 the relay leads to the IPv4 address"
        update(weftd, options={"gateway-mode-ipv6": None, "trusted-interfaces": "uplink"})
        assert reached() == [True] * 6
        update(weftd, options={"trusted-interfaces": None})
        assert reached() == [bool(one) for one in nat]


def test_what_came_directly_ends_where_that_is_shut(weftd: Weftd, web: Container, outside: Namespace) -> None:
    # Without masquerading it is connection tracking alone that tells answers from what comes in.
    update(weftd, options={"gateway-mode": "nat-unprotected", "masquerade": "false"})

    def talk() -> list[bool]:
        direct, published = connected(outside.path, "10.1.0.11", ECHO), connected(outside.path, HOST4, 7007)
        said = [talks(direct), talks(published)]
        update(weftd, options={"gateway-mode": None})
        return [*said, talks(direct, patience=0.5), talks(published)]

    with echoing(weftd, web.netns):
        assert inside(weftd.host, talk) == [True, True, False, True]


def test_the_host_s_ports_are_free_once_a_network_is_routed_and_taken_again(
    weftd: Weftd, web: Container, outside: Namespace
) -> None:
    update(weftd, options={"gateway-mode": "routed"})
    with listening(weftd, Listener("program", "", port=8080)):
        assert ask(weftd.host, Question(outside.path, HOST4, 8080)) == [f"program {OUTSIDE4}"]
        with pytest.raises(Conflict, match="8080"):
            update(weftd, options={"gateway-mode": "nat"})
        assert ask(weftd.host, Question(outside.path, "10.1.0.11", 80)) == [f"web {OUTSIDE4}"]
    update(weftd, options={"gateway-mode": "nat"})
    assert ask(weftd.host, Question(outside.path, HOST4, 8080)) == [f"web {OUTSIDE4}"]
    assert ask(weftd.host, Question("", "::1", 8080))[0].startswith("web "), "the relay leads there as well"


def test_the_guard_against_false_addresses_is_taken_down_and_put_up(weftd: Weftd, web: Container) -> None:
    weftd.sandbox("web", "ip", "address", "add", "10.1.0.99/24", "dev", "eth0")

    def lies() -> bool:
        ping = ["ping", "-c1", "-W1", "-q", "-I", "10.1.0.99", "10.1.0.12"]
        return weftd.sandbox("web", *ping, check=False).returncode == 0

    assert not lies()
    update(weftd, options={"anti-spoof": "false"})
    eventually(lies)  # who asked for the neighbour in vain waits a second before asking again
    update(weftd, options={"anti-spoof": "true"})
    weftd.sandbox("near", "ip", "neigh", "flush", "all")
    assert not lies()


def test_an_internal_network_leads_nowhere_from_that_moment_on(
    weftd: Weftd, web: Container, outside: Namespace
) -> None:
    inward, outward = Question(outside.path, HOST4, 8080), Question(web.netns, OUTSIDE4, 80)

    def talk() -> list[bool]:
        streams = [connected(outside.path, HOST4, 7007), connected(web.netns, OUTSIDE4, ECHO)]
        said = [talks(stream) for stream in streams]
        update(weftd, internal=True)
        weftd.sandbox("web", "ip", "route", "add", "default", "via", "10.1.0.1")  # as root in there may
        return [*said, *(talks(stream, patience=0.5) for stream in streams)]

    with echoing(weftd, web.netns, outside.path):
        assert inside(weftd.host, talk) == [True, True, False, False]
    said = ask(weftd.host, inward, outward)
    assert said[0] in NOBODY
    assert said[1] == SILENCE
    weftd.sandbox("web", "ip", "route", "del", "default")
    weftd.restart()
    assert weftd.sandbox("web", "ip", "route", "show", "default").stdout == ""
    assert ask(weftd.host, outward) == [SILENCE]
    update(weftd, internal=False)
    assert ask(weftd.host, inward, outward) == [f"web {OUTSIDE4}", f"outside {HOST4}"]


def test_names_of_the_world_are_asked_for_while_the_network_leads_out(
    weftd: Weftd, web: Container, outside: Namespace
) -> None:
    asker = weftd.client.containers.create(name="asker", networks=["front"], dns=[OUTSIDE4])

    def found() -> list[set[str]]:
        def look_up() -> list[set[str]]:
            with network(asker.netns):
                return [resolve(name) for name in ("near", "somewhere.test")]

        return inside(weftd.host, look_up)

    own = {"10.1.0.12"}
    with answering(weftd, outside, OUTSIDE4):
        assert found() == [own, {ANSWER}]
        update(weftd, internal=True)
        assert found() == [own, set()]
        update(weftd, internal=False)
        assert found() == [own, {ANSWER}]


def test_neighbours_are_found_by_the_network_s_new_name_and_not_by_the_old(weftd: Weftd, web: Container) -> None:
    def found() -> list[set[str]]:
        def look_up() -> list[set[str]]:
            with network(web.netns):
                return [resolve(name) for name in ("near", "near.front", "near.shop")]

        return inside(weftd.host, look_up)

    own = {"10.1.0.12"}
    assert found() == [own, own, set()]
    assert weftd.cli("network", "update", "front", "--name", "shop").stdout == "shop\n"
    assert found() == [own, set(), own]
    weftd.restart()
    assert found() == [own, set(), own]
    assert weftd.client.containers.get("web").endpoints[0].network == "shop"
    weftd.client.networks.update("shop", name="front")
    assert found() == [own, own, set()]


def test_whoever_looks_sees_it_at_once(weftd: Weftd, web: Container) -> None:
    weftd.cli("network", "update", "front", "--opt", "mtu=1300", "--add-subnet", "10.2.0.0/24", "--label", "a=b")
    explained = weftd.cli("explain", "web").stdout
    assert "MTU 1300" in explained
    assert "10.2.0.0/24" in explained
    assert "✗" not in explained
    (shown,) = weftd.json("network", "inspect", "front")
    assert (shown["options"], shown["labels"]) == ({"mtu": "1300"}, {"a": "b"})
    told = weftd.cli("events", "--follow=false", "--filter", "action=update").stdout
    assert "changes=label:a=b option:mtu=1300 +10.2.0.0/24" in told


@pytest.mark.parametrize("count", [50])
def test_of_many_containers_each_follows(weftd: Weftd, web: Container, count: int) -> None:
    client = weftd.client
    for number in range(count):
        client.containers.create(name=f"c{number}", networks=["front"])
    update(weftd, options={"mtu": "1300", "icc": "false"}, add_pools=["10.2.0.0/24"])
    assert_consistent(weftd)
    for number in range(count):
        assert "mtu 1300" in weftd.sandbox(f"c{number}", "ip", "link", "show", "eth0").stdout
