"""An address that comes back with another MAC is reached at once: its neighbours are told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemons import Weftd
from tests.hosts import PrivateHost

pytestmark = [pytest.mark.root, pytest.mark.system]


@pytest.fixture
def weftd(private_host: PrivateHost, tmp_path: Path) -> Iterator[Weftd]:
    with Weftd(private_host, tmp_path) as weftd:
        weftd.cli("network", "create", "front", "--subnet", "10.5.0.0/24")
        weftd.cli("run", "-d", "--name", "neighbour", "--network", "front", "--", "sleep", "600")
        yield weftd


def test_a_neighbour_reaches_the_new_holder_of_an_address_at_once(weftd: Weftd) -> None:
    for mac in ("02:00:00:00:00:01", "02:00:00:00:00:02", "02:00:00:00:00:03"):
        weftd.cli("run", "-d", "--name", "x", "--network", f"front:ip=10.5.0.77,mac={mac}", "--", "sleep", "600")
        weftd.sandbox("neighbour", "ping", "-c1", "-W1", "-q", "10.5.0.77")
        known = weftd.sandbox("neighbour", "ip", "neigh", "show", "10.5.0.77").stdout
        assert mac in known
        weftd.cli("rm", "-f", "x")
