"""What is said of a network: its plan, the table with its rules, and who is on it."""

from __future__ import annotations

from tests.explain import worlds
from weft.explain.explanation import Explanation, Line
from weft.explain.network import explain_network


def lines(explanation: Explanation, title: str = "") -> list[Line]:
    return [line for s in explanation.sections if s.title.startswith(title) for line in s.lines]


def test_every_item_of_the_plan_has_a_line_with_its_commands():
    facts = worlds.back()
    told = {line.commands for line in lines(explain_network(facts))}
    assert {item.describe() for item in facts.plan} <= told


def test_the_rules_can_be_loaded_by_hand():
    [table] = [line for line in lines(explain_network(worlds.back())) if line.text.startswith("table inet weft:")]
    [command] = table.commands
    assert command.endswith("nft -f - <<'END'\ntable inet weft {\n}\nEND")


def test_members_are_told_with_the_state_of_their_cable():
    facts = worlds.back()
    web, db = facts.members
    explanation = explain_network(worlds.back(drift={web.plug: "", db.plug: "wv-3e3e3e3e3e3e is down"}))
    said = {line.text.split()[0]: (line.state, line.found) for line in lines(explanation, "Who is on it")}
    assert said == {"web": ("missing", ""), "db": ("different", "wv-3e3e3e3e3e3e is down")}
    assert explanation.wrong == 2


def test_an_internal_network_is_called_one():
    assert explain_network(worlds.back()).condition == "bridge, internal"
