"""Limits changed, and weftd struck at every boundary on the way: as before or as asked for, and nothing in between."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.audits import assert_consistent
from tests.crash.nursery import Mortal
from tests.hosts import PrivateHost
from weft.errors import WeftError

pytestmark = [pytest.mark.root, pytest.mark.slow]

MOST_BOUNDARIES = 60

Options = Mapping[str, str]

NONE: Options = {}
SLOW: Options = {"bandwidth-in": "10mbit", "bandwidth-out": "5mbit"}
OTHER: Options = {"bandwidth-in": "20mbit", "bandwidth-out": "none"}
CHANGES = {"limited": (NONE, SLOW), "set free": (SLOW, NONE), "one changed, one taken": (SLOW, OTHER)}


@pytest.fixture
def weftd(private_host: PrivateHost, tmp_path: Path) -> Iterator[Mortal]:
    with Mortal(private_host, tmp_path) as weftd:
        weftd.client.networks.create("front")
        weftd.client.containers.create(name="web", networks=["front"])
        yield weftd


def adjust(weftd: Mortal, wanted: Options) -> None:
    weftd.client.networks.adjust("front", "web", {name: wanted.get(name) for name in SLOW})


def limits(weftd: Mortal) -> Options:
    return dict(weftd.client.containers.get("web").endpoints[0].options)


@pytest.mark.parametrize("deed", ["weftd", "error"])
@pytest.mark.parametrize("name", CHANGES)
def test_struck_anywhere_the_limits_are_those_before_or_those_asked_for(weftd: Mortal, name: str, deed: str) -> None:
    before, after = CHANGES[name]
    for boundary in range(1, MOST_BOUNDARIES):
        adjust(weftd, before)
        weftd.arm(deed, boundary)
        refusal = None
        try:
            adjust(weftd, after)
        except WeftError as error:
            refusal = error
        weftd.wait_dead(0.05)
        struck = weftd.disarm()
        if struck and deed == "weftd":
            assert weftd.wait_dead(5)
            weftd.start()
        assert limits(weftd) in ((before, after) if struck else (after,))
        if refusal is not None and deed == "error":
            assert limits(weftd) == before
        assert_consistent(weftd, within=3)  # what is missing is put back once weftd is at leisure
        if not struck:
            assert boundary > 3, "no boundary was crossed"
            return
    raise AssertionError(f"{name} crosses more than {MOST_BOUNDARIES} boundaries")
