"""The native API's routes, by the client library, against the real engine."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.serve.house import House
from weft.client import Attachment, Publish, Subnet
from weft.errors import Conflict, Exhausted, Invalid, NotFound


def test_a_network_comes_and_goes(house: House):
    networks = house.client.networks
    made = networks.create("front", pools=[Subnet("10.7.0.0/24", aux={"nas": "10.7.0.5"})], labels={"a": "b"})
    assert (made.name, made.driver, made.ipv4, made.ipv6, made.labels) == ("front", "bridge", True, False, {"a": "b"})
    assert made.pools[0].subnet == "10.7.0.0/24"
    assert made.pools[0].gateway == "10.7.0.1"
    assert made.pools[0].aux == {"nas": "10.7.0.5"}
    assert made.bridge == f"wb-{made.id[:12]}"
    assert networks.list() == (made,)
    assert networks.get(made.id[:6]).name == "front"
    networks.remove("front")
    with pytest.raises(NotFound, match="no such network: 'front'"):
        networks.remove("front")


def test_a_name_can_be_used_once(house: House):
    house.client.networks.create("front")
    with pytest.raises(Conflict, match="'front' already exists"):
        house.client.networks.create("front")


def test_prune_leaves_what_is_used(house: House):
    client = house.client
    for name in ("used", "unused"):
        client.networks.create(name)
    client.containers.create(networks=["used"])
    assert client.networks.prune() == ("unused",)
    assert client.networks.prune() == ()


def test_a_network_may_be_called_like_a_route(house: House):
    made = house.client.networks.create("prune")
    assert house.client.networks.get("prune").id == made.id
    house.client.networks.remove("prune")


def test_a_container_with_all_there_is_to_say(house: House):
    client = house.client
    client.networks.create("front", pools=["10.7.0.0/24"], ipv6=True)
    client.networks.create("back", pools=["10.8.0.0/24"], internal=True)
    made = client.containers.create(
        name="db",
        networks=[
            Attachment("back", ifname="inner"),
            Attachment("front", ip="10.7.0.9", mac="02:00:00:00:00:09", aliases=["cache"], gw_priority=5),
        ],
        ports=[Publish(80, 8080), Publish(53, 5353, proto="udp", host_ip="127.0.0.1"), 443],
        hostname="db.example",
        dns=["9.9.9.9"],
        dns_search=["example"],
        extra_hosts=[("host", "host-gateway"), ("other", "10.1.1.1")],
        labels={"tier": "data"},
        process={"argv": ["sleep", "9"], "env": {"A": "b"}},
    )
    assert (made.state, made.origin, made.pid, made.hostname) == ("created", "made", None, "db.example")
    front, back = made.endpoints
    assert (front.network, front.ipv4, front.mac) == ("front", "10.7.0.9/24", "02:00:00:00:00:09")
    assert front.gateway4 == "10.7.0.1"
    assert front.ipv6 is not None
    assert front.names == ["db", "cache", made.id[:12]]
    assert (back.network, back.ifname, back.gateway4) == ("back", "inner", None)
    assert [(p.proto, p.container_port, p.host_ip, p.host_port) for p in made.ports] == [
        ("tcp", 80, None, 8080),
        ("udp", 53, "127.0.0.1", 5353),
        ("tcp", 443, None, made.ports[2].host_port),
    ]
    assert made.process is not None
    assert made.process["argv"] == ["sleep", "9"]
    assert made.console == f"{house.config.run_dir}/containers/{made.id[:12]}/console.sock"
    assert made.log == f"{house.config.state_dir}/containers/{made.id[:12]}/log"
    members = client.networks.get("front").endpoints
    assert [(m.name, m.ipv4) for m in members] == [("db", "10.7.0.9/24")]


def test_a_container_without_a_network_is_on_the_default_one(house: House):
    assert [e.network for e in house.client.containers.create().endpoints] == ["bridge"]


def test_addresses_run_out(house: House):
    client = house.client
    client.networks.create("tiny", pools=["10.7.0.0/30"])
    client.containers.create(networks=["tiny"])
    with pytest.raises(Exhausted):
        client.containers.create(networks=["tiny"])


def test_the_namespace_of_another_is_adopted(house: House):
    containers = house.client.containers
    by_pid = containers.create(pid=1234)
    assert (by_pid.origin, by_pid.pid, by_pid.state, by_pid.console) == ("pid", 1234, "running", None)
    assert containers.create(netns="/run/netns/lab").origin == "path"
    with pytest.raises(NotFound, match="no process has the pid 5"):
        containers.create(pid=5)
    with pytest.raises(Invalid):
        containers.create(pid=1234, netns="/run/netns/lab")


def test_a_port_that_another_program_has_is_refused(house: House):
    with pytest.raises(Conflict, match="22/tcp is in use by sshd"):
        house.client.containers.create(ports=[Publish(22, 22)])
    assert house.client.containers.list(all=True) == ()


def test_run_leaves_nothing_when_the_command_cannot_be_executed(house: House):
    with pytest.raises(Invalid, match="no such file"):
        house.client.containers.run(["nonexistent"])
    assert house.client.containers.list(all=True) == ()


def test_a_process_starts_runs_and_ends(house: House):
    containers = house.client.containers
    made = containers.run(["sleep", "9"], name="job")
    assert (made.state, made.pid) == ("running", 4712)
    with pytest.raises(Conflict, match="is running"):
        containers.start("job")
    with pytest.raises(Conflict, match="is running"):
        containers.remove("job")
    waiting: list[int] = []
    waiter = threading.Thread(target=lambda: waiting.append(house.client.containers.wait("job")))
    waiter.start()
    time.sleep(0.1)
    house.runtime.end(made.id, 42)
    waiter.join(5)
    assert waiting == [42]
    assert containers.wait("job") == 42
    ended = containers.get("job")
    assert (ended.state, ended.exit and ended.exit.code, ended.endpoints) == ("exited", 42, ())
    assert containers.list() == ()
    assert containers.list(all=True) == (ended,)
    containers.remove("job")
    with pytest.raises(NotFound):
        containers.remove("job")


def test_wait_for_a_container_that_removes_itself(house: House):
    made = house.client.containers.run(["job"], auto_remove=True)
    codes: list[int] = []
    waiter = threading.Thread(target=lambda: codes.append(house.client.containers.wait(made)))
    waiter.start()
    time.sleep(0.1)
    house.runtime.end(made.id, 3)
    waiter.join(5)
    assert codes == [3]
    assert house.client.containers.list(all=True) == ()


def test_wait_for_a_container_that_is_removed(house: House):
    made = house.client.containers.create()
    codes: list[int] = []
    waiter = threading.Thread(target=lambda: codes.append(house.client.containers.wait(made)))
    waiter.start()
    time.sleep(0.1)
    house.client.containers.remove(made)
    waiter.join(5)
    assert codes == [0]


def test_wait_gives_up_in_time(house: House):
    made = house.client.containers.create()
    with pytest.raises(TimeoutError, match=r"within 0\.1 s"):
        house.client.containers.wait(made, timeout=0.1)


def test_stop_asks_then_insists(house: House):
    containers = house.client.containers
    polite = containers.run(["polite"])
    containers.stop(polite)
    assert house.runtime.signals == [15]
    containers.stop(polite)
    house.runtime.obeys = {9}
    deaf = containers.run(["deaf"])
    containers.stop(deaf, timeout=0.1)
    assert house.runtime.signals == [15, 15, 9]
    assert containers.wait(deaf) == 137


def test_kill(house: House):
    containers = house.client.containers
    made = containers.run(["server"])
    containers.kill(made, signal=1)
    assert house.runtime.signals == [1]
    with pytest.raises(Invalid, match="there is no signal 99"):
        containers.kill(made, signal=99)
    with pytest.raises(Conflict, match="no running process"):
        containers.kill(containers.create(), signal=1)


def test_connect_and_disconnect(house: House):
    client = house.client
    client.networks.create("front", pools=["10.7.0.0/24"])
    client.networks.create("back", pools=["10.8.0.0/24"])
    made = client.containers.create(name="db", networks=["front"])
    joined = client.networks.connect("back", made, ip="10.8.0.8", aliases=["store"])
    assert (joined.network, joined.ipv4, joined.ifname, joined.aliases) == ("back", "10.8.0.8/24", "eth1", ["store"])
    with pytest.raises(Conflict, match="already on network 'back'"):
        client.networks.connect("back", "db")
    client.networks.disconnect("back", "db")
    with pytest.raises(NotFound):
        client.networks.disconnect("back", "db")
    client.networks.disconnect("back", "db", force=True)


def test_events_of_the_past_and_as_they_happen(house: House):
    client = house.client
    client.networks.create("front")
    past = list(client.events(follow=False))
    assert [(e.type, e.action, e.name) for e in past] == [("network", "create", "front")]
    news = client.events(since=0)
    assert next(news) == past[0]
    client.networks.remove("front")
    gone = next(news)
    assert (gone.action, gone.attributes) == ("destroy", {"driver": "bridge"})
    news.close()  # type: ignore[attr-defined]
    # Without `since`, the past is left out.
    fresh = client.events()
    reader = ThreadPoolExecutor(1).submit(next, fresh)
    time.sleep(0.1)
    client.networks.create("back")
    assert reader.result(5).name == "back"
    fresh.close()  # type: ignore[attr-defined]
    deadline = time.monotonic() + 5
    while house.parts.events._subscribers:  # whoever has gone is told nothing any more
        assert time.monotonic() < deadline


def test_events_end_when_told_and_when_weftd_stops(house: House):
    assert list(house.client.events(until=1.0)) == []
    ends = ThreadPoolExecutor(1).submit(lambda: list(house.client.events()))
    time.sleep(0.1)
    house.client.networks.create("front")
    # The fixture's end stops the server; a stream still open must not hold it up (it waits 20 s).
    assert not ends.done()


def test_many_at_once(house: House):
    house.client.networks.create("front", pools=["10.7.0.0/24"])

    def one(number: int) -> str | None:
        with house.client as client:
            return client.containers.create(name=f"c{number}", networks=["front"]).endpoints[0].ipv4

    with ThreadPoolExecutor(8) as pool:
        addresses = list(pool.map(one, range(40)))
    assert len(set(addresses)) == 40
    assert len(house.client.containers.list()) == 40


def test_stats_of_a_container_that_has_no_pair(house: House):
    assert house.client.containers.stats(house.client.containers.create()) == ()


def test_openapi_describes_every_route(house: House):
    import json

    document = house.client.wire.call("GET", "/openapi.json")
    assert document["openapi"] == "3.1.0"
    create = document["paths"]["/weft/v1/networks"]["post"]
    assert create["operationId"] == "create_network"
    assert create["requestBody"]["content"]["application/json"]["schema"] == {
        "$ref": "#/components/schemas/NetworkCreate"
    }
    assert document["components"]["schemas"]["NetworkCreate"]["additionalProperties"] is False
    operations = [op for path in document["paths"].values() for op in path.values()]
    assert len(operations) == 21
    for reference in _references(document):
        assert reference.removeprefix("#/components/schemas/") in document["components"]["schemas"]
    assert json.dumps(document)


def _references(node: object) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if "$ref" in node else []
        return own + [r for value in node.values() for r in _references(value)]
    if isinstance(node, list):
        return [r for value in node for r in _references(value)]
    return []


def test_a_container_gets_another_name(house: House):
    client = house.client
    client.networks.create("front")
    made = client.containers.create(name="old", networks=[Attachment("front", aliases=["db"])])
    renamed = client.containers.rename("old", "new")
    assert (renamed.id, renamed.name) == (made.id, "new")
    assert renamed.endpoints[0].names == ["new", "db", made.id[:12]]
    client.containers.create(name="old")
    for name, refusal in (("old", Conflict), ("new", Conflict), ("no good", Invalid)):
        with pytest.raises(refusal):
            client.containers.rename("new", name)
    with pytest.raises(NotFound):
        client.containers.rename("nobody", "somebody")
    assert {container.name for container in client.containers.list()} == {"old", "new"}
