"""From words to a command: finds its module, reads its flags, and turns errors into one line and an exit code.

Exit codes: 0 done; 1 refused; 2 not understood. `weft run` and `weft exec` end with their command's own code, 126 or
127 if it cannot be executed, and 125 for errors of weft itself, as Docker does.
"""

from __future__ import annotations

import os
import sys

from weft.doors.cli.flags import Command, HelpAsked, Usage, nearest, parse
from weft.doors.cli.session import Session
from weft.errors import WeftError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

# In the order of `weft --help`. Command to module of this package; the module is imported when it is needed.
MODULES = {
    "run": "run",
    "attach": "attach",
    "ps": "containers",
    "inspect": "containers",
    "exec": "run",
    "logs": "containers",
    "stop": "containers",
    "kill": "containers",
    "wait": "containers",
    "rename": "containers",
    "rm": "containers",
    "port": "ports",
    "explain": "explain",
    "doctor": "doctor",
    "events": "watching",
    "stats": "watching",
    "network": "network",
    "completion": "completion",
    "version": "watching",
    "__complete": "completion",
}


def run(words: Sequence[str]) -> int:
    """The whole program; its exit code."""
    try:
        code = _run(list(words))
        sys.stdout.flush()
    except BrokenPipeError:  # `weft ps | head`: nobody reads on, and nothing is wrong
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    except KeyboardInterrupt:
        return 130
    return code


def _run(words: list[str]) -> int:
    try:
        host, words = global_flags(words)
        if not words or words[0] in ("-h", "--help", "help"):
            from weft.doors.cli.pages import show

            return show(words[1:])
        if words[0] == "--version":
            words[0] = "version"
        command, rest = find(words)
    except Usage as error:
        Session().complain(error.message)
        return 2
    if command is None:
        from weft.doors.cli.pages import show

        return show([word for word in words if not word.startswith("-")])
    return _execute(command, rest, Session(host))


def _execute(command: Command, rest: Sequence[str], session: Session) -> int:
    try:
        options = parse(command, rest)
    except HelpAsked:
        from weft.doors.cli.pages import show

        return show(command.path.split())
    except Usage as error:
        return _misunderstood(error, command, session)
    try:
        return command.run(options, session)
    except Usage as error:
        return _misunderstood(error, command, session)
    except WeftError as error:
        session.complain(error.message)
        return command.own_error
    except TimeoutError as error:
        session.complain(str(error))
        return command.own_error


def _misunderstood(error: Usage, command: Command, session: Session) -> int:
    session.complain(error.message)
    return 2 if command.own_error == 1 else command.own_error


def global_flags(words: list[str]) -> tuple[str | None, list[str]]:
    """What stands before the command: --host."""
    host = None
    while words and words[0].startswith("-"):
        spelling, given, value = words[0].partition("=")
        if spelling not in ("-H", "--host"):
            break
        if not given and len(words) < 2:
            raise Usage(f"flag {spelling} needs a value")
        host, words = (value, words[1:]) if given else (words[1], words[2:])
    return host, words


def find(words: Sequence[str]) -> tuple[Command | None, list[str]]:
    """The command and the words after it; None for a group without one of its commands. Raises Usage."""
    first = words[0]
    if first not in MODULES:
        what = "flag" if first.startswith("-") else "command"
        shown = [name for name in MODULES if not name.startswith("_")]
        raise Usage(f"unknown {what} {first!r}{nearest(first, shown)}; see 'weft --help'")
    commands = load(first)
    if commands[0].path == first and " ".join(words[:2]) not in [command.path for command in commands[1:]]:
        return commands[0], list(words[1:])
    if len(words) < 2 or words[1] in ("-h", "--help"):
        return None, []
    path = f"{first} {words[1]}"
    for command in commands:
        if command.path == path:
            return command, list(words[2:])
    known = [command.path.split()[1] for command in commands]
    raise Usage(f"unknown command 'weft {path}'{nearest(words[1], known)}; see 'weft {first} --help'")


def load(first: str) -> list[Command]:
    """The commands that begin with a word: one, or a group."""
    module = __import__(f"weft.doors.cli.{MODULES[first]}", fromlist=["COMMANDS"])
    commands: Sequence[Command] = module.COMMANDS
    return [command for command in commands if command.path.split()[0] == first]
