"""Thousands of requests made up from the OpenAPI document, right and wrong ones, against a real weftd."""

from __future__ import annotations

import http.client
import random
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode

from tests.daemons import Weftd
from tests.hosts import PrivateHost

pytestmark = [pytest.mark.root, pytest.mark.slow]

REQUESTS = 5000
PATIENCE = 10.0
"""Seconds."""
WAITING = 0.5
"""For what waits until a container ends: it takes longer, and is left then."""

NETWORKS, CONTAINERS = ("front", "back"), ("web", "job")


class Unix(http.client.HTTPConnection):
    def __init__(self, path: str, patience: float) -> None:
        super().__init__("localhost", timeout=patience)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


@pytest.fixture(scope="module")
def weftd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Weftd]:
    with PrivateHost() as host, Weftd(host, tmp_path_factory.mktemp("weftd")) as weftd:
        yield weftd


def populate(weftd: Weftd) -> None:
    """What requests can be about; what others took away is there again."""
    for name in set(NETWORKS) - {network.name for network in weftd.client.networks.list()}:
        weftd.client.networks.create(name)
    there = {container.name for container in weftd.client.containers.list(all=True)}
    for name in set(CONTAINERS) - there:
        weftd.client.containers.create(name=name, networks=["front"])


def state(weftd: Weftd) -> object:
    containers = sorted(weftd.client.containers.list(all=True), key=lambda container: container.id)
    return [sorted(weftd.client.networks.list(), key=lambda network: network.id), containers]


def test_whatever_is_asked_there_is_an_answer_and_a_refusal_changes_nothing(weftd: Weftd) -> None:
    document = weftd.client.wire.call("GET", "/openapi.json")
    # A pid would be that of a process outside, whose network is none of ours to change.
    del document["components"]["schemas"]["ContainerCreate"]["properties"]["pid"]
    operations = [found.ok() for found in schemathesis.openapi.from_dict(document).get_all_operations()]
    assert len(operations) > 15
    chance, seen = random.Random(1), Counter[int]()
    # Those that can be asked in many ways make up for those that cannot, and for those that take their time.
    operations.sort(key=lambda operation: (operation.body is not None and bool(list(operation.body)), operation.label))
    for index, operation in enumerate(operations):
        left = (REQUESTS - sum(seen.values())) // (len(operations) - index)
        _ask(weftd, operation, 20 if _waits(operation.path) else max(1, left), chance, seen)
    print(seen)
    assert sum(seen.values()) >= REQUESTS * 0.9
    assert all(seen[status] > 50 for status in (200, 400, 404)), seen
    log = weftd.log()
    assert "Traceback" not in log, log[log.index("Traceback") - 200 :][:3000]
    assert weftd.alive


def _ask(weftd: Weftd, operation: Any, number: int, chance: random.Random, seen: Counter[int]) -> None:
    quiet = settings(
        max_examples=number,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):

        @settings(quiet, max_examples=number // 2 + 1)
        @given(case=operation.as_strategy(generation_mode=mode))
        def ask(case: Any) -> None:
            if isinstance(case.body, dict) and "pid" in case.body:
                return
            if case.path_parameters and chance.random() < 0.7:
                case.path_parameters["ref"] = chance.choice(NETWORKS if "networks" in case.path else CONTAINERS)
            before = state(weftd)
            status = _send(weftd, case)
            seen[status] += 1
            assert status < 500 or status == 501, (status, case.as_curl_command(), weftd.log()[-2000:])
            if status >= 400:
                assert state(weftd) == before, (status, case.as_curl_command())
            elif case.method in ("POST", "DELETE"):
                populate(weftd)

        populate(weftd)
        with suppress(Unsatisfiable):  # there is no wrong way to ask for some things
            ask()


def _waits(path: str) -> bool:
    return path.endswith(("/wait", "/stop"))


def _send(weftd: Weftd, case: Any) -> int:
    """The answer's status; 200 for one that does not come, since it waits for something to happen."""
    prepared = requests.Request(**case.as_transport_kwargs(base_url="http://localhost")).prepare()
    connection = Unix(f"{weftd.run_dir}/weft.sock", WAITING if _waits(case.path) else PATIENCE)
    try:
        connection.request(case.method, prepared.path_url, prepared.body, dict(prepared.headers))
        return connection.getresponse().status
    except TimeoutError:
        assert _waits(case.path), case.as_curl_command()
        return 200
    finally:
        connection.close()
