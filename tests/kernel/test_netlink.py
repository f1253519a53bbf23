"""The codec gives back what it was given; the transport tells which request failed, and why."""

from __future__ import annotations

import errno
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.hosts import in_private_host
from weft.kernel import links
from weft.kernel.netlink import (
    Failure,
    Netlink,
    Request,
    attr,
    attribute_map,
    attributes,
    be32,
    nest,
    pack,
    parse_messages,
    text,
    u8,
    u32,
    zero_terminated,
)

KINDS = st.integers(1, 0x3FFF)


@given(st.lists(st.tuples(KINDS, st.binary(max_size=70))))
def test_attributes_are_read_as_written(written: list[tuple[int, bytes]]):
    assert list(attributes(b"".join(attr(kind, payload) for kind, payload in written))) == written


@given(st.lists(st.tuples(st.integers(16, 65535), st.integers(0, 0x0FFF), st.binary(max_size=40)), max_size=9))
def test_requests_are_read_as_written(written: list[tuple[int, int, bytes]]):
    requests = [Request(kind, flags & ~5, body + bytes(-len(body) % 4)) for kind, flags, body in written]
    read = list(parse_messages(pack(requests, 7)))
    assert [(m.type, m.body) for m in read] == [(r.type, r.body) for r in requests]
    assert [m.seq for m in read] == list(range(7, 7 + len(requests)))
    assert [bool(m.flags & 4) for m in read] == [False] * (len(read) - 1) + [True] * bool(read)


@given(st.binary(max_size=200))
def test_garbage_is_read_without_harm(garbage: bytes):
    for message in parse_messages(garbage):
        list(attributes(message.body))
    attribute_map(garbage)


def test_values_are_packed_as_the_kernel_wants_them():
    assert u32(4, 1500) == bytes.fromhex("08000400") + (1500).to_bytes(4, "little")
    assert be32(4, 1) == bytes.fromhex("0800040000000001")
    assert u8(1, 7) == bytes.fromhex("0500010007000000")
    assert text(3, "lo") == bytes.fromhex("07000300") + b"lo\0\0"
    assert nest(2, u8(1, 7)) == bytes.fromhex("0c000280") + u8(1, 7)
    assert zero_terminated(b"lo\0") == "lo"


@in_private_host
def test_failures_say_which_and_why():
    rtnl = Netlink(socket.NETLINK_ROUTE)
    failures = rtnl.send([links.set_up("lo"), links.set_up("none"), links.delete("lo"), links.set_up("lo")])
    assert [(failure.at, failure.errno) for failure in failures] == [(1, errno.ENODEV), (2, errno.EOPNOTSUPP)]
    assert rtnl.send([links.set_up("lo")]) == []
    assert rtnl.send([]) == []


@in_private_host
def test_the_kernels_own_words_are_passed_on():
    rtnl = Netlink(socket.NETLINK_ROUTE)
    (failure,) = rtnl.send([links.add_bridge("wb-x", "02:00:00:00:00:01", 1)])
    assert failure.text == "mtu less than device minimum"


@in_private_host
def test_several_questions_at_once_are_answered_in_order():
    rtnl = Netlink(socket.NETLINK_ROUTE)
    first, none, again = rtnl.get([links.get("lo"), links.get("none"), links.get("lo")])
    assert isinstance(none, Failure)
    assert none.errno == errno.ENODEV
    for answer in (first, again):
        assert isinstance(answer, list)
        assert [links.parse(message).name for message in answer] == ["lo"]
    assert links.index_of(rtnl, "lo") == 1
    assert links.index_of(rtnl, "none") == 0


@in_private_host
def test_a_long_list_is_read_whole():
    rtnl = Netlink(socket.NETLINK_ROUTE)
    for number in range(60):
        assert rtnl.send([links.add_bridge(f"wb-{number}", f"02:00:00:00:00:{number:02x}", 1500)]) == []
    assert {links.parse(message).name for message in rtnl.dump(links.get_all())} >= {f"wb-{n}" for n in range(60)}
    with pytest.raises(OSError, match="not supported"):
        rtnl.dump(Request(9999, 0, bytes(16)))
