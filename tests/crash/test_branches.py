"""Struck at every boundary while containers come to a LAN and go: links that branch off have no end on the host by
which a sweep would find them, so what a dead weftd left inside a container is looked for there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.audits import assert_consistent
from tests.crash.nursery import Mortal
from tests.crash.test_boundaries import (
    MOST_BOUNDARIES,
    UseCase,
    _has_container,
    _has_network,
    _is_on,
    _repeat,
    _request,
)
from tests.hosts import PrivateHost
from tests.kinds import needs_link_kind
from tests.system.lan import NAS4, Lan, lan_of
from tests.system.people import pings
from weft.errors import NotFound

pytestmark = [pytest.mark.root, pytest.mark.slow]

_FOREIGN = "/run/netns/foreign"


def _lan(weftd: Mortal, name: str, subnet: str) -> None:
    if not _has_network(weftd, name):
        options = {"parent": "eth0", "host-access": "true"}
        weftd.client.networks.create(name, driver="macvlan", pools=[subnet], options=options)


def _unmade(weftd: Mortal, name: str) -> None:
    with suppress(NotFound):
        weftd.client.networks.remove(name)


def _attach(weftd: Mortal) -> None:
    if not _has_container(weftd, "old"):
        weftd.client.containers.create(name="old", netns=_FOREIGN, networks=["lan"])


def _detach(weftd: Mortal) -> None:
    with suppress(NotFound):
        weftd.client.containers.remove("old")


def _connect(weftd: Mortal) -> None:
    if not _is_on(weftd, "web", "more"):
        weftd.client.networks.connect("more", "web")


def _disconnect(weftd: Mortal) -> None:
    with suppress(NotFound):
        weftd.client.networks.disconnect("more", "web")


CASES = {
    "network create": UseCase(
        request=lambda w: _lan(w, "fresh", "10.71.0.0/24") if not _has_network(w, "fresh") else _again(w),
        happened=lambda w: _has_network(w, "fresh"),
        prepare=lambda w: _unmade(w, "fresh"),
    ),
    "network rm": UseCase(
        request=lambda w: w.client.networks.remove("spare"),
        happened=lambda w: not _has_network(w, "spare"),
        prepare=lambda w: _lan(w, "spare", "10.72.0.0/24"),
    ),
    "attach": UseCase(
        request=lambda w: w.client.containers.create(name="old", netns=_FOREIGN, networks=["lan"]),
        happened=lambda w: _has_container(w, "old"),
        prepare=_detach,
    ),
    "detach": UseCase(
        request=lambda w: w.client.containers.remove("old"),
        happened=lambda w: not _has_container(w, "old"),
        prepare=_attach,
    ),
    "connect": UseCase(
        request=lambda w: w.client.networks.connect("more", "web"),
        happened=lambda w: _is_on(w, "web", "more"),
        prepare=_disconnect,
    ),
    "disconnect": UseCase(
        request=lambda w: w.client.networks.disconnect("more", "web"),
        happened=lambda w: not _is_on(w, "web", "more"),
        prepare=_connect,
    ),
}


def _again(weftd: Mortal) -> None:
    weftd.client.networks.create("fresh", driver="macvlan", pools=["10.71.0.0/24"], options={"parent": "eth0"})


@pytest.fixture
def lan(private_host: PrivateHost) -> Iterator[Lan]:
    needs_link_kind("macvlan")
    with lan_of(private_host) as lan:
        yield lan


@pytest.fixture
def weftd(lan: Lan, tmp_path: Path) -> Iterator[Mortal]:
    """A container on the LAN, a second network there, and a namespace that weft did not make."""
    lan.host.run("mkdir -p /run/netns")
    lan.host.run("mount -t tmpfs tmpfs /run/netns")
    lan.host.run("ip netns add foreign")
    with Mortal(lan.host, tmp_path) as weftd:
        _lan(weftd, "lan", "192.168.50.0/24")
        _lan(weftd, "more", "10.70.0.0/24")
        weftd.client.containers.create(name="web", networks=["lan"])
        yield weftd


@pytest.mark.statement(21)
@pytest.mark.parametrize("name", CASES)
def test_killed_at_every_boundary_it_happens_whole_or_not_at_all(weftd: Mortal, name: str) -> None:
    case = CASES[name]
    case.prepare(weftd)
    for boundary in range(1, MOST_BOUNDARIES):
        _, struck = _request(weftd, case, "weftd", boundary)
        if struck:
            weftd.start()
        assert_consistent(weftd)
        _assert_nothing_left(weftd)
        assert pings(weftd.host, weftd.client.containers.get("web").netns, [NAS4]) == [True]
        _repeat(weftd, case)
        case.prepare(weftd)
        if not struck:
            assert boundary > 3, "no boundary was crossed"
            return
    raise AssertionError(f"{name} crosses more than {MOST_BOUNDARIES} boundaries")


def _assert_nothing_left(weftd: Mortal) -> None:
    """In a namespace that is not on the network there is no link of weft's."""
    if not _has_container(weftd, "old"):
        inner = weftd.host.run(["nsenter", f"--net={_FOREIGN}", "ip", "-o", "link"]).stdout
        assert "macvlan" not in inner
        assert "eth0" not in inner
