"""From text to where a packet is to go: db, db:5432, db:53/udp, 10.7.0.2:80, [fd00::2]:80."""

from __future__ import annotations

from ipaddress import ip_address

from weft.errors import Invalid
from weft.explain.reach.facts import Target
from weft.fields import read_choice, read_int
from weft.model import IPAddress, Proto


def read_target(text: str) -> Target:
    """Raises Invalid."""
    rest, slash, proto = text.partition("/")
    service = Proto(read_choice("to", proto, [p.value for p in Proto])) if slash else Proto.TCP
    address = _address(rest[1:-1] if rest.startswith("[") and rest.endswith("]") else rest)
    if address is not None:
        return Target(text=text, address=address, proto=service)
    host, colon, port = rest.rpartition(":")
    if not colon:
        host, port = rest, ""
    number = read_int("to", port, low=1, high=65535) if colon else None
    address = _address(host.removeprefix("[").removesuffix("]"))
    if not host or (address is not None and address.version == 6 and not host.startswith("[")):
        raise Invalid(f"to: {text!r} is not a name or address with or without a port, such as db:5432 or [fd00::2]:80")
    name = "" if address is not None else host
    return Target(text=text, name=name, address=address, port=number, proto=service)


def _address(text: str) -> IPAddress | None:
    try:
        return ip_address(text)
    except ValueError:
        return None
