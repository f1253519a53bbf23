"""Config-only networks: what networks to come have in common."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.docker.conftest import World

pytestmark = pytest.mark.root


@pytest.fixture
def preset(clean: World) -> Iterator[World]:
    given = ("--subnet", "10.7.0.0/24", "--ip-range", "10.7.0.128/25", "--ipv6", "--label", "team=a")
    clean.docker("network", "create", "--config-only", *given, "--opt", "mtu=1400", "common")
    yield clean
    clean.docker("network", "rm", "one", check=False)
    clean.docker("network", "rm", "common", check=False)


def inspect(world: World, name: str) -> dict[str, object]:
    [found] = json.loads(world.docker("network", "inspect", name).stdout)
    return dict(found)


def test_a_network_has_what_its_preset_says(preset: World):
    preset.docker("network", "create", "--config-from", "common", "--internal", "one")
    found = inspect(preset, "one")
    assert found["ConfigFrom"] == {"Network": "common"}
    assert (found["ConfigOnly"], found["Internal"], found["EnableIPv6"]) == (False, True, True)
    assert found["Options"] == {"mtu": "1400"}
    assert found["IPAM"]["Config"][0] == {"Subnet": "10.7.0.0/24", "IPRange": "10.7.0.128/25"}  # type: ignore[index]


def test_a_preset_is_shown_and_takes_nothing(preset: World):
    found = inspect(preset, "common")
    assert (found["ConfigOnly"], found["Driver"], found["Labels"]) == (True, "null", {"team": "a"})
    assert "wb-" not in preset.host.run("ip -o link").stdout
    preset.docker("network", "create", "--subnet", "10.7.0.0/24", "one")


def test_it_stays_while_a_network_has_it_and_over_a_restart(preset: World):
    preset.docker("network", "create", "--config-from", "common", "one")
    preset.weftd.restart()
    assert preset.refusal("network", "rm", "common") == "configuration network 'common' is in use by one"
    assert preset.ask("DELETE", "/networks/common").status == 403
    preset.docker("network", "rm", "one")
    preset.docker("network", "rm", "common")
    assert preset.ask("GET", "/networks/common").status == 404


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--config-from", "common", "--subnet", "10.8.0.0/24", "one"), "give it no subnets"),
        (("--config-from", "common", "--label", "a=b", "one"), "labels"),
        (("--config-from", "nix", "one"), 'configuration network "nix" does not exist'),
        (("--config-only", "common"), "network with name common already exists"),
        (("common",), "network with name common already exists"),
        (("--config-only", "--internal", "other"), "can only contain network specific fields"),
    ],
)
def test_what_makes_no_sense_is_refused(preset: World, arguments: tuple[str, ...], why: str):
    before = preset.lines("network", "ls")
    assert why in preset.refusal("network", "create", *arguments)
    assert preset.lines("network", "ls") == before


def test_nobody_is_on_it(preset: World):
    preset.container("c1", "bridge")
    assert "only holds configuration" in preset.refusal("network", "connect", "common", "c1")


def test_weft_itself_does_not_take_its_name(preset: World):
    done = preset.weftd.cli("network", "create", "common", check=False)
    assert "network 'common' already exists" in done.stderr
