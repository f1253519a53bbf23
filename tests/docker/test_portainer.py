"""Portainer, played: what its server asks to show an engine, and what its pages ask through the server.

From github.com/portainer/portainer at cc75167 (2.23, October 2024): api/docker/snapshot.go,
api/http/proxy/factory/docker, app/docker/views/networks and app/react/docker/networks/queries.
"""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest

from tests.docker.conftest import Answer, World
from tests.docker.goclient import GoClient

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("clean")]


def test_the_snapshot_of_an_engine(world: World):
    """Every five minutes. What it does not get it does without; a part that it cannot read ends it."""
    world.weftd.client.containers.run(["sleep", "60"], name="web")
    with GoClient(world.weftd.socket, newest="1.45") as client:
        status, info = client.ask("GET", "/info")
        assert (status, client.version) == (200, "1.45")
        assert (info["Swarm"]["ControlAvailable"], info["NCPU"] > 0, info["MemTotal"] > 0) == (False, True, True)
        _, containers = client.ask("GET", "/containers/json?all=1")
        assert [container["State"] for container in containers] == ["running"]
        for container in containers:
            assert client.ask("GET", f"/containers/{container['Id']}/json")[1]["HostConfig"]["Runtime"]
        assert client.ask("GET", "/images/json") == (200, [])
        assert client.ask("GET", "/volumes")[1]["Volumes"] == []
        networks = client.ask("GET", "/networks")[1]
        assert {network["Name"] for network in networks} == {"bridge", "host", "none"}
        version = client.ask("GET", "/version")[1]
        assert not any("Podman" in component["Name"] for component in version["Components"])


def page(world: World, method: str, path: str, document: object = None) -> Answer:
    """As a page asks: without a version."""
    return world.ask(method, path, document)


CREATE = {
    "Driver": "bridge",
    "CheckDuplicate": True,
    "Internal": False,
    "Attachable": False,
    "EnableIPv6": False,
    "IPAM": {"Driver": "default", "Config": []},
    "Labels": {},
    "Options": {},
}


def test_a_network_on_its_pages(world: World):
    container = world.container("web")
    pools = [
        {"Subnet": "10.7.0.0/24", "Gateway": "10.7.0.1", "AuxiliaryAddresses": {"device0": "10.7.0.9"}},
        {"Subnet": "fd07::/64"},
    ]
    wanted = {**CREATE, "Name": "blue", "EnableIPv6": True, "IPAM": {"Driver": "default", "Config": pools}}
    created = page(world, "POST", "/networks/create", {**wanted, "Labels": {"team": "a"}})
    assert created.status == 201
    ident = created.json["Id"]  # the server hangs its rights on it

    (listed,) = [network for network in page(world, "GET", "/networks").json if network["Id"] == ident]
    assert (listed["Scope"], listed["Labels"], listed["IPAM"]["Config"]) == ("local", {"team": "a"}, pools)
    asked = quote(json.dumps({"driver": ["bridge"], "name": ["blue"]}))
    assert [network["Id"] for network in page(world, "GET", f"/networks?filters={asked}").json] == [ident]

    assert page(world, "POST", f"/networks/{ident}/connect", {"Container": container}).status == 200
    member = page(world, "GET", f"/networks/{ident}").json["Containers"][container]
    assert (member["Name"], member["IPv4Address"], member["IPv6Address"]) == ("web", "10.7.0.2/24", "fd07::2/64")
    refused = page(world, "DELETE", f"/networks/{ident}")
    assert (refused.status, "has active endpoints" in refused.message) == (403, True)
    leave = {"Container": container, "Force": False}
    assert page(world, "POST", f"/networks/{ident}/disconnect", leave).status == 200
    assert (
        page(
            world, "POST", f"/networks/{ident}/connect", {"Container": "web", "EndpointConfig": {"Aliases": []}}
        ).status
        == 200
    )
    assert page(world, "POST", f"/networks/{ident}/disconnect", leave).status == 200
    assert page(world, "DELETE", f"/networks/{ident}").status == 204
    assert page(world, "GET", f"/networks/{ident}").status == 404


def test_a_configuration_and_a_network_from_it(world: World):
    """As it makes macvlan networks, with fields that are null."""
    pool = {"Subnet": "10.7.0.0/24"}
    wanted = {**CREATE, "Internal": None, "Attachable": None, "ConfigOnly": True, "IPAM": {"Config": [pool]}}
    assert page(world, "POST", "/networks/create", {**wanted, "Name": "common"}).status == 201
    assert page(world, "GET", "/networks/common").json["ConfigOnly"]
    chosen = {**CREATE, "Name": "one", "ConfigFrom": {"Network": "common"}, "Scope": "local"}
    assert page(world, "POST", "/networks/create", chosen).status == 201
    one = page(world, "GET", "/networks/one").json
    assert (one["ConfigFrom"], one["IPAM"]["Config"]) == ({"Network": "common"}, [pool])
    for name in ("one", "common"):
        assert page(world, "DELETE", f"/networks/{name}").status == 204
