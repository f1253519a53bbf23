"""One scene for all tests of a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemons import Weftd
from tests.hosts import Namespace, PrivateHost, needs_namespaces
from tests.security.engines import Weft
from tests.security.scene import Scene, scene_of, wires
from tests.system.people import OUTSIDE4


@pytest.fixture(scope="module")
def host() -> Iterator[PrivateHost]:
    needs_namespaces()
    with PrivateHost() as host:
        yield host


@pytest.fixture(scope="module")
def others(host: PrivateHost) -> Iterator[tuple[Namespace, Namespace]]:
    """The machines on the host's two wires."""
    with wires(host) as others:
        yield others


@pytest.fixture(scope="module")
def weftd(
    host: PrivateHost, others: tuple[Namespace, Namespace], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Weftd]:
    with Weftd(host, Path(tmp_path_factory.mktemp("weftd")), settings=("--dns", OUTSIDE4)) as weftd:
        yield weftd


@pytest.fixture(scope="module")
def scene(weftd: Weftd, others: tuple[Namespace, Namespace]) -> Iterator[Scene]:
    with scene_of(Weft(weftd), *others) as scene:
        yield scene
