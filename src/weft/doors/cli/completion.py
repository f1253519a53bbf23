"""`weft completion SHELL`, and the hidden command that the scripts ask."""

from __future__ import annotations

import socket

from weft.doors.cli.flags import Command, Flag, Options, Usage
from weft.doors.cli.main import MODULES, find, global_flags, load
from weft.doors.cli.session import Session
from weft.errors import WeftError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_DRIVER_OPTIONS = (
    ("mtu", "all drivers"),
    ("icc", "bridge: whether containers reach each other"),
    ("masquerade", "bridge: whether packets leave under the host's address"),
    ("parent", "macvlan, ipvlan: a link of the host"),
    ("vlan", "macvlan, ipvlan: a VLAN of the parent"),
    ("mode", "macvlan: bridge, private, vepa, passthru; ipvlan: l2, l3, l3s"),
    ("flag", "ipvlan: bridge, private, vepa"),
    ("host-access", "macvlan: host and containers reach each other"),
)

FILES = ":files"
"""The answer that tells the script to complete names of files."""

BASH = r"""# weft's completion for bash: source this, or put it at /usr/share/bash-completion/completions/weft
_weft() {
    local IFS=$'\n' line words=("${COMP_WORDS[@]:1:COMP_CWORD}")
    local current="${COMP_LINE:0:COMP_POINT}"
    # bash splits words at ':' and '='; what was typed is split at blanks alone
    IFS=$' \t' read -r -a words <<< "$current"
    [[ $current == *[$' \t'] ]] && words+=("")
    COMPREPLY=()
    local word="${words[-1]}" prefix=""
    [[ $word == *[:=]* ]] && prefix="${word%"${word##*[:=]}"}"
    while read -r line; do
        if [[ $line == :files ]]; then
            compopt -o default
            return
        fi
        line="${line%%$'\t'*}"
        COMPREPLY+=("${line#"$prefix"}")
    done < <(weft __complete -- "${words[@]:1}" 2>/dev/null)
}
complete -F _weft weft
"""

ZSH = r"""#compdef weft
# weft's completion for zsh: put this as _weft into a directory of $fpath
_weft() {
    local -a lines values
    local line
    lines=("${(@f)$(weft __complete -- "${(@)words[2,$CURRENT]}" 2>/dev/null)}")
    for line in $lines; do
        if [[ $line == :files ]]; then
            _files
            return
        fi
        values+=("${${line//:/\\:}/$'\t'/:}")
    done
    _describe weft values
}
if [ "$funcstack[1]" = "_weft" ]; then _weft "$@"; else compdef _weft weft; fi
"""

FISH = r"""# weft's completion for fish: put this into ~/.config/fish/completions/weft.fish
function __weft_complete
    set -l words (commandline -opc) (commandline -ct)
    set -l lines (weft __complete -- $words[2..-1] 2>/dev/null)
    if contains -- :files $lines
        __fish_complete_path (commandline -ct)
    else
        printf '%s\n' $lines
    end
end
complete -c weft -f -a '(__weft_complete)'
"""

SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}


def completion(options: Options, session: Session) -> int:
    shell = options.operands[0]
    if shell not in SCRIPTS:
        raise Usage(f"no completion for {shell!r}; there is one for {', '.join(SCRIPTS)}")
    session.print(SCRIPTS[shell].rstrip("\n"))
    return 0


def complete(options: Options, session: Session) -> int:
    """Candidates for the last word, one a line; a tab and an explanation may follow."""
    for line in candidates(options.operands, session):
        session.print(line)
    return 0


def candidates(words: Sequence[str], session: Session) -> list[str]:
    before, current = list(words[:-1]), words[-1] if words else ""
    try:
        host, before = global_flags(before)
        if host is not None:
            session = Session(host)
        if not before:
            return _beginning(current, [(n, _summary(n)) for n in MODULES if not n.startswith("_")] + [("--host", "")])
        command, given = find(before)
    except Usage:
        return []
    if command is None:
        return _beginning(current, _further(before[0]))
    more = _beginning(current, _further(before[0])) if len(before) == 1 else []
    return more + _of_command(command, given, current, session)


def _further(name: str) -> list[tuple[str, str]]:
    """The second words of a group's commands."""
    return [(c.path.split()[1], c.summary) for c in load(name) if " " in c.path]


def _summary(name: str) -> str:
    commands = load(name)
    return commands[0].summary if commands[0].path == name else f"{name}s"


def _of_command(command: Command, given: Sequence[str], current: str, session: Session) -> list[str]:
    pending, operands = _walk(command, given)
    if pending is not None:
        return _kind(pending.completes, current, session)
    if current.startswith("-") and "--" not in given and not _is_foreign(command, operands):
        spelling, given_value, value = current.partition("=")
        flag = command.flag(spelling)
        if given_value and flag is not None:
            found = _kind(flag.completes, value, session)
            return found if found == [FILES] else [f"{spelling}={line}" for line in found]
        flags = (*command.flags, command.help)
        return _beginning(current, [(f.spellings[-1], f.text.partition("\n")[0]) for f in flags])
    if not command.completes or (command.most is not None and operands >= command.most):
        return []
    if _is_foreign(command, operands):
        return [FILES]
    return _kind(command.completes[min(operands, len(command.completes) - 1)], current, session)


def _is_foreign(command: Command, operands: int) -> bool:
    """Whether what is typed now belongs to the command to be run."""
    return command.takes_command and operands >= command.least


def _walk(command: Command, given: Sequence[str]) -> tuple[Flag | None, int]:
    """The flag whose value comes next, if one does; how many operands there were."""
    pending: Flag | None = None
    operands = 0
    for at, word in enumerate(given):
        if pending is not None:
            pending = None
        elif word == "--":
            return None, operands + len(given) - at - 1
        elif word.startswith("-") and word != "-":
            pending = _wants_value(command, word)
        else:
            operands += 1
    return pending, operands


def _wants_value(command: Command, word: str) -> Flag | None:
    spelling = word if word.startswith("--") else f"-{word[-1]}"
    flag = None if "=" in word else command.flag(spelling)
    return flag if flag is not None and flag.value else None


def _kind(kind: str, current: str, session: Session) -> list[str]:
    if kind in ("file", "command"):
        return [FILES]
    if kind == "opt":
        return _beginning(current, _driver_options(current))
    try:
        if kind == "network":
            return _beginning(current, [(n.name, n.driver) for n in session.client.networks.list()])
        if kind == "container":
            return _beginning(current, [(c.name, c.state) for c in session.client.containers.list(all=True)])
    except WeftError:
        return []
    return _beginning(current, [(word, "") for word in kind.split()])


def _driver_options(current: str) -> list[tuple[str, str]]:
    if not current.startswith("parent="):
        return [(f"{name}=", text) for name, text in _DRIVER_OPTIONS]
    links = sorted(name for _, name in socket.if_nameindex())  # of this host, which is mostly weftd's
    return [(f"parent={link}", "") for link in links if link != "lo"]


def _beginning(current: str, known: Sequence[tuple[str, str]]) -> list[str]:
    return [f"{name}\t{text}" if text else name for name, text in known if name.startswith(current)]


COMMANDS = (
    Command(
        "completion",
        "Print a shell's completion script: bash, zsh or fish",
        completion,
        operands="SHELL",
        least=1,
        most=1,
        completes=("bash zsh fish",),
        examples=(
            ("this bash", "source <(weft completion bash)"),
            ("every fish", "weft completion fish > ~/.config/fish/completions/weft.fish"),
            ("every zsh", 'weft completion zsh > "${fpath[1]}/_weft"'),
        ),
    ),
    Command("__complete", "What could come next", complete, operands="-- WORD…", most=None, hidden=True),
)
