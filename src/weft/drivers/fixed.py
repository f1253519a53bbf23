"""Options that stay what they are for as long as their network is there."""

from __future__ import annotations

from collections.abc import Mapping

from weft.drivers.spellings import by_own_names
from weft.errors import Conflict
from weft.model import Network


def check_fixed(before: Network, after: Network, spellings: Mapping[str, str], fixed: Mapping[str, str]) -> None:
    """`fixed`: the option's own name, and why it cannot change. Raises Conflict if it does."""
    was, will = (by_own_names(before.driver, spellings, network.options) for network in (before, after))
    for option, why in fixed.items():
        if was.get(option) != will.get(option):
            raise cannot_change(before, option, why)


def cannot_change(network: Network, option: str, why: str) -> Conflict:
    return Conflict(
        f"option {option} of network {network.name!r} cannot change while the network is there: {why}; "
        "make another network, and connect its containers to that"
    )
