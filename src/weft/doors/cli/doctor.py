"""`weft doctor`: what is wrong with the host and with weft's own state, why, and what mends it."""

from __future__ import annotations

import json

from weft.doors.cli.flags import Command, Flag, Options
from weft.doors.cli.looks import look_of
from weft.doors.cli.session import Session
from weft.errors import Unavailable
from weft.explain.health.text import render_report

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PATIENCE = 120.0
"""Seconds. Large hosts have much to go through."""


def doctor(options: Options, session: Session) -> int:
    report = _examine(session, fix=options.on("fix"))
    if options.on("json"):
        session.print(json.dumps(report, indent=4, ensure_ascii=False))
    else:
        session.print(render_report(report, look_of(options)).rstrip("\n"))
    return 1 if report["worst"] in ("warning", "error") else 0


def _examine(session: Session, *, fix: bool) -> dict[str, Any]:
    wire = session.client.wire
    method, target = ("POST", "/doctor/fix") if fix else ("GET", "/doctor")
    try:
        report: dict[str, Any] = wire.call(method, target, timeout=PATIENCE)
    except Unavailable as error:
        return _no_daemon(error.message)
    return report


def _no_daemon(message: str) -> dict[str, Any]:
    finding = {
        "check": "daemon",
        "subject": "weft",
        "level": "error",
        "what": message,
        "why": "Containers that run keep their networks and names, but nothing can be changed or examined.",
        "mend": ["systemctl start weftd", "journalctl -u weftd"],
        "fixable": False,
    }
    return {"worst": "error", "findings": [finding], "counters": {}}


COMMANDS = (
    Command(
        "doctor",
        "Find out what is wrong with the host's networking or weft's own state",
        doctor,
        flags=(
            Flag("--fix", "", "Put right what is weft's own, then look again"),
            Flag("--json", "", "Print the findings as JSON"),
        ),
        details="""\
Each finding comes with the reason and the command that mends it. weft changes nothing of other tools', --fix or not.
The exit code is 1 if there is a warning or an error.""",
        examples=(
            ("why do containers not reach the internet?", "weft doctor"),
            ("put back what something else took away", "weft doctor --fix"),
        ),
    ),
)
