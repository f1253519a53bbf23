"""What clients do with a container, told as events: by the name and the labels that it has when it is done."""

from __future__ import annotations

from collections.abc import Mapping

from weft.engine.parts import Parts
from weft.model import Sandbox

_NONE: Mapping[str, str] = {}


def tell(parts: Parts, sandbox: Sandbox, action: str, *, details: Mapping[str, str] = _NONE, **attributes: str) -> None:
    now = parts.records.sandboxes.get(sandbox.id, sandbox)
    parts.events.emit("container", action, now.id, now.name, details=details, labels=now.labels, **attributes)
