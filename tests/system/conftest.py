"""A weftd on a private host, with people outside."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.daemons import Weftd
from tests.hosts import Namespace, PrivateHost, needs_namespaces
from tests.system.people import outside_of


@pytest.fixture(scope="module")
def host() -> Iterator[PrivateHost]:
    """One for all tests of a file."""
    needs_namespaces()
    with PrivateHost() as host:
        yield host


@pytest.fixture(scope="module")
def outside(host: PrivateHost) -> Iterator[Namespace]:
    with outside_of(host) as outside:
        yield outside


@pytest.fixture(scope="module")
def weftd(host: PrivateHost, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Weftd]:
    """One for all tests of a file."""
    with Weftd(host, tmp_path_factory.mktemp("weftd")) as weftd:
        yield weftd
