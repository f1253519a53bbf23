"""A real weftd in a private host, for tests that use it as people and programs do.

`Weftd(host, directory)` starts one and waits until it answers; `kill()` is kill -9, `restart()` starts another on the
same state. `client` is the Python library, `cli(...)` runs the command line, `sandbox(...)` runs a command inside a
container's network namespace.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

from tests.hosts import PrivateHost
from tests.waiting import PACE
from weft import names
from weft.client import Client, connect
from weft.config import Config
from weft.errors import Unavailable
from weft.kernel.links import SPARE_GROUP
from weft.settings import load_config

SOURCE = str(Path(__file__).resolve().parents[1] / "src")
PATIENCE = 15.0 * PACE


class Weftd:
    def __init__(
        self, host: PrivateHost, directory: Path, *, module: str = "weft.daemon", settings: tuple[str, ...] = ()
    ) -> None:
        """`directory` holds state, run directory and log. `module` is what is run, for launchers of a test's own."""
        self.host = host
        self.state_dir, self.run_dir = f"{directory}/state", f"{directory}/run"
        self.socket = f"{self.run_dir}/weft.sock"
        self.log_path = f"{directory}/weftd.log"
        self.client: Client = connect(f"unix://{self.socket}")
        self._module = module
        self.settings = settings
        self._process: subprocess.Popen[str] | None = None
        self._closed = False
        self.start()

    @property
    def environment(self) -> dict[str, str]:
        root = str(Path(SOURCE).parent)
        return {**os.environ, "PYTHONPATH": f"{SOURCE}:{root}", "WEFT_HOST": f"unix://{self.socket}"}

    @property
    def config(self) -> Config:
        """As far as it is set."""
        return load_config([*self.command[4:]], {})

    @property
    def pid(self) -> int:
        """Of weftd itself."""
        assert self._process is not None
        return self._process.pid

    @property
    def resolver_pid(self) -> int:
        return int(Path(f"{self.run_dir}/resolver.pid").read_text())

    def start(self) -> None:
        """Start weftd and wait until it answers."""
        with open(self.log_path, "a") as log:
            self._process = self.host.popen(self.command, stderr=log, stdout=log, env=self.environment)
        self.wait_until_ready()

    @property
    def command(self) -> list[str]:
        places = ("--state-dir", self.state_dir, "--run-dir", self.run_dir)
        return [sys.executable, "-P", "-m", self._module, *places, *self.settings]

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while not self._answers():
            if not self.alive or time.monotonic() > deadline:
                raise AssertionError(f"weftd does not answer:\n{self.log()}")
            time.sleep(0.005)

    def _answers(self) -> bool:
        try:
            return bool(self.client.ping()["ready"])
        except Unavailable:
            return False

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """kill -9, and nothing else ends."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def restart(self) -> None:
        """kill -9 and start another on the same state."""
        if self.alive:
            self.kill()
        self.start()

    def wait_dead(self, timeout: float = PATIENCE) -> bool:
        """Whether it died by itself in time."""
        assert self._process is not None
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return False
        return True

    def log(self) -> str:
        return Path(self.log_path).read_text()

    def cli(self, *arguments: str, check: bool = True, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run `weft ARGUMENTS` in the private host."""
        command = [*self.host.prefix, sys.executable, "-m", "weft.doors.cli", *arguments]
        options = {"capture_output": True, "text": True, "timeout": 60 * PACE, "env": self.environment, **options}
        done = subprocess.run(command, check=False, **options)
        if check and done.returncode:
            raise AssertionError(
                f"weft {' '.join(arguments)}: {done.returncode}\n{done.stdout}{done.stderr}\n{self.log()}"
            )
        return done

    def json(self, *arguments: str) -> Any:
        """What a command says as JSON."""
        return json.loads(self.cli(*arguments).stdout)

    def sandbox(self, container: str, *command: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a command in a container's network namespace (the tests' own files, unlike `weft exec`)."""
        key = self.client.containers.get(container).netns
        return self.host.run(["nsenter", f"--net={key}", *command], **options)

    def marks(self) -> set[str]:
        """Every name in the kernel that bears weft's mark: links of the host and pins."""
        links = json.loads(self.host.run("ip -j link").stdout)
        spare = str(SPARE_GROUP)  # made ahead for containers to come, gone with weftd
        found = {link["ifname"] for link in links if names.is_ours(link["ifname"]) and link["group"] != spare}
        pins = self.host.run(["ls", f"{self.run_dir}/netns"], check=False).stdout.split()
        return found | {f"pin {pin}" for pin in pins}

    def stop(self) -> None:
        """SIGTERM, as a service manager stops it, and nothing else ends."""
        assert self._process is not None
        self._process.terminate()
        self._process.wait(PATIENCE)

    def close(self) -> None:
        """Remove all containers, then end weftd and the resolver it left running."""
        if self._closed:
            return
        self._closed = True
        try:
            if self.alive:
                for container in self.client.containers.list(all=True):
                    self.client.containers.remove(container, force=True)
                self.stop()
        finally:
            self.client.close()
            if self.alive:
                self.kill()
            self._end_processes()

    def _end_processes(self) -> None:
        """Of the resolver, which outlives weftd, and of supervisors, if a test has left weftd dead."""
        with contextlib.suppress(OSError, ValueError):
            os.kill(self.resolver_pid, signal.SIGTERM)
        for status in Path(self.run_dir).glob("containers/*/status.json"):
            with contextlib.suppress(OSError, ValueError, KeyError):
                known = json.loads(status.read_text())
                if "exit_code" not in known:
                    os.kill(known["pid"], signal.SIGKILL)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
