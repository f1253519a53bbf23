"""How often what happened: whole numbers since the resolver started."""

from __future__ import annotations


class Counts:
    __slots__ = (
        "cached",
        "failed",
        "forwarded",
        "local",
        "malformed",
        "queries",
        "refused",
        "retried",
        "upstream_bad",
    )

    def __init__(self) -> None:
        self.queries = 0
        self.local = 0
        """Answered from the names of containers."""
        self.cached = 0
        """Answered from what another server said before."""
        self.forwarded = 0
        """Asked of other servers, or joined to the same question already under way."""
        self.failed = 0
        """Forwarded, and no server had an answer."""
        self.refused = 0
        """Not answered for a bound: too many in flight."""
        self.malformed = 0
        self.retried = 0
        """Asked of one more server because one did not answer in time or failed."""
        self.upstream_bad = 0
        """Packets from servers that answered no question of ours."""

    def items(self) -> list[tuple[str, int]]:
        return [(name, getattr(self, name)) for name in self.__slots__]
