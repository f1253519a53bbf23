"""The stock CLI's lists of networks and its prune, with all their filters."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest

from tests.docker.conftest import World

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("clean")]


@pytest.fixture
def several(world: World) -> World:
    world.docker("network", "create", "--label", "team=a", "--label", "old", "blue")
    world.docker("network", "create", "--label", "team=b", "blue-two")
    world.docker("network", "create", "red")
    world.container("web", "red")
    return world


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (["name=blue"], "blue blue-two"),
        (["name=^blue$"], "blue"),
        (["name=blue", "name=red"], "blue blue-two red"),
        (["name=(blue"], ""),
        (["label=team"], "blue blue-two"),
        (["label=team=b"], "blue-two"),
        (["label=team=a", "label=old"], "blue"),
        (["label=team=b", "label=old"], ""),
        (["driver=bridge", "name=red"], "red"),
        (["driver=host"], "host"),
        (["driver=host", "driver=null"], "host none"),
        (["driver=overlay"], ""),
        (["scope=local", "type=custom"], "blue blue-two red"),
        (["scope=swarm"], ""),
        (["type=builtin"], "bridge host none"),
        (["type=builtin", "type=custom"], "blue blue-two bridge host none red"),
        (["dangling=true"], "blue blue-two"),
        (["dangling=1", "label=old"], "blue"),
        (["dangling=false"], "bridge host none red"),
        ([], "blue blue-two bridge host none red"),
    ],
)
def test_filters(several: World, filters: list[str], expected: str, client: str):
    words = [word for text in filters for word in ("--filter", text)]
    assert several.networks(*words, client=client) == expected.split()
    asked: dict[str, list[str]] = {}
    for text in filters:
        asked.setdefault(text.partition("=")[0], []).append(text.partition("=")[2])
    for form in (asked, {name: dict.fromkeys(values, True) for name, values in asked.items()}):
        answer = several.ask("GET", f"/networks?filters={quote(json.dumps(form))}")
        assert sorted(network["Name"] for network in answer.json) == expected.split()


def test_filter_by_id(several: World):
    ident = several.inspect("red")["Id"]
    assert several.networks("--filter", f"id={ident}") == ["red"]
    assert "red" in several.networks("--filter", f"id={ident[:6]}")


def prune(world: World, *filters: str, client: str = "docker") -> list[str]:
    words = [word for text in filters for word in ("--filter", text)]
    lines = world.lines("network", "prune", "-f", *words, client=client)
    return sorted(line for line in lines if line and not line.startswith("Deleted Networks"))


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ([], "blue blue-two"),
        (["label=old"], "blue"),
        (["label=team=b"], "blue-two"),
        (["label!=old"], "blue-two"),
        (["label=team", "label!=team=b"], "blue"),
        (["until=10m"], ""),
        (["until=2001-01-01T00:00:00Z"], ""),
        (["until=0s"], "blue blue-two"),
    ],
)
def test_prune(several: World, filters: list[str], expected: str, client: str):
    assert prune(several, *filters, client=client) == expected.split()
    gone = set(expected.split())
    left = {"blue", "blue-two", "bridge", "host", "none", "red"} - gone
    assert set(several.networks()) == left


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("colour=blue", "invalid filter 'colour'"),
        ("until=soon", "invalid time 'soon': neither seconds, nor RFC 3339, nor a duration such as 10m"),
    ],
)
def test_prunes_that_mean_nothing(several: World, text: str, message: str, client: str):
    assert several.refusal("network", "prune", "-f", "--filter", text, client=client) == message
    assert {"blue", "blue-two"} <= set(several.networks())
