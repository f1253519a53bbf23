"""How long it is known what was run in a container."""

from __future__ import annotations

from dataclasses import replace

import pytest

from weft.engine.state import Records
from weft.model import Exit, Process, Sandbox
from weft.serve.docker.dialect import Refused
from weft.serve.docker.exec_memory import MOST, ROUND_SECONDS, Exec, ExecAsked, KnownExecs

WEB = Sandbox(id="1" * 64, name="web", key="/run/netns/web", process=Process(argv=("sleep", "600")))


class World:
    def __init__(self) -> None:
        self.records = Records()
        self.records.put_sandbox(WEB)
        self.now = 1000.0
        self.known = KnownExecs(self.records, lambda: self.now)

    def made(self) -> Exec:
        one = Exec(ExecAsked(cmd=["true"]), WEB, b"", (0, 0))
        self.known.add(one)
        return one

    def started(self) -> Exec:
        one = self.made()
        one.started = True
        return one

    def ended(self) -> Exec:
        one = self.started()
        self.known.end(one, 0)
        return one

    def knows(self, one: Exec) -> bool:
        try:
            return self.known.find(one.id) is one
        except Refused as refusal:
            return (refusal.status, refusal.message) != (404, f"No such exec instance: {one.id}")


@pytest.fixture
def world() -> World:
    return World()


def test_a_container_has_those_that_run_or_have_yet_to_start(world: World) -> None:
    waits, runs = world.made(), world.started()
    world.ended()
    assert world.known.of(WEB.id) == [waits.id, runs.id]
    assert world.known.of("2" * 64) == []


def test_what_has_ended_is_known_for_ten_minutes(world: World) -> None:
    one = world.ended()
    assert (world.knows(one), world.known.is_old(one)) == (True, False)
    world.now += ROUND_SECONDS
    assert (world.knows(one), world.known.is_old(one)) == (True, True)
    world.now += ROUND_SECONDS
    assert not world.knows(one)


def test_what_runs_or_waits_is_known_for_ever(world: World) -> None:
    waits, runs = world.made(), world.started()
    world.now += 1e6
    world.made()
    assert world.known.of(WEB.id)[:2] == [waits.id, runs.id]
    assert not world.known.is_old(runs)


def test_what_was_never_started_is_forgotten_with_its_containers_end(world: World) -> None:
    waits, over = world.made(), world.ended()
    world.records.put_sandbox(replace(WEB, exit=Exit(code=0, at=0.0)))
    assert not world.knows(waits)
    assert world.knows(over)
    assert world.known.of(WEB.id) == []


def test_with_its_container_all_is_forgotten(world: World) -> None:
    ones = [world.made(), world.started(), world.ended()]
    world.records.drop_sandbox(WEB)
    assert not any(world.knows(one) for one in ones)
    assert world.known.of(WEB.id) == []


def test_of_too_many_the_oldest_are_forgotten_but_none_that_runs(world: World) -> None:
    runs = world.started()
    ones = []
    for _ in range(MOST + 3):
        world.now += 0.001
        ones.append(world.made())
    assert [world.knows(one) for one in ones[:5]] == [False, False, False, True, True]
    assert world.knows(ones[-1])
    assert world.knows(runs)
