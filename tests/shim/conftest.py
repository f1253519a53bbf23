from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.shim.boxes import Boxes


@pytest.fixture
def boxes() -> Iterator[Boxes]:
    if os.geteuid() != 0:
        pytest.skip("needs root: the first namespaces are made without a user namespace around them")
    with Boxes() as made:
        yield made
