from __future__ import annotations

import pytest

from tests.resolver.world import answer, query
from weft.dns.message import Answer, parse_answer, parse_query
from weft.resolver import cache as limits
from weft.resolver.cache import Cache


def kept(ttl: int = 60, size: int = 1) -> Answer:
    asked = query("example.com")
    read = parse_answer(answer(asked, *["192.0.2.1"] * size, ttl=ttl), parse_query(asked))
    assert read is not None
    return read


def test_an_answer_is_repeated_until_its_time_is_over() -> None:
    cache, good = Cache(), kept(ttl=60)
    cache.put(("a",), good, 1000.0)
    assert cache.get(("a",), 1000.0) == (good, 0)
    assert cache.get(("a",), 1059.9) == (good, 59)
    assert cache.get(("a",), 1060.0) is None
    assert len(cache) == 0


def test_no_answer_is_believed_for_longer_than_an_hour_and_no_refusal_longer_than_a_minute() -> None:
    cache = Cache()
    cache.put(("yes",), kept(ttl=100_000), 0.0)
    cache.put(("no",), Answer(b"\0" * 12, lifetime=100_000), 0.0)
    assert cache.get(("yes",), limits.POSITIVE_MAX - 1) is not None
    assert cache.get(("yes",), limits.POSITIVE_MAX) is None
    assert cache.get(("no",), limits.NEGATIVE_MAX - 1) is not None
    assert cache.get(("no",), limits.NEGATIVE_MAX) is None


def test_the_oldest_answers_make_room() -> None:
    cache = Cache()
    for number in range(limits.ENTRIES + 10):
        cache.put((number,), kept(), 0.0)
    assert len(cache) == limits.ENTRIES
    assert cache.get((9,), 1.0) is None
    assert cache.get((10,), 1.0) is not None


def test_the_bytes_of_all_answers_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BYTES", 3 * len(kept(size=50).data))
    cache = Cache()
    for number in range(10):
        cache.put((number,), kept(size=50), 0.0)
    assert len(cache) == 3
    for _ in range(10):
        cache.put((9,), kept(size=50), 0.0)
    assert len(cache) == 3


def test_a_huge_answer_and_one_without_lifetime_are_not_kept() -> None:
    cache = Cache()
    cache.put(("huge",), kept(size=300), 0.0)
    cache.put(("brief",), kept(ttl=0), 0.0)
    assert len(cache) == 0
