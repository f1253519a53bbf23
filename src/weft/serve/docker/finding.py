"""A container by what a request calls it, or the refusal that Docker's clients know."""

from __future__ import annotations

from weft.engine.parts import Parts
from weft.errors import Conflict, NotFound
from weft.model import Sandbox
from weft.serve.docker.dialect import Refused


def find_container(parts: Parts, ref: str) -> Sandbox:
    """By name, id, or the beginning of an id. Raises Refused."""
    try:
        return parts.records.sandbox(ref)
    except NotFound:
        raise Refused(404, f"No such container: {ref}") from None
    except Conflict:
        raise Refused(400, f"Multiple IDs found with provided prefix: {ref}") from None
