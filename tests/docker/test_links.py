"""Links: what one container alone calls another."""

from __future__ import annotations

import sys

import pytest

from tests.docker.conftest import World

pytestmark = pytest.mark.root

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


@pytest.fixture
def linked(clean: World) -> World:
    clean.docker("network", "create", "--subnet", "10.5.0.0/24", "front")
    run = clean.weftd.client.containers.run
    run(SLEEP, name="db", networks=[{"network": "front", "ip": "10.5.0.50"}])
    for name in ("web", "other"):
        run(SLEEP, name=name, networks=[])
    clean.docker("network", "connect", "--link", "db:database", "front", "web")
    clean.docker("network", "connect", "front", "other")
    return clean


def lookup(world: World, container: str, name: str) -> str:
    """The addresses of a name as a container learns them; empty if there are none."""
    done = world.weftd.cli("exec", container, "--", "getent", "ahostsv4", name, check=False)
    return " ".join(sorted({line.split()[0] for line in done.stdout.splitlines()}))


def test_the_alias_means_the_other_for_this_container_alone(linked: World):
    assert lookup(linked, "web", "database") == "10.5.0.50"
    assert lookup(linked, "web", "DataBase") == "10.5.0.50"
    assert lookup(linked, "web", "db") == "10.5.0.50"
    assert lookup(linked, "other", "database") == ""
    assert lookup(linked, "other", "db") == "10.5.0.50"


def test_it_outlives_weftd_and_goes_with_the_other(linked: World):
    linked.weftd.kill()
    linked.weftd.start()
    assert lookup(linked, "web", "database") == "10.5.0.50"
    linked.weftd.client.containers.remove("db", force=True)
    assert lookup(linked, "web", "database") == ""


def test_it_goes_with_the_network(linked: World):
    linked.docker("network", "disconnect", "front", "web")
    linked.docker("network", "connect", "front", "web")
    assert lookup(linked, "web", "database") == ""
    assert lookup(linked, "web", "db") == "10.5.0.50"


def test_a_link_to_nobody_is_refused(linked: World):
    linked.docker("network", "disconnect", "front", "other")
    assert "nobody" in linked.refusal("network", "connect", "--link", "nobody:x", "front", "other")
    assert lookup(linked, "other", "db") == ""
