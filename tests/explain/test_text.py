"""How explanations look: marks, widths, colours, what is said once."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import msgspec
import pytest

from tests.explain import worlds
from weft.explain.container import explain_container
from weft.explain.network import explain_network
from weft.explain.text import Look, render_commands, render_explanation
from weft.plan import Bridge, Route

ESCAPE = re.compile(r"\x1b\[[0-9]*m")


def document(**changes: object) -> dict[str, Any]:
    """As a client gets it."""
    found: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(explain_container(worlds.web(**changes))))
    return found


def drifted() -> dict[str, Any]:
    plan = worlds.web().plan
    route = next(item for item in plan if isinstance(item, Route))
    bridge = next(item for item in worlds.web().attachments[0].plan if isinstance(item, Bridge))
    return document(drift={route: "", bridge: "MTU 1400"})


@pytest.mark.parametrize("width", [60, 80, 100, 300])
def test_no_line_is_wider_than_asked_or_than_can_be_read(width: int):
    text = render_explanation(drifted(), Look(width=width))
    assert max(map(len, text.splitlines())) <= min(width, 100)


def test_each_state_has_its_mark():
    text = render_explanation(drifted(), Look(width=100))
    assert "  ✗ default via 10.7.0.1 dev eth0\n    missing\n" in text
    assert "  ≠ bridge wb-f0f0f0f0f0f0 (MAC 02:77:f0:f0:f0:f0, MTU 1500)\n    different: MTU 1400\n" in text
    assert "  ✓ lo is up\n" in text
    assert "  · db at 10.8.0.3" in text
    assert text.startswith("container web · running · e0e0e0e0e0e0\n✗ 2 of 39 things are not as they should be.")


def test_without_utf8_all_is_ascii():
    text = render_explanation(drifted(), Look(width=100, unicode=False))
    assert text.isascii()
    assert "  NO default via 10.7.0.1 dev eth0" in text
    assert "eth0 <-> wv-1e1e1e1e1e1e" in text
    assert "?" not in text


def test_colours_are_there_only_if_asked_for():
    plain, coloured = (render_explanation(drifted(), Look(width=100, colour=colour)) for colour in (False, True))
    assert "\x1b" not in plain
    assert "\x1b[31m✗\x1b[0m" in coloured
    assert ESCAPE.sub("", coloured) == plain


def test_a_reason_is_given_once():
    text = render_explanation(document(), Look(width=100))
    assert text.count("A cable with two ends") == 1
    assert text.count("↔") == 2


def test_reasons_can_be_left_out():
    text = render_explanation(document(), Look(width=100), reasons=False)
    assert "A cable" not in text
    assert len([line for line in text.splitlines() if line.startswith("  ✓")]) == document()["checked"]


def test_names_from_a_container_cannot_move_the_cursor():
    route = next(item for item in worlds.web().plan if isinstance(item, Route))
    text = render_explanation(document(drift={route: "dev \x1b[2Jevil\r"}), Look(width=100))
    assert "different: dev ?[2Jevil" in text
    assert "\x1b" not in text
    assert "\r" not in text


def test_a_long_list_of_neighbours_is_cut_short():
    crowd = document()
    section = next(s for s in crowd["sections"] if s["title"].startswith("Neighbours"))
    [db] = section["lines"]
    section["lines"] = [{**db, "text": f"c{number} at 10.8.0.9"} for number in range(50)]
    text = render_explanation(crowd, Look(width=100))
    assert "c39 at" in text
    assert "c40 at" not in text
    assert "… and 10 more; --json has them all" in text


def test_commands_are_a_script_with_the_reasons_as_comments():
    script = render_commands(document(), Look(width=100))
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    commands = [line for line in script.splitlines() if line and not line.startswith("#")]
    told = [c for s in explain_container(worlds.web()).sections for line in s.lines for c in line.commands]
    assert commands == told
    assert "# A cable with two ends" in script


def test_a_networks_script_brings_the_table():
    script = render_commands(msgspec.to_builtins(explain_network(worlds.back())), Look(width=100))
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    assert script.index("nft -f -") < script.index("nft add element")


def test_rendering_imports_little():
    """It runs in a program that people wait for: standard modules that cost milliseconds must not come with it."""
    code = "import sys, weft.explain.text, weft.explain.health.text, weft.explain.reach.text; print(*sys.modules)"
    run = subprocess.run(
        [sys.executable, "-I", "-c", f"import sys; sys.path[:0] = {sys.path!r}; {code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert not {"dataclasses", "re", "typing", "ipaddress", "json", "weft.plan"} & set(run.stdout.split())
