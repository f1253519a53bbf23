"""Struck at every boundary while containers come to a LAN whose DHCP server gives the addresses: what the server
believes to have given is what containers have, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.audits import assert_consistent
from tests.crash.nursery import Mortal
from tests.crash.test_boundaries import MOST_BOUNDARIES, UseCase, _has_container, _repeat, _request
from tests.hosts import PrivateHost
from tests.kinds import needs_link_kind
from tests.system.dhcp import Dnsmasq, dnsmasq
from tests.system.lan import lan_of
from tests.waiting import eventually
from weft.errors import NotFound

pytestmark = [pytest.mark.root, pytest.mark.slow]


def _join(weftd: Mortal) -> None:
    weftd.client.containers.create(name="web", networks=["lan"])


def _joined(weftd: Mortal) -> None:
    if not _has_container(weftd, "web"):
        _join(weftd)


def _gone(weftd: Mortal) -> None:
    with suppress(NotFound):
        weftd.client.containers.remove("web")


CASES = {
    "join": UseCase(request=_join, happened=lambda w: _has_container(w, "web"), prepare=_gone),
    "leave": UseCase(
        request=lambda w: w.client.containers.remove("web"),
        happened=lambda w: not _has_container(w, "web"),
        prepare=_joined,
    ),
}


@pytest.fixture
def server(private_host: PrivateHost, tmp_path: Path) -> Iterator[tuple[PrivateHost, Dnsmasq]]:
    needs_link_kind("macvlan")
    with lan_of(private_host) as lan, dnsmasq(lan.switch, "br0", tmp_path / "dnsmasq") as server:
        yield private_host, server


@pytest.mark.parametrize("name", CASES)
def test_killed_at_every_boundary_the_server_knows_who_is_there(
    server: tuple[PrivateHost, Dnsmasq], tmp_path: Path, name: str
) -> None:
    host, given = server
    case = CASES[name]
    with Mortal(host, tmp_path) as weftd:
        weftd.client.networks.create("lan", driver="macvlan", ipam="dhcp", options={"parent": "eth0"})
        case.prepare(weftd)
        for boundary in range(1, MOST_BOUNDARIES):
            _, struck = _request(weftd, case, "weftd", boundary)
            if struck:
                weftd.start()
            assert_consistent(weftd)
            eventually(lambda: _given(given) == _had(weftd), within=3, says=struck)
            _repeat(weftd, case)
            case.prepare(weftd)
            if not struck:
                assert boundary > 3, "no boundary was crossed"
                return
    raise AssertionError(f"{name} crosses more than {MOST_BOUNDARIES} boundaries")


def _given(server: Dnsmasq) -> set[str]:
    return {lease["address"] for lease in server.leases}


def _had(weftd: Mortal) -> set[str]:
    return {(e.ipv4 or "").partition("/")[0] for c in weftd.client.containers.list() for e in c.endpoints}
