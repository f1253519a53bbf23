"""A mistake in the user's own rules never costs the table."""

from __future__ import annotations

import os
from collections.abc import Sequence

import pytest

from tests.engine.house import house, shell
from tests.hosts import in_private_host
from weft.errors import Invalid

GOOD, BETTER, WRONG = 'iifname "wg0" accept', 'iifname "wg1" accept', 'iifname "wg2" frobnicate'


class File:
    """What the user's file holds at the time."""

    def __init__(self, *rules: str) -> None:
        self.rules: Sequence[str] = rules

    def __call__(self) -> Sequence[str]:
        return self.rules


def user_chain() -> str:
    return shell("nft list chain inet weft user")


@in_private_host
def test_rules_are_in_force_as_they_are_in_the_file():
    file = File(GOOD)
    made = house(forward_rules=file)
    assert GOOD in user_chain()
    file.rules = [BETTER]
    assert made.gate.ensure()
    assert BETTER in user_chain()
    assert GOOD not in user_chain()
    assert not made.gate.ensure()


@in_private_host
def test_while_nft_refuses_them_the_former_ones_stay_and_the_table_heals():
    file = File(GOOD)
    made = house(forward_rules=file)
    made.network("front")
    file.rules = [BETTER, WRONG]
    shell("nft flush ruleset")
    assert made.gate.ensure()
    assert GOOD in user_chain()
    assert BETTER not in user_chain()
    made.network("back")

    [found] = [finding for finding in made.examine().findings if finding.check == "rules"]
    assert found.level == "warning"
    assert made.config.forward_rules in found.what
    assert "frobnicate" in found.what

    file.rules = [BETTER]
    assert made.gate.ensure()
    assert BETTER in user_chain()
    assert made.gate.refused_rules() == ""


@in_private_host
def test_the_former_ones_are_known_after_a_restart():
    first = house(forward_rules=File(GOOD))
    directory = os.path.dirname(first.config.run_dir)
    shell("nft flush ruleset")
    house(forward_rules=File(WRONG), directory=directory)
    assert GOOD in user_chain()


@in_private_host
def test_where_there_were_none_before_the_file_is_named():
    for _ in range(2):
        with pytest.raises(Invalid, match=r"/etc/weft/forward\.nft: nft refuses: .*frobnicate"):
            house(forward_rules=File(WRONG))


@in_private_host
def test_rules_that_are_gone_from_the_file_are_gone():
    file = File(GOOD)
    made = house(forward_rules=file)
    file.rules = []
    assert made.gate.ensure()
    assert "wg0" not in user_chain()
