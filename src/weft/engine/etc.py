"""What is written into the /etc of containers: of their own network, or of that which they share."""

from __future__ import annotations

from weft.engine import files, stacks
from weft.engine.parts import Parts
from weft.model import Origin, Sandbox


def etc_of(sandbox: Sandbox, parts: Parts) -> dict[str, str]:
    """Name in /etc to content."""
    if sandbox.origin is Origin.HOST:
        return files.host_files(sandbox, parts.resolv_conf())
    owner = stacks.owner_of(sandbox, parts.records)
    return files.etc_files(owner, parts.records.endpoints_of(owner.id), parts.resolv_conf())


def rewrite(sandbox: Sandbox, parts: Parts) -> None:
    """Its own, and those of whoever shares its network: it has changed."""
    for each in (sandbox, *stacks.sharers_of(sandbox, parts.records)):
        if each.process is not None:
            parts.runtime.write_files(each.id, etc_of(each, parts))
