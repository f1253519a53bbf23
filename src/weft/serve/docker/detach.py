"""Docker's way to write the keys that leave a terminal: "ctrl-p,ctrl-q", "a,ctrl-]"."""

from __future__ import annotations

from weft.serve.docker.dialect import Refused
from weft.shim.relay import DETACH_KEYS

_SIGNS = {"@": 0, "[": 27, "\\": 28, "]": 29, "^": 30, "_": 31}


def detach_keys(text: str) -> bytes:
    """The bytes; Ctrl-P Ctrl-Q if none are named. Raises Refused."""
    return bytes(_key(name, text) for name in text.split(",")) if text else DETACH_KEYS


def _key(name: str, text: str) -> int:
    if len(name) == 1 and name.isascii():
        return ord(name)
    control, dash, sign = name.partition("-")
    if control == "ctrl" and dash and sign in _SIGNS:
        return _SIGNS[sign]
    if control == "ctrl" and len(sign) == 1 and "a" <= sign <= "z":
        return ord(sign) - ord("a") + 1
    raise Refused(400, f"Invalid detach keys ({text}) provided")
