from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serve.house import House, served


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with served(tmp_path) as running:
        yield running
