"""What every room's tests share: fixtures, made of what is in tests/hosts.py, and an end to tests that hang."""

from __future__ import annotations

import os
import platform
import signal
from collections.abc import Callable, Generator, Iterator

import pytest
from hypothesis import settings

from tests.hosts import PrivateHost, needs_namespaces
from tests.waiting import PACE

# nft, sysctl and the like are not on a normal user's path in Debian; in a private host they may use them all the same.
os.environ["PATH"] = f"{os.environ['PATH']}:/usr/sbin:/sbin"

# No limit on an example's time (tests share busy machines), and no file in a checkout that may be somebody else's.
settings.register_profile("weft", database=None, deadline=None)
settings.load_profile("weft")

PATIENCE = round(180 * PACE)
"""Seconds until a test, or the making of its fixtures, is given up."""


@pytest.fixture(scope="session", autouse=True)
def _name_the_kernel(record_testsuite_property: Callable[[str, object], None]) -> None:
    """For whoever compares runs on several (tests/vm)."""
    record_testsuite_property("kernel", platform.release())


@pytest.fixture
def private_host() -> Iterator[PrivateHost]:
    """A host of the test's own, gone afterwards; skips where none can be made."""
    needs_namespaces()
    with PrivateHost() as host:
        yield host


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> Generator[None]:
    return (yield from _with_an_end())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None]:
    return (yield from _with_an_end())


def _with_an_end() -> Generator[None]:
    """A test that hangs fails, where it hangs, and the others go on."""

    def give_up(*_: object) -> None:
        pytest.fail(f"not over after {PATIENCE} seconds")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(PATIENCE)
    try:
        return (yield)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
