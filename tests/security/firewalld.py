"""Debian's firewalld in a private host, with a message bus and a configuration of its own: nothing of the machine's.

The bus starts no services on demand, so that nothing but the two programs lives here; root may do everything on it.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Self

import pytest

from tests.hosts import PrivateHost, needs_root
from tests.waiting import eventually

BUS = """\
<busconfig>
  <type>system</type>
  <listen>unix:path=/run/dbus/system_bus_socket</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <allow own="*"/>
    <allow send_type="method_call"/>
    <allow send_destination="*"/>
    <allow receive_sender="*"/>
  </policy>
</busconfig>
"""


class Firewalld:
    def __init__(self, host: PrivateHost, directory: Path, *, backend: str = "nftables") -> None:
        """Skips the test where it is not installed. `backend`: nftables or iptables."""
        needs_root("firewalld")
        for program in ("firewalld", "firewall-cmd", "dbus-daemon"):
            if shutil.which(program) is None:
                pytest.skip(f"{program} is not installed")
        self.host = host
        self._directory = directory
        self._daemons: list[subprocess.Popen[str]] = []
        shutil.copytree("/etc/firewalld", directory / "etc")
        settings = directory / "etc" / "firewalld.conf"
        settings.write_text(settings.read_text().replace("FirewallBackend=nftables", f"FirewallBackend={backend}"))
        (directory / "bus.conf").write_text(BUS)
        host.run("mount -t tmpfs -o mode=755 tmpfs /run")
        host.run(f"mount --bind {directory}/etc /etc/firewalld")
        host.run("mkdir /run/dbus /run/firewalld")
        self._start_one("dbus-daemon", f"--config-file={directory}/bus.conf", "--nofork", "--nopidfile")
        eventually(lambda: host.run("test -S /run/dbus/system_bus_socket", check=False).returncode == 0, within=5)
        self._start()

    def _start(self) -> None:
        self._start_one("firewalld", "--nofork", "--nopid", "--log-file", "/run/firewalld/log")
        running = ["firewall-cmd", "--state"]
        eventually(lambda: self.host.run(running, check=False).returncode == 0, within=20, says="firewalld is away")

    def _start_one(self, *command: str) -> None:
        with open(self._directory / "log", "a") as log:
            self._daemons.append(self.host.popen(command, stdout=log, stderr=log))

    def tell(self, *words: str) -> str:
        """What firewall-cmd says. Raises AssertionError if it refuses."""
        return self.host.run(["firewall-cmd", *words], timeout=60).stdout

    def restart(self) -> None:
        _end(self._daemons.pop())
        self._start()

    def close(self) -> None:
        while self._daemons:
            _end(self._daemons.pop())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _end(daemon: subprocess.Popen[str]) -> None:
    daemon.terminate()
    try:
        daemon.wait(20)
    except subprocess.TimeoutExpired:
        daemon.kill()
        daemon.wait()
