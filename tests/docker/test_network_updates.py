"""A network that `weft network update` has changed, as Docker's clients see it and hear of it."""

from __future__ import annotations

import json
import time

import pytest

from tests.docker.conftest import World

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("clean")]

MTU = "com.docker.network.driver.mtu"


def test_it_is_shown_as_it_is_then(world: World, client: str):
    options = ("-o", f"{MTU}=1400", "-o", "com.docker.network.enable_ipv6=false")
    world.docker("network", "create", "--subnet", "10.7.0.0/24", *options, "--label", "a=b", "blue", client=client)
    before = world.inspect("blue", client)
    assert before["Options"] == {MTU: "1400", "com.docker.network.enable_ipv6": "false"}
    world.weftd.cli(
        *("network", "update", "blue", "--opt", "mtu=1300", "--label", "a=c", "--ipv6", "--internal"),
        *("--add-subnet", "10.8.0.0/24", "--add-subnet", "fd08::/64", "--gateway", "10.8.0.9", "--name", "green"),
    )
    after = world.inspect("green", client)
    assert {key for key in before if before[key] != after[key]} - {"Status"} == {
        *("Name", "Options", "Labels", "EnableIPv6", "Internal", "IPAM")
    }
    assert after["IPAM"]["Config"] == [
        {"Subnet": "10.7.0.0/24"},
        {"Subnet": "10.8.0.0/24", "Gateway": "10.8.0.9"},
        {"Subnet": "fd08::/64"},
    ]
    assert (after["Name"], after["Options"], after["Labels"]) == ("green", {MTU: "1300"}, {"a": "c"})
    assert (after["EnableIPv6"], after["Internal"]) == (True, True)
    assert "green" in world.networks(client=client)
    assert "blue" not in world.networks(client=client)
    assert "blue" in world.refusal("network", "inspect", "blue", client=client)


def test_lists_that_were_asked_for_before_are_not_shown_again(world: World):
    world.docker("network", "create", "blue")

    def labels() -> object:
        return next(n["Labels"] for n in world.ask("GET", "/networks").json if n["Name"] == "blue")

    assert labels() == {}
    world.weftd.client.networks.update("blue", labels={"a": "b"})
    assert labels() == {"a": "b"}


def test_it_is_heard_of_as_an_update(world: World, client: str):
    ident = world.docker("network", "create", "blue", client=client).stdout.strip()
    since = f"{time.time():.6f}"
    world.weftd.client.networks.update("blue", options={"mtu": "1300"}, labels={"a": "b"})
    window = ("--since", since, "--until", f"{time.time() + 0.01:.6f}", "--filter", "event=update")
    (line,) = world.lines("events", *window, "--format", "{{json .}}", client=client)
    event = json.loads(line)
    assert (event["Type"], event["Action"], event["Actor"]["ID"]) == ("network", "update", ident)
    assert event["Actor"]["Attributes"] == {"name": "blue", "type": "bridge", "changes": "label:a=b option:mtu=1300"}


def test_one_made_from_a_preset_keeps_its_options(world: World):
    world.docker("network", "create", "--config-only", "--subnet", "10.7.0.0/24", "common")
    world.docker("network", "create", "--config-from", "common", "blue")
    refused = world.weftd.cli("network", "update", "blue", "--opt", "mtu=1300", check=False)
    assert "has the options and subnets of the configuration network 'common'" in refused.stderr
    refused = world.weftd.cli("network", "update", "common", "--label", "a=b", check=False)
    assert "network 'common' only holds configuration" in refused.stderr
    world.weftd.cli("network", "update", "blue", "--label", "a=b")
    assert world.inspect("blue")["Labels"] == {"a": "b"}
