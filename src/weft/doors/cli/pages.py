"""`--help`: manual pages, made from the commands' own tables."""

from __future__ import annotations

from weft.doors.cli.flags import Command, Flag, Usage
from weft.doors.cli.main import MODULES, find, load
from weft.doors.cli.session import Session

_OVERVIEW = """\
weft gives containers their network: addresses, names, ports and a firewall.

usage: weft [--host unix:///PATH] COMMAND …

{commands}

'weft COMMAND --help' is that command's page.

The daemon is found by --host, else $WEFT_HOST, else at unix:///run/weft/weft.sock.

Start here:
  weft run -d --name db -- redis-server --bind 0.0.0.0 --protected-mode no
  weft run --rm -- redis-cli -h db ping
"""


def show(path: list[str]) -> int:
    session = Session()
    if not path:
        session.print(overview())
        return 0
    try:
        command, _ = find(path)
    except Usage as error:
        session.complain(error.message)
        return 2
    session.print(group(path[0]) if command is None else page(command))
    return 0


def overview() -> str:
    rows = []
    for name in MODULES:
        commands = [command for command in load(name) if not command.hidden]
        if not commands:
            continue
        alone = commands[0].path == name
        text = commands[0].summary if alone else f"{', '.join(c.path.split()[1] for c in commands)}"
        rows.append((name, text))
    return _OVERVIEW.format(commands=_columns(rows)).rstrip("\n")


def group(name: str) -> str:
    rows = [(command.path, command.summary) for command in load(name)]
    return f"usage: weft {name} COMMAND …\n\n{_columns(rows)}\n\n'weft {name} COMMAND --help' is that command's page."


def page(command: Command) -> str:
    flags = " [FLAGS]" if command.flags else ""
    operands = f" {command.operands}" if command.operands else ""
    parts = [
        f"weft {command.path}: {command.summary}",
        f"usage: weft {command.path}{flags}{operands}",
    ]
    if command.details:
        parts.append(command.details.strip("\n"))
    parts.append("flags:\n" + _columns([(_spelled(flag), flag.text) for flag in (*command.flags, command.help)]))
    if command.examples:
        shown = "\n".join(f"  # {comment}\n  {line}" for comment, line in command.examples)
        parts.append(f"examples:\n{shown}")
    return "\n\n".join(parts)


def reference() -> str:
    """Every page, as docs/cli.md has them."""
    pages = [page(command) for name in MODULES for command in load(name) if not command.hidden]
    return "\n".join(f"### weft {text.removeprefix('weft ').partition(':')[0]}\n\n```\n{text}\n```\n" for text in pages)


def _spelled(flag: Flag) -> str:
    value = f" {flag.value}" if flag.value else ""
    return ", ".join(flag.spellings) + value + (" …" if flag.repeat else "")


def _columns(rows: list[tuple[str, str]]) -> str:
    width = min(max(len(left) for left, _ in rows), 30)
    lines = []
    for left, right in rows:
        first, *more = right.split("\n")
        if len(left) > width:
            lines.append(f"  {left}")
            left = ""
        lines.append(f"  {left:<{width}}  {first}".rstrip())
        lines += [f"  {'':<{width}}  {line}" for line in more]
    return "\n".join(lines)
