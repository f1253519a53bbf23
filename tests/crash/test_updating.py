"""A network edited, and weftd, the resolver or both struck at every boundary on the way: it is as before or as asked
for, whole, and the same request can be made again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.audits import assert_consistent, assert_same, resolve, snapshot
from tests.crash.nursery import Mortal
from tests.enter import inside, network
from tests.hosts import PrivateHost
from weft.client import Network, Publish
from weft.errors import NotFound, WeftError

pytestmark = [pytest.mark.root, pytest.mark.slow]

MOST_BOUNDARIES = 120


@dataclass(frozen=True)
class Edit:
    there: Mapping[str, object]
    back: Mapping[str, object]


EDITS = {
    "options": Edit(
        there={"options": {"mtu": "1400", "icc": "false", "masquerade": "false"}, "labels": {"a": "b"}},
        back={"options": {"mtu": None, "icc": None, "masquerade": None}, "labels": {"a": None}},
    ),
    "gateway mode": Edit(there={"options": {"gateway-mode": "routed"}}, back={"options": {"gateway-mode": None}}),
    "gateway mode back": Edit(there={"options": {"gateway-mode": None}}, back={"options": {"gateway-mode": "routed"}}),
    "limits": Edit(
        there={"options": {"bandwidth-in": None}, "internal": False},
        back={"options": {"bandwidth-in": "10mbit"}, "internal": True},
    ),
    "subnets": Edit(
        there={"add_pools": ["10.8.0.0/24", "fd08::/64"], "add_routes": [("10.9.0.0/16", "10.7.0.9")]},
        back={"remove_pools": ["10.8.0.0/24", "fd08::/64"], "remove_routes": ["10.9.0.0/16"]},
    ),
    "subnets back": Edit(
        there={"remove_pools": ["10.8.0.0/24", "fd08::/64"]}, back={"add_pools": ["10.8.0.0/24", "fd08::/64"]}
    ),
    "internal": Edit(there={"internal": True, "name": "shut"}, back={"internal": False, "name": "front"}),
}


@pytest.fixture
def weftd(private_host: PrivateHost, tmp_path: Path) -> Iterator[Mortal]:
    with Mortal(private_host, tmp_path) as weftd:
        weftd.client.networks.create("front", pools=["10.7.0.0/24"])
        weftd.client.networks.create("side")
        weftd.client.containers.create(name="web", networks=["front", "side"], ports=[Publish(80, 8080)])
        weftd.client.containers.create(name="near", networks=["front"])
        yield weftd


class Edited:
    """The network under test, by whatever name."""

    def __init__(self, weftd: Mortal, edit: Edit) -> None:
        self.weftd, self.edit = weftd, edit
        self.id = weftd.client.networks.get("front").id
        self._update(self.edit.back)
        self.before = self.seen()
        self._update(self.edit.there)
        self.after = self.seen()
        assert self.after != self.before
        self.prepare()

    def seen(self) -> dict[str, Any]:
        document = dict(self.weftd.client.networks.get(self.id).document)
        return {key: value for key, value in document.items() if key != "endpoints"}

    def prepare(self) -> None:
        if self.seen() != self.before:
            self._update(self.edit.back)
        assert self.seen() == self.before

    def request(self) -> Network:
        return self.weftd.client.networks.update(self.id, **self.edit.there)  # type: ignore[arg-type]

    def _update(self, change: Mapping[str, object]) -> None:
        with suppress(NotFound):  # it is so already
            self.weftd.client.networks.update(self.id, **change)  # type: ignore[arg-type]


@pytest.mark.parametrize("deed", ["weftd", "both"])
@pytest.mark.parametrize("name", EDITS)
def test_killed_anywhere_it_is_as_before_or_as_asked_for(weftd: Mortal, name: str, deed: str) -> None:
    edited = Edited(weftd, EDITS[name])
    seen: list[bool] = []
    for boundary in range(1, MOST_BOUNDARIES):
        edited.prepare()
        weftd.arm(deed, boundary)
        with suppress(WeftError):
            edited.request()
        weftd.wait_dead(0.05)
        struck = weftd.disarm()
        if struck:
            assert weftd.wait_dead(5)
            weftd.start()
        found = edited.seen()
        assert found in ((edited.before, edited.after) if struck else (edited.after,))
        seen.append(found == edited.after)
        assert_consistent(weftd, within=3)  # what is missing is put back once weftd is at leisure
        assert_named(weftd, str(found["name"]))
        if found == edited.before:
            edited.request()
            assert edited.seen() == edited.after
            assert_consistent(weftd)
        if not struck:
            assert boundary > 3, "no boundary was crossed"
            assert set(seen) == {False, True}, "it was struck on one side of the record alone"
            return
    raise AssertionError(f"{name} crosses more than {MOST_BOUNDARIES} boundaries")


@pytest.mark.parametrize("name", EDITS)
def test_refused_anything_on_the_way_all_is_as_before(weftd: Mortal, name: str) -> None:
    edited = Edited(weftd, EDITS[name])
    before = snapshot(weftd)
    for boundary in range(1, MOST_BOUNDARIES):
        edited.prepare()
        weftd.arm("error", boundary)
        refusal = None
        try:
            edited.request()
        except WeftError as error:
            refusal = error
        weftd.wait_dead(0.05)
        struck = weftd.disarm()
        if not struck:
            assert boundary > 3, "no boundary was crossed"
            return
        assert_consistent(weftd)
        if refusal is None:  # only what follows the answer has failed
            assert edited.seen() == edited.after
            continue
        assert "is made to fail" in refusal.message
        assert edited.seen() == edited.before
        assert_same(before, snapshot(weftd), f"after {struck}")
        assert_named(weftd, str(edited.before["name"]))
    raise AssertionError(f"{name} crosses more than {MOST_BOUNDARIES} boundaries")


def assert_named(weftd: Mortal, name: str) -> None:
    """The neighbour is found by the network's name, and not by the other that it might have."""
    web = weftd.client.containers.get("web")

    def look() -> list[bool]:
        with network(web.netns):
            return [bool(resolve(f"near.{each}")) for each in ("front", "shut")]

    assert inside(weftd.host, look) == [name == "front", name == "shut"]
