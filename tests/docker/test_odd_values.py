"""Values that look right and cannot be read: each is refused as one that looks wrong is."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest

from tests.docker.conftest import World

pytestmark = pytest.mark.root

LONG = "9" * 5000
"""More digits than Python makes a number of."""


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (f"/containers/box/kill?signal={LONG}", f"invalid signal: {LONG}"),
        (f"/containers/box/kill?signal=RTMIN%2B{LONG}", f"invalid signal: RTMIN+{LONG}"),
        (f"/containers/box/stop?signal={LONG}", f"invalid signal: {LONG}"),
        (f"/containers/box/resize?h=0{'0' * 5000}&w=1", "invalid resize height"),
        (f"/containers/box/resize?h=1&w={LONG}", "invalid resize width"),
    ],
    ids=["signal", "signal by sum", "signal to stop", "height of nothing but zeros", "width"],
)
def test_numbers_too_long_to_be_read(world: World, box: str, path: str, message: str):
    answer = world.ask("POST", path)
    assert answer.status == 400
    assert answer.message.startswith(message)


def test_numbers_in_other_scripts(world: World, box: str):
    for path in ("kill?signal=%D9%A9", "stop?t=%D9%A9", "resize?h=%D9%A9&w=1"):
        assert world.ask("POST", f"/containers/{box}/{path}").status == 400


@pytest.mark.parametrize("name", ["exited", "publish", "expose"])
@pytest.mark.parametrize("value", [LONG, f"-{LONG}", "٣"])
def test_numbers_in_filters_too_long_to_be_read(world: World, box: str, name: str, value: str):
    answer = world.ask("GET", f"/containers/json?filters={quote(json.dumps({name: [value]}))}")
    assert (answer.status, answer.message) == (400, f"invalid filter '{name}={value}'")


def test_a_tail_too_long_to_be_counted_is_all_of_the_log(world: World, box: str):
    world.weftd.cli("run", "--name", "talker", "--", "echo", "hello")
    try:
        assert b"hello" in world.ask("GET", f"/containers/talker/logs?stdout=1&tail={LONG}").body
    finally:
        world.weftd.cli("rm", "-f", "talker")


def test_a_pattern_that_repeats_more_often_than_can_be_counted_is_plain_text(world: World):
    asked = quote(json.dumps({"name": ["a{99999999999}"]}))
    assert world.ask("GET", f"/networks?filters={asked}").json == []
