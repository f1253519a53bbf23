from __future__ import annotations

import pytest

from weft.doors.cli.flags import Command, HelpAsked, Usage, parse
from weft.doors.cli.main import MODULES, find, load, run
from weft.doors.cli.pages import overview, page

COMMANDS = [command for name in MODULES for command in load(name)]


@pytest.mark.parametrize("command", [c for c in COMMANDS if not c.hidden], ids=lambda c: c.path)
def test_every_command_has_a_page_with_examples_that_it_understands(command: Command):
    text = page(command)
    assert text.startswith(f"weft {command.path}: ")
    assert all(len(line) <= 120 for line in text.splitlines())
    assert all(flag.text for flag in command.flags)
    assert command.examples
    for _, line in command.examples:
        assert f"weft {command.path}" in line


@pytest.mark.parametrize("command", [c for c in COMMANDS if not c.hidden], ids=lambda c: c.path)
def test_examples_parse(command: Command):
    import shlex

    for _, line in command.examples:
        if not line.startswith("weft ") or set(line) & set("$|>"):
            continue
        found, rest = find(shlex.split(line)[1:])
        assert found is not None
        assert found.path == command.path
        try:
            parse(found, rest)
        except (Usage, HelpAsked) as error:
            pytest.fail(f"{line}: {error}")


def test_no_command_has_two_flags_of_one_spelling():
    for command in COMMANDS:
        spellings = [s for flag in (*command.flags, command.help) for s in flag.spellings]
        assert len(spellings) == len(set(spellings)), command.path


def test_the_overview_names_every_command():
    text = overview()
    assert all(f"  {name} " in text for name in MODULES if not name.startswith("_"))
    assert "__complete" not in text


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"], ["help"]])
def test_help_is_printed_without_a_daemon(words: list[str], capsys: pytest.CaptureFixture[str]):
    assert run(words) == 0
    assert capsys.readouterr().out.startswith("weft gives containers their network")


@pytest.mark.parametrize(
    "words", [["network"], ["network", "--help"], ["help", "network"], ["--host", "unix:///x", "network", "-h"]]
)
def test_help_of_a_group(words: list[str], capsys: pytest.CaptureFixture[str]):
    assert run(words) == 0
    assert "network disconnect" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["run", "--help"], ["help", "run"], ["run", "-d", "--help", "x"]])
def test_help_of_a_command(words: list[str], capsys: pytest.CaptureFixture[str]):
    assert run(words) == 0
    assert capsys.readouterr().out.startswith("weft run: ")
