"""Typed reading of untrusted values: text from command lines, options, configuration. Errors name the field."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from weft.errors import Invalid

Address = IPv4Address | IPv6Address


def read_address(field: str, text: str) -> Address:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        raise Invalid(f"{field}: {text!r} is not an IP address") from None


def read_network(field: str, text: str) -> IPv4Network | IPv6Network:
    """A subnet such as 10.1.0.0/24; host bits that are set are refused, with the subnet that was meant."""
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        pass
    try:
        meant = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise Invalid(f"{field}: {text!r} is not a subnet such as 10.1.0.0/24") from None
    raise Invalid(f"{field}: {text!r} has host bits set; did you mean {meant}?")


def read_bool(field: str, text: str) -> bool:
    """true, false, 1, 0, yes, no, on, off."""
    word = text.strip().lower()
    if word in ("true", "1", "yes", "on"):
        return True
    if word in ("false", "0", "no", "off"):
        return False
    raise Invalid(f"{field}: {text!r} is neither true nor false")


def read_int(field: str, text: str, *, low: int, high: int) -> int:
    try:
        value = int(text)
    except ValueError:
        raise Invalid(f"{field}: {text!r} is not a whole number") from None
    if not low <= value <= high:
        raise Invalid(f"{field}: {value} is not between {low} and {high}")
    return value


def read_choice(field: str, text: str, choices: Sequence[str]) -> str:
    if text not in choices:
        raise Invalid(f"{field}: {text!r} is none of {', '.join(choices)}")
    return text
