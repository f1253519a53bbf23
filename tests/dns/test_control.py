from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.dns import control

TEXT = st.text(max_size=20).map(lambda t: t.translate({0x1D: None, 0x1E: None, 0x1F: None}))
MESSAGES = st.lists(st.lists(TEXT, max_size=4).map(lambda fields: ("verb", *fields)), min_size=1, max_size=30)


@given(MESSAGES)
def test_what_is_packed_is_unpacked(messages: list[control.Message]) -> None:
    assert [m for p in control.pack(messages) for m in control.unpack(p)] == messages


def test_many_messages_go_in_several_packets() -> None:
    messages: list[control.Message] = [("publish", "n", f"endpoint{n}", "x" * 100, "") for n in range(5000)]
    packets = list(control.pack(messages))
    assert len(packets) > 1
    assert all(len(p) <= control.PACKET for p in packets)
    assert [m for p in packets for m in control.unpack(p)] == messages


def test_a_message_too_long_for_a_packet_is_refused() -> None:
    with pytest.raises(ValueError, match="publish net"):
        list(control.pack([("publish", "net", "x" * control.PACKET)]))


def test_a_separator_inside_a_name_cannot_forge_a_message() -> None:
    (packet,) = control.pack([control.network("id", "blue\x1ddrop\x1eid")])
    assert control.unpack(packet) == [("network", "id", "bluedropid")]


def test_lists_keep_their_items() -> None:
    assert control.split(control.items(["a", "b"])) == ("a", "b")
    assert control.split(control.items([])) == ()
