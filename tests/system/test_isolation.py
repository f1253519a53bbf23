"""Who reaches whom: containers of one network and of several, the host, and who is outside."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.daemons import Weftd
from tests.hosts import Namespace
from tests.system.people import HOST4, HOST6, OUTSIDE4, SILENCE, Listener, Question, ask, listening, pings

pytestmark = pytest.mark.root

ADDRESSES = {
    "open1": ("10.5.0.11", "fd05::11"),
    "a1": ("10.1.0.11", "fd01::11"),
    "a2": ("10.1.0.12", "fd01::12"),
    "b1": ("10.2.0.11", "fd02::11"),
    "shy1": ("10.3.0.11",),
    "shy2": ("10.3.0.12",),
    "in1": ("10.4.0.11", "fd04::11"),
    "in2": ("10.4.0.12", "fd04::12"),
    "outside": (OUTSIDE4, "2001:db8::2"),
}


@pytest.fixture(scope="module")
def paths(weftd: Weftd, outside: Namespace) -> Iterator[dict[str, str]]:
    """Everybody's network namespace: a* and b* on networks of both families, shy* on one without icc, in* inside."""
    create = weftd.client.networks.create
    create("a", ipv6=True, pools=["10.1.0.0/24", "fd01::/64"])
    create("b", ipv6=True, pools=["10.2.0.0/24", "fd02::/64"])
    create("shy", pools=["10.3.0.0/24"], options={"icc": "false"})
    create("open", ipv6=True, pools=["10.5.0.0/24", "fd05::/64"], options={"masquerade": "false"})
    create("in", ipv6=True, pools=["10.4.0.0/24", "fd04::/64"], internal=True)
    paths = {"outside": outside.path, "host": ""}
    for name, addresses in ADDRESSES.items():
        if name == "outside":
            continue
        wish = {"network": name.rstrip("12"), "ip": addresses[0], "ip6": addresses[1] if len(addresses) > 1 else None}
        made = weftd.client.containers.create(name=name, networks=[{k: v for k, v in wish.items() if v}])
        paths[name] = made.netns
    everybody = [Listener(name, path, proto) for name, path in paths.items() for proto in ("tcp", "udp")]
    with listening(weftd, *everybody):
        yield paths


@pytest.mark.statement(4, 6, 8)
@pytest.mark.parametrize("proto", ["tcp", "udp"])
@pytest.mark.parametrize(
    ("who", "whom", "reached"),
    [
        ("a1", "a2", True),
        ("a2", "a1", True),
        ("in1", "in2", True),
        ("host", "a1", True),
        ("host", "shy1", True),
        ("a1", "outside", True),
        ("shy1", "outside", True),
        ("open1", "outside", True),
        ("a1", "b1", False),
        ("b1", "a1", False),
        ("a1", "shy1", False),
        ("a1", "in1", False),
        ("in1", "a1", False),
        ("shy1", "shy2", False),
        ("in1", "outside", False),
        ("outside", "a1", False),
        ("outside", "b1", False),
        ("outside", "shy1", False),
        ("outside", "open1", False),
        ("open1", "a1", False),
        ("a1", "open1", False),
        ("outside", "in1", False),
    ],
)
def test_who_reaches_whom(weftd: Weftd, paths: dict[str, str], who: str, whom: str, reached: bool, proto: str) -> None:
    versions = len(ADDRESSES.get(who, ("", "")))
    said = ask(weftd.host, *(Question(paths[who], address, 80, proto) for address in ADDRESSES[whom][:versions]))
    if reached:
        assert all(answer.startswith(f"{whom} ") for answer in said), said
    else:
        assert set(said) == {SILENCE}


def test_pings_are_isolated_alike(weftd: Weftd, paths: dict[str, str]) -> None:
    assert pings(weftd.host, paths["a1"], ADDRESSES["a2"]) == [True, True]
    for who, whom in (("a1", "b1"), ("shy1", "shy2"), ("in1", "outside"), ("outside", "a1")):
        assert not any(pings(weftd.host, paths[who], ADDRESSES[whom])), (who, whom)


def test_who_leaves_bears_the_host_s_address(weftd: Weftd, paths: dict[str, str]) -> None:
    said = ask(weftd.host, Question(paths["a1"], OUTSIDE4, 80), Question(paths["a1"], "2001:db8::2", 80))
    assert said == [f"outside {HOST4}", f"outside {HOST6}"]


def test_unless_its_network_does_not_masquerade(weftd: Weftd, paths: dict[str, str]) -> None:
    said = ask(weftd.host, Question(paths["open1"], OUTSIDE4, 80), Question(paths["open1"], "2001:db8::2", 80))
    assert said == ["outside 10.5.0.11", "outside fd05::11"]


def test_containers_without_icc_cannot_pass_by_way_of_the_router(weftd: Weftd, paths: dict[str, str]) -> None:
    """By the bridge they are apart; a host route through the gateway would come back on the same bridge."""
    weftd.sandbox("shy1", "ip", "route", "add", "10.3.0.12/32", "via", "10.3.0.1")
    try:
        assert ask(weftd.host, Question(paths["shy1"], "10.3.0.12", 80)) == [SILENCE]
    finally:
        weftd.sandbox("shy1", "ip", "route", "del", "10.3.0.12/32")


def test_the_matrix_holds_after_a_flush_has_healed(weftd: Weftd, paths: dict[str, str]) -> None:
    weftd.host.run("nft flush ruleset")
    weftd.host.run("sleep 0.5")
    for who, whom in (("a1", "b1"), ("in1", "outside"), ("outside", "a1"), ("shy1", "shy2")):
        said = ask(weftd.host, *(Question(paths[who], address, 80) for address in ADDRESSES[whom]))
        assert set(said) == {SILENCE}, (who, whom)
    assert ask(weftd.host, Question(paths["a1"], OUTSIDE4, 80)) == [f"outside {HOST4}"]
