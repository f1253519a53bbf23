"""What is said of a container: everything in its plans, once, each with its state."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest

from tests.explain import worlds
from weft.explain.container import ContainerFacts, explain_container
from weft.explain.explanation import Explanation, Line
from weft.model import Exit
from weft.plan import Address, Item, Route, SandboxTable, Veth, describe


def lines(explanation: Explanation, title: str = "") -> list[Line]:
    return [line for s in explanation.sections if s.title.startswith(title) for line in s.lines]


def texts(explanation: Explanation, title: str = "") -> list[str]:
    return [line.text for line in lines(explanation, title)]


def everything(facts: ContainerFacts) -> list[Item]:
    """The container's plan and its networks', each thing once."""
    plans = (facts.plan, *(attachment.plan for attachment in facts.attachments))
    return list(dict.fromkeys(item for plan in plans for item in plan))


def test_every_item_of_every_plan_has_one_line_with_its_commands():
    facts = worlds.web()
    told = [line.commands for line in lines(explain_container(facts)) if line.commands]
    assert sorted(told) == sorted(item.describe() for item in everything(facts))


def test_all_is_present_where_the_kernel_lacks_nothing():
    facts = worlds.web()
    explanation = explain_container(facts)
    assert explanation.wrong == 0
    assert explanation.checked == len(everything(facts)) + 1  # and the table as a whole


@pytest.mark.parametrize("item", everything(worlds.web()), ids=lambda item: describe((item,))[-1][-40:])
def test_whatever_is_missing_is_said_to_be(item: Item):
    explanation = explain_container(worlds.web(drift={item: ""}))
    wrong = [line for line in lines(explanation) if line.state != "present" and line.state is not None]
    assert [(line.state, line.found, line.commands) for line in wrong] == [("missing", "", item.describe())]
    assert explanation.wrong == 1


def test_what_is_there_instead_is_shown():
    route = next(item for item in worlds.web().plan if isinstance(item, Route))
    explanation = explain_container(worlds.web(drift={route: "via 10.7.0.9 dev eth0"}))
    [line] = [line for line in lines(explanation) if line.state == "different"]
    assert line.text == "default via 10.7.0.1 dev eth0"
    assert line.found == "via 10.7.0.9 dev eth0"


def test_each_interface_has_a_section_with_what_belongs_to_it():
    explanation = explain_container(worlds.web())
    assert texts(explanation, "eth1, on network back") == [
        "bridge wb-babababababa (MAC 02:77:ba:ba:ba:ba, MTU 1500)",
        "address 10.8.0.1/24 on wb-babababababa",
        "eth1 ↔ wv-2e2e2e2e2e2e, a port of wb-babababababa (MAC 02:42:0a:08:00:02, MTU 1500)",
        "address 10.8.0.2/24 on eth1",
        "wv-2e2e2e2e2e2e may send as 10.8.0.2 (MAC 02:42:0a:08:00:02)",
        "wv-2e2e2e2e2e2e lets nothing else out",
    ]


def test_the_host_is_no_way_out_of_an_internal_network():
    explanation = explain_container(worlds.web())
    [gateway] = [line for line in lines(explanation, "eth1") if "10.8.0.1" in line.text]
    assert "no way out" in gateway.why
    [gateway] = [line for line in lines(explanation, "eth0") if "10.7.0.1" in line.text]
    assert "the containers' way out" in gateway.why


def test_neighbours_are_told_with_all_their_names():
    assert texts(explain_container(worlds.web()), "Neighbours on network back") == [
        "db at 10.8.0.3 (MAC 02:42:0a:08:00:03), also called postgres, d0d0d0d0d0d0"
    ]


def test_a_network_without_others_has_no_section_for_them():
    titles = [section.title for section in explain_container(worlds.web()).sections]
    assert "Neighbours on network front" not in titles


def test_a_container_on_internal_networks_alone_has_no_way_out_and_is_told_why():
    facts = worlds.web()
    inside = replace(
        facts,
        attachments=facts.attachments[1:],
        plan=tuple(item for item in facts.plan if not isinstance(item, Route)),
    )
    [line] = lines(explain_container(inside), "Its way out")
    assert line.state is None
    assert "no default route" in line.text
    assert line.why == "Every network of it is internal."


# Names


def names(explanation: Explanation) -> dict[str, tuple[str | None, str]]:
    table = next(item for item in worlds.web().plan if isinstance(item, SandboxTable)).describe()
    return {line.text: (line.state, line.found) for line in lines(explanation, "Its names") if line.commands != table}


def test_names_are_not_judged_unless_somebody_asked():
    states = {state for state, _ in names(explain_container(worlds.web(answers=None))).values()}
    assert states == {None}


def test_a_name_is_right_if_all_addresses_of_the_interface_are_answered():
    answers = {
        "web.front": (ip_address("10.7.0.2"), ip_address("fd00:7::2")),
        "www.front": (ip_address("10.7.0.9"),),
        "e0e0e0e0e0e0.front": (ip_address("fd00:7::2"), ip_address("10.7.0.3"), ip_address("10.7.0.2")),
    }
    said = names(explain_container(worlds.web(answers=answers)))
    assert said["web → 10.7.0.2 and fd00:7::2, on front"] == ("present", "")
    assert said["www → 10.7.0.2 and fd00:7::2, on front"] == ("different", "10.7.0.9")
    assert said["e0e0e0e0e0e0 → 10.7.0.2 and fd00:7::2, on front"] == ("present", "")
    assert said["web → 10.8.0.2, on back"] == ("missing", "")


# Ports


def test_ports_are_told_by_where_they_are_published():
    assert texts(explain_container(worlds.web()), "Published ports") == [
        "port 8080/tcp of every IPv4 address of the host → 10.7.0.2:80",
        "port 8080/tcp of every IPv6 address of the host → [fd00:7::2]:80",
        "[::1]:8080/tcp → port 80 of the container, through weftd",
        "127.0.0.1:5353/udp → 10.7.0.2:53",
    ]


def test_what_the_kernel_cannot_rewrite_is_said_to_go_through_weftd():
    facts = worlds.web()
    only4 = tuple(item for item in facts.plan if getattr(item, "name", "") != "ports6")
    relayed = [line for line in lines(explain_container(replace(facts, plan=only4)), "Published") if not line.commands]
    assert [line.text for line in relayed] == [
        "[::]:8080/tcp (every IPv6 address of the host) → port 80 of the container, through weftd"
    ]


# The firewall, and the end


def test_rules_that_are_not_as_written_are_told():
    explanation = explain_container(worlds.web(firewall=False))
    [line] = [line for line in lines(explanation) if line.text.startswith("table inet weft:")]
    assert line.state == "different"
    assert explanation.wrong == 1


def test_nothing_is_left_of_a_container_that_has_ended():
    ended = ContainerFacts(
        sandbox=replace(worlds.WEB, exit=Exit(code=3, at=0.0)),
        condition="exited with code 3",
        attachments=(),
        plan=(),
        drift={},
        firewall=None,
        answers=None,
    )
    explanation = explain_container(ended)
    assert (explanation.checked, explanation.sections) == (0, ())


def test_isolated_ports_are_explained():
    facts = worlds.web()
    apart = tuple(replace(item, isolated=True) if isinstance(item, Veth) else item for item in facts.plan)
    [line] = [line for line in lines(explain_container(replace(facts, plan=apart)), "eth1") if "↔" in line.text]
    assert "isolated" in line.why


def test_addresses_of_the_host_and_of_the_container_are_told_apart():
    plan = worlds.web().plan
    inside = [item for item in plan if isinstance(item, Address)]
    assert all(item.netns == worlds.WEB.key for item in inside)
    why = {line.text: line.why for line in lines(explain_container(worlds.web()), "eth0")}
    assert "next door" in why["address 10.7.0.2/24 on eth0"]
    assert "The host's own address" in why["address 10.7.0.1/24 on wb-f0f0f0f0f0f0"]
