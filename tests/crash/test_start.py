"""A start that is cut short at every other boundary, after a crash that has left everything in disorder."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest

from tests.audits import assert_consistent
from tests.crash.nursery import Mortal
from tests.crash.test_boundaries import CASES, MOST_BOUNDARIES, assert_others_unharmed, weftd
from weft.client import Publish
from weft.errors import WeftError

pytestmark = [pytest.mark.root, pytest.mark.slow]

__all__ = ["weftd"]


def _half_made(weftd: Mortal) -> None:
    """Killed in the middle of a join, when half of it is in the kernel."""
    _cut_short(weftd, lambda: weftd.client.containers.create(name="new", networks=["front"], ports=[Publish(80, 8082)]))


def _half_gone(weftd: Mortal) -> None:
    """Killed in the middle of a removal, when no record asks for what is still there."""
    CASES["rm"].prepare(weftd)
    _cut_short(weftd, lambda: weftd.client.containers.remove("job", force=True))


def _damaged(weftd: Mortal) -> None:
    """Killed, and while nobody looks the rules are flushed, a bridge and a container's route are gone."""
    bridge = weftd.client.networks.get("side").bridge
    web = weftd.client.containers.get("web").netns
    weftd.kill()
    weftd.host.run("nft flush ruleset")
    weftd.host.run(f"ip link del {bridge}")
    weftd.host.run(["nsenter", f"--net={web}", "ip", "route", "del", "default"])


def _cut_short(weftd: Mortal, request: Callable[[], object]) -> None:
    weftd.arm("weftd", 12)
    with suppress(WeftError):
        request()
    assert weftd.wait_dead(5)
    weftd.disarm()


@pytest.mark.parametrize("disorder", [_half_made, _half_gone, _damaged])
def test_a_start_that_is_cut_short_is_made_good_by_the_next(weftd: Mortal, disorder: Callable[[Mortal], None]) -> None:
    for boundary in range(1, MOST_BOUNDARIES, 2):
        disorder(weftd)
        weftd.arm("weftd", boundary)
        died = not _starts(weftd)
        struck = weftd.disarm()
        if struck:
            assert weftd.wait_dead(5)
            weftd.start()
        assert_others_unharmed(weftd)
        assert_consistent(weftd, within=1.0)  # containers are looked at once weftd is ready
        if not struck:
            assert not died
            assert boundary > 10, "no boundary was crossed"
            return
    raise AssertionError(f"a start crosses more than {MOST_BOUNDARIES} boundaries")


def _starts(weftd: Mortal) -> bool:
    try:
        weftd.start()
        weftd.wait_dead(0.1)  # what is left for when nobody waits has boundaries, too
    except AssertionError:
        return False
    return weftd.alive
