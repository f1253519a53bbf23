"""What containers learn of each other."""

from __future__ import annotations

import os
import socket
import struct
from collections import Counter

import pytest

from tests.hosts import in_private_host
from tests.resolver.world import (
    FORMERR,
    NOERROR,
    NOTIMP,
    NS1,
    NXDOMAIN,
    REFUSED,
    Upstream,
    answer,
    ask,
    ask_tcp,
    framed,
    holder,
    query,
    read_frame,
    read_reply,
    running_world,
    view,
)
from weft.dns.message import AAAA

pytestmark = pytest.mark.root


@in_private_host
def test_names_are_found_as_soon_as_they_are_published() -> None:
    """Neither the answer before nor a "no" before may be given once `publish` has returned."""
    with running_world() as world:
        world.names.set_network("n1", "blue")
        where = world.enter(view("s1", "n1"))
        for number in range(1000):
            address = f"10.1.{number // 250}.{number % 250 + 1}"
            world.names.publish("n1", holder("e1", f"c1 new{number}", address))
            assert ask(where, "c1").addresses == [address]
            assert ask(where, f"new{number}.blue").addresses == [address]
            assert ask(where, f"new{number + 1}.blue").rcode == NXDOMAIN


@in_private_host
def test_withdrawn_names_are_gone_at_once() -> None:
    with running_world() as world:
        world.names.set_network("n1", "blue")
        where = world.enter(view("s1", "n1", forward=False))
        for _ in range(100):
            other = world.enter(view("s2", "n1"), ("n1", holder("e1", "c1", "10.1.0.2")))
            assert ask(where, "c1").rcode == ask(other, "c1").rcode == NOERROR
            for _ in range(2):
                world.names.leave("s2", [("n1", "e1")])
                assert ask(where, "c1").rcode == NXDOMAIN
            world.names.publish("n1", holder("e2", "c2", "10.1.0.3"))
            assert ask(where, "c2").rcode == NOERROR
            for _ in range(2):
                world.names.withdraw("n1", "e2")
                assert ask(where, "c2").rcode == NXDOMAIN


@in_private_host
def test_an_answer_echoes_the_question_in_its_own_case() -> None:
    with running_world() as world:
        world.names.publish("n1", holder("e1", "c1", "10.1.0.2"))
        world.names.set_network("n1", "blue")
        where = world.enter(view("s1", "n1"))
        for name in ("c1.blue", "C1.bLuE", "c1.BLUE") * 2:
            reply = ask(where, name)
            assert reply.addresses == ["10.1.0.2"]
            assert reply.question == query(name)[12:]


@pytest.mark.statement(22)
@in_private_host
def test_what_exists_is_never_asked_upstream_whatever_the_type() -> None:
    with running_world() as world:
        upstream = Upstream(NS1, lambda asked: answer(asked, "192.0.2.1"))
        world.use_servers(NS1)
        world.names.set_network("n1", "blue")
        world.names.publish("n1", holder("e1", "c1", "10.1.0.2"))
        where = world.enter(view("s1", "n1"))
        for rtype in (AAAA, 16, 65, 255, 15, 6, 33, 65280):
            for name in ("c1", "C1.Blue"):
                for reply in (ask(where, name, rtype), ask_tcp(where, query(name, rtype))[0]):
                    assert (reply.rcode, reply.records) == (NOERROR, [])
        assert ask(where, "nobody.blue").rcode == NXDOMAIN
        assert upstream.asked == []


@in_private_host
def test_a_shared_name_answers_with_all_holders_each_first_in_turn() -> None:
    with running_world() as world:
        addresses = [f"10.1.0.{n}" for n in range(1, 6)]
        for number, address in enumerate(addresses):
            world.names.publish("n1", holder(f"e{number}", f"c{number} web", address))
        where = world.enter(view("s1", "n1"))
        replies = [ask(where, "web").addresses for _ in range(101)]
        assert all(sorted(r) == addresses for r in replies)
        firsts = Counter(r[0] for r in replies[1:])
        assert set(firsts.values()) == {20}
        assert len({tuple(r) for r in replies}) >= 5


@in_private_host
def test_views_see_their_own_networks_only_and_change_with_them() -> None:
    with running_world() as world:
        world.names.publish("n1", holder("e1", "c1", "10.1.0.2"))
        world.names.publish("n2", holder("e2", "c1", "10.2.0.2"))
        one = world.enter(view("s1", "n1", forward=False))
        two = world.enter(view("s2", "n2", "n1", forward=False))
        assert ask(one, "c1").addresses == ["10.1.0.2"]
        assert ask(two, "c1").addresses == ["10.2.0.2"]
        world.names.set_view(view("s1", "n2", forward=False))
        world.names.set_view(view("s2", forward=False))
        assert ask(one, "c1").addresses == ["10.2.0.2"]
        assert ask(two, "c1").rcode == NXDOMAIN


@in_private_host
def test_a_closed_view_lets_go_of_its_sockets() -> None:
    with running_world() as world:
        for _ in range(3):
            where = world.enter(view("s1", "n1", forward=False))
            assert ask(where, "c1").rcode == NXDOMAIN
            with socket.create_connection((where, 53)) as held:
                world.names.leave("s1", [])
                world.names.leave("s1", [])
                assert world.names.counters()["views"] == 0
                held.settimeout(2)
                assert held.recv(1) == b""


@pytest.mark.statement(8)
@in_private_host
def test_an_internal_container_gets_a_no_at_once_and_nothing_leaves() -> None:
    with running_world() as world:
        upstream = Upstream(NS1, lambda asked: answer(asked, "192.0.2.1"))
        world.use_servers(NS1)
        where = world.enter(view("s1", "n1", forward=False, servers=[NS1]))
        for name, rtype in (("example.com", 1), ("single", 28), ("4.3.2.1.in-addr.arpa", 12)):
            reply = ask(where, name, rtype)
            assert reply.rcode == NXDOMAIN
            assert reply.seconds < 0.3
        assert upstream.asked == []


@in_private_host
def test_a_long_answer_is_cut_over_udp_and_whole_over_tcp() -> None:
    with running_world() as world:
        for number in range(1, 101):
            world.names.publish("n1", holder(f"e{number}", "web", f"10.1.0.{number}"))
        where = world.enter(view("s1", "n1"))
        for _ in range(2):
            short = ask(where, "web")
            assert short.truncated
            assert len(short.records) == 30
            longer = ask(where, "web", edns=1232)
            assert longer.truncated
            assert len(longer.records) > 70
            whole = ask(where, "web", edns=4096)
            assert not whole.truncated
            assert len(whole.records) == 100
        (reply,) = ask_tcp(where, query("web"))
        assert not reply.truncated
        assert len(reply.records) == 100


@in_private_host
def test_packets_that_are_no_queries_are_refused_or_dropped_and_service_goes_on() -> None:
    with running_world() as world:
        world.names.publish("n1", holder("e1", "c1", "10.1.0.2"))
        where = world.enter(view("s1", "n1"))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(2)
            sock.connect((where, 53))

            def said(packet: bytes) -> int:
                sock.send(packet)
                return read_reply(sock.recv(4096)).rcode

            header = struct.pack("!6H", 4711, 0x100, 1, 0, 0, 0)
            assert said(header) == FORMERR
            assert said(header + b"\xc0\x0c\0\1\0\1") == FORMERR
            assert said(struct.pack("!6H", 4711, 0x100, 7, 0, 0, 0)) == FORMERR
            assert said(query("c1", flags=0x2800)) == NOTIMP
            assert said(struct.pack("!6H", 4711, 0x2800, 0, 0, 0, 0)) == NOTIMP
            assert said(query("version.bind", 16, rclass=3)) == REFUSED
            for packet in (b"", b"x", header[:11], query("c1", flags=0x8180), *(os.urandom(40) for _ in range(50))):
                sock.send(packet)
            sock.send(query("c1", ident=99))
            while (reply := read_reply(sock.recv(4096))).ident != 99:
                pass
            assert reply.addresses == ["10.1.0.2"]


@in_private_host
def test_questions_on_one_connection_are_answered_all() -> None:
    with running_world() as world:
        world.names.publish("n1", holder("e1", "c1", "10.1.0.2"))
        where = world.enter(view("s1", "n1"))
        replies = ask_tcp(where, *(query("c1", ident=n) for n in range(200)))
        assert [r.ident for r in replies] == list(range(200))
        with socket.create_connection((where, 53)) as sock:
            for byte in framed(query("c1")):
                sock.send(bytes([byte]))
            assert read_reply(read_frame(sock)).addresses == ["10.1.0.2"]
            sock.sendall(framed(query("c1")))
            sock.shutdown(socket.SHUT_WR)
            assert read_reply(read_frame(sock)).addresses == ["10.1.0.2"]
            assert sock.recv(1) == b""


@in_private_host
def test_a_client_that_does_not_read_or_leaves_connections_open_stops_nobody() -> None:
    with running_world() as world:
        for number in range(1, 201):
            world.names.publish("n1", holder(f"e{number}", "web", f"10.1.0.{number}"))
        where = world.enter(view("s1", "n1"))
        greedy = socket.create_connection((where, 53))
        greedy.setblocking(False)
        wanted = framed(query("web")) * 500_000
        try:
            while wanted:
                wanted = wanted[greedy.send(wanted) :]
        except BlockingIOError:
            pass  # no more questions are taken
        assert wanted
        quiet = [socket.create_connection((where, 53)) for _ in range(40)]
        assert len(ask_tcp(where, query("web"))[0].records) == 200
        assert ask(where, "web").rcode == NOERROR
        for sock in (greedy, *quiet):
            sock.close()
