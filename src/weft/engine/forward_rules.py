"""Rules of the user's own that come before weft's: read anew each time, and used once nft has understood them.

A mistake in them must not cost the table: with it everything would be open. While nft refuses what the file says, the
last rules that it did not refuse stay in force, over restarts too.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from weft.engine.parts import Parts
from weft.errors import Invalid
from weft.firewall.ruleset import ruleset

_log = logging.getLogger("weft.engine")

_META = "forward-rules"


class ForwardRules:
    def __init__(self, parts: Parts, read: Callable[[], Sequence[str]]) -> None:
        """`read` gives the rules that the file holds now, one a string."""
        self._parts = parts
        self._read = read
        self._seen: list[str] | None = None
        self._in_force: list[str] = []
        self.refusal = ""
        """Why the file's rules are not those in force; empty if they are."""

    def in_force(self) -> Sequence[str]:
        """Raises Invalid where nft refuses the rules and none were ever accepted."""
        rules = list(self._read())
        if rules != self._seen:
            self._take(rules)
            self._seen = rules
        return self._in_force

    def _take(self, rules: list[str]) -> None:
        store = self._parts.store
        former = store.get_meta(_META)
        try:
            if rules:
                self._parts.kernel.check_firewall(ruleset(user_rules=rules))
        except Invalid as error:
            self.refusal = f"{self._parts.config.forward_rules}: {error.message}"
            if former is None:
                raise Invalid(self.refusal) from None
            self._in_force = former.splitlines()
            _log.error("%s; the rules that it held before stay in force", self.refusal)
            return
        self.refusal = ""
        self._in_force = rules
        text = "\n".join(rules)
        if text != former:
            store.set_meta(_META, text)
