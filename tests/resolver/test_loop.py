from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from weft.resolver import __main__ as resolver_main
from weft.resolver import loop as loop_module
from weft.resolver.log import Log
from weft.resolver.loop import Loop


@pytest.fixture
def loop() -> Loop:
    return Loop(Log())


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    os.close(reader)
    os.close(writer)


def test_timers_fire_in_order_and_cancelled_ones_do_not(loop: Loop) -> None:
    fired: list[int] = []
    loop.after(0.02, lambda: (fired.append(2), loop.stop())[1])
    loop.after(0.01, lambda: fired.append(1))
    loop.after(0.0, lambda: fired.append(0)).cancel()
    loop.run()
    assert fired == [1, 2]


def test_cancelled_timers_do_not_pile_up(loop: Loop) -> None:
    for _ in range(5 * loop_module._CROWDED):
        loop.after(60, loop.stop).cancel()
    assert len(loop._timers) <= loop_module._CROWDED
    loop.after(0, loop.stop)
    loop.run()


def test_an_error_in_a_handler_is_logged_and_the_loop_goes_on(
    loop: Loop, pipe: tuple[int, int], capsys: pytest.CaptureFixture[str]
) -> None:
    turns: list[int] = []

    def failing() -> None:
        turns.append(1)
        if len(turns) == 3:
            os.read(pipe[0], 1)
            loop.after(0, loop.stop)
        raise ZeroDivisionError("planted")

    loop.add(pipe[0], failing)
    os.write(pipe[1], b"x")
    loop.run()
    assert len(turns) == 3
    written = capsys.readouterr().err
    assert "a handler failed" in written
    assert "ZeroDivisionError: planted" in written
    assert "at=test_loop.py:" in written
    assert loop._log.failures == 3
    assert written.count("\n") == 1


def test_a_dropped_descriptor_is_not_heard_of_again(loop: Loop, pipe: tuple[int, int]) -> None:
    loop.add(pipe[0], loop.stop)
    os.write(pipe[1], b"x")
    for _ in range(2):
        loop.drop(pipe[0])
    late: list[int] = []
    loop.after(0.02, lambda: (late.append(1), loop.stop())[1])
    loop.run()
    assert late == [1]


def test_the_resolver_imports_little() -> None:
    """Memory and start-up: each of these costs from half a megabyte to several."""
    source = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(resolver_main.__file__))))
    code = f"import sys; sys.path.append({source!r}); import weft.resolver.__main__; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    costly = {"asyncio", "dataclasses", "hashlib", "ipaddress", "json", "logging", "re", "ssl", "subprocess", "typing"}
    assert costly.isdisjoint(done.stdout.split())
