from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serve.house import House, served
from tests.tls import authority


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with served(tmp_path) as running:
        yield running


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a server and a client, with a directory each."""
    return authority(tmp_path_factory.mktemp("tls") / "ours", "server", "client")
