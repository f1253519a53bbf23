"""Which version of the API client and weftd settle on, and pages that no version has."""

from __future__ import annotations

import json

import pytest

from tests.docker.conftest import World
from weft import __version__

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def house(world: World) -> World:
    world.docker("network", "create", "blue")
    return world


# Versions


def test_what_everybody_asks_first(world: World):
    for method in ("HEAD", "GET"):
        answer = world.ask(method, "/_ping")
        assert answer.status == 200
        assert answer.headers["api-version"] == "1.52"
        assert answer.headers["ostype"] == "linux"
        assert answer.headers["swarm"] == "inactive"
        assert answer.headers["server"] == f"weft/{__version__} (linux)"
        assert "no-cache" in answer.headers["cache-control"]
        assert answer.body == (b"OK" if method == "GET" else b"")


def test_clients_settle_on_the_older_of_two_versions(world: World, client: str):
    newest = {"28": "1.50", "20": "1.41"}
    shown = json.loads(world.docker("version", "--format", "{{json .}}", client=client).stdout)
    assert shown["Server"]["ApiVersion"] == "1.52"
    assert shown["Server"]["MinAPIVersion"] == "1.24"
    known = newest.get(shown["Client"]["Version"].partition(".")[0])
    assert known is None or shown["Client"]["ApiVersion"] == known


@pytest.mark.parametrize("version", ["1.24", "1.30", "1.41", "1.50", "1.52", ""])
def test_versions_that_are_served(world: World, version: str):
    answer = world.ask("GET", "/networks/bridge", version=version)
    assert answer.status == 200
    late = tuple(int(part) for part in (version or "1.52").split("."))
    assert ("EnableIPv4" in answer.json) == (late >= (1, 48))
    assert ("Status" in answer.json) == (late >= (1, 52))
    (listed,) = world.ask("GET", '/networks?filters={"name":["^bridge$"]}', version=version).json
    assert ("Containers" in listed) == (late < (1, 52))


@pytest.mark.parametrize(
    ("version", "status", "message"),
    [
        ("1.53", 400, "client version 1.53 is too new. Maximum supported API version is 1.52"),
        ("2.0", 400, "client version 2.0 is too new. Maximum supported API version is 1.52"),
        (
            "1.23",
            400,
            "client version 1.23 is too old. Minimum supported API version is 1.24, "
            "please upgrade your client to a newer version",
        ),
        ("1", 404, "page not found"),
        ("one.two", 404, "page not found"),
        (f"1.{'9' * 5000}", 404, "page not found"),
    ],
)
def test_versions_that_are_not(world: World, version: str, status: int, message: str):
    answer = world.ask("GET", "/networks", version=version)
    assert (answer.status, answer.message) == (status, message)


@pytest.mark.parametrize("version", ["1.23", "9.9"])
def test_what_the_cli_says_of_them(world: World, version: str, client: str):
    done = world.host.run(
        ["env", f"DOCKER_API_VERSION={version}", client, "network", "ls"], check=False, env=world.environment
    )
    assert done.returncode == 1
    assert f"client version {version} is too" in done.stderr


# Paths and methods


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "//"),
        ("GET", "/v1.41"),
        ("GET", "/network"),
        ("GET", "/networks/"),
        ("GET", "/networks/a/b/c"),
        ("PUT", "/networks"),
        ("PATCH", "/networks/blue"),
        ("HEAD", "/networks"),
        ("DELETE", "/networks"),
        ("OPTIONS", "/networks"),
        ("POST", "/networks/blue"),
        ("GET", "/networks/blue/connect"),
    ],
)
def test_pages_that_are_not_there(house: World, method: str, path: str):
    answer = house.ask(method, path)
    assert answer.status == 404
    assert method == "HEAD" or answer.message == "page not found"


@pytest.mark.parametrize("ref", ["%ff", "..", "%2e%2e", "%00", "a%0ab", "%F0%9F%90%B3", "x" * 5000])
def test_networks_of_odd_names(house: World, ref: str):
    for method in ("GET", "DELETE"):
        answer = house.ask(method, f"/networks/{ref}")
        assert answer.status == 404
        assert answer.message.startswith("network ")
