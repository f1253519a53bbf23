"""Who does a piece of work, and when: what can wait does not get in the way of those who wait."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator

import pytest

from weft.engine.worker import MOST_WAITING, QUIET_SECONDS, Worker


@pytest.fixture
def worker() -> Iterator[Worker]:
    worker = Worker()
    yield worker
    worker.close()


def in_loop(worker: Worker, scene: Callable[[], Awaitable[None]]) -> None:
    async def run() -> None:
        worker.attach(asyncio.get_running_loop())
        await asyncio.wait_for(scene(), 30)

    asyncio.run(run())


async def until(claim: Callable[[], object]) -> None:
    while not claim():  # noqa: ASYNC110  # the worker tells nobody when it has done what could wait
        await asyncio.sleep(QUIET_SECONDS)


def thread() -> str:
    return threading.current_thread().name


def test_a_brief_piece_is_done_on_the_spot_and_a_long_one_elsewhere(worker: Worker):
    async def scene() -> None:
        assert await worker.call_briefly(thread) == thread()
        assert await worker.call(thread) == "weft-engine"

    in_loop(worker, scene)


def test_a_brief_piece_waits_its_turn_behind_a_long_one(worker: Worker):
    done: list[str] = []

    def long() -> None:
        time.sleep(0.05)
        done.append("long")

    async def scene() -> None:
        first = asyncio.ensure_future(worker.call(long))
        await asyncio.sleep(0.01)
        await worker.call_briefly(done.append, "brief")
        await first

    in_loop(worker, scene)
    assert done == ["long", "brief"]


def test_errors_reach_whoever_asked(worker: Worker):
    def fail() -> None:
        raise ValueError("no")

    async def scene() -> None:
        for call in (worker.call, worker.call_briefly):
            with pytest.raises(ValueError, match="no"):
                await call(fail)

    in_loop(worker, scene)


def test_what_can_wait_waits_while_requests_come_and_is_done_when_they_stop(worker: Worker):
    done: list[str] = []

    async def scene() -> None:
        worker.when_idle(lambda: done.append(thread()))
        end = time.monotonic() + 20 * QUIET_SECONDS
        while time.monotonic() < end:
            await worker.call_briefly(lambda: None)
            assert done == []
            await asyncio.sleep(0)
        await until(lambda: done)

    in_loop(worker, scene)
    assert done == ["weft-engine"]


def test_what_waits_for_the_answer_alone_is_done_right_after_it(worker: Worker):
    done: list[str] = []

    def piece() -> None:
        worker.when_idle(lambda: done.append("idle"))
        worker.after_answer(lambda: done.append("after"))
        done.append("answer")

    async def scene() -> None:
        await worker.call_briefly(piece)
        assert done == ["answer"]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert done == ["answer", "after"]
        await until(lambda: len(done) == 3)

    in_loop(worker, scene)
    assert done == ["answer", "after", "idle"]


def test_what_waits_does_not_pile_up_without_end(worker: Worker):
    done: list[int] = []

    async def scene() -> None:
        for number in range(2 * MOST_WAITING):
            await worker.call_briefly(worker.when_idle, lambda number=number: done.append(number))
            await worker.call_briefly(worker.after_answer, lambda: None)
            await asyncio.sleep(0)
        assert len(done) >= MOST_WAITING - 2

    in_loop(worker, scene)
    assert done == sorted(done)


def test_a_piece_that_fails_does_not_end_the_worker(worker: Worker, caplog: pytest.LogCaptureFixture):
    done: list[str] = []

    def fail() -> None:
        raise ValueError("background")

    async def scene() -> None:
        worker.submit(fail)
        worker.when_idle(fail)
        worker.after_answer(fail)
        worker.when_idle(lambda: done.append("next"))
        await until(lambda: done)

    in_loop(worker, scene)
    assert caplog.text.count("ValueError: background") == 3


def test_what_is_put_off_by_other_threads_is_done(worker: Worker):
    done: list[int] = []

    async def scene() -> None:
        def put() -> None:
            for number in range(500):
                worker.when_idle(lambda number=number: done.append(number))

        threads = [threading.Thread(target=put) for _ in range(4)]
        for each in threads:
            each.start()
        while len(done) < 2000:
            await worker.call_briefly(lambda: None)
            await asyncio.sleep(QUIET_SECONDS)
        for each in threads:
            each.join()

    in_loop(worker, scene)
    assert len(done) == 2000
