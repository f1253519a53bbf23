"""Commands as data, and what was typed read by them.

The same table parses the command line, prints the manual page and feeds the shells' completion. The rules are those
that people know from Docker: `--name value`, `--name=value`, `-p value`, `-p80:80`, `-dit`, `--ipv6=false`; `--` ends
the flags; for a command that takes another command, so does the first word that is not a flag.
"""

from __future__ import annotations

from weft.doors.cli.progress import Progress
from weft.errors import Invalid, WeftError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from weft.doors.cli.session import Session

    Run = Callable[["Options", "Session"], int]


class Usage(Invalid):
    """What was typed is no command of ours."""


class HelpAsked(Exception):
    pass


class Flag:
    """`value` is what the manual page calls the flag's argument; a flag without one is on or off."""

    def __init__(
        self,
        names: str,
        value: str = "",
        text: str = "",
        *,
        repeat: bool = False,
        completes: str = "",
    ) -> None:
        """`names`: "-d --detach", all spellings; the last is what the program calls it.

        `completes`: container, network, file, or words that are the possible values.
        """
        self.spellings = names.split()
        self.name = self.spellings[-1].lstrip("-")
        self.value = value
        self.text = text
        self.repeat = repeat
        self.completes = completes


HELP = Flag("-h --help", "", "Show this page")
HELP_ALONE = Flag("--help", "", "Show this page")


class Command:
    """One command. `operands` is shown in its synopsis; `least` and `most` say how many there may be."""

    def __init__(
        self,
        path: str,
        summary: str,
        run: Run,
        *,
        operands: str = "",
        least: int = 0,
        most: int | None = 0,
        flags: Sequence[Flag] = (),
        details: str = "",
        examples: Sequence[tuple[str, str]] = (),
        completes: Sequence[str] = (),
        takes_command: bool = False,
        own_error: int = 1,
        hidden: bool = False,
    ) -> None:
        """`completes`: kinds of the operands in turn, the last for all further ones.

        `takes_command`: the first operand after `least - 1` others begins somebody else's command line.
        `own_error`: the exit code of a failure that is weft's.
        """
        self.path = path
        self.summary = summary
        self.run = run
        self.operands = operands
        self.least = least
        self.most = most
        self.flags = tuple(flags)
        self.details = details
        self.examples = tuple(examples)
        self.completes = tuple(completes)
        self.takes_command = takes_command
        self.own_error = own_error
        self.hidden = hidden

    @property
    def help(self) -> Flag:
        """Its flag for help: -h may mean something else, as in `run -h NAME`."""
        taken = any("-h" in flag.spellings for flag in self.flags)
        return HELP_ALONE if taken else HELP

    def flag(self, spelling: str) -> Flag | None:
        return next((flag for flag in (*self.flags, self.help) if spelling in flag.spellings), None)


class Options:
    """What was typed for one command."""

    def __init__(self) -> None:
        self.given: dict[str, list[str]] = {}
        self.operands: list[str] = []

    def on(self, name: str, *, default: bool = False) -> bool:
        values = self.given.get(name)
        return default if not values else values[-1] == "true"

    def text(self, name: str) -> str | None:
        """The last value given; None if there is none."""
        values = self.given.get(name)
        return values[-1] if values else None

    def many(self, name: str) -> list[str]:
        return self.given.get(name, [])

    def has(self, name: str) -> bool:
        return name in self.given


def parse(command: Command, words: Sequence[str]) -> Options:
    """Raises Usage, or HelpAsked."""
    options = Options()
    rest = list(words)
    stop_after = command.least - 1 if command.takes_command else None
    while rest:
        word = rest.pop(0)
        if word == "--":
            options.operands += rest
            break
        if word.startswith("--"):
            _read_long(command, word, rest, options)
        elif word.startswith("-") and word != "-":
            _read_short(command, word, rest, options)
        else:
            options.operands.append(word)
            if stop_after is not None and len(options.operands) > stop_after:
                options.operands += rest
                break
    _check_operands(command, options.operands)
    return options


def _read_long(command: Command, word: str, rest: list[str], options: Options) -> None:
    spelling, given, value = word.partition("=")
    flag = _find(command, spelling)
    if flag.name == "help":
        raise HelpAsked
    if not flag.value:
        _put(flag, _truth(spelling, value) if given else "true", options)
    elif given:
        _put(flag, value, options)
    else:
        _put(flag, _next(spelling, rest), options)


def _read_short(command: Command, word: str, rest: list[str], options: Options) -> None:
    letters = word[1:]
    while letters:
        spelling, letters = f"-{letters[0]}", letters[1:]
        flag = _find(command, spelling)
        if flag.name == "help":
            raise HelpAsked
        if flag.value:
            _put(flag, letters.removeprefix("=") if letters else _next(spelling, rest), options)
            return
        if letters.startswith("="):
            _put(flag, _truth(spelling, letters[1:]), options)
            return
        _put(flag, "true", options)


def _find(command: Command, spelling: str) -> Flag:
    flag = command.flag(spelling)
    if flag is None:
        known = [s for f in (*command.flags, command.help) for s in f.spellings]
        raise Usage(f"unknown flag {spelling}{nearest(spelling, known)}; see 'weft {command.path} --help'")
    return flag


def nearest(word: str, known: Sequence[str]) -> str:
    """A clause that suggests what was probably meant, or nothing."""
    import difflib

    near = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"; did you mean {near[0]}?" if near else ""


def _next(spelling: str, rest: list[str]) -> str:
    if not rest:
        raise Usage(f"flag {spelling} needs a value")
    return rest.pop(0)


def _put(flag: Flag, value: str, options: Options) -> None:
    values = options.given.setdefault(flag.name, [])
    if not flag.repeat:
        values.clear()
    values.append(value)


def _truth(spelling: str, value: str) -> str:
    word = value.lower()
    if word in ("true", "1", "t", "yes", "on"):
        return "true"
    if word in ("false", "0", "f", "no", "off"):
        return "false"
    raise Usage(f"{spelling}: {value!r} is neither true nor false")


def _check_operands(command: Command, operands: Sequence[str]) -> None:
    synopsis = f"weft {command.path} {command.operands}".rstrip()
    if len(operands) < command.least:
        raise Usage(f"something is missing: {synopsis}")
    if command.most is not None and len(operands) > command.most:
        raise Usage(f"unexpected {operands[command.most]!r}: {synopsis}")


def each(refs: Sequence[str], doing: str, act: Callable[[str], object], session: Session) -> int:
    """Do it for every one; failures are told and do not keep the others from their turn.

    `doing` is what is shown meanwhile, if it takes long: "stopping".
    """
    code = 0
    for ref in refs:
        try:
            with Progress(f"{doing} {ref}"):
                act(ref)
        except WeftError as error:
            session.complain(error.message)
            code = 1
        else:
            session.print(ref)
    return code
