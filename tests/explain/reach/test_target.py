"""Where a packet is to go, read from what people type."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from weft.errors import Invalid
from weft.explain.reach.facts import Target
from weft.explain.reach.target import read_target
from weft.model import Proto


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("db", {"name": "db"}),
        ("db:5432", {"name": "db", "port": 5432}),
        ("db:53/udp", {"name": "db", "port": 53, "proto": Proto.UDP}),
        ("db.back:1", {"name": "db.back", "port": 1}),
        ("10.8.0.3", {"address": ip_address("10.8.0.3")}),
        ("10.8.0.3:80", {"address": ip_address("10.8.0.3"), "port": 80}),
        ("fd00::2", {"address": ip_address("fd00::2")}),
        ("[fd00::2]", {"address": ip_address("fd00::2")}),
        ("[fd00::2]:53/udp", {"address": ip_address("fd00::2"), "port": 53, "proto": Proto.UDP}),
    ],
)
def test_targets_are_read(text: str, expected: dict[str, object]):
    assert read_target(text) == Target(text=text, **expected)


@pytest.mark.parametrize("text", ["", ":80", "db:", "db:0", "db:70000", "db:http", "db:80/tpc", "fd00::2:80:", "/udp"])
def test_nonsense_is_refused_by_name(text: str):
    with pytest.raises(Invalid, match="to: "):
        read_target(text)
