"""Records come back as they went in, whole transactions at a time, whatever happens in between."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Interface, IPv6Interface, ip_address, ip_interface, ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.errors import Conflict, Unavailable
from weft.model import (
    Borrowed,
    Endpoint,
    Exit,
    Network,
    Origin,
    Policy,
    PolicyRule,
    Pool,
    PortBinding,
    Process,
    Proto,
    Sandbox,
    StaticRoute,
)
from weft.store import records, sqlite
from weft.store.sqlite import SqliteStore

NETWORK = Network(
    id="1" * 64,
    name="blue",
    driver="bridge",
    pools=(Pool(subnet=ip_network("10.0.0.0/24"), gateway=ip_address("10.0.0.1")),),
)
SANDBOX = Sandbox(id="2" * 64, name="web", key="/run/weft/netns/222222222222")


def endpoint(number: int, address: str = "", *, network: str = NETWORK.id) -> Endpoint:
    return Endpoint(
        id=f"{number:064x}",
        network=network,
        sandbox=SANDBOX.id,
        ifname="eth0",
        mac="02:42:0a:00:00:02",
        ipv4=IPv4Interface(address or f"10.0.0.{number}/24"),
    )


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "weft.db")


@pytest.fixture
def store(path: str) -> Iterator[SqliteStore]:
    opened = SqliteStore(path)
    yield opened
    opened.close()


def reopened(path: str) -> sqlite.Loaded:
    again = SqliteStore(path)
    try:
        return again.load()
    finally:
        again.close()


# Round trips

names = st.text(min_size=1, max_size=20)
texts = st.dictionaries(names, st.text(max_size=20), max_size=3)
idents = st.text("0123456789abcdef", min_size=64, max_size=64)
times = st.floats(0, 4e9)
addresses = st.ip_addresses()
subnets = st.one_of(
    st.builds(lambda a, n: ip_network((int(a), n), strict=False), st.ip_addresses(v=4), st.integers(1, 32)),
    st.builds(lambda a, n: ip_network(f"{a}/{n}", strict=False), st.ip_addresses(v=6), st.integers(1, 128)),
)
pools = st.builds(
    Pool,
    subnet=subnets,
    ip_range=st.none() | subnets,
    gateway=st.none() | addresses,
    aux=st.dictionaries(names, addresses, max_size=2),
)
networks = st.builds(
    Network,
    id=idents,
    name=names,
    driver=names,
    pools=st.lists(pools, max_size=2).map(tuple),
    internal=st.booleans(),
    options=texts,
    labels=texts,
    created=times,
    borrowed=st.none()
    | st.builds(
        Borrowed,
        addresses=st.lists(st.ip_addresses().map(ip_interface), max_size=3).map(tuple),
        mtu=st.integers(68, 65535),
        route_localnet=st.booleans(),
    ),
)
endpoints = st.builds(
    Endpoint,
    id=idents,
    network=idents,
    sandbox=idents,
    ifname=names,
    mac=names,
    ipv4=st.none() | st.builds(lambda a, n: IPv4Interface((int(a), n)), st.ip_addresses(v=4), st.integers(0, 32)),
    ipv6=st.none() | st.builds(lambda a, n: IPv6Interface((int(a), n)), st.ip_addresses(v=6), st.integers(0, 128)),
    aliases=st.lists(names, max_size=3).map(tuple),
    gw_priority=st.integers(-(2**31), 2**31),
)
ports = st.builds(
    PortBinding,
    proto=st.sampled_from(Proto),
    container_port=st.integers(1, 65535),
    host_port=st.integers(1, 65535),
    host_ip=st.none() | addresses,
)
processes = st.builds(
    Process,
    argv=st.lists(names, min_size=1, max_size=3).map(tuple),
    env=texts,
    cwd=names,
    rootfs=st.none() | names,
    tty=st.booleans(),
    open_stdin=st.booleans(),
)
sandboxes = st.builds(
    Sandbox,
    id=idents,
    name=names,
    key=names,
    origin=st.sampled_from(Origin),
    source=names,
    hostname=names,
    dns=st.lists(addresses, max_size=2).map(tuple),
    dns_search=st.lists(names, max_size=2).map(tuple),
    dns_options=st.lists(names, max_size=2).map(tuple),
    extra_hosts=st.lists(st.tuples(names, addresses), max_size=2).map(tuple),
    labels=texts,
    ports=st.lists(ports, max_size=3).map(tuple),
    process=st.none() | processes,
    auto_remove=st.booleans(),
    created=times,
    exit=st.none() | st.builds(Exit, code=st.integers(0, 255), at=times),
)


@given(networks)
def test_a_network_reads_as_it_was_written(network: Network):
    assert records.read_network(records.write_network(network)) == network


@given(endpoints)
def test_an_endpoint_reads_as_it_was_written(one: Endpoint):
    assert records.read_endpoint(records.write_endpoint(one)) == one


@given(sandboxes)
def test_a_sandbox_reads_as_it_was_written(sandbox: Sandbox):
    assert records.read_sandbox(records.write_sandbox(sandbox)) == sandbox


def test_everything_is_there_after_a_restart(store: SqliteStore, path: str):
    store.put(network=NETWORK)
    store.put(sandbox=SANDBOX, endpoints=[endpoint(2), endpoint(3)])
    store.set_meta("ula-seed", "s")
    loaded = reopened(path)
    assert loaded.networks == [NETWORK]
    assert loaded.sandboxes == [SANDBOX]
    assert sorted(e.id for e in loaded.endpoints) == [endpoint(2).id, endpoint(3).id]
    assert loaded.last == {(NETWORK.id, ip_network("10.0.0.0/24")): ip_address("10.0.0.3")}
    assert loaded.pending == frozenset()


def test_putting_again_replaces(store: SqliteStore):
    store.put(sandbox=SANDBOX, network=NETWORK)
    renamed = replace(SANDBOX, name="renamed", exit=Exit(code=1, at=2.0))
    store.put(sandbox=renamed, network=replace(NETWORK, labels={"colour": "blue"}))
    loaded = store.load()
    assert (loaded.sandboxes, [n.labels for n in loaded.networks]) == ([renamed], [{"colour": "blue"}])


def test_the_address_last_given_out_is_remembered_after_its_holder(store: SqliteStore, path: str):
    store.put(endpoints=[endpoint(7)])
    store.drop(endpoints=[endpoint(7).id])
    assert reopened(path).last == {(NETWORK.id, ip_network("10.0.0.0/24")): ip_address("10.0.0.7")}


def test_each_subnet_of_a_network_remembers_its_own(store: SqliteStore, path: str):
    both = replace(endpoint(7), ipv6=IPv6Interface("fd00::7/64"))
    store.put(endpoints=[both, endpoint(8, "10.1.0.8/24"), endpoint(9, "10.1.0.9/24")])
    assert reopened(path).last == {
        (NETWORK.id, ip_network("10.0.0.0/24")): ip_address("10.0.0.7"),
        (NETWORK.id, ip_network("fd00::/64")): ip_address("fd00::7"),
        (NETWORK.id, ip_network("10.1.0.0/24")): ip_address("10.1.0.9"),
    }


def test_meta_is_kept_and_absent_is_none(store: SqliteStore):
    assert store.get_meta("colour") is None
    store.set_meta("colour", "red")
    store.set_meta("colour", "blue")
    assert store.get_meta("colour") == "blue"


def test_policies_are_kept_changed_and_taken_back_and_records_without_them_are_read(store: SqliteStore, path: str):
    rules = (
        PolicyRule(verdict="deny", destination=ip_network("10.9.0.0/16")),
        PolicyRule(verdict="allow", destination=ip_network("fd09::/64"), proto=Proto.TCP, ports=(80, 443)),
    )
    network = replace(NETWORK, policy=Policy(default="deny", rules=rules))
    plain = endpoint(2)
    strict = replace(plain, policy=Policy(rules=rules[:1]))
    store.put(network=network, sandbox=SANDBOX, endpoints=(plain,))
    store.put(endpoints=(strict,))
    assert reopened(path).networks == [network]
    assert reopened(path).endpoints == [strict]
    store.put(network=NETWORK)
    store.put(endpoints=(plain,))
    assert (reopened(path).networks, reopened(path).endpoints) == ([NETWORK], [plain])
    old, older = json.loads(records.write_network(network)), json.loads(records.write_endpoint(strict))
    del old["policy"], older["policy"]
    assert records.read_network(json.dumps(old).encode()) == NETWORK
    assert records.read_endpoint(json.dumps(older).encode()) == plain


def test_a_network_s_routes_are_kept_and_a_record_without_them_is_read(store: SqliteStore, path: str):
    route = StaticRoute(destination=ip_network("10.9.0.0/16"), gateway=ip_address("10.0.0.9"))
    led = replace(NETWORK, routes=(route,))
    store.put(network=led)
    assert reopened(path).networks == [led]
    old = json.loads(records.write_network(led))
    del old["routes"]
    assert records.read_network(json.dumps(old).encode()) == NETWORK


def test_an_endpoint_s_options_are_kept_and_changed_and_a_record_without_them_is_read(store: SqliteStore, path: str):
    limited = replace(endpoint(2), options={"bandwidth-in": "10mbit"})
    store.put(network=NETWORK, sandbox=SANDBOX, endpoints=(limited,))
    assert reopened(path).endpoints == [limited]
    store.put(endpoints=(replace(limited, options={"bandwidth-in": "none"}),))
    (found,) = reopened(path).endpoints
    assert found.options == {"bandwidth-in": "none"}
    with pytest.raises(Conflict):
        store.put(endpoints=(replace(limited, id="9" * 64),))
    old = json.loads(records.write_endpoint(limited))
    del old["options"]
    assert records.read_endpoint(json.dumps(old).encode()) == endpoint(2)


# Pending


def test_what_is_put_pending_stays_so_until_confirmed(store: SqliteStore, path: str):
    one = endpoint(2)
    store.put(sandbox=SANDBOX, endpoints=[one], pending=[SANDBOX.id, one.id])
    assert reopened(path).pending == {SANDBOX.id, one.id}
    store.confirm([SANDBOX.id, one.id])
    assert reopened(path).pending == frozenset()
    store.confirm([SANDBOX.id])


def test_two_that_are_pending_are_confirmed_each_by_itself(store: SqliteStore):
    store.put(network=NETWORK, pending=[NETWORK.id])
    store.put(sandbox=SANDBOX, endpoints=[endpoint(2)], pending=[SANDBOX.id, endpoint(2).id])
    store.confirm([SANDBOX.id, endpoint(2).id])
    assert store.load().pending == {NETWORK.id}
    for _ in range(2):
        store.clear_pending()
    assert store.load().pending == frozenset()


def test_dropping_twice_is_as_good_as_once(store: SqliteStore):
    store.put(network=NETWORK)
    store.put(sandbox=SANDBOX, endpoints=[endpoint(2)])
    for _ in range(2):
        store.drop(network=NETWORK.id, sandbox=SANDBOX.id, endpoints=[endpoint(2).id])
    loaded = store.load()
    assert (loaded.networks, loaded.sandboxes, loaded.endpoints, loaded.last) == ([], [], [], {})


# Refusals


def test_no_address_of_a_network_is_held_twice(store: SqliteStore):
    store.put(endpoints=[endpoint(2)])
    with pytest.raises(Conflict, match="twice"):
        store.put(sandbox=SANDBOX, endpoints=[endpoint(3), endpoint(4, "10.0.0.2/24")])
    loaded = store.load()
    assert [e.id for e in loaded.endpoints] == [endpoint(2).id]
    assert loaded.sandboxes == [], "the whole transaction is refused"


def test_the_same_address_on_another_network_is_another(store: SqliteStore):
    store.put(endpoints=[endpoint(2), endpoint(3, "10.0.0.2/24", network="f" * 64)])


def test_a_dropped_address_is_free(store: SqliteStore):
    store.put(endpoints=[endpoint(2)])
    store.drop(endpoints=[endpoint(2).id])
    store.put(endpoints=[endpoint(3, "10.0.0.2/24")])


def test_no_name_is_held_twice(store: SqliteStore):
    store.put(network=NETWORK)
    store.put(sandbox=SANDBOX)
    with pytest.raises(Conflict):
        store.put(network=replace(NETWORK, id="9" * 64))
    with pytest.raises(Conflict):
        store.put(sandbox=replace(SANDBOX, id="9" * 64))
    assert store.load().networks == [NETWORK]


def test_a_database_of_a_later_weft_is_left_alone(path: str):
    first = SqliteStore(path)
    first.set_meta("schema", "99")
    first.close()
    with pytest.raises(Unavailable, match="later weft"):
        SqliteStore(path)
    with sqlite3.connect(path) as raw:
        assert raw.execute("SELECT value FROM meta WHERE key = 'schema'").fetchone() == ("99",)
    raw.close()


def test_what_is_no_database_is_named(tmp_path: Path):
    (tmp_path / "weft.db").write_text("these are notes, not records " * 100)
    for wrong in (tmp_path / "weft.db", tmp_path / "missing" / "weft.db"):
        with pytest.raises(Unavailable, match=str(wrong)):
            SqliteStore(str(wrong))


def test_a_full_disk_is_said_and_survived(store: SqliteStore):
    (pages,) = store._db.execute("PRAGMA page_count").fetchone()
    store._db.execute(f"PRAGMA max_page_count = {pages}")
    many = [replace(endpoint(n, f"10.0.{n >> 8}.{n & 255}/16"), aliases=("alias" * 40,)) for n in range(2, 400)]
    with pytest.raises(Unavailable, match="full"):
        store.put(sandbox=SANDBOX, endpoints=many)
    store._db.execute(f"PRAGMA max_page_count = {pages + 1000}")
    assert store.load().sandboxes == []
    store.put(sandbox=SANDBOX, endpoints=many)
    assert len(store.load().endpoints) == len(many)


# Death


@pytest.mark.parametrize("written", range(4))
def test_a_death_within_a_transaction_leaves_nothing_of_it(path: str, written: int):
    """Killed after `written` of three endpoints: then before the commit, whatever SQLite has written already."""
    child = os.fork()
    if child == 0:
        _put_and_die(path, after=written)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    loaded = reopened(path)
    assert loaded.sandboxes == [SANDBOX], "what was committed before is there"
    assert loaded.endpoints == []
    assert loaded.pending == frozenset()


def _put_and_die(path: str, *, after: int) -> None:
    try:
        store = SqliteStore(path)
        store._db.execute("PRAGMA cache_size = 1")  # spill to the file what is not committed
        store.put(sandbox=SANDBOX)
        many = [replace(endpoint(n), aliases=("a" * 9000,)) for n in (2, 3, 4)]
        with store._transaction() as run:
            run("INSERT INTO pending VALUES ('half made')")
            for one in many[:after]:
                store._put_endpoint(one)
            os.kill(os.getpid(), signal.SIGKILL)
    finally:
        os._exit(1)


def test_a_death_after_a_transaction_leaves_all_of_it(path: str):
    child = os.fork()
    if child == 0:
        try:
            SqliteStore(path).put(sandbox=SANDBOX, endpoints=[endpoint(2)], pending=[SANDBOX.id])
            os.kill(os.getpid(), signal.SIGKILL)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    loaded = reopened(path)
    assert (loaded.sandboxes, loaded.endpoints, loaded.pending) == ([SANDBOX], [endpoint(2)], {SANDBOX.id})


def test_an_endpoint_that_has_another_address_leaves_the_former_to_others(store: SqliteStore):
    store.put(network=NETWORK, sandbox=SANDBOX, endpoints=(endpoint(2), endpoint(3)))
    store.put(endpoints=(endpoint(2, "10.0.0.9/24"),))
    with pytest.raises(Conflict):
        store.put(endpoints=(endpoint(4, "10.0.0.9/24"),))
    store.put(endpoints=(endpoint(4, "10.0.0.2/24"),))
    store.put(endpoints=(replace(endpoint(3), ipv4=None),))
    store.put(endpoints=(endpoint(5, "10.0.0.3/24"),))
    assert {str(e.ipv4) for e in store.load().endpoints} == {"10.0.0.9/24", "10.0.0.2/24", "None", "10.0.0.3/24"}


def test_who_gives_out_a_networks_addresses_is_kept(store: SqliteStore):
    store.put(network=replace(NETWORK, ipam="dhcp"))
    assert store.load().networks[0].ipam == "dhcp"
