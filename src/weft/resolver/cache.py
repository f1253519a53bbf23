"""Answers of other servers, repeated while their TTLs last. Bounded in number and in bytes; the oldest go first."""

from __future__ import annotations

from weft.dns.message import Answer

ENTRIES = 4096
BYTES = 2 * 1024 * 1024
LONGEST = 4096
"""Bytes of an answer that is still kept."""
POSITIVE_MAX = 3600
NEGATIVE_MAX = 60
"""Seconds that a "no" is believed at most: what was missing has often just been made."""

Key = tuple[object, ...]


class Cache:
    def __init__(self) -> None:
        self._entries: dict[Key, tuple[Answer, float, float]] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Key, now: float) -> tuple[Answer, int] | None:
        """The answer and its age in seconds."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        answer, since, until = entry
        if now >= until:
            self._drop(key)
            return None
        return answer, int(now - since)

    def put(self, key: Key, answer: Answer, now: float) -> None:
        seconds = min(answer.lifetime, POSITIVE_MAX if answer.has_data else NEGATIVE_MAX)
        if seconds <= 0 or len(answer.data) > LONGEST:
            return
        self._drop(key)
        self._entries[key] = (answer, now, now + seconds)
        self._bytes += len(answer.data)
        while len(self._entries) > ENTRIES or self._bytes > BYTES:
            self._drop(next(iter(self._entries)))

    def _drop(self, key: Key) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._bytes -= len(entry[0].data)
