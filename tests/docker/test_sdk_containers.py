"""The Docker SDK for Python and weft's containers."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.docker.conftest import World

docker = pytest.importorskip("docker", reason="the Docker SDK for Python is not installed")

pytestmark = pytest.mark.root


@pytest.fixture
def sdk(clean: World) -> Iterator[Any]:
    client = docker.DockerClient(base_url=f"unix://{clean.weftd.socket}", timeout=20)
    yield client
    client.close()


def run(world: World, script: str, name: str = "c", **options: Any) -> str:
    return str(world.weftd.client.containers.run(["sh", "-c", script], name=name, **options).id)


def test_a_container_from_its_list_to_its_removal(world: World, sdk: Any):
    ident = run(world, "echo out; echo err >&2; sleep 60", ports=[{"container_port": 80, "host_port": 8080}])
    (found,) = sdk.containers.list()
    assert (found.id, found.name, found.status) == (ident, "c", "running")
    assert found.ports["80/tcp"][0] == {"HostIp": "0.0.0.0", "HostPort": "8080"}
    titles = found.top()["Titles"]
    assert "PID" in titles
    assert list(found.stats(stream=False)["networks"]) == ["eth0"]
    assert next(found.stats(stream=True, decode=True))["name"] == "/c"
    found.rename("d")
    found.reload()
    assert found.name == "d"
    with pytest.raises(docker.errors.APIError, match="container is running"):
        found.remove()
    found.stop(timeout=1)
    assert found.wait()["StatusCode"] == 143
    assert found.logs(stderr=False) == b"out\n"
    assert found.logs(stdout=False) == b"err\n"
    found.remove()
    assert sdk.containers.list(all=True) == []
    with pytest.raises(docker.errors.NotFound):
        sdk.containers.get("d")


def test_logs_followed_line_by_line(world: World, sdk: Any):
    run(world, "for i in 1 2 3; do echo $i; sleep 0.2; done")
    assert b"".join(sdk.containers.get("c").logs(stream=True, follow=True)) == b"1\n2\n3\n"


def test_logs_of_one_stream_have_its_last_lines(world: World, sdk: Any):
    run(world, "echo one; echo two >&2; echo three >&2; echo four")
    container = sdk.containers.get("c")
    container.wait()
    assert container.logs(stdout=False, tail=1) == b"three\n"
    assert container.logs(since=1) != b""
    assert container.logs(since=99999999999) == b""


def test_kill(world: World, sdk: Any):
    run(world, "sleep 60")
    container = sdk.containers.get("c")
    container.kill("SIGUSR1")
    assert container.wait()["StatusCode"] == 128 + 10


def test_prune(world: World, sdk: Any):
    ident = run(world, f"exec {sys.executable} -c pass")
    sdk.containers.get("c").wait()
    assert sdk.containers.prune(filters={"label!": "keep"})["ContainersDeleted"] == [ident]
