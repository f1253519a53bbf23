"""Thousands of requests to Docker's paths, right and wrong and absurd ones, to a real weftd.

Not asserted is which of them are granted. What is: each is answered, in time, and with nothing worse than a refusal;
what was refused has changed nothing, neither the records nor the kernel; and weftd goes on as if nothing had been.

They are the same every time. WEFT_FUZZ=7:20000 makes others up, and so many.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from itertools import islice
from pathlib import Path

import pytest

from tests.audits import assert_consistent, assert_same, snapshot
from tests.docker.conftest import World
from tests.docker.hostile import EXEC, Request, request_for, request_for_nothing, routes, vocabulary
from tests.docker.oddities import CONTAINERS, NETWORKS, Whim
from weft.client import Container, Network
from weft.serve.routes import Route

pytestmark = [pytest.mark.root, pytest.mark.slow]

SEED, REQUESTS = (int(part) for part in os.environ.get("WEFT_FUZZ", "1:6000").split(":"))
PATIENCE = 5.0
"""Seconds that an answer may take."""
WAITS = 0.1
"""Seconds after which one that waits for something to happen is left."""
LOOKS = 3
"""How often, for each route, all of the kernel is looked at before and after."""

UNAVAILABLE = ("This node is not a swarm manager",)
"""What Docker, too, answers with 503."""


@pytest.fixture
def house(world: World) -> Iterator[House]:
    before = snapshot(world.weftd).links
    with closing(House(world)) as house:
        yield house
    assert_consistent(world.weftd)
    world.empty()
    assert snapshot(world.weftd).links == before


def test_whatever_is_asked_there_is_an_answer_and_a_refusal_changes_nothing(world: World, house: House) -> None:
    seen = Counter[int]()
    for request, waits, closely in plan():
        seen[house.ask(request, waits=waits, closely=closely)] += 1
    print(seen)
    assert sum(seen.values()) >= REQUESTS * 0.99
    assert all(seen[status] > 20 for status in (200, 201, 204, 400, 404, 409, 501)), seen
    assert "Traceback" not in world.weftd.log()
    assert world.ask("GET", "/_ping").body == b"OK"


def plan() -> Iterator[tuple[Request, bool, bool]]:
    """Requests, whether each may wait for something, and whether all of the kernel is looked at."""
    whim, table = Whim(SEED), routes()
    weights = [_weight(route) for route in table]
    each = REQUESTS // (sum(weights) + 5)
    for route, weight in zip(table, weights, strict=True):
        number = each * weight or 30
        for index in range(number):
            yield request_for(route, whim), route.waits, index % (number // LOOKS) == 0
    for index in range(each * 5):
        yield request_for_nothing(whim), True, index % (each * 5 // LOOKS) == 0


def _weight(route: Route) -> int:
    """More for those that can be asked in many ways, few for those that take their time."""
    has_filters = route.method == "GET" and "filters" in vocabulary(route)
    return 0 if route.waits else 3 if route.request or has_filters else 1


class House:
    """What the requests are about; made up again after each that was granted."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._client = world.weftd.client
        self._database = sqlite3.connect(f"file:{world.weftd.state_dir}/weft.db?mode=ro", uri=True)
        self._networks: dict[str, Network] = {}
        self._containers: dict[str, Container] = {}
        self._starts = 0
        self.ids = {EXEC: "nothing"}
        self._make_up()

    def ask(self, request: Request, *, waits: bool = False, closely: bool = False) -> int:
        """Send it and look what has become of it; the answer's status."""
        if "<exec>/start" in request.path:
            self._say_what_to_run()
        before = snapshot(self._world.weftd) if closely else None
        status, body = self._send(request, waits=waits)
        if status >= 400:
            _check_refusal(request, status, body)
            self.check(f"{status} {request}")
            if before is not None:
                assert_same(before, snapshot(self._world.weftd), str(request))
        elif request.method in ("POST", "DELETE"):
            # What was sent a signal ends when it likes.
            self._make_up(anew="web" if re.search("/(kill|stop)", request.path) else "")
        return status

    def check(self, what: str) -> None:
        """That nothing has changed."""
        assert self._state() == self._before, f"changed by {what}"

    def close(self) -> None:
        self._database.close()

    def _say_what_to_run(self) -> None:
        """Most times another command, since each runs only once."""
        self._starts += 1
        if self._starts % 4:
            wish = {"Cmd": ["cat"], "AttachStdin": True, "AttachStdout": True}
            self.ids[EXEC] = self._world.ask("POST", "/containers/web/exec", wish).json["Id"]

    def _send(self, request: Request, *, waits: bool) -> tuple[int, bytes]:
        """The answer; 200 for one that does not come, since it waits for something to happen."""
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(WAITS if waits else PATIENCE)
            line.connect(self._world.weftd.socket)
            with suppress(BrokenPipeError, ConnectionResetError):  # it has had enough before the end: it says why
                line.sendall(request.raw(self.ids))
            answer = http.client.HTTPResponse(line, method=request.method)
            try:
                answer.begin()
                return answer.status, b"" if answer.length is None else answer.read()
            except TimeoutError:
                assert waits, f"no answer: {request}"
                return 200, b""
            except (OSError, http.client.HTTPException) as error:
                raise AssertionError(f"{error!r}: {request}") from error
            finally:
                answer.close()

    def _state(self) -> object:
        """The records, and the addresses and routes of the host and of web: what can be seen at once."""
        tables = ("networks", "sandboxes", "endpoints", "pending", "meta")
        rows = [self._database.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall() for table in tables]
        files = [Path(f"/proc/{pid}/net/{name}") for pid in self._pids for name in ("route", "if_inet6")]
        # A new address of IPv6 is another a moment later: its flags are left out.
        return rows, [[line.split()[:4] for line in file.read_text().splitlines()] for file in files]

    def _make_up(self, *, anew: str = "") -> None:
        """What is not as it was is removed and made again."""
        networks, containers = self._client.networks, self._client.containers
        for container in containers.list(all=True):
            if container.name == anew or container != self._containers.get(container.name):
                containers.remove(container, force=True)
        for network in networks.list():
            if network != self._networks.get(network.name):
                networks.remove(network)
        for each in self._world.ask("GET", '/networks?filters={"driver":["null"]}').json:
            if each["ConfigOnly"]:
                self._world.ask("DELETE", f"/networks/{each['Id']}")
        there = {network.name for network in networks.list()}
        self._networks |= {name: self._make_network(name) for name in NETWORKS if name not in there}
        there = {container.name for container in containers.list(all=True)}
        self._containers |= {name: self._make_container(name) for name in CONTAINERS if name not in there}
        self.ids |= {name: each.id for name, each in {**self._networks, **self._containers}.items()}
        self._pids = (self._world.weftd.pid, self._containers["web"].pid)
        self._before = self._state()

    def _make_network(self, name: str) -> Network:
        pools = {"front": ("10.5.0.0/24", "fd05::/64"), "back": ("10.6.0.0/24",)}[name]
        return self._client.networks.create(name, ipv6=len(pools) > 1, pools=pools)

    def _make_container(self, name: str) -> Container:
        containers, on = self._client.containers, ["front"]
        if name == "lab":
            return containers.create(name=name, networks=on)
        if name == "made":
            return containers.create(name=name, networks=on, process={"argv": ["sleep", "1000"]})
        made = containers.run(["sleep", "1000"] if name == "web" else ["true"], name=name, networks=on)
        if name == "over":
            containers.wait(made)
        return containers.get(made)


def _check_refusal(request: Request, status: int, body: bytes) -> None:
    assert status in range(400, 500) or status in (501, 503), f"{status} {body!r}: {request}"
    if request.method != "HEAD":
        message = json.loads(body)["message"]
        assert message, f"{status}: {request}"
        assert status != 503 or message.startswith(UNAVAILABLE), f"{message}: {request}"


# Clients without manners


def test_requests_that_end_in_the_middle(world: World, house: House) -> None:
    whim, table = Whim(SEED), routes()
    for _ in range(200):
        route = whim.one(table)
        raw = request_for(route, whim).raw(house.ids)
        # What needs no body is done when the head is there.
        whole = raw if route.request else raw.partition(b"\r\n\r\n")[0]
        world.send(whim.cut(whole[:-1]) or b"G")  # returns when weftd has closed the connection
        house.check("half a request")


def test_who_writes_slowly_keeps_nobody_waiting(world: World, house: House) -> None:
    whim, table = Whim(SEED), routes()
    made_up = (request_for(whim.one(table), whim).raw(house.ids) for _ in range(1000))
    raws = list(islice((raw for raw in made_up if len(raw) < 300), 12))
    with ExitStack() as lines:
        clients = [(lines.enter_context(connected(world)), raw) for raw in raws]
        for at in range(300):
            for line, raw in clients:
                with suppress(BrokenPipeError):  # refused before its end
                    line.send(raw[at : at + 1])
            begun = time.monotonic()
            assert world.ask("GET", "/_ping").status == 200
            assert time.monotonic() - begun < 1
        for line, raw in clients:
            assert line.recv(12).startswith(b"HTTP/1.1 "), raw


def test_who_never_reads_keeps_nobody_waiting(world: World) -> None:
    """Questions without end, and nobody who takes the answers: weftd stops to read them."""
    request = b"GET /networks HTTP/1.1\r\nHost: docker\r\n\r\n"
    with connected(world) as line:
        line.settimeout(0.5)
        assert not takes(line, request * 100_000)
        assert world.ask("GET", "/_ping").status == 200
        line.settimeout(PATIENCE)
        assert line.recv(65536).startswith(b"HTTP/1.1 200")


def takes(line: socket.socket, data: bytes) -> bool:
    """All of it, in time."""
    try:
        line.sendall(data)
    except TimeoutError:
        return False
    return True


def connected(world: World) -> socket.socket:
    line = socket.socket(socket.AF_UNIX)
    line.settimeout(PATIENCE)
    line.connect(world.weftd.socket)
    return line
