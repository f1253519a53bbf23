"""Struck at every boundary of every use case: it happened whole or not at all, nobody else notices, and the same
request can be repeated."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.audits import assert_consistent, assert_same, resolve, snapshot
from tests.crash.nursery import Mortal
from tests.enter import inside, network
from tests.hosts import PrivateHost
from weft.client import Publish
from weft.errors import NotFound, WeftError

pytestmark = [pytest.mark.root, pytest.mark.slow]

MOST_BOUNDARIES = 250
"""Of one use case; more means that the count never ends."""

SERVER = ("busybox", "httpd", "-f", "-p", "80", "-h", "/usr")
_FOREIGN = "/run/netns/foreign"


@dataclass(frozen=True)
class UseCase:
    request: Callable[[Mortal], object]
    happened: Callable[[Mortal], bool]
    prepare: Callable[[Mortal], object]
    """Brings about the state before, whatever there is. Repeatable."""


def _make(weftd: Mortal, name: str, **options: object) -> None:
    with suppress(NotFound):
        weftd.client.networks.remove(name)
    weftd.client.networks.create(name, **options)


def _without(remove: Callable[..., None], name: str) -> None:
    with suppress(NotFound):
        remove(name)


def _has_network(weftd: Mortal, name: str) -> bool:
    return name in {n.name for n in weftd.client.networks.list()}


def _has_container(weftd: Mortal, name: str) -> bool:
    return name in {c.name for c in weftd.client.containers.list(all=True)}


def _is_on(weftd: Mortal, container: str, name: str) -> bool:
    return name in {e.network for e in weftd.client.containers.get(container).endpoints}


def _attach(weftd: Mortal) -> None:
    if not _has_container(weftd, "old"):
        weftd.client.containers.create(name="old", netns=_FOREIGN, networks=["front"], ports=[Publish(80, 8083)])


def _run(weftd: Mortal, name: str, port: int) -> None:
    weftd.client.containers.run(SERVER, name=name, networks=["front", "side"], ports=[Publish(80, port)])


def _rerun(weftd: Mortal) -> None:
    if not _has_container(weftd, "job"):
        _run(weftd, "job", 8084)


def _rename_back(weftd: Mortal) -> None:
    if _has_container(weftd, "done"):
        weftd.client.containers.rename("done", "job")
    _rerun(weftd)


def _disconnect(weftd: Mortal, name: str) -> None:
    with suppress(NotFound):
        weftd.client.networks.disconnect(name, "web")


def _connect(weftd: Mortal, name: str, **options: object) -> None:
    if not _is_on(weftd, "web", name):
        weftd.client.networks.connect(name, "web", **options)


def _ports(weftd: Mortal) -> set[int]:
    return {port.host_port for port in weftd.client.containers.get("job").ports}


def _unpublish(weftd: Mortal) -> None:
    _rerun(weftd)
    with suppress(NotFound):
        weftd.client.containers.unpublish("job", [81])


def _publish(weftd: Mortal) -> None:
    _rerun(weftd)
    if 8085 not in _ports(weftd):
        weftd.client.containers.publish("job", [Publish(81, 8085)])


def _share(weftd: Mortal) -> None:
    weftd.client.containers.run(["sleep", "600"], name="aside", networks=["container:job"])


def _unshare(weftd: Mortal) -> None:
    _rerun(weftd)
    _without(lambda name: weftd.client.containers.remove(name, force=True), "aside")


def _reshare(weftd: Mortal) -> None:
    _unshare(weftd)
    _share(weftd)


CASES = {
    "network create": UseCase(
        request=lambda w: w.client.networks.create("fresh", ipv6=True),
        happened=lambda w: _has_network(w, "fresh"),
        prepare=lambda w: _without(w.client.networks.remove, "fresh"),
    ),
    "network rm": UseCase(
        request=lambda w: w.client.networks.remove("spare"),
        happened=lambda w: not _has_network(w, "spare"),
        prepare=lambda w: _make(w, "spare", pools=["10.77.0.0/24"]),
    ),
    "join": UseCase(
        request=lambda w: w.client.containers.create(name="new", networks=["front"], ports=[Publish(80, 8082)]),
        happened=lambda w: _has_container(w, "new"),
        prepare=lambda w: _without(w.client.containers.remove, "new"),
    ),
    "leave": UseCase(
        request=lambda w: w.client.containers.remove("old"),
        happened=lambda w: not _has_container(w, "old"),
        prepare=_attach,
    ),
    "run": UseCase(
        request=lambda w: _run(w, "job", 8084),
        happened=lambda w: _has_container(w, "job"),
        prepare=lambda w: _without(lambda name: w.client.containers.remove(name, force=True), "job"),
    ),
    "rm": UseCase(
        request=lambda w: w.client.containers.remove("job", force=True),
        happened=lambda w: not _has_container(w, "job"),
        prepare=_rerun,
    ),
    "rename": UseCase(
        request=lambda w: w.client.containers.rename("job", "done"),
        happened=lambda w: _has_container(w, "done") and not _has_container(w, "job"),
        prepare=_rename_back,
    ),
    "publish": UseCase(
        request=lambda w: w.client.containers.publish("job", [Publish(81, 8085)]),
        happened=lambda w: 8085 in _ports(w),
        prepare=_unpublish,
    ),
    "unpublish": UseCase(
        request=lambda w: w.client.containers.unpublish("job", [81]),
        happened=lambda w: 8085 not in _ports(w),
        prepare=_publish,
    ),
    "policy": UseCase(
        request=lambda w: w.client.networks.change_policy("front", add=[("deny", "10.9.0.2")], remove=["10.9.0.1"]),
        happened=lambda w: [rule.to for rule in w.client.networks.policy("front").rules] == ["10.9.0.2"],
        prepare=lambda w: w.client.networks.set_policy("front", [("deny", "10.9.0.1")]),
    ),
    "share": UseCase(
        request=_share,
        happened=lambda w: _has_container(w, "aside"),
        prepare=_unshare,
    ),
    "rm of one that is shared": UseCase(
        request=lambda w: w.client.containers.remove("job", force=True),
        happened=lambda w: not _has_container(w, "job"),
        prepare=_reshare,
    ),
    "connect": UseCase(
        request=lambda w: w.client.networks.connect("back", "web", gw_priority=5),
        happened=lambda w: _is_on(w, "web", "back"),
        prepare=lambda w: _disconnect(w, "back"),
    ),
    "disconnect": UseCase(
        request=lambda w: w.client.networks.disconnect("back", "web"),
        happened=lambda w: not _is_on(w, "web", "back"),
        prepare=lambda w: _connect(w, "back", gw_priority=5),
    ),
}


@pytest.fixture
def weftd(private_host: PrivateHost, tmp_path: Path) -> Iterator[Mortal]:
    """A host with networks, a web server on two of them, its neighbour, and a namespace that weft did not make."""
    private_host.run("mkdir -p /run/netns")
    private_host.run("mount -t tmpfs tmpfs /run/netns")
    private_host.run("ip netns add foreign")
    with Mortal(private_host, tmp_path) as weftd:
        for name in ("front", "back", "side"):
            weftd.client.networks.create(name)
        _make(weftd, "spare", pools=["10.77.0.0/24"])
        weftd.client.containers.run(SERVER, name="web", networks=["front", "side"], ports=[Publish(80, 8081)])
        weftd.client.containers.run(SERVER, name="neighbour", networks=["front"])
        yield weftd


@pytest.mark.statement(21)
@pytest.mark.parametrize("deed", ["weftd", "resolver", "both"])
@pytest.mark.parametrize("name", CASES)
def test_killed_at_every_boundary_it_happens_whole_or_not_at_all(weftd: Mortal, name: str, deed: str) -> None:
    case = CASES[name]
    case.prepare(weftd)
    for boundary in range(1, MOST_BOUNDARIES):
        _, struck = _request(weftd, case, deed, boundary)
        if struck and deed != "resolver":
            weftd.start()
        assert_others_unharmed(weftd)
        assert_consistent(weftd)
        _repeat(weftd, case)
        case.prepare(weftd)
        if not struck:
            assert boundary > 3, "no boundary was crossed"
            return
    raise AssertionError(f"{name} crosses more than {MOST_BOUNDARIES} boundaries")


MAKING = ("network create", "join", "run", "connect", "rename", "publish", "share", "policy")


@pytest.mark.statement(16)
@pytest.mark.parametrize("name", MAKING)
def test_refused_anything_on_the_way_it_is_taken_back_whole(weftd: Mortal, name: str) -> None:
    case = CASES[name]
    case.prepare(weftd)
    case.request(weftd)  # what is learned once about the host, such as whether it routed, is learned here
    case.prepare(weftd)
    before = snapshot(weftd)
    for boundary in range(1, MOST_BOUNDARIES):
        refusal, struck = _request(weftd, case, "error", boundary)
        if not struck:
            assert boundary > 3, "no boundary was crossed"
            return
        assert_consistent(weftd)
        if case.happened(weftd):  # only what follows the answer has failed
            assert refusal is None
            case.prepare(weftd)
        else:
            assert refusal is not None
            assert "is made to fail" in refusal.message
            assert_same(before, snapshot(weftd), f"after {struck}")
        assert_others_unharmed(weftd)
    raise AssertionError(f"{name} crosses more than {MOST_BOUNDARIES} boundaries")


@pytest.mark.statement(16)
@pytest.mark.parametrize("name", [name for name in CASES if name not in MAKING])
def test_refused_anything_on_the_way_it_is_taken_away_all_the_same(weftd: Mortal, name: str) -> None:
    case = CASES[name]
    case.prepare(weftd)
    for boundary in range(1, MOST_BOUNDARIES):
        _, struck = _request(weftd, case, "error", boundary)
        if not struck:
            assert boundary > 3, "no boundary was crossed"
            return
        assert case.happened(weftd) == (struck not in ("store.drop", "store.put")), struck
        weftd.client.wire.call("POST", "/doctor/fix")  # or wait for the next audit
        assert_consistent(weftd)
        assert_others_unharmed(weftd)
        case.prepare(weftd)
    raise AssertionError(f"{name} crosses more than {MOST_BOUNDARIES} boundaries")


def _request(weftd: Mortal, case: UseCase, deed: str, boundary: int) -> tuple[WeftError | None, str]:
    """Make the request and strike; what it said, and where it was struck."""
    refusal = None
    weftd.arm(deed, boundary)
    try:
        case.request(weftd)
    except WeftError as error:
        refusal = error
    weftd.wait_dead(0.05)  # what is done after the answer has boundaries too
    struck = weftd.disarm()
    if struck and deed in ("weftd", "both"):
        assert weftd.wait_dead(5)
    elif refusal and deed != "error":
        raise AssertionError(f"{refusal}\n{weftd.log()}")
    return refusal, struck


def _repeat(weftd: Mortal, case: UseCase) -> None:
    """What has not happened happens now; what has is refused, and changes nothing."""
    if not case.happened(weftd):
        case.request(weftd)
        assert case.happened(weftd)
        return
    with pytest.raises(WeftError):
        case.request(weftd)
    assert case.happened(weftd)


def assert_others_unharmed(weftd: Mortal) -> None:
    """The web server serves its neighbour, itself by name, and who asks at its published port."""
    neighbour = weftd.client.containers.get("neighbour")

    def look() -> None:
        with network(neighbour.netns):
            (address,) = resolve("web")
            _get(address, 80)
        _get("127.0.0.1", 8081)

    inside(weftd.host, look)


def _get(address: str, port: int) -> None:
    with socket.create_connection((address, port), timeout=2) as stream:
        stream.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert stream.recv(7) == b"HTTP/1."
