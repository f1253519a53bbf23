from __future__ import annotations

import pytest

from weft.doors.cli.flags import Command, Flag, HelpAsked, Options, Usage, parse

FLAGS = (
    Flag("-d --detach"),
    Flag("-i --interactive"),
    Flag("-t --tty"),
    Flag("--ipv6"),
    Flag("-p --publish", "PORT", repeat=True),
    Flag("--net --network", "NETWORK", repeat=True),
    Flag("--name", "NAME"),
)


def typed(line: str, *, takes_command: bool = False, least: int = 0, most: int | None = None) -> Options:
    command = Command(
        "test", "", lambda *_: 0, flags=FLAGS, takes_command=takes_command, least=least, most=most, operands="NAME…"
    )
    return parse(command, line.split())


@pytest.mark.parametrize(
    "line",
    [
        "--name db -d -p 80 -p 81",
        "--name=db --detach --publish=80 --publish 81",
        "-dp80 -p81 --name db",
        "-p=80 -d=true -p81 --name db",
        "--name x --name db -d=false -d -p 80 -p 81",
    ],
)
def test_flags_may_be_spelled_in_many_ways(line: str):
    options = typed(line)
    assert options.text("name") == "db"
    assert options.on("detach")
    assert options.many("publish") == ["80", "81"]


def test_switches():
    options = typed("-it --ipv6=false")
    assert (options.on("interactive"), options.on("tty"), options.on("detach")) == (True, True, False)
    assert not options.on("ipv6", default=True)
    assert typed("").on("ipv6", default=True)
    assert typed("--ipv6=1").on("ipv6")


def test_a_value_may_look_like_a_flag():
    assert typed("--name -d").text("name") == "-d"
    assert not typed("--name -d").on("detach")


def test_flags_and_operands_mix_until_two_dashes():
    options = typed("a --name db b -- -c --d")
    assert options.operands == ["a", "b", "-c", "--d"]
    assert options.text("name") == "db"
    assert typed("-").operands == ["-"]


def test_somebody_elses_command_line_begins_at_its_first_word():
    options = typed("-d ls -l --name x", takes_command=True, least=1)
    assert options.operands == ["ls", "-l", "--name", "x"]
    assert not options.has("name")
    options = typed("-d web -i ls -l", takes_command=True, least=2)
    assert options.operands == ["web", "ls", "-l"]
    assert options.on("interactive")
    assert typed("-d -- ls -- -l", takes_command=True, least=1).operands == ["ls", "--", "-l"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--nane x", "unknown flag --nane; did you mean --name?; see 'weft test --help'"),
        ("-x", "unknown flag -x"),
        ("-dx", "unknown flag -x"),
        ("--name", "flag --name needs a value"),
        ("-p", "flag -p needs a value"),
        ("--ipv6=maybe", "--ipv6: 'maybe' is neither true nor false"),
        ("-d=maybe", "-d: 'maybe' is neither true nor false"),
    ],
)
def test_what_is_not_understood(line: str, message: str):
    with pytest.raises(Usage) as refused:
        typed(line)
    assert message in refused.value.message


def test_too_few_and_too_many_operands():
    with pytest.raises(Usage, match="something is missing: weft test NAME…"):
        typed("a", least=2)
    with pytest.raises(Usage, match="unexpected 'c'"):
        typed("a b c", most=2)


@pytest.mark.parametrize("line", ["--help", "-h", "a --help", "-dh"])
def test_help(line: str):
    with pytest.raises(HelpAsked):
        typed(line)


def test_dash_h_may_mean_something_else():
    command = Command("run", "", lambda *_: 0, flags=(Flag("-h --hostname", "NAME"),))
    assert parse(command, ["-h", "db"]).text("hostname") == "db"
    with pytest.raises(HelpAsked):
        parse(command, ["--help"])
