"""Answers that others make up, servers that spell as they like, questions that go round, containers that ask much."""

from __future__ import annotations

import itertools
import socket
import struct
import threading
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.hosts import in_private_host
from tests.resolver.world import (
    NOERROR,
    NS1,
    NS2,
    NXDOMAIN,
    REFUSED,
    SERVFAIL,
    Upstream,
    World,
    answer,
    ask,
    ask_tcp,
    name_of,
    query,
    running_world,
    view,
)
from weft.dns import message
from weft.resolver.server import UNDER_WAY_MAX
from weft.resolver.upstream import DOUBTS_MAX, EXCHANGES_MAX, RESERVED

pytestmark = pytest.mark.root

TRUE, FALSE = "192.0.2.1", "192.0.2.66"


def good(asked: bytes) -> bytes:
    return answer(asked, TRUE)


def lowered(asked: bytes) -> bytes:
    """The answer of a server with a spelling of its own."""
    end = asked.index(0, 12) + 1
    return answer(asked[:12] + asked[12:end].lower() + asked[end:], TRUE)


def start(world: World, *servers: str) -> str:
    world.use_servers(*servers)
    return world.enter(view("s1", "n1"))


@given(st.binary(min_size=32, max_size=32))
def test_only_letters_of_the_name_are_respelt(random: bytes) -> None:
    # Type and class 0x6161 look like letters, a label of 0x41 bytes would if there could be one.
    question = message.to_wire("a-1.Example." + "z" * 63 + ".") + b"\0aaAA"
    respelt = message.respelt(question, random)
    assert respelt.lower()[:-4] == question.lower()[:-4]
    assert respelt[-4:] == question[-4:]


def test_a_spelling_is_any_of_them() -> None:
    question = message.to_wire("abc") + b"\0\0\1\0\1"
    spelt = {message.respelt(question, bits.to_bytes(32, "big")) for bits in range(16)}
    assert len(spelt) == 8


@in_private_host
def test_every_question_has_a_port_an_id_and_a_spelling_of_its_own() -> None:
    with running_world() as world:
        seen: list[bytes] = []

        def note(asked: bytes) -> bytes:
            seen.append(asked)
            return good(asked)

        upstream = Upstream(NS1, note)
        where = start(world, NS1)
        for number in range(40):
            assert ask(where, f"name-{number}.a-rather-long.example").addresses == [TRUE]
        assert len(set(upstream.ports)) > 30
        assert max(upstream.ports) - min(upstream.ports) > 5000  # 40 out of 28,000, not 40 in a row
        assert len({asked[:2] for asked in seen}) > 35
        # The name's end is the same 40 times, its spelling is not.
        assert len({asked[asked.index(b"-", 18) :][:20] for asked in seen}) > 30


def _forgeries(asked: bytes, number: int) -> list[bytes]:
    ident = int.from_bytes(asked[:2], "big")
    false = answer(asked, FALSE)
    return [((ident + n) % 65536).to_bytes(2, "big") + false[2:] for n in range(1, number + 1)]


@in_private_host
def test_after_some_guesses_the_server_is_asked_where_nobody_can_guess() -> None:
    with running_world() as world:
        # The right answer by a lucky guess comes too late.
        upstream = Upstream(NS1, lambda asked: [*_forgeries(asked, DOUBTS_MAX), answer(asked, FALSE)], over_tcp=good)
        where = start(world, NS1)
        assert ask(where, "one.example").addresses == [TRUE]
        assert upstream.asked == ["one.example", "tcp one.example"]
        assert world.names.counters()["upstream_bad"] >= DOUBTS_MAX
        few = Upstream(NS2, lambda asked: [*_forgeries(asked, DOUBTS_MAX - 1), good(asked)])
        world.use_servers(NS2)
        other = world.enter(view("s2", servers=[NS2]))
        assert ask(other, "two.example").addresses == [TRUE]
        assert few.asked == ["two.example"]


@pytest.mark.parametrize("kind", ["other question", "other type", "bare", "not an answer", "short"])
def test_what_does_not_repeat_the_question_is_passed_over(kind: str) -> None:
    def forged(asked: bytes) -> bytes:
        end = asked.index(0, 12) + 1
        return {
            "other question": answer(asked[:13] + b"X" + asked[14:], FALSE),
            "other type": answer(asked[:end] + b"\0\x1c" + asked[end + 2 :], FALSE),
            "bare": asked[:2] + struct.pack("!5H", 0x8180, 0, 0, 0, 0),
            "not an answer": answer(asked, FALSE, flags=0x0180),
            "short": asked[:11],
        }[kind]

    @in_private_host
    def body() -> None:
        with running_world() as world:
            Upstream(NS1, lambda asked: [forged(asked), good(asked)])
            assert ask(start(world, NS1), "one.example").addresses == [TRUE]
            assert world.names.counters()["upstream_bad"] == 1

    body()


@in_private_host
def test_a_guess_in_the_wrong_spelling_is_not_believed() -> None:
    def guessed(asked: bytes) -> bytes:
        end = asked.index(0, 12)
        return answer(asked[:12] + asked[12:end].swapcase() + asked[end:], FALSE)

    with running_world() as world:
        upstream = Upstream(NS1, guessed, over_tcp=good)
        where = start(world, NS1)
        assert ask(where, "one.example").addresses == [TRUE]
        assert ask(where, "one.example").addresses == [TRUE]
        assert upstream.asked == ["one.example", "tcp one.example"]


@in_private_host
def test_a_server_that_spells_as_it_likes_over_tcp_too_is_believed_from_then_on() -> None:
    with running_world() as world:
        upstream = Upstream(NS1, lowered, over_tcp=lowered)
        where = start(world, NS1)
        reply = ask(where, "One.Example-of-many-letters")
        assert (reply.addresses, reply.question) == ([TRUE], query("One.Example-of-many-letters")[12:])
        assert ask(where, "two.example-of-many-letters").addresses == [TRUE]
        assert upstream.asked == [
            "one.example-of-many-letters",
            "tcp one.example-of-many-letters",
            "two.example-of-many-letters",
        ]


def _deaf_to_tcp() -> None:
    pass


def _silent_over_tcp() -> None:
    kept.append(socket.create_server((NS1, 53)))


kept: list[socket.socket] = []


@pytest.mark.parametrize("tcp", [_deaf_to_tcp, _silent_over_tcp])
def test_a_server_that_spells_as_it_likes_and_has_no_tcp_is_asked_plainly(tcp: Callable[[], None]) -> None:
    @in_private_host
    def body() -> None:
        with running_world() as world:
            tcp()
            Upstream(NS1, lowered)
            where = start(world, NS1)
            assert ask(where, "one.example-of-many-letters").addresses == [TRUE]
            again = ask(where, "two.example-of-many-letters")
            assert again.addresses == [TRUE]
            assert again.seconds < 0.3

    body()


@in_private_host
def test_an_answer_is_kept_for_its_own_question_alone() -> None:
    def with_a_present(asked: bytes) -> bytes:
        """The answer, and what was not asked for: an address of bank.example."""
        if name_of(asked) == "bank.example":
            return good(asked)
        present = message.to_wire("bank.example") + struct.pack("!BHHIH", 0, 1, 1, 3600, 4) + bytes([192, 0, 2, 66])
        wire = good(asked)
        return wire[:10] + b"\0\1" + wire[12:] + present

    with running_world() as world:
        upstream = Upstream(NS1, with_a_present)
        where = start(world, NS1)
        assert ask(where, "evil.example").addresses == [TRUE]
        assert ask(where, "bank.example").addresses == [TRUE]
        assert upstream.asked == ["evil.example", "bank.example"]
        # Nor for another type or with other wishes.
        assert ask(where, "evil.example", 28).rcode == NOERROR
        assert upstream.asked[2:] == ["evil.example"]


@in_private_host
def test_a_server_that_asks_the_asker_ends() -> None:
    with running_world() as world:

        def round_it_goes(asked: bytes) -> bytes:
            """A forwarder in a container: it asks the container's own name server."""
            found = ask(where, name_of(asked), timeout=5.5)
            return answer(asked, *found.addresses, rcode=found.rcode)

        upstream = Upstream(NS1, round_it_goes)
        where = start(world, NS1)
        reply = ask(where, "round.example")
        assert reply.rcode == SERVFAIL
        assert reply.seconds < 4.5
        assert len(upstream.asked) < 10
        assert world.names.counters()["under_way"] == 0


@in_private_host
def test_any_draws_nothing_large() -> None:
    with running_world() as world:
        upstream = Upstream(NS1, good)
        where = start(world, NS1)
        assert ask(where, "one.example", message.ANY).rcode == REFUSED
        assert ask_tcp(where, query("one.example", message.ANY))[0].rcode == REFUSED
        assert upstream.asked == []


@in_private_host
def test_containers_that_ask_all_they_can_leave_room_for_the_others() -> None:
    with running_world() as world, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind((NS1, 53))
        Upstream(NS2, good)
        greedy = [world.enter(view(f"g{n}", servers=[NS1])) for n in range(EXCHANGES_MAX // UNDER_WAY_MAX)]
        modest = world.enter(view("s1", servers=[NS2]))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for sent, (where, number) in enumerate(itertools.product(greedy, range(UNDER_WAY_MAX)), 1):
                sock.sendto(query(f"{number}.{where}.example"), (where, 53))
                while sent % 64 == 0 and world.names.counters()["under_way"] < sent:
                    time.sleep(0.001)  # more than a socket's buffer takes
            threads = [
                threading.Thread(target=lambda n=n: replies.append(ask(modest, f"{n}.example").addresses))
                for n in range(RESERVED)
            ]
            replies: list[list[str]] = []
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert replies == [[TRUE]] * RESERVED
            assert ask(greedy[0], "more.example").rcode == SERVFAIL


@pytest.mark.statement(22)
@in_private_host
def test_without_a_server_a_name_under_a_network_does_not_leave_whatever_its_type() -> None:
    with running_world() as world:
        upstream = Upstream(NS1, good)
        where = start(world, NS1)
        world.names.set_network("n1", "blue")
        for rtype in (1, 2, 5, 6, 12, 15, 16, 28, 33, 35, 52, 64, 65, 99, 255, 257, 65280):
            assert ask(where, "nobody.blue", rtype).rcode == NXDOMAIN
        assert upstream.asked == []
