"""Where a container's console is, who has one, and how large a terminal is."""

from __future__ import annotations

import re
from collections.abc import Mapping

from weft.engine.parts import Parts
from weft.model import Sandbox
from weft.names import short
from weft.serve.docker.dialect import Refused
from weft.serve.docker.finding import find_container
from weft.shim.frames import SOCKET

LARGEST = 0xFFFF


def with_console(parts: Parts, ref: str) -> Sandbox:
    """A container whose process weft starts. Raises Refused."""
    sandbox = find_container(parts, ref)
    if sandbox.process is None:
        raise Refused(
            409,
            f"weft did not start container {sandbox.name} and has no console of it: "
            f"use `weft exec {sandbox.name} COMMAND` for a command of this host's in its network, "
            "or the tool that made it",
        )
    return sandbox


def running_here(parts: Parts, ref: str) -> Sandbox:
    """A container whose process weft has started, and runs. Raises Refused."""
    sandbox = with_console(parts, ref)
    if sandbox.exit is not None or parts.runtime.pids(sandbox.id) is None:
        raise Refused(409, f"container {sandbox.id} is not running")
    return sandbox


def console_of(parts: Parts, sandbox: Sandbox) -> str:
    """The path of its socket."""
    return f"{parts.config.run_dir}/containers/{short(sandbox.id)}/{SOCKET}"


def read_size(query: Mapping[str, str]) -> tuple[int, int]:
    """Rows and columns, as `h` and `w`. Raises Refused."""
    return _length("h", query), _length("w", query)


def _length(name: str, query: Mapping[str, str]) -> int:
    text = query.get(name, "")
    if not re.fullmatch("[0-9]{1,9}", text) or int(text) > LARGEST:
        raise Refused(400, f"invalid resize {'height' if name == 'h' else 'width'} {text!r}: expected 0 to {LARGEST}")
    return int(text)
