"""What other servers are asked, and how containers fare when those are slow, dead or wrong."""

from __future__ import annotations

import os
import socket
import struct
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.hosts import in_private_host
from tests.resolver.world import (
    NOERROR,
    NS1,
    NS2,
    NS3,
    NXDOMAIN,
    REFUSED,
    SERVFAIL,
    Upstream,
    World,
    answer,
    ask,
    ask_tcp,
    holder,
    query,
    running_world,
    view,
)
from weft.dns.message import to_wire

pytestmark = pytest.mark.root


def good(asked: bytes) -> bytes:
    return answer(asked, "192.0.2.1")


def silent(_: bytes) -> None:
    return None


def failing(asked: bytes) -> bytes:
    return answer(asked, rcode=SERVFAIL)


def start(world: World, *servers: str) -> str:
    """A container on one network; the host's servers."""
    world.use_servers(*servers)
    return world.enter(view("s1", "n1"))


@in_private_host
def test_unknown_names_are_forwarded_and_their_answers_repeated_with_aged_ttls() -> None:
    with running_world() as world:
        upstream = Upstream(NS1, good)
        where = start(world, NS1)
        reply = ask(where, "www.Example.com")
        assert (reply.addresses, reply.question) == (["192.0.2.1"], query("www.Example.com")[12:])
        time.sleep(1.1)
        again = ask(where, "wWw.example.COM", ident=8)
        assert (again.addresses, again.question) == (["192.0.2.1"], query("wWw.example.COM")[12:])
        assert again.records[0][1] < reply.records[0][1] == 60
        assert ask_tcp(where, query("www.example.com"))[0].addresses == ["192.0.2.1"]
        assert ask(where, "single").addresses == ["192.0.2.1"]
        assert upstream.asked == ["www.example.com", "single"]
        assert world.names.counters()["cached"] == 2


@in_private_host
def test_what_has_no_lifetime_or_has_outlived_it_is_asked_again() -> None:
    with running_world() as world:
        upstream = Upstream(NS1, lambda asked: answer(asked, "192.0.2.1", ttl=int(asked[13:14])))
        where = start(world, NS1)
        for name in ("0.example", "1.example"):
            ask(where, name)
            ask(where, name)
        time.sleep(1.1)
        ask(where, "1.example")
        assert upstream.asked == ["0.example", "0.example", "1.example", "1.example"]


@in_private_host
def test_a_no_is_kept_as_long_as_its_soa_says() -> None:
    soa = struct.pack("!HHHIH", 0xC00C, 6, 1, 900, 22) + b"\0\0" + struct.pack("!5I", 1, 2, 3, 4, 30)

    def no(asked: bytes) -> bytes:
        return asked[:2] + struct.pack("!5H", 0x8183, 1, 0, 1, 0) + asked[12:] + soa

    with running_world() as world:
        upstream = Upstream(NS1, no)
        where = start(world, NS1)
        assert ask(where, "gone.example").rcode == NXDOMAIN
        assert ask(where, "gone.example").rcode == NXDOMAIN
        assert upstream.asked == ["gone.example"]


@in_private_host
def test_a_dead_server_costs_one_short_wait_and_is_then_asked_last() -> None:
    with running_world() as world:
        dead, alive = Upstream(NS1, silent), Upstream(NS2, good)
        where = start(world, NS1, NS2)
        first = ask(where, "one.example")
        assert first.addresses == ["192.0.2.1"]
        assert 0.3 < first.seconds < 0.8
        assert ask(where, "two.example").seconds < 0.2
        assert (dead.asked, alive.asked) == (["one.example"], ["one.example", "two.example"])


@in_private_host
def test_a_server_that_refuses_the_packet_costs_nothing() -> None:
    with running_world() as world:
        Upstream(NS3, good)
        where = start(world, NS1, NS2, NS3)
        reply = ask(where, "one.example")
        assert reply.addresses == ["192.0.2.1"]
        assert reply.seconds < 0.2


@pytest.mark.parametrize("rcode", [SERVFAIL, REFUSED, 4])
def test_a_server_that_fails_makes_the_next_one_be_asked(rcode: int) -> None:
    @in_private_host
    def body() -> None:
        with running_world() as world:
            Upstream(NS1, lambda asked: answer(asked, rcode=rcode))
            Upstream(NS2, lambda asked: asked[:2] + struct.pack("!5H", 0x8180 | rcode, 0, 0, 0, 0))
            Upstream(NS3, good)
            where = start(world, NS1, NS2, NS3)
            reply = ask(where, "one.example")
            assert reply.addresses == ["192.0.2.1"]
            assert reply.seconds < 0.2

    body()


@in_private_host
def test_what_all_servers_say_is_passed_on_if_it_is_a_failure() -> None:
    with running_world() as world:
        Upstream(NS1, failing)
        Upstream(NS2, lambda asked: answer(asked, rcode=REFUSED))
        where = start(world, NS1, NS2)
        reply = ask(where, "one.example")
        assert reply.rcode == REFUSED
        assert reply.seconds < 0.2
        assert ask_tcp(where, query("two.example"))[0].rcode == REFUSED


@in_private_host
def test_without_any_answer_the_client_is_told_before_it_gives_up() -> None:
    with running_world() as world:
        Upstream(NS1, silent)
        where = start(world, NS1)
        reply = ask(where, "one.example")
        assert reply.rcode == SERVFAIL
        assert 3.5 < reply.seconds < 4.5


@in_private_host
def test_without_any_server_the_client_is_told_at_once() -> None:
    with running_world() as world:
        where = start(world)
        reply = ask(where, "one.example")
        assert reply.rcode == SERVFAIL
        assert reply.seconds < 0.2


@in_private_host
def test_a_lost_packet_is_sent_again() -> None:
    with running_world() as world:
        upstream = Upstream(NS1, lambda asked: good(asked) if len(upstream.asked) > 1 else None)
        where = start(world, NS1)
        reply = ask(where, "one.example")
        assert reply.addresses == ["192.0.2.1"]
        assert reply.seconds < 1


@in_private_host
def test_a_slow_servers_answer_still_counts_while_the_next_is_asked() -> None:
    def slow(asked: bytes) -> bytes:
        time.sleep(0.6)
        return answer(asked, "192.0.2.9")

    with running_world() as world:
        Upstream(NS1, slow)
        Upstream(NS2, silent)
        where = start(world, NS1, NS2)
        reply = ask(where, "one.example")
        assert reply.addresses == ["192.0.2.9"]
        assert reply.seconds < 0.9


@in_private_host
def test_forged_answers_are_passed_over() -> None:
    def noisy(asked: bytes) -> list[bytes]:
        other = query("other.example")
        return [
            bytes([asked[0] ^ 1]) + answer(asked, "192.0.2.66")[1:],
            answer(asked[:2] + other[2:], "192.0.2.66"),
            asked,
            b"junk",
            answer(asked, "192.0.2.66")[:-3],
            good(asked),
        ]

    with running_world() as world:
        Upstream(NS1, noisy)
        where = start(world, NS1)
        assert ask(where, "one.example").addresses == ["192.0.2.1"]
        assert world.names.counters()["upstream_bad"] == 5


@in_private_host
def test_each_question_has_a_port_and_an_id_of_its_own() -> None:
    ids = []

    def noting(asked: bytes) -> bytes:
        ids.append(asked[:2])
        return good(asked)

    with running_world() as world:
        upstream = Upstream(NS1, noting)
        where = start(world, NS1)
        for number in range(50):
            ask(where, f"n{number}.example")
        assert len(set(ids)) > 45
        assert len(set(upstream.ports)) > 45


@in_private_host
def test_questions_go_in_parallel_and_the_same_one_only_once() -> None:
    def slow(asked: bytes) -> bytes:
        time.sleep(0.25)
        return good(asked)

    with running_world() as world:
        upstream = Upstream(NS1, slow)
        where = start(world, NS1)
        since = time.monotonic()
        with ThreadPoolExecutor(60) as pool:
            same = [pool.submit(ask, where, "same.Example" if n % 2 else "Same.example", ident=n) for n in range(30)]
            others = [pool.submit(ask, where, f"n{n}.example") for n in range(30)]
            assert all(f.result().addresses == ["192.0.2.1"] for f in [*same, *others])
        assert time.monotonic() - since < 1.5
        assert sorted(name.lower() for name in upstream.asked) == sorted(
            ["same.example", *(f"n{n}.example" for n in range(30))]
        )


@in_private_host
def test_a_container_that_asks_too_much_is_told_so_and_its_neighbour_is_not() -> None:
    with running_world() as world:
        Upstream(NS1, silent)
        Upstream(NS2, good)
        where = start(world, NS1)
        neighbour = world.enter(view("s2", "n1", servers=[NS2]))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            sock.settimeout(1)
            sock.connect((where, 53))
            for number in range(300):
                sock.send(query(f"n{number}.example", ident=number))
                if number % 50 == 0:
                    time.sleep(0.02)  # all at once they would not fit into the socket's queue
            refused = [sock.recv(4096) for _ in range(300 - 256)]
            assert {r[3] & 15 for r in refused} == {SERVFAIL}
            assert ask(neighbour, "one.example").seconds < 0.2
            assert world.names.counters()["under_way"] == 256
            world.names.publish("n1", holder("e1", "c1", "10.1.0.2"))
            assert ask(where, "c1").rcode == NOERROR


@in_private_host
def test_truncation_is_passed_on_over_udp_and_resolved_over_tcp() -> None:
    def much(asked: bytes) -> bytes:
        return answer(asked, *(f"192.0.2.{n}" for n in range(100)))

    with running_world() as world:
        upstream = Upstream(NS1, lambda asked: answer(asked, flags=0x8380), over_tcp=much)
        where = start(world, NS1)
        assert ask(where, "big.example").truncated
        (reply,) = ask_tcp(where, query("big.example"))
        assert len(reply.records) == 100
        assert not reply.truncated
        assert upstream.asked == ["big.example", "big.example", "tcp big.example"]
        # Known whole now: over UDP still too long, which takes no server to tell.
        assert ask(where, "big.example").truncated
        assert len(ask_tcp(where, query("big.example"))[0].records) == 100
        assert len(upstream.asked) == 3


@in_private_host
def test_a_server_without_tcp_does_not_stop_the_next() -> None:
    with running_world() as world:
        Upstream(NS1, lambda asked: answer(asked, flags=0x8380))
        Upstream(NS2, lambda asked: answer(asked, flags=0x8380), over_tcp=good)
        where = start(world, NS1, NS2)
        assert ask_tcp(where, query("big.example"))[0].addresses == ["192.0.2.1"]


@in_private_host
def test_edns_is_for_each_hop_and_options_stay_behind() -> None:
    seen = []

    def noting(asked: bytes) -> bytes:
        seen.append(asked[12 + len(to_wire("one.example")) + 5 :])
        return good(asked)

    with running_world() as world:
        Upstream(NS1, noting)
        where = start(world, NS1)
        ask(where, "one.example")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(2)
            sock.connect((where, 53))
            cookie = struct.pack("!HH", 10, 8) + os.urandom(8)
            opt = struct.pack("!BHHIH", 0, 41, 4000, 0x8000, len(cookie)) + cookie
            sock.send(query("one.example")[:11] + b"\1" + query("one.example")[12:] + opt)
            sock.recv(4096)
        assert seen == [b"", struct.pack("!BHHIH", 0, 41, 1232, 0x8000, 0)]


@in_private_host
def test_the_hosts_servers_are_followed_and_a_containers_own_go_before_them() -> None:
    with running_world() as world:
        Upstream(NS1, lambda asked: answer(asked, "192.0.2.1"))
        Upstream(NS2, lambda asked: answer(asked, "192.0.2.2"))
        Upstream(NS3, lambda asked: answer(asked, "192.0.2.3"))
        where = start(world, NS1)
        own = world.enter(view("s2", "n1", servers=[NS3]))
        assert ask(where, "one.example").addresses == ["192.0.2.1"]
        assert ask(own, "one.example").addresses == ["192.0.2.3"]
        world.use_servers(NS2)
        time.sleep(1.1)
        assert ask(where, "one.example").addresses == ["192.0.2.2"]
        world.names.set_view(view("s2", "n1"))
        assert ask(own, "one.example").addresses == ["192.0.2.2"]


@in_private_host
def test_a_server_that_is_the_resolver_itself_does_not_go_round() -> None:
    with running_world() as world:
        own = "127.0.11.1"
        where = start(world, own)
        assert where == own
        reply = ask(where, "one.example")
        assert reply.rcode == REFUSED
        assert reply.seconds < 0.2
        assert ask_tcp(where, query("two.example"))[0].rcode == REFUSED
        assert world.names.counters()["queries"] <= 4


@in_private_host
def test_zone_transfers_are_not_forwarded() -> None:
    with running_world() as world:
        upstream = Upstream(NS1, good, over_tcp=good)
        where = start(world, NS1)
        assert ask_tcp(where, query("example.com", 252))[0].rcode == REFUSED
        assert upstream.asked == []


@in_private_host
def test_local_names_are_answered_while_every_server_is_dead() -> None:
    with running_world() as world:
        Upstream(NS1, silent)
        where = start(world, NS1)
        world.names.publish("n1", holder("e1", "c1", "10.1.0.2"))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for number in range(100):
                sock.sendto(query(f"n{number}.example"), (where, 53))
            assert max(ask(where, "c1").seconds for _ in range(200)) < 0.2
            assert world.names.counters()["under_way"] == 100


@in_private_host
def test_an_answer_for_a_container_that_is_gone_harms_nobody() -> None:
    def slow(asked: bytes) -> bytes:
        time.sleep(0.2)
        return good(asked)

    with running_world() as world:
        Upstream(NS1, slow)
        where = start(world, NS1)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock, socket.create_connection((where, 53)) as tcp:
            sock.sendto(query("one.example"), (where, 53))
            tcp.sendall(len(query("two.example")).to_bytes(2, "big") + query("two.example"))
            time.sleep(0.1)
            world.names.leave("s1", [])
            time.sleep(0.2)
        assert world.names.counters()["under_way"] == 0
