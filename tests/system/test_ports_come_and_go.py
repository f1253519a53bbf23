"""weftd lives through ports that are given up just when its loop was about to watch them."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

import weft
from tests.daemons import Weftd
from tests.hosts import PrivateHost

pytestmark = [pytest.mark.root, pytest.mark.system]


def test_a_port_given_up_while_the_loop_is_told_of_it_ends_nothing(private_host: PrivateHost, tmp_path: Path) -> None:
    chosen = random.Random(1)
    with Weftd(private_host, tmp_path) as weftd:
        weftd.cli("network", "create", "front")
        with weft.connect(f"unix://{weftd.socket}") as client:
            for number in range(400):
                client.containers.create(
                    name="c", networks=["front"], ports=[{"container_port": 80, "host_port": 10000 + number}]
                )
                # What is published is told to the loop some two milliseconds later.
                time.sleep(chosen.uniform(0.0015, 0.0045))
                client.containers.remove("c", force=True)
        assert weftd.alive, weftd.log()
