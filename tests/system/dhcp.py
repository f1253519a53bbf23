"""DHCP servers on the LAN of a test: dnsmasq, and one of the tests' own that can be told to misbehave."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.daemons import SOURCE
from tests.hosts import Namespace
from tests.system import leaser
from tests.system.lan import ROUTER4
from tests.system.leaser import Mood
from tests.waiting import eventually

RANGE = ("192.168.50.130", "192.168.50.139")


@dataclass(frozen=True)
class Dnsmasq:
    directory: Path

    @property
    def leases(self) -> list[dict[str, str]]:
        """Its file of leases: when each ends, MAC, address, host name, client identifier."""
        path = self.directory / "leases"
        lines = path.read_text().splitlines() if path.exists() else []
        fields = ("expires", "mac", "address", "name", "client")
        return [dict(zip(fields, line.split(), strict=True)) for line in lines if line and not line.startswith("duid")]

    @property
    def log(self) -> str:
        return (self.directory / "log").read_text()


@contextlib.contextmanager
def dnsmasq(
    where: Namespace,
    link: str,
    directory: Path,
    *,
    last: str = RANGE[1],
    first: str = RANGE[0],
    more: tuple[str, ...] = (),
) -> Iterator[Dnsmasq]:
    program = shutil.which("dnsmasq")
    if program is None:
        pytest.skip("there is no dnsmasq")
    directory.mkdir()
    command = [
        *(
            program,
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--port=0",
            "--user=root",
            "--group=root",
            "--no-ping",
        ),
        *(f"--interface={link}", "--bind-interfaces", "--dhcp-authoritative", "--log-dhcp"),
        *(f"--dhcp-range={first},{last},255.255.255.0,120", f"--dhcp-leasefile={directory}/leases"),
        *(f"--log-facility={directory}/log", f"--pid-file={directory}/pid", *more),
    ]
    with where.popen(command) as program_run:
        try:
            log = directory / "log"
            eventually(lambda: log.exists() and "sockets bound" in log.read_text(), within=5)
            yield Dnsmasq(directory)
        finally:
            program_run.terminate()


@dataclass(frozen=True)
class Leaser:
    directory: Path
    mood: Mood

    def turns(self, **mood: Any) -> None:
        """From now on it is in the same mood but for these."""
        replace(self.mood, **mood).save(self.directory)

    def heard(self, kind: str = "", *, since: float = 0.0) -> list[dict[str, Any]]:
        return [said for said in leaser.heard(self.directory) if kind in ("", said["kind"]) and said["at"] >= since]


@contextlib.contextmanager
def moody(where: Namespace, link: str, directory: Path, **mood: Any) -> Iterator[Leaser]:
    directory.mkdir()
    known = {"server": ROUTER4, "addresses": ("192.168.50.140", "192.168.50.141"), "router": ROUTER4, **mood}
    server = Leaser(directory, Mood(**known))
    server.turns()
    command = [sys.executable, "-P", "-m", "tests.system.leaser", str(directory), link]
    environment = {"PYTHONPATH": f"{SOURCE}:{Path(SOURCE).parent}", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    with where.popen(command, stdout=subprocess.PIPE, env=environment) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
        try:
            yield server
        finally:
            program.kill()
