"""Options under the driver's own names, however they were spelt: Docker's names, or short ones of ours."""

from __future__ import annotations

from collections.abc import Mapping

from weft.errors import Invalid


def by_own_names(driver: str, spellings: Mapping[str, str], raw: Mapping[str, str]) -> dict[str, str]:
    """`spellings`: each to the driver's own name. Raises Invalid, naming the option and, if it is unknown, those there
    are."""
    read: dict[str, str] = {}
    for key, value in raw.items():
        known = spellings.get(key)
        if known is None:
            short = ", ".join(sorted(set(spellings.values())))
            raise Invalid(f"unknown option {key!r} for driver {driver}; it knows {short}")
        if known in read:
            raise Invalid(f"option {key!r} says again what another spelling of {known!r} said")
        read[known] = value
    return read
