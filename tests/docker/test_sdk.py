"""The Docker SDK for Python drives weft's networks."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from docker.errors import APIError, NotFound
from docker.types import IPAMConfig, IPAMPool

import docker
from tests.docker.conftest import World

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("clean")]


@pytest.fixture
def sdk(world: World) -> Iterator[docker.DockerClient]:
    client = docker.DockerClient(base_url=f"unix://{world.weftd.socket}")
    yield client
    client.close()


def test_who_is_there(sdk: docker.DockerClient):
    assert sdk.ping()
    assert sdk.version()["ApiVersion"] == "1.52"
    assert sdk.info()["OSType"] == "linux"


def test_a_network_and_its_life(sdk: docker.DockerClient, world: World):
    pool = IPAMPool(subnet="10.7.0.0/24", gateway="10.7.0.5", iprange="10.7.0.128/25", aux_addresses={"p": "10.7.0.9"})
    network = sdk.networks.create(
        "blue", driver="bridge", labels={"team": "a"}, internal=True, ipam=IPAMConfig(pool_configs=[pool])
    )
    assert sdk.networks.get("blue").id == network.id
    assert [found.name for found in sdk.networks.list(filters={"label": "team=a"})] == ["blue"]
    assert [found.name for found in sdk.networks.list(names=["blue"])] == ["blue"]
    assert [found.name for found in sdk.networks.list(ids=[network.id])] == ["blue"]
    assert network.attrs["IPAM"]["Config"][0]["Gateway"] == "10.7.0.5"
    assert network.attrs["Internal"] is True
    network.remove()
    assert sdk.networks.list(names=["blue"]) == []


def test_with_no_more_than_a_name(sdk: docker.DockerClient):
    network = sdk.networks.create("blue")
    assert network.attrs["Driver"] == "bridge"


def test_connect_and_disconnect(sdk: docker.DockerClient, world: World):
    pool = IPAMPool(subnet="10.7.0.0/24")
    network = sdk.networks.create("blue", ipam=IPAMConfig(pool_configs=[pool]))
    ident = world.container("web")
    network.connect("web", aliases=["www"], ipv4_address="10.7.0.77")
    network.reload()
    assert network.attrs["Containers"][ident]["IPv4Address"] == "10.7.0.77/24"
    (listed,) = sdk.networks.list(names=["blue"], greedy=True)
    assert list(listed.attrs["Containers"]) == [ident]
    network.disconnect("web")
    network.disconnect("web", force=True)
    network.reload()
    assert network.attrs["Containers"] == {}


def test_refusals(sdk: docker.DockerClient, world: World):
    network = sdk.networks.create("blue")
    world.container("web", "blue")
    with pytest.raises(NotFound, match="network nope not found"):
        sdk.networks.get("nope")
    with pytest.raises(NotFound, match="No such container: nobody"):
        network.connect("nobody")
    for deed, status in (
        (lambda: sdk.networks.create("blue"), 409),
        (lambda: sdk.networks.create("bridge"), 403),
        (lambda: network.connect("web"), 403),
        (network.remove, 403),
    ):
        with pytest.raises(APIError) as refused:
            deed()
        assert refused.value.status_code == status
        assert refused.value.explanation


def test_prune(sdk: docker.DockerClient, world: World):
    for name in ("blue", "red", "kept"):
        sdk.networks.create(name, labels={"keep": "yes"} if name == "kept" else {})
    world.container("web", "red")
    assert sdk.networks.prune(filters={"label!": ["keep=yes"]}) == {"NetworksDeleted": ["blue"]}
    assert sdk.networks.prune(filters={"until": "10m"}) == {"NetworksDeleted": None}


def test_events(sdk: docker.DockerClient):
    begun = time.time()
    with_end = sdk.events(since=0, decode=True, filters={"type": "network", "network": "blue"})
    sdk.networks.create("blue").remove()
    assert [next(with_end)["Action"] for _ in range(2)] == ["create", "destroy"]
    with_end.close()
    past = list(sdk.events(since=begun, until=time.time(), decode=True, filters={"event": "destroy"}))
    assert [event["Actor"]["Attributes"]["name"] for event in past] == ["blue"]
