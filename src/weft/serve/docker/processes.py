"""GET /containers/{ref}/top: the processes in a container, as `ps -ef` shows them, or as the client asks `ps` to."""

from __future__ import annotations

import asyncio
import os
import pwd
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from weft.engine.parts import Parts
from weft.model import Sandbox
from weft.serve.docker import ps
from weft.serve.docker.dialect import Asked, Refused
from weft.serve.docker.finding import find_container
from weft.serve.docker.telling import tell
from weft.serve.lives import pid_of, state_of
from weft.serve.routes import Route

TITLES = ("UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD")

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Processes:
    parts: Parts

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(
                method="GET",
                path="/containers/{ref}/top",
                handler=self.top,
                waits=True,
                summary="A container's processes",
            ),
        )

    async def top(self, asked: Asked) -> dict[str, Any]:
        arguments = asked.query.get("ps_args", "")
        ps.read_arguments(arguments)
        sandbox = find_container(self.parts, asked.ref)
        if state_of(sandbox, self.parts) != "running":
            raise Refused(409, f"container {sandbox.id} is not running")
        if arguments in ("", "-ef"):  # which needs no ps
            rows = await asyncio.to_thread(lambda: [row for pid in pids_in(sandbox, self.parts) for row in _row(pid)])
            table = {"Titles": list(TITLES), "Processes": rows}
        else:
            table = await ps.processes(arguments, await asyncio.to_thread(lambda: list(pids_in(sandbox, self.parts))))
        tell(self.parts, sandbox, "top")
        return table


def pids_in(sandbox: Sandbox, parts: Parts) -> Iterator[int]:
    """The processes in its network namespace: that is what a container of weft's is.

    Of one whose network is not its own, those in its PID namespace.
    """
    kind = "net" if sandbox.origin.own else "pid"
    try:
        wanted = _identity(sandbox.key if sandbox.origin.own else f"/proc/{pid_of(sandbox, parts) or 0}/ns/pid")
    except OSError:
        return  # it has just ended
    for pid in sorted(int(name) for name in os.listdir("/proc") if name.isdecimal()):
        try:
            if _identity(f"/proc/{pid}/ns/{kind}") == wanted:
                yield pid
        except OSError:
            continue  # gone meanwhile, or the kernel lets nobody look


def _identity(namespace: str) -> tuple[int, int]:
    status = os.stat(namespace)
    return status.st_dev, status.st_ino


def _row(pid: int) -> Iterator[list[str]]:
    try:
        with open(f"/proc/{pid}/stat", errors="replace") as file:
            before, _, after = file.read().rpartition(")")
        with open(f"/proc/{pid}/cmdline", errors="replace") as file:
            command = file.read().rstrip("\0").replace("\0", " ")
        uid = os.stat(f"/proc/{pid}").st_uid
        uptime = time.clock_gettime(time.CLOCK_BOOTTIME)
    except OSError:
        return  # it has just ended
    fields = after.split()  # from field 3 of proc(5) on
    used = (int(fields[11]) + int(fields[12])) / _TICKS
    lived = max(uptime - int(fields[19]) / _TICKS, 0.01)
    yield [
        _user(uid),
        str(pid),
        fields[1],
        str(int(100 * used / lived)),
        _start(time.time() - lived),
        _terminal(int(fields[4])),
        time.strftime("%H:%M:%S", time.gmtime(used)) if used < 86400 else f"{int(used)}",
        command or f"[{before.partition('(')[2]}]",
    ]


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _start(moment: float) -> str:
    """The hour and minute; the day if it was not in the last 24 hours."""
    return time.strftime("%H:%M" if time.time() - moment < 86400 else "%b%d", time.localtime(moment))


def _terminal(device: int) -> str:
    """Its terminal's number, of which only those of pts have a name that means something here."""
    if device == 0:
        return "?"
    major, minor = os.major(device), os.minor(device)
    return f"pts/{(major - 136) * 256 + minor}" if 136 <= major <= 143 else f"{major}:{minor}"
