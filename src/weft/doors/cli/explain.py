"""`weft explain`: what holds a container or a network together, and whether it is there."""

from __future__ import annotations

import json

from weft.client.wire import quote
from weft.doors.cli.flags import Command, Flag, Options, Usage
from weft.doors.cli.looks import look_of
from weft.doors.cli.session import Session
from weft.errors import NotFound
from weft.explain.reach.text import render_reach
from weft.explain.text import render_commands, render_explanation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DIFFERS = 1
"""The exit code where something is missing or different, or does not arrive."""


def explain(options: Options, session: Session) -> int:
    if options.on("commands") and options.on("json"):
        raise Usage("--commands and --json exclude each other")
    target = _target(options)
    if target is not None:
        return _explain_way(options.operands[0], target, options, session)
    document = _ask(options.operands[0], session, network_only=options.on("network"))
    if options.on("json"):
        session.print(json.dumps(document, indent=4, ensure_ascii=False))
    elif options.on("commands"):
        session.print(render_commands(document, look_of(options)).rstrip("\n"))
    else:
        session.print(render_explanation(document, look_of(options), reasons=not options.on("brief")).rstrip("\n"))
    return DIFFERS if document["wrong"] else 0


def _target(options: Options) -> str | None:
    if len(options.operands) > 1 and options.has("to"):
        raise Usage("give the target once: as second operand, or with --to")
    return options.operands[1] if len(options.operands) > 1 else options.text("to")


def _explain_way(source: str, target: str, options: Options, session: Session) -> int:
    document: dict[str, Any] = session.client.wire.call("GET", f"/reach?from={quote(source)}&to={quote(target)}")
    if options.on("json"):
        session.print(json.dumps(document, indent=4, ensure_ascii=False))
    else:
        session.print(render_reach(document, look_of(options)).rstrip("\n"))
    return DIFFERS if document["arrives"] == "no" else 0


def _ask(ref: str, session: Session, *, network_only: bool) -> dict[str, Any]:
    """A container's explanation, or else a network's."""
    missing = []
    for kind in ("networks",) if network_only else ("containers", "networks"):
        try:
            found: dict[str, Any] = session.client.wire.call("GET", f"/{kind}/{quote(ref)}/explain")
            return found
        except NotFound as error:
            missing.append(error.message)
    hints = [hint for message in missing if (hint := message.partition("; ")[2])]
    what = "network" if network_only else "container or network"
    raise NotFound("; ".join([f"no such {what}: {ref!r}", *hints[:1]]))


COMMANDS = (
    Command(
        "explain",
        "Show what holds a container or network together, checked against the kernel",
        explain,
        operands="CONTAINER | NETWORK | CONTAINER TARGET[:PORT]",
        least=1,
        most=2,
        flags=(
            Flag("--to", "TARGET[:PORT]", "Say why a packet from the container arrives there, or does not"),
            Flag("--commands", "", "Print the ip, tc, nft and sysctl commands that would build the same by hand"),
            Flag("-q --brief", "", "Leave out what each thing is for"),
            Flag("--network", "", "Explain the network of that name, even if a container bears it, too"),
            Flag("--json", "", "Print the whole explanation as JSON"),
        ),
        details="""\
Every line is compared with the kernel as it is now: ✓ there, ✗ missing, ≠ different, · a fact that the kernel could
not contradict. The exit code is 1 if something is missing or different.

With a target, a name or an address, with or without a port: the way of a packet from the container to there, step by
step, up to whether a program listens. Instead of a container the source can be "host" or "outside". The exit code is 1
if it does not arrive.""",
        examples=(
            ("what the container web is made of", "weft explain web"),
            ("how to build it by hand", "weft explain web --commands"),
            ("why web does not reach db", "weft explain web --to db:5432"),
            ("whether the published port 80 of web is reached", "weft explain outside web:80"),
            ("for a script", "weft explain web --json | jq '.sections[].lines[] | select(.state == \"missing\")'"),
        ),
        completes=("container", "container"),
    ),
)
