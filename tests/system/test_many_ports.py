"""More published ports than a process may have descriptors to begin with."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.daemons import Weftd
from tests.hosts import PrivateHost

pytestmark = [pytest.mark.root, pytest.mark.system]


def test_a_range_larger_than_the_usual_limit_of_descriptors_is_published(
    private_host: PrivateHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    popen = private_host.popen
    # 1,024 is the soft limit that most systems begin with.
    monkeypatch.setattr(
        private_host, "popen", lambda command, **more: popen(["prlimit", "--nofile=1024:20000", *command], **more)
    )
    with Weftd(private_host, tmp_path) as weftd:
        weftd.cli("run", "-d", "--name", "wide", "-p", "20000-21999:20000-21999", "--", "sleep", "60")
        assert len(weftd.json("inspect", "wide")[0]["ports"]) == 2000
        weftd.cli("rm", "-f", "wide")
