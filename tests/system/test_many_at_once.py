"""Fifty clients at once: whatever they ask for in whatever order, the state is one, and nothing is left afterwards."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable

import pytest

from tests.audits import assert_consistent, assert_same, snapshot
from tests.daemons import Weftd
from weft.client import Attachment, Client, Publish, connect
from weft.errors import Conflict, NotFound, WeftError

pytestmark = [pytest.mark.root, pytest.mark.slow]

CLIENTS = 50


def _at_once(weftd: Weftd, work: Callable[[Client, int], object]) -> list[object]:
    """Every client does the work; what each returned, or raised."""
    results: list[object] = [None] * CLIENTS
    ready = threading.Barrier(CLIENTS)

    def run(number: int) -> None:
        with connect(f"unix://{weftd.socket}") as client:
            ready.wait(10)
            try:
                results[number] = work(client, number)
            except Exception as error:
                results[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    return results


def test_networks_and_containers_come_and_go(weftd: Weftd) -> None:
    weftd.client.networks.create("shared", ipv6=True)
    before = snapshot(weftd)

    def live(client: Client, number: int) -> None:
        chance = random.Random(number)
        own = f"net{number}"
        for turn in range(2):
            client.networks.create(own, ipv6=chance.random() < 0.3, internal=chance.random() < 0.2)
            names = [f"c{number}-{i}" for i in range(3)]
            ports = [Publish(80), Publish(53, proto="udp")]
            client.containers.create(name=names[0], networks=["shared", own], ports=ports)
            client.containers.create(name=names[1], networks=[own])
            client.containers.create(name=names[2], networks=["shared"], ports=[Publish(80, 20000 + number)])
            client.networks.connect("shared", names[1], aliases=[f"alias{number}"])
            if chance.random() < 0.5:
                client.networks.disconnect(own, names[0])
            if number % 10 == 0 and turn == 0:
                made = client.containers.run(["sleep", "60"], name=f"run{number}", networks=[own])
                client.containers.remove(made, force=True)
            for name in chance.sample(names, 3):
                client.containers.remove(name)
            client.networks.remove(own)

    assert [error for error in _at_once(weftd, live) if error] == []
    assert_consistent(weftd)
    assert_same(before, snapshot(weftd), "after all have left")


def test_what_stays_is_whole(weftd: Weftd) -> None:
    def settle(client: Client, number: int) -> None:
        client.containers.create(name=f"s{number}", networks=["shared"], ports=[Publish(80, 21000 + number)])
        if number % 2:
            client.containers.remove(f"s{number}")
            client.containers.create(name=f"s{number}", networks=["shared"], ports=[Publish(80, 21000 + number)])

    assert [error for error in _at_once(weftd, settle) if error] == []
    assert len(weftd.client.containers.list()) == CLIENTS
    assert_consistent(weftd)
    weftd.restart()
    assert len(weftd.client.containers.list()) == CLIENTS
    assert_consistent(weftd)
    assert [error for error in _at_once(weftd, lambda client, n: client.containers.remove(f"s{n}")) if error] == []
    assert_consistent(weftd)


@pytest.mark.parametrize("what", ["name", "address", "port", "network", "subnet"])
def test_of_those_who_want_the_same_one_gets_it(weftd: Weftd, what: str) -> None:
    def want(client: Client, number: int) -> str:
        name = f"w{number}"
        match what:
            case "name":
                client.containers.create(name="wanted", networks=["shared"])
                return "wanted"
            case "address":
                address = next(p for p in client.networks.get("shared").pools if "." in p.subnet).gateway or ""
                wish = Attachment("shared", ip=address.rpartition(".")[0] + ".222")
                client.containers.create(name=name, networks=[wish])
            case "port":
                client.containers.create(name=name, networks=["shared"], ports=[Publish(80, 22000)])
            case "network":
                client.networks.create("wanted")
                return "wanted"
            case "subnet":
                client.networks.create(name, pools=["10.200.0.0/24"])
        return name

    results = _at_once(weftd, want)
    kinds = Counter(type(result) for result in results)
    assert kinds == {str: 1, Conflict: CLIENTS - 1}
    assert_consistent(weftd)
    (winner,) = [result for result in results if isinstance(result, str)]
    (weftd.client.networks if what in ("network", "subnet") else weftd.client.containers).remove(winner)


def test_a_network_goes_while_others_want_to_join_it(weftd: Weftd) -> None:
    weftd.client.networks.create("brief")

    def work(client: Client, number: int) -> str:
        try:
            if number % 5 == 0:
                client.networks.remove("brief")
                return "removed"
            client.containers.create(name=f"b{number}", networks=["brief"])
        except (Conflict, NotFound) as refusal:
            return refusal.kind
        else:
            return "joined"

    results = Counter(_at_once(weftd, work))
    assert set(results) <= {"removed", "joined", "conflict", "not-found"}
    assert not (results["removed"] and results["joined"])
    assert_consistent(weftd)
    for container in weftd.client.containers.list():
        weftd.client.containers.remove(container)
    if not results["removed"]:
        weftd.client.networks.remove("brief")
    assert_consistent(weftd)


def test_weftd_killed_under_the_load_of_all_comes_back_whole(weftd: Weftd) -> None:
    """Nobody is told that something exists which does not afterwards."""
    told: list[str] = []

    def work(client: Client, number: int) -> None:
        for turn in range(20):
            name = f"k{number}-{turn}"
            client.containers.create(name=name, networks=["shared"])
            told.append(name)
            if turn % 3 == 2:
                told.remove(name)
                client.containers.remove(name)

    killer = threading.Timer(0.4, weftd.kill)
    killer.start()
    results = _at_once(weftd, work)
    killer.join()
    assert any(isinstance(result, WeftError) for result in results)
    weftd.start()
    assert_consistent(weftd)
    there = {container.name for container in weftd.client.containers.list()}
    assert set(told) <= there
    assert len(there - set(told)) <= CLIENTS  # each was in the middle of at most one request
    for name in there:
        weftd.client.containers.remove(name)
    assert_consistent(weftd)
