"""Egress policies with real packets: what leaves a network, and what becomes of it when the policy changes."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

from tests.audits import assert_consistent, resolve, snapshot
from tests.daemons import Weftd
from tests.enter import inside, network
from tests.hosts import Namespace
from tests.system.people import (
    HOST4,
    HOST6,
    OUTSIDE4,
    OUTSIDE6,
    REFUSED,
    SECOND4,
    Listener,
    Question,
    ask,
    listening,
    pings,
)
from weft.client import Container, Publish
from weft.errors import Conflict, Invalid, NotFound

pytestmark = pytest.mark.root


@pytest.fixture
def web(weftd: Weftd, outside: Namespace) -> Iterator[Container]:
    """web and its neighbour db on front; other, on a network of its own, publishes a port; the world listens."""
    client = weftd.client
    client.networks.create("front", ipv6=True, pools=["10.1.0.0/24", "fd01::/64"])
    client.networks.create("back", ipv6=True, pools=["10.2.0.0/24", "fd02::/64"])
    web, db = (client.containers.create(name=name, networks=["front"]) for name in ("web", "db"))
    other = client.containers.create(name="other", networks=["back"], ports=[Publish(80, 8080)])
    with listening(
        weftd,
        Listener("outside", outside.path),
        Listener("https", outside.path, port=443),
        Listener("dns", outside.path, proto="udp", port=53),
        Listener("host", "", port=81),
        Listener("db", db.netns),
        Listener("other", other.netns),
    ):
        yield web
    assert_consistent(weftd)
    for container in client.containers.list(all=True):
        client.containers.remove(container, force=True)
    for name in ("front", "back"):
        client.networks.remove(name)


def _ask(weftd: Weftd, who: Container, *places: tuple[str, int] | tuple[str, int, str]) -> list[str]:
    return [answer.partition(" ")[0] for answer in ask(weftd.host, *(Question(who.netns, *place) for place in places))]


OUT = ((OUTSIDE4, 80), (OUTSIDE6, 80), (OUTSIDE4, 443), (OUTSIDE6, 443), (OUTSIDE4, 53, "udp"), (OUTSIDE6, 53, "udp"))
HOST = ((HOST4, 81), (HOST6, 81), ("10.1.0.1", 81), ("fd01::1", 81))
PUBLISHED = ((HOST4, 8080), (HOST6, 8080))


def test_without_a_policy_everything_is_reached(weftd: Weftd, web: Container) -> None:
    assert _ask(weftd, web, *OUT) == ["outside", "outside", "https", "https", "dns", "dns"]
    assert _ask(weftd, web, *HOST, *PUBLISHED) == ["host"] * 4 + ["other"] * 2


def test_a_closed_network_reaches_what_is_allowed_and_is_refused_the_rest_at_once(weftd: Weftd, web: Container) -> None:
    weftd.cli("network", "policy", "front", "--default", "deny", "--allow", "any:443/tcp", "--allow", f"{OUTSIDE4}:53")
    db = weftd.client.containers.get("db")
    began = time.monotonic()
    assert _ask(weftd, web, *OUT[:5]) == [REFUSED, REFUSED, "https", "https", "dns"]
    assert _ask(weftd, web, *HOST, *PUBLISHED) == [REFUSED] * 6
    assert time.monotonic() - began < 0.3, "what is refused is said so, and not waited for"
    assert pings(weftd.host, web.netns, [OUTSIDE4, OUTSIDE6, HOST4, "10.1.0.1"]) == [False] * 4
    inside(weftd.host, lambda: _assert_prohibited(web, OUTSIDE6, 53))
    # Neighbours are none of its business, and answers to whom others have asked neither.
    assert _ask(weftd, web, ("10.1.0.3", 80), ("fd01::3", 80)) == ["db", "db"]
    assert _ask(weftd, db, (OUTSIDE4, 443), (OUTSIDE4, 80)) == ["https", REFUSED]
    assert ask(weftd.host, Question("", "10.1.0.3", 80), Question("", "fd01::3", 80))[0].startswith("db")
    assert _ask(weftd, weftd.client.containers.get("other"), (OUTSIDE4, 80)) == ["outside"]
    assert inside(weftd.host, lambda: _resolved(web, "db")) == {"10.1.0.3"}


def _resolved(who: Container, name: str) -> set[str]:
    with network(who.netns):
        return resolve(name)


def _assert_prohibited(who: Container, address: str, port: int) -> None:
    with network(who.netns), socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as asker:
        asker.settimeout(1)
        asker.connect((address, port))
        asker.send(b"?")
        with pytest.raises(PermissionError):  # ICMPv6: administratively prohibited
            asker.recv(10)


def test_the_most_specific_rule_decides_in_whatever_order(weftd: Weftd, web: Container) -> None:
    rules = [("deny", "any"), ("allow", "192.0.2.0/24"), ("deny", f"{OUTSIDE4}:80/tcp"), ("allow", f"[{HOST6}]:8080")]
    for order in (rules, rules[::-1]):
        weftd.client.networks.set_policy("front", order)
        assert _ask(weftd, web, *OUT[:4]) == [REFUSED, REFUSED, "https", REFUSED]
        # A published port is judged by the address that was dialled, not by whom it leads to.
        assert _ask(weftd, web, *PUBLISHED) == ["other", "other"]
        assert _ask(weftd, web, *HOST) == ["host", REFUSED, REFUSED, REFUSED]
    weftd.client.networks.set_policy("front", [("deny", "10.2.0.0/16")])
    assert _ask(weftd, web, *PUBLISHED) == ["other", "other"]
    weftd.client.networks.set_policy("front")
    assert _ask(weftd, web, *OUT[:2]) == ["outside", "outside"]


def test_a_containers_own_rules_come_before_its_networks(weftd: Weftd, web: Container) -> None:
    db = weftd.client.containers.get("db")
    weftd.client.networks.set_policy("front", [("allow", OUTSIDE4)], default="deny")
    weftd.client.networks.set_policy("front", [("deny", "192.0.2.0/24"), ("allow", "any:443")], container="web")
    assert _ask(weftd, web, *OUT[:4]) == [REFUSED, REFUSED, REFUSED, "https"]
    assert _ask(weftd, db, *OUT[:4]) == ["outside", REFUSED, "https", REFUSED]
    weftd.client.networks.change_policy("front", container="web", remove=["192.0.2.0/24"], default="allow")
    assert _ask(weftd, web, *OUT[:4]) == ["outside", "outside", "https", "https"]
    weftd.client.networks.set_policy("front")
    weftd.client.networks.set_policy("front", container="web", default="deny")
    assert _ask(weftd, web, (OUTSIDE4, 443), ("10.1.0.3", 80)) == [REFUSED, "db"]
    assert _ask(weftd, db, (OUTSIDE4, 443)) == ["https"]
    weftd.client.networks.disconnect("front", "web")
    weftd.client.networks.connect("front", "web", ip="10.1.0.2")
    assert _ask(weftd, web, (OUTSIDE4, 443)) == ["https"], "its rules went with its endpoint"


def test_connections_that_a_new_policy_refuses_end_and_others_go_on(
    weftd: Weftd, web: Container, outside: Namespace
) -> None:
    ports = (7, 8)
    echoes = [
        weftd.host.popen(["nsenter", f"--net={outside.path}", "busybox", "nc", "-ll", "-p", str(port), "-e", "cat"])
        for port in ports
    ]
    try:

        def talk() -> tuple[bytes, bytes]:
            with network(web.netns):
                kept, cut = (_connected(OUTSIDE4, port) for port in ports)
                assert _said(kept) == _said(cut) == b"hello"
            weftd.client.networks.change_policy("front", add=[("deny", f"{OUTSIDE4}:8")])
            return _said(kept), _said(cut)

        kept, cut = inside(weftd.host, talk)
        assert (kept, cut) == (b"hello", b"")
    finally:
        for echo in echoes:
            echo.kill()
            echo.wait()


def _connected(address: str, port: int) -> socket.socket:
    for _ in range(500):
        try:
            return socket.create_connection((address, port), timeout=1)
        except ConnectionRefusedError:
            time.sleep(0.01)
    raise AssertionError(f"nobody listens on port {port}")


def _said(echo: socket.socket) -> bytes:
    try:
        echo.sendall(b"hello")
        return echo.recv(10)
    except ConnectionError:
        return b""


def test_it_outlives_the_daemon_and_is_put_back_when_somebody_takes_it_away(weftd: Weftd, web: Container) -> None:
    weftd.client.networks.set_policy("front", [("allow", "any:443/tcp")], default="deny")
    before = weftd.client.networks.policy("front")
    weftd.stop()
    assert _ask(weftd, web, (OUTSIDE4, 443), (OUTSIDE4, 80)) == ["https", REFUSED]
    weftd.start()
    assert _ask(weftd, web, (OUTSIDE4, 443), (OUTSIDE4, 80)) == ["https", REFUSED]
    assert weftd.client.networks.policy("front") == before
    weftd.host.run("nft flush set inet weft policed")
    assert _ask(weftd, web, (OUTSIDE4, 80)) == ["outside"]
    weftd.client.wire.call("POST", "/doctor/fix")
    assert _ask(weftd, web, (OUTSIDE4, 443), (OUTSIDE4, 80)) == ["https", REFUSED]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--allow", "example.com"], "names are not looked up"),
        (["--allow", "10.9.0.1/16"], "did you mean 10.9.0.0/16"),
        (["--allow", "10.9.0.0/16:0"], "not between 1 and 65535"),
        (["--allow", "10.9.0.0/16:90-80"], "not between 90 and 65535"),
        (["--allow", "10.9.0.0/16:80/icmp"], "none of tcp, udp, sctp"),
        (["--allow", "10.9.0.0/16:80/"], "no destination such as"),
        (["--allow", "any:80", "--deny", "any:80"], "both allowed and denied"),
        (["--deny", "10.1.0.3"], "on network 'front' itself"),
        (["--allow", "any", "--rm", "10.9.0.0/16"], "no rule for 10.9.0.0/16"),
        (["--container", "other", "--allow", "any"], "not on network 'front'"),
        (["--default", "closed"], "neither allow nor deny"),
    ],
)
def test_what_is_refused_changes_nothing(weftd: Weftd, web: Container, arguments: list[str], said: str) -> None:
    weftd.client.networks.set_policy("front", [("deny", "10.9.0.1")])
    before = snapshot(weftd)
    answer = weftd.cli("network", "policy", "front", *arguments, check=False)
    assert answer.returncode != 0
    assert said in answer.stderr
    assert snapshot(weftd) == before
    assert [rule.to for rule in weftd.client.networks.policy("front").rules] == ["10.9.0.1"]


def test_too_intricate_a_policy_is_refused_with_a_reason(weftd: Weftd, web: Container) -> None:
    rules = [("deny", f"any:{port}") for port in range(1, 400, 2)]
    rules += [("deny", f"10.9.{third}.0/24:8") for third in range(0, 200, 2)]
    with pytest.raises(Invalid, match="elements in the firewall"):
        weftd.client.networks.set_policy("front", rules)
    assert weftd.client.networks.policy("front").rules == ()


def test_a_thousand_rules_are_one_policy(weftd: Weftd, web: Container) -> None:
    rules = [("deny", f"10.{second}.{third}.0/24") for second in range(10, 20) for third in range(0, 200, 2)]
    weftd.client.networks.set_policy("front", [*rules, ("deny", OUTSIDE4)])
    assert _ask(weftd, web, (OUTSIDE4, 80), (OUTSIDE6, 80), (SECOND4, 81)) == [REFUSED, "outside", "host"]
    weftd.client.networks.create("vast")
    weftd.client.networks.set_policy("vast", rules)
    began = time.monotonic()
    weftd.client.networks.remove("vast")
    assert time.monotonic() - began < 3, "its elements do not go one by one"
    weftd.client.networks.set_policy("front", [("deny", OUTSIDE4)], container="web")
    assert _ask(weftd, web, (OUTSIDE4, 80), (OUTSIDE4, 443)) == [REFUSED, REFUSED]


def test_explain_names_the_rule_that_refuses_and_the_command_that_mends_it(weftd: Weftd, web: Container) -> None:
    weftd.client.networks.set_policy("front", [("deny", "192.0.2.0/24"), ("allow", f"{HOST4}:8080")])
    refused = weftd.cli("explain", "web", "--to", f"{OUTSIDE4}:443", check=False).stdout
    assert "refuses it (deny 192.0.2.0/24)" in refused
    command = f"weft network policy front --allow {OUTSIDE4}:443/tcp"
    assert command in refused
    assert "refuses it" in weftd.cli("explain", "web", "--to", f"{HOST4}:81", check=False).stdout
    assert "allows it (allow 192.0.2.1:8080)" in weftd.cli("explain", "web", "--to", f"{HOST4}:8080").stdout
    weftd.cli(*command.split()[1:])
    assert "allows it" in weftd.cli("explain", "web", "--to", f"{OUTSIDE4}:443").stdout
    assert _ask(weftd, web, (OUTSIDE4, 443)) == ["https"]
    weftd.client.networks.set_policy("front", container="web", default="deny")
    refused = weftd.cli("explain", "web", "--to", f"{OUTSIDE4}:443", check=False).stdout
    assert f"weft network policy front --container web --allow {OUTSIDE4}:443/tcp" in refused


def test_where_it_could_not_be_enforced_there_is_none(weftd: Weftd, web: Container) -> None:
    weftd.host.run("ip link add spare type veth peer name spare-end")
    try:
        weftd.client.networks.create("wired", options={"uplink": "spare"})
        with pytest.raises(Conflict, match="past this host's firewall"):
            weftd.client.networks.set_policy("wired", default="deny")
        weftd.client.networks.remove("wired")
    finally:
        weftd.host.run("ip link del spare")
    with pytest.raises(NotFound):
        weftd.client.networks.policy("nowhere")


def test_what_changed_is_told(weftd: Weftd, web: Container) -> None:
    weftd.client.networks.set_policy("front", [("deny", "10.9.0.1")])
    weftd.client.networks.set_policy("front", [("deny", "10.9.0.1")])
    weftd.client.networks.set_policy("front", default="deny", container="web")
    told = [e for e in weftd.client.events(since=0, follow=False) if e.action == "policy" and e.name == "front"][-2:]
    assert [event.attributes for event in told] == [
        {"driver": "bridge", "rules": "1"},
        {"driver": "bridge", "rules": "0", "default": "deny", "container": "web"},
    ]
    shown = weftd.cli("network", "policy", "front").stdout
    assert shown == "deny  10.9.0.1\nallow everything else\n"
