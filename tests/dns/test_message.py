from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.dns import message
from weft.dns.message import (
    Answer,
    FormatError,
    Query,
    parse_answer,
    parse_query,
    relay_answer,
    render_answer,
    render_query,
    to_wire,
)

LABELS = st.binary(min_size=1, max_size=63)
NAMES = (
    st.lists(LABELS, max_size=8)
    .map(lambda ls: b"".join(bytes([len(x)]) + x for x in ls))
    .filter(lambda n: len(n) < 255)
)
QUERIES = st.builds(
    Query,
    ident=st.integers(0, 0xFFFF),
    flags=st.integers(0, 0x7FFF),
    question=st.tuples(NAMES, st.binary(min_size=4, max_size=4)).map(lambda t: t[0] + b"\0" + t[1]),
    edns=st.just(True),
    size=st.integers(512, 4096),
    dnssec_ok=st.booleans(),
    version=st.integers(0, 255),
)


def question(name: str, qtype: int = message.A, **options: object) -> Query:
    options = {"ident": 0x1234, "flags": message.RECURSION_DESIRED, **options}
    return Query(question=to_wire(name) + b"\0" + struct.pack("!HH", qtype, message.IN), **options)  # type: ignore[arg-type]


def fields(query: Query) -> list[object]:
    return [getattr(query, name) for name in Query.__slots__]


def record(rtype: int, ttl: int, data: bytes, owner: bytes = b"\xc0\x0c") -> bytes:
    return owner + struct.pack("!HHIH", rtype, message.IN, ttl, len(data)) + data


def answer_to(query: Query, answers: list[bytes], authority: list[bytes] = [], flags: int = 0x8180) -> bytes:  # noqa: B006
    header = struct.pack("!HHHHHH", query.ident, flags, 1, len(answers), len(authority), 0)
    return header + query.question + b"".join(answers) + b"".join(authority)


@given(QUERIES)
def test_a_rendered_query_reads_as_it_was(query: Query) -> None:
    assert fields(parse_query(render_query(query))) == fields(query)


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_a_query_or_a_format_error(data: bytes) -> None:
    try:
        parse_query(data)
    except FormatError:
        pass


@given(st.binary(max_size=100), st.integers(0, 3), st.integers(0, 3))
def test_an_answer_with_arbitrary_records_is_read_or_a_format_error(
    tail: bytes, answers: int, authorities: int
) -> None:
    query = question("c1")
    header = struct.pack("!HHHHHH", query.ident, 0x8180, 1, answers, authorities, 1)
    try:
        parse_answer(header + query.question + tail, query)
    except FormatError:
        pass


@given(QUERIES, st.lists(st.binary(min_size=4, max_size=4), max_size=200), st.integers(600, 4096))
def test_an_answer_repeats_the_question_to_the_letter_and_fits(query: Query, rdata: list[bytes], limit: int) -> None:
    wire = render_answer(query, rdata=rdata, ttl=5, limit=limit)
    assert wire[12 : 12 + len(query.question)] == query.question
    assert wire[:2] == query.ident.to_bytes(2, "big")
    assert len(wire) <= limit
    count = struct.unpack_from("!H", wire, 6)[0]
    assert bool(wire[2] & 2) == (count < len(rdata))


def test_the_case_of_a_question_is_echoed() -> None:
    query = parse_query(render_query(question("wWw.BLUE")))
    assert query.name == b"\x03www\x04blue"
    assert b"\x03wWw\x04BLUE\0" in render_answer(query, rdata=[b"\x0a\0\0\1"])


def test_an_answer_is_recursive_and_not_authoritative() -> None:
    flags = struct.unpack_from("!H", render_answer(question("c1")), 2)[0]
    assert flags == 0x8180


def test_an_answer_has_edns_only_if_the_question_had() -> None:
    assert render_answer(question("c1"))[10:12] == b"\0\0"
    with_edns = render_answer(question("c1", edns=True, size=4096, dnssec_ok=True))
    assert with_edns[10:12] == b"\0\1"
    assert with_edns[-11:] == b"\0" + struct.pack("!HHBBHH", 41, 1232, 0, 0, 0x8000, 0)


def test_an_unknown_edns_version_is_told_in_the_extended_code() -> None:
    wire = render_answer(question("c1", edns=True, version=1), rcode=message.BADVERS)
    assert wire[3] & 0xF == 0
    assert wire[-6] == 1


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "header"),
        (b"\0" * 11, "header"),
        (struct.pack("!HHHHHH", 1, 0x8100, 1, 0, 0, 0) + b"\0\0\1\0\1", "answer"),
        (struct.pack("!HHHHHH", 1, 0x100, 0, 0, 0, 0), "0 questions"),
        (struct.pack("!HHHHHH", 1, 0x100, 2, 0, 0, 0) + b"\0\0\1\0\1" * 2, "2 questions"),
        (struct.pack("!HHHHHH", 1, 0x100, 1, 0, 0, 0) + b"\xc0\x0c\0\1\0\1", "label"),
        (struct.pack("!HHHHHH", 1, 0x100, 1, 0, 0, 0) + b"\x40" + b"a" * 64 + b"\0\0\1\0\1", "label"),
        (struct.pack("!HHHHHH", 1, 0x100, 1, 0, 0, 0) + b"\1a\0\0\1", "early"),
        (struct.pack("!HHHHHH", 1, 0x100, 1, 0, 0, 0) + b"\x05ab", "early"),
        (struct.pack("!HHHHHH", 1, 0x100, 1, 0, 0, 0) + (b"\x3f" + b"a" * 63) * 4 + b"\0\0\1\0\1", "255"),
        (struct.pack("!HHHHHH", 1, 0x100, 1, 0, 0, 1) + b"\0\0\1\0\1", "early"),
        (struct.pack("!HHHHHH", 1, 0x100, 1, 0, 0, 2) + b"\0\0\1\0\1" + b"\0\0\x29\4\0\0\0\0\0\0\0" * 2, "two OPT"),
    ],
)
def test_a_malformed_query_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(FormatError, match=why):
        parse_query(data)


def test_a_clients_size_is_kept_between_512_and_4096() -> None:
    assert parse_query(render_query(question("c1", edns=True, size=100))).size == 512
    assert parse_query(render_query(question("c1", edns=True, size=65000))).size == 4096
    assert parse_query(render_query(question("c1"))).size == 512


def test_an_answer_to_another_question_is_none() -> None:
    query = question("example.com")
    good = answer_to(query, [record(message.A, 60, b"\1\2\3\4")])
    assert parse_answer(good, query) is not None
    assert parse_answer(good, question("example.com", ident=1)) is None
    assert parse_answer(good, question("example.com", message.AAAA)) is None
    assert parse_answer(good, question("example.org")) is None
    assert parse_answer(render_query(query), query) is None


def test_a_pointer_that_points_at_itself_is_walked_over() -> None:
    query = question("c1")
    at = 12 + len(query.question)
    answer = parse_answer(answer_to(query, [record(message.A, 60, b"\1\2\3\4", struct.pack("!H", 0xC000 | at))]), query)
    assert answer is not None
    assert answer.lifetime == 60


SOA = b"\0\0" + struct.pack("!IIIII", 1, 2, 3, 4, 30)


@pytest.mark.parametrize(
    ("answers", "authority", "flags", "lifetime"),
    [
        ([record(message.A, 300, b"\1\2\3\4"), record(message.A, 60, b"\1\2\3\5")], [], 0x8180, 60),
        ([], [record(message.SOA, 900, SOA)], 0x8183, 30),
        ([], [record(message.SOA, 10, SOA)], 0x8180, 10),
        ([], [], 0x8183, 0),
        ([record(5, 300, b"\0")], [], 0x8180, 0),
        ([record(5, 300, b"\0")], [record(message.SOA, 900, SOA)], 0x8180, 30),
        ([record(message.A, 300, b"\1\2\3\4")], [], 0x8182, 0),
        ([record(message.A, 300, b"\1\2\3\4")], [], 0x8380, 0),
        ([record(message.A, 0x80000001, b"\1\2\3\4")], [], 0x8180, 0),
    ],
)
def test_how_long_an_answer_may_be_repeated(
    answers: list[bytes], authority: list[bytes], flags: int, lifetime: int
) -> None:
    query = question("example.com")
    answer = parse_answer(answer_to(query, answers, authority, flags), query)
    assert answer is not None
    assert answer.lifetime == lifetime


def test_a_relayed_answer_has_the_clients_id_and_spelling_and_aged_ttls() -> None:
    asked = question("example.com")
    answer = parse_answer(answer_to(asked, [record(message.A, 60, b"\1\2\3\4")]), asked)
    assert answer is not None
    wire = relay_answer(answer, question("eXample.COM", ident=7), age=20, limit=512)
    assert wire[:2] == b"\0\7"
    assert b"\x07eXample\x03COM\0" in wire
    assert wire[-14:] == struct.pack("!HHIH", message.A, message.IN, 40, 4) + b"\1\2\3\4"


def test_a_relayed_answer_too_long_for_the_client_is_cut_and_says_so() -> None:
    asked = question("example.com")
    answer = parse_answer(answer_to(asked, [record(message.A, 60, b"\1\2\3\4")] * 60), asked)
    assert answer is not None
    wire = relay_answer(answer, question("example.com", edns=True, size=600), age=0, limit=600)
    assert wire[2] & 2
    assert struct.unpack_from("!HHHH", wire, 4) == (1, 0, 0, 1)
    assert len(wire) == 12 + len(asked.question) + 11


def test_a_bare_refusal_is_relayed_with_the_question() -> None:
    query = question("example.com")
    answer = parse_answer(struct.pack("!HHHHHH", query.ident, 0x8185, 0, 0, 0, 0), query)
    assert isinstance(answer, Answer)
    assert answer.bare
    assert relay_answer(answer, query, age=0, limit=512) == render_answer(query, rcode=message.REFUSED)


@pytest.mark.parametrize("text", ["", ".", "a..b", "a" * 64, ".".join(["a" * 60] * 5), "\ud800"])
def test_a_name_that_cannot_be_asked_for(text: str) -> None:
    with pytest.raises(FormatError):
        to_wire(text)
