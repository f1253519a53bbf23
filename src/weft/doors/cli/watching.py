"""Commands that look on: events, stats, version."""

from __future__ import annotations

import json
import sys
import time

from weft import __version__
from weft.doors.cli.flags import Command, Flag, Options
from weft.doors.cli.interrupts import EndedByInterrupts
from weft.doors.cli.options import read_time
from weft.doors.cli.output import bytes_text, matches, table
from weft.doors.cli.session import Session
from weft.errors import NotFound, Unavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from weft.client import Event

HEADINGS = ("NAME", "INTERFACE", "NETWORK", "RECEIVED", "SENT", "PACKETS IN", "PACKETS OUT", "ERRORS", "DROPPED")
COMMAND_WIDTH = 64


def events(options: Options, session: Session) -> int:
    now = time.time()
    since, until = options.text("since"), options.text("until")
    news = session.client.events(
        since=None if since is None else read_time("since", since, now=now),
        until=None if until is None else read_time("until", until, now=now),
        follow=options.on("follow", default=True),
    )
    show = _presentation(options)
    with EndedByInterrupts():
        for event in news:
            known = {"type": event.type, "action": event.action, "name": event.name, "id": event.id}
            if matches(options.many("filter"), known, {}, begins=("action",)):
                session.print(show(event))
                sys.stdout.flush()
    return 0


def _presentation(options: Options) -> Callable[[Event], str]:
    template = options.text("format")
    if options.on("json") or template == "json":
        return lambda event: json.dumps(event.document, ensure_ascii=False)
    if template is not None:
        from weft.doors.cli.template import compile_template

        render = compile_template(template)
        return lambda event: render(event.document)
    return _line


def _line(event: Event) -> str:
    whole = int(event.time)
    moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(whole)) + f".{int((event.time - whole) * 1000):03d}"
    attributes = ", ".join(f"{key}={value}" for key, value in _shown(event).items())
    return f"{moment} {event.type} {event.action} {event.name}" + (f" ({attributes})" if attributes else "")


def _shown(event: Event) -> dict[str, str]:
    shown = dict(event.attributes)
    if "exec" in shown:
        shown["exec"] = shown["exec"][:12]
    if "command" in event.details:
        # A client has written it: it may be long, and hold anything.
        text = "".join(character if character.isprintable() else " " for character in event.details["command"])
        shown["command"] = text if len(text) <= COMMAND_WIDTH else f"{text[: COMMAND_WIDTH - 1]}…"
    return shown


def stats(options: Options, session: Session) -> int:
    again = sys.stdout.isatty() and not options.on("no-stream") and not options.on("json")
    while True:
        counted = _count(options.operands, session)
        if options.on("json"):
            session.print(json.dumps(counted, indent=4, ensure_ascii=False))
            return 0
        text = table(HEADINGS, [row for name, interfaces in counted.items() for row in _rows(name, interfaces)])
        session.print(f"\033[H\033[2J{text}" if again else text)
        sys.stdout.flush()
        if not again:
            return 0
        time.sleep(1)


def _count(refs: list[str], session: Session) -> dict[str, list[dict[str, object]]]:
    """Container name to its interfaces' counters. Containers that end meanwhile are left out, unless asked for."""
    containers = session.client.containers
    chosen = [containers.get(ref) for ref in refs] if refs else containers.list()
    counted: dict[str, list[dict[str, object]]] = {}
    for container in chosen:
        try:
            counted[container.name] = [interface.document for interface in containers.stats(container)]
        except NotFound:
            if refs:
                raise
    return counted


def _rows(name: str, interfaces: list[dict[str, object]]) -> list[list[str]]:
    return [
        [
            name,
            str(i["name"]),
            str(i["network"]),
            bytes_text(float(str(i["rx_bytes"]))),
            bytes_text(float(str(i["tx_bytes"]))),
            str(i["rx_packets"]),
            str(i["tx_packets"]),
            str(int(str(i["rx_errors"])) + int(str(i["tx_errors"]))),
            str(int(str(i["rx_dropped"])) + int(str(i["tx_dropped"]))),
        ]
        for i in interfaces
    ]


def version(options: Options, session: Session) -> int:
    try:
        daemon = session.client.ping()
    except Unavailable as error:
        session.print(json.dumps({"weft": __version__, "weftd": None}) if options.on("json") else f"weft {__version__}")
        session.complain(error.message)
        return 1
    if options.on("json"):
        session.print(json.dumps({"weft": __version__, "weftd": daemon["version"]}))
    else:
        session.print(f"weft {__version__}\nweftd {daemon['version']}, process {daemon['pid']}")
    return 0


COMMANDS = (
    Command(
        "events",
        "Show what happens, as it happens",
        events,
        flags=(
            Flag("--since", "TIME", "First what weftd remembers from then: 10m (ago), a date, seconds since the epoch"),
            Flag("--until", "TIME", "End then"),
            Flag("--follow", "", "Go on for ever, the default; --follow=false for what is remembered alone"),
            Flag("-f --filter", "NAME=VALUE", "type, action (or how it begins: exec), name or id", repeat=True),
            Flag("--format", "TEMPLATE", "json, or a template such as '{{.Type}} {{.Action}} {{.Name}}'"),
            Flag("--json", "", "One JSON document a line"),
        ),
        examples=(
            ("who came and went in the last hour", "weft events --since 1h --follow=false --filter type=network"),
        ),
    ),
    Command(
        "stats",
        "Show what passes through containers' interfaces",
        stats,
        operands="[CONTAINER…]",
        most=None,
        completes=("container",),
        flags=(
            Flag("--no-stream", "", "Once, instead of again every second"),
            Flag("--json", "", "As JSON, once"),
        ),
        examples=(("one look", "weft stats --no-stream web db"),),
    ),
    Command(
        "version",
        "Show the versions of weft and weftd",
        version,
        flags=(Flag("--json", "", "As JSON"),),
        examples=(("is the daemon there?", "weft version"),),
    ),
)
