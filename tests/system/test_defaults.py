"""Options that weftd's settings give to networks which do not say otherwise."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemons import Weftd
from tests.hosts import PrivateHost

pytestmark = pytest.mark.root

DEFAULTS = "bridge:icc=false,bridge:com.docker.network.driver.mtu=1400"


@pytest.fixture(scope="module")
def weftd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Weftd]:
    with (
        PrivateHost() as host,
        Weftd(host, tmp_path_factory.mktemp("weftd"), settings=("--network-options", DEFAULTS)) as weftd,
    ):
        yield weftd


def test_a_network_has_them(weftd: Weftd):
    weftd.client.networks.create("plain")
    assert weftd.client.networks.get("plain").options == {"icc": "false", "com.docker.network.driver.mtu": "1400"}


def test_what_the_network_says_holds_however_it_is_spelt(weftd: Weftd):
    said = {"com.docker.network.bridge.enable_icc": "true", "mtu": "1300"}
    weftd.client.networks.create("own", options=said)
    assert weftd.client.networks.get("own").options == said
    assert "mtu 1300" in weftd.host.run(f"ip link show {weftd.client.networks.get('own').bridge}").stdout


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ("bridge:icc", "is not DRIVER:OPTION=VALUE"),
        ("bridge:isolated=1", "unknown option 'isolated' for driver bridge"),
        ("brigde:icc=false", "did you mean 'bridge'?"),
        ("bridge:mtu=big", "mtu"),
    ],
)
def test_what_no_network_could_have_is_refused_at_the_start(tmp_path: Path, wrong: str, why: str):
    with PrivateHost() as host:
        places = ("--state-dir", str(tmp_path / "state"), "--run-dir", str(tmp_path / "run"))
        command = [sys.executable, "-P", "-m", "weft.daemon", *places, "--network-options", wrong]
        done = host.run(command, check=False, env={"PYTHONPATH": str(Path(__file__).parents[2] / "src")})
    assert done.returncode == 1
    assert why in done.stderr
    assert len(done.stderr.splitlines()) == 1
