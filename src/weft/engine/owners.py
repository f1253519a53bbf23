"""Whose network namespace is it: no two containers may have the same, and none the host's own."""

from __future__ import annotations

from weft.engine.needs import Identity, Kernel
from weft.engine.state import Records
from weft.errors import Conflict, Invalid
from weft.plan import HOST


class Owners:
    def __init__(self, records: Records, kernel: Kernel) -> None:
        self._records = records
        self._kernel = kernel
        self._known: dict[str, Identity | None] = {}
        self._owners: dict[Identity, str] = {}

    def check_free(self, source: str, what: str) -> None:
        """Raises Invalid for the host's own namespace, Conflict for a container's."""
        identity = self._kernel.identity(source)
        if identity is not None and identity == self._kernel.identity(HOST):
            raise Invalid(f"{what} is in the host's own network namespace, which is no container's")
        self._learn()
        owner = self._records.sandboxes.get(self._owners.get(identity, "")) if identity else None
        # Numbers are given anew once a namespace is gone.
        if owner is not None and owner.exit is None and self._kernel.identity(owner.key) == identity:
            raise Conflict(f"{what} is in the network namespace of container {owner.name!r}")

    def _learn(self) -> None:
        # What is asked once for each container is not worth a place on the way of every join.
        sandboxes = self._records.sandboxes
        for ident in self._known.keys() - sandboxes.keys():
            del self._known[ident]
        for ident in sandboxes.keys() - self._known.keys():
            if not sandboxes[ident].origin.own:
                continue
            identity = self._known[ident] = self._kernel.identity(sandboxes[ident].key)
            if identity is not None:
                self._owners[identity] = ident
