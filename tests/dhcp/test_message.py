from __future__ import annotations

from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.dhcp import message
from weft.dhcp.message import Message, parse, render

ADDRESSES = st.integers(0, 2**32 - 1).map(IPv4Address)
OPTIONS = st.dictionaries(
    st.integers(1, 254).filter(lambda code: code != message.OVERLOAD), st.binary(max_size=255), max_size=6
)
MESSAGES = st.builds(
    Message,
    op=st.sampled_from((message.REQUEST, message.REPLY)),
    xid=st.integers(0, 2**32 - 1),
    mac=st.binary(min_size=6, max_size=6),
    flags=st.integers(0, 0xFFFF),
    seconds=st.integers(0, 0xFFFF),
    client=ADDRESSES,
    yours=ADDRESSES,
    options=OPTIONS,
)
PLAIN = Message(op=message.REPLY, xid=7, mac=b"\2\0\0\0\0\1", options={message.TYPE: b"\2"})
OPTIONS_AT = 240


@given(MESSAGES)
def test_what_is_written_is_read(said: Message) -> None:
    assert parse(render(said)) == said


@given(st.binary(max_size=600))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        parse(data)
    except ValueError:
        pass


@given(MESSAGES, st.data())
def test_a_message_that_somebody_has_damaged_is_read_or_refused(said: Message, data: st.DataObject) -> None:
    raw = bytearray(render(said))
    for _ in range(data.draw(st.integers(1, 8))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        read = parse(bytes(raw[: data.draw(st.integers(0, len(raw)))]))
    except ValueError:
        return
    assert len(read.mac) == 6


def test_it_is_long_enough_for_every_relay() -> None:
    assert len(render(PLAIN)) == 300


def test_the_kind_of_message_comes_first() -> None:
    raw = render(Message(op=1, xid=1, mac=bytes(6), options={12: b"web", message.TYPE: b"\1"}))
    assert raw[OPTIONS_AT : OPTIONS_AT + 3] == bytes((message.TYPE, 1, 1))


def test_an_option_in_parts_is_one() -> None:
    raw = render(PLAIN)[:OPTIONS_AT] + b"\x35\1\2\x0c\3abc\0\0\x0c\3def\xff"
    assert parse(raw).options[message.HOSTNAME] == b"abcdef"


def test_options_overflow_into_other_fields() -> None:
    raw = bytearray(render(PLAIN)[:OPTIONS_AT] + bytes((message.OVERLOAD, 1, 3, 255)))
    raw[44:48] = b"\x38\2hi"  # sname
    raw[108:112] = b"\x35\1\5\xff"  # file
    assert dict(parse(bytes(raw)).options) == {message.OVERLOAD: b"\3", message.TEXT: b"hi", message.TYPE: b"\5"}


def test_an_option_cut_short_is_none() -> None:
    assert parse(render(PLAIN)[:OPTIONS_AT] + b"\x35\1\2\x36\4\xc0\xa8").options == {message.TYPE: b"\2"}


WRONG = {
    "short": render(PLAIN)[:239],
    "magic": render(PLAIN)[:236] + b"\1\2\3\4" + render(PLAIN)[240:],
    "token ring": b"\2\6" + render(PLAIN)[2:],
    "a longer MAC": b"\2\1\x08" + render(PLAIN)[3:],
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_dhcp_over_ethernet_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse(WRONG[name])
