"""What happens, as Docker's clients hear of it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.docker.conftest import World
from tests.waiting import eventually

pytestmark = pytest.mark.root

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


@pytest.fixture(scope="module")
def told(world: World) -> Iterator[dict[str, str]]:
    """Something of everything has happened; ids by name, and the moments before and after."""
    ids = {"from": f"{time.time():.6f}"}
    ids["blue"] = world.docker("network", "create", "--label", "team=a", "blue").stdout.strip()
    ids["red"] = world.docker("network", "create", "red").stdout.strip()
    run = world.weftd.client.containers.run
    ids["web"] = run(SLEEP, name="web", networks=[{"network": "blue"}], labels={"tier": "front"}).id
    world.docker("network", "connect", "red", "web")
    world.docker("network", "disconnect", "red", "web")
    world.weftd.cli("kill", "--signal", "9", "web")
    world.weftd.cli("wait", "web")
    world.weftd.cli("rm", "web")
    world.docker("network", "rm", "blue")
    world.docker("network", "prune", "-f")
    ids["until"] = f"{time.time():.6f}"
    yield ids
    world.empty()


def past(world: World, told: dict[str, str], *filters: str, client: str = "docker") -> list[dict[str, Any]]:
    words = [word for text in filters for word in ("--filter", text)]
    window = ("--since", told["from"], "--until", told["until"])
    return [
        json.loads(line) for line in world.lines("events", *window, *words, "--format", "{{json .}}", client=client)
    ]


def actions(events: list[dict[str, Any]]) -> list[str]:
    return [f"{event['Type']} {event['Action']}" for event in events]


def test_all_of_it_in_order(world: World, told: dict[str, str], client: str):
    assert actions(past(world, told, client=client)) == [
        "network create",
        "network create",
        "container create",
        "network connect",
        "container start",
        "network connect",
        "network disconnect",
        "container kill",
        "container die",
        "network disconnect",
        "container destroy",
        "network destroy",
        "network destroy",
        "network prune",
    ]


def test_a_line_as_the_cli_writes_it(world: World, told: dict[str, str], client: str):
    window = ("--since", told["from"], "--until", told["until"])
    (line,) = world.lines("events", *window, "--filter", "network=red", "--filter", "event=connect", client=client)
    moment, text = line.split(" ", 1)
    assert float(told["from"]) - 1 < float(past(world, told)[0]["timeNano"]) / 1e9
    assert moment.startswith("20")
    assert text == f"network connect {told['red']} (container={told['web']}, name=red, type=bridge)"


def test_what_is_said_of_a_container(world: World, told: dict[str, str]):
    kill, die = past(world, told, "event=kill", "event=die")
    assert kill["Actor"] == {
        "ID": told["web"],
        "Attributes": {"image": "", "name": "web", "signal": "9", "tier": "front"},
    }
    assert int(die["Actor"]["Attributes"].pop("execDuration")) < 60
    assert die["Actor"]["Attributes"] == {"image": "", "name": "web", "exitCode": "137", "tier": "front"}
    assert die["scope"] == "local"
    assert die["time"] == die["timeNano"] // 10**9
    assert float(told["from"]) <= die["timeNano"] / 1e9 <= float(told["until"])


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (["type=container"], "create start kill die destroy"),
        (["type=network", "event=create"], "create create"),
        (["event=connect", "event=disconnect"], "connect connect disconnect disconnect"),
        (["network=red"], "create connect disconnect destroy"),
        (["network=blue", "network=red", "event=destroy"], "destroy destroy"),
        (["container=web", "event=die"], "die"),
        (["container=we", "event=die"], "die"),
        (["container=other"], ""),
        (["container=web", "network=blue"], ""),
        (["label=tier=front", "event=start"], "start"),
        (["label=tier=back"], ""),
        (["label=team", "event=connect"], "connect"),
        (["scope=local", "event=prune"], "prune"),
        (["scope=swarm"], ""),
        (["daemon=weftd"], ""),
        (["image=nginx"], ""),
        (["volume=data"], ""),
        (["plugin=p", "event=create"], ""),
    ],
)
def test_filters(world: World, told: dict[str, str], filters: list[str], expected: str, client: str):
    assert [event["Action"] for event in past(world, told, *filters, client=client)] == expected.split()


def test_by_id_and_its_beginning(world: World, told: dict[str, str]):
    assert actions(past(world, told, f"container={told['web']}", "event=die")) == ["container die"]
    assert actions(past(world, told, f"network={told['blue'][:12]}", "event=create")) == ["network create"]


def test_what_is_pruned(world: World, told: dict[str, str]):
    (prune,) = past(world, told, "event=prune")
    assert prune["Actor"] == {"ID": "", "Attributes": {"reclaimed": "0"}}


def test_nothing_is_told_of_another_time(world: World, told: dict[str, str]):
    assert world.lines("events", "--since", "1", "--until", "2") == []
    assert world.lines("events", "--since", told["until"], "--until", f"{float(told['until']) + 0.001}") == []


def test_an_end_alone_is_about_the_past(world: World, told: dict[str, str]):
    words = ("--filter", "event=prune")
    assert len(world.lines("events", "--until", told["until"], *words)) == 1


def test_it_ends_when_told(world: World, told: dict[str, str]):
    begun = time.monotonic()
    world.lines("events", "--until", f"{time.time() + 1.2:.6f}", "--filter", "type=network")
    assert 1.0 < time.monotonic() - begun < 10


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("since=5&until=2", "`since` time (5.000000) cannot be after `until` time (2.000000)"),
        ("since=yesterday", "invalid time 'yesterday': neither seconds, nor RFC 3339, nor a duration such as 10m"),
        ("until=nan", "invalid time 'nan': neither seconds, nor RFC 3339, nor a duration such as 10m"),
        ("until=inf", "invalid time 'inf': neither seconds, nor RFC 3339, nor a duration such as 10m"),
        ("since=1.2.3s", "invalid time '1.2.3s': neither seconds, nor RFC 3339, nor a duration such as 10m"),
        ('filters={"colour":["blue"]}', "invalid filter 'colour'"),
    ],
)
def test_refusals(world: World, query: str, message: str):
    answer = world.ask("GET", f"/events?{query}")
    assert (answer.status, answer.message) == (400, message)


def test_both_forms_of_filters(world: World, told: dict[str, str]):
    window = f"since={told['from']}&until={told['until']}"
    for form in ('["prune"]', '{"prune":true}'):
        answer = world.ask("GET", f'/events?{window}&filters={{"event":{form}}}')
        assert [json.loads(line)["Action"] for line in answer.body.splitlines()] == ["prune"]


def test_fields_of_old_until_1_51(world: World, told: dict[str, str]):
    path = f'/events?since={told["from"]}&until={told["until"]}&filters={{"event":["die","prune"]}}'
    old, new = (world.ask("GET", path, version=version) for version in ("1.51", "1.52"))
    assert old.headers["content-type"] == "application/json"
    assert new.headers["content-type"] == "application/jsonl"
    die, prune = map(json.loads, old.body.splitlines())
    assert (die["status"], die["id"], die["from"]) == ("die", told["web"], "")
    for plain in (prune, *map(json.loads, new.body.splitlines())):
        assert set(plain) == {"Type", "Action", "Actor", "scope", "time", "timeNano"}


def listener(world: World, client: str, *words: str) -> subprocess.Popen[str]:
    command = ["env", *(f"{k}={v}" for k, v in world.environment.items()), client, "events", *words]
    return world.host.popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_as_they_happen(world: World, client: str):
    with listener(world, client, "--since", "0", "--filter", "network=live", "--format", "{{.Action}}") as listening:
        try:
            assert listening.stdout is not None
            for action in ("create", "destroy"):
                world.docker("network", *{"create": ("create",), "destroy": ("rm",)}[action], "live")
                assert listening.stdout.readline().strip() == action
        finally:
            listening.terminate()


def test_a_listener_hears_what_is_new_and_nothing_else(world: World, client: str):
    world.docker("network", "create", "before")
    ears = listening_ears(world)
    with listener(world, client, "--filter", "type=network", "--format", "{{.Action}}") as listening:
        try:
            assert listening.stdout is not None
            eventually(lambda: listening_ears(world) > ears, within=20)
            world.docker("network", "rm", "before")
            assert listening.stdout.readline().strip() == "destroy"
        finally:
            listening.terminate()


def listening_ears(world: World) -> int:
    """How many listeners weftd has."""
    return int(world.ask("GET", "/info").json["NEventsListener"])


def test_listeners_that_have_gone_are_forgotten(world: World):
    before = listening_ears(world)
    with listener(world, "docker") as listening:
        eventually(lambda: listening_ears(world) == before + 1, within=20)
        listening.kill()
    eventually(lambda: listening_ears(world) == before, within=20)


def test_a_stream_ends_whole_when_weftd_stops(clean: World, client: str):
    ears = listening_ears(clean)
    with listener(clean, client, "--since", "0") as listening:
        eventually(lambda: listening_ears(clean) > ears, within=20)
        clean.weftd.stop()
        _, errors = listening.communicate(timeout=20)
    clean.weftd.start()
    assert errors == ""
