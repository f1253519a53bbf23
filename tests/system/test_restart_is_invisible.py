"""Fifty containers on five networks ping, stream, connect and ask for names without pause, and others try to get in
where nothing is published, while weftd and the resolver die and come back."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.audits import assert_consistent
from tests.daemons import Weftd
from tests.hosts import Namespace, PrivateHost
from tests.system.loads import TRAP, Conversation, Talker, conversation, populate, talkers

pytestmark = [pytest.mark.root, pytest.mark.slow]

SERVED = ("ping", "names", "streams from outside", "streams from the host", "connections")
ATTACKS = ("across networks", "from outside", "unpublished port", "published on 127.0.0.1")

Parts = tuple[Sequence[Talker], Sequence[Talker]]


@pytest.fixture(scope="module")
def forward_rules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The user's own rules, read by weftd at its start."""
    return tmp_path_factory.mktemp("etc") / "forward.nft"


@pytest.fixture(scope="module")
def weftd(host: PrivateHost, tmp_path_factory: pytest.TempPathFactory, forward_rules: Path) -> Iterator[Weftd]:
    directory = tmp_path_factory.mktemp("weftd")
    with Weftd(host, directory, settings=("--forward-rules", str(forward_rules))) as weftd:
        yield weftd


@pytest.fixture(scope="module")
def parts(weftd: Weftd, outside: Namespace) -> Parts:
    return talkers(populate(weftd), outside)


def _assert_nothing_lost(talk: Conversation, but: str = "") -> None:
    for group in SERVED:
        outcome = talk[group]
        assert outcome.sent > 100, talk
        if group != but:
            assert outcome.lost == 0, talk
            assert not outcome.failures, talk


def _assert_nothing_got_in(talk: Conversation) -> None:
    for group in ATTACKS:
        assert talk[group].sent > 100, talk
    assert talk["trap"].caught == 0, talk


@pytest.mark.statement(19)
def test_kill_and_restart_of_weftd_lose_nothing_and_open_nothing(weftd: Weftd, parts: Parts) -> None:
    with conversation(weftd, *parts) as talk:
        time.sleep(0.5)
        for _ in range(3):
            weftd.kill()
            time.sleep(0.2)
            weftd.start()
            time.sleep(0.5)
    print(talk)
    _assert_nothing_lost(talk)
    _assert_nothing_got_in(talk)
    assert_consistent(weftd)


def test_stop_and_start_of_weftd_lose_nothing_and_open_nothing(weftd: Weftd, parts: Parts) -> None:
    with conversation(weftd, *parts) as talk:
        time.sleep(0.3)
        for _ in range(2):
            weftd.stop()
            time.sleep(0.2)
            weftd.start()
            time.sleep(0.3)
    print(talk)
    _assert_nothing_lost(talk)
    _assert_nothing_got_in(talk)


@pytest.mark.statement(19)
def test_replacing_the_whole_table_loses_nothing_and_opens_nothing(
    weftd: Weftd, parts: Parts, forward_rules: Path
) -> None:
    with conversation(weftd, *parts) as talk:
        for number in range(3):
            forward_rules.write_text(f'iifname "none{number}" accept\n')
            weftd.restart()
            time.sleep(0.5)
    print(talk)
    assert 'iifname "none2" accept' in weftd.host.run("nft list table inet weft").stdout
    _assert_nothing_lost(talk)
    _assert_nothing_got_in(talk)


def test_kill_of_the_resolver_costs_names_for_less_than_a_second_and_nothing_else(weftd: Weftd, parts: Parts) -> None:
    with conversation(weftd, *parts) as talk:
        time.sleep(0.5)
        weftd.host.run(["kill", "-9", str(weftd.resolver_pid)])
        time.sleep(2.5)
    print(talk)
    _assert_nothing_lost(talk, but="names")
    assert talk["names"].outage < 1.0, talk
    _assert_nothing_got_in(talk)


def test_kill_of_both_costs_names_until_weftd_is_back_and_nothing_else(weftd: Weftd, parts: Parts) -> None:
    with conversation(weftd, *parts) as talk:
        time.sleep(0.3)
        weftd.host.run(["kill", "-9", str(weftd.resolver_pid), str(weftd.pid)])
        killed = time.monotonic()
        weftd.restart()
        back = time.monotonic() - killed
        time.sleep(1.5)
    print(talk)
    _assert_nothing_lost(talk, but="names")
    assert talk["names"].outage < back + 0.5, talk
    _assert_nothing_got_in(talk)


def test_the_traps_spring_when_somebody_comes(weftd: Weftd, parts: Parts) -> None:
    """So that the tests above can fail."""
    served, attacks = parts
    insider = {
        "kind": "attack",
        "group": "a neighbour",
        "netns": weftd.client.containers.get("c0-1").netns,
        "to": "10.10.0.10",
        "port": TRAP,
        "every": 0.01,
    }
    with conversation(weftd, served, [*attacks, insider]) as talk:
        time.sleep(0.5)
    assert talk["trap"].caught > 20
