"""Commands about containers that are there: ps, inspect, logs, stop, kill, wait, rename, rm."""

from __future__ import annotations

import sys
import time

from weft.doors.cli.flags import Command, Flag, Options, each
from weft.doors.cli.interrupts import EndedByInterrupts
from weft.doors.cli.options import read_signal, read_time
from weft.doors.cli.output import (
    ago,
    endpoint_text,
    labels_text,
    matches,
    ports_text,
    show_documents,
    show_rows,
    status_text,
)
from weft.doors.cli.session import Session
from weft.errors import Conflict, Invalid, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from weft.client import Answer, Container

COMMAND_WIDTH = 32


def ps(options: Options, session: Session) -> int:
    ended_too = options.on("all") or any(text.startswith("status=") for text in options.many("filter"))
    now = time.time()
    containers = session.client.containers.list(all=ended_too)
    chosen = [container for container in containers if _chosen(container, options)]
    if options.on("json"):
        show_documents(chosen, None, session)
        return 0
    rows = [_row(container, now, whole=options.on("no-trunc")) for container in reversed(chosen)]
    columns = [
        ("CONTAINER ID", "ID"),
        ("NAME", "Names"),
        ("STATUS", "Status"),
        ("NETWORKS", "Networks"),
        ("PORTS", "Ports"),
        ("COMMAND", "Command"),
    ]
    show_rows(rows, columns, options, session)
    return 0


def _chosen(container: Container, options: Options) -> bool:
    known = {
        "name": container.name,
        "id": container.id,
        "status": container.state,
        "network": " ".join(f"{endpoint.network} {endpoint.network_id}" for endpoint in container.endpoints),
    }
    return matches(options.many("filter"), known, container.labels)


def _row(container: Container, now: float, *, whole: bool) -> dict[str, str]:
    return {
        "ID": container.id if whole else container.id[:12],
        "Names": container.name,
        "Status": status_text(container, now),
        "State": container.state,
        "Networks": container.network_mode or ", ".join(endpoint_text(endpoint) for endpoint in container.endpoints),
        "Ports": ports_text(container.ports) if container.exit is None else "",
        "Command": _command(container, whole=whole),
        "CreatedAt": time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(container.created)),
        "RunningFor": f"{ago(now - container.created)} ago",
        "Labels": labels_text(container.labels),
        "Pid": str(container.pid or ""),
    }


def _command(container: Container, *, whole: bool) -> str:
    if container.process is None:
        return {"made": "", "pid": f"(process {container.pid})", "path": "(attached)"}[container.origin]
    text = " ".join(container.process["argv"])
    return text if whole or len(text) <= COMMAND_WIDTH else f"{text[: COMMAND_WIDTH - 1]}…"


def inspect(options: Options, session: Session) -> int:
    show_documents([_anything(ref, session) for ref in options.operands], options.text("format"), session)
    return 0


def _anything(ref: str, session: Session) -> Answer:
    """The container of that name, or else the network."""
    try:
        return session.client.containers.get(ref)
    except NotFound as missing:
        try:
            return session.client.networks.get(ref)
        except NotFound:
            raise missing from None


def logs(options: Options, session: Session) -> int:
    from weft.shim import client as shim

    container = session.client.containers.get(options.operands[0])
    if container.log is None:
        raise Conflict(f"container {container.name!r} has no log: weft did not start its process")
    now = time.time()
    since, until, tail = options.text("since"), options.text("until"), options.text("tail")
    with EndedByInterrupts():
        shim.logs(
            container.log,
            console=container.console or "",
            follow=options.on("follow"),
            since=None if since is None else read_time("since", since, now=now),
            until=None if until is None else read_time("until", until, now=now),
            tail=None if tail in (None, "all") else _count("tail", tail or ""),
            timestamps=options.on("timestamps"),
        )
    return 0


def _count(what: str, text: str) -> int:
    if not text.isdecimal():
        raise Invalid(f"{what}: {text!r} is not a number")
    return int(text)


def stop(options: Options, session: Session) -> int:
    timeout = _count("time", options.text("time") or "10")
    stop_one = session.client.containers.stop
    return each(options.operands, "stopping", lambda ref: stop_one(ref, timeout=timeout), session)


def kill(options: Options, session: Session) -> int:
    number = read_signal(options.text("signal") or "KILL")
    kill_one = session.client.containers.kill
    return each(options.operands, "signalling", lambda ref: kill_one(ref, signal=number), session)


def wait(options: Options, session: Session) -> int:
    code = 0
    with EndedByInterrupts():
        for ref in options.operands:
            try:
                session.print(str(session.client.containers.wait(ref)))
                sys.stdout.flush()
            except NotFound as error:
                session.complain(error.message)
                code = 1
    return code


def rename(options: Options, session: Session) -> int:
    old, new = options.operands
    session.client.containers.rename(old, new)
    return 0


def rm(options: Options, session: Session) -> int:
    force = options.on("force")
    remove = session.client.containers.remove
    return each(options.operands, "removing", lambda ref: remove(ref, force=force), session)


COMMANDS = (
    Command(
        "ps",
        "List containers",
        ps,
        flags=(
            Flag("-a --all", "", "Also those that have ended"),
            Flag("-q --quiet", "", "Only ids"),
            Flag("-f --filter", "NAME=VALUE", "name, id, status, network or label", repeat=True),
            Flag("--no-trunc", "", "Whole ids and commands"),
            Flag("--format", "TEMPLATE", "table, json, or a template such as '{{.Names}} {{.Networks}}'"),
            Flag("--json", "", "Everything that is known, as one JSON array"),
        ),
        examples=(
            ("who is on the network front", "weft ps --filter network=front"),
            ("names and addresses", "weft ps --format 'table {{.Names}}\\t{{.Networks}}'"),
            ("remove all there are", "weft rm -f $(weft ps -aq)"),
        ),
    ),
    Command(
        "inspect",
        "Show everything about containers or networks, as JSON",
        inspect,
        operands="NAME…",
        least=1,
        most=None,
        completes=("container",),
        flags=(Flag("-f --format", "TEMPLATE", "json, or a template such as '{{.Netns}}'"),),
        examples=(
            ("addresses", "weft inspect db -f '{{range .Endpoints}}{{.IPv4}} {{end}}'"),
            ("its network namespace, for other tools", "nsenter --net=$(weft inspect db -f '{{.Netns}}') ip address"),
        ),
    ),
    Command(
        "logs",
        "Show what a container has written",
        logs,
        operands="CONTAINER",
        least=1,
        most=1,
        completes=("container",),
        flags=(
            Flag("-f --follow", "", "Go on until the container ends"),
            Flag("-n --tail", "LINES", "Only so many of the last lines"),
            Flag("--since", "TIME", "From then on: 10m (ago), 2026-01-31T12:00:00, or seconds since the epoch"),
            Flag("--until", "TIME", "Up to then"),
            Flag("-t --timestamps", "", "Begin each line with its time"),
        ),
        examples=(("the last minute, and what comes", "weft logs -f --since 1m web"),),
    ),
    Command(
        "stop",
        "Ask containers to end, and make them",
        stop,
        operands="CONTAINER…",
        least=1,
        most=None,
        completes=("container",),
        flags=(Flag("-t --timeout --time", "SECONDS", "How long to wait before SIGKILL (default 10)"),),
        details="SIGTERM; SIGKILL for what has not ended when the time is over. A container that has ended is fine.",
        examples=(("be patient with the database", "weft stop --time 60 db"),),
    ),
    Command(
        "kill",
        "Send containers a signal",
        kill,
        operands="CONTAINER…",
        least=1,
        most=None,
        completes=("container",),
        flags=(
            Flag("-s --signal", "SIGNAL", "KILL (the default), HUP, SIGUSR1, 15, …", completes="KILL TERM HUP INT"),
        ),
        examples=(("read the configuration again", "weft kill -s HUP web"),),
    ),
    Command(
        "wait",
        "Wait until containers end; print their exit codes",
        wait,
        operands="CONTAINER…",
        least=1,
        most=None,
        completes=("container",),
        examples=(("fail if the job failed", 'test "$(weft wait job)" = 0'),),
    ),
    Command(
        "rename",
        "Give a container another name",
        rename,
        operands="CONTAINER NAME",
        least=2,
        most=2,
        completes=("container",),
        details="""\
Neighbours find it by the new name at once, and by the old one no more: that one is free for another container. Aliases,
addresses and connections stay.""",
        examples=(("make room for the next version", "weft rename web web-before"),),
    ),
    Command(
        "rm",
        "Remove containers",
        rm,
        operands="CONTAINER…",
        least=1,
        most=None,
        completes=("container",),
        flags=(Flag("-f --force", "", "Also those whose process still runs: it is killed"),),
        details="""\
Takes them off their networks; addresses, names and ports are free again. For a container that something else made,
its process and namespace stay.""",
        examples=(("whatever it does", "weft rm -f db"),),
    ),
)
