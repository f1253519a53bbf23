"""A weftd to be killed: restarted in a moment, and struck at the boundary that a test names (see launcher.py)."""

from __future__ import annotations

import os
import select
import signal
import subprocess
from pathlib import Path

from tests.daemons import PATIENCE, Weftd
from tests.hosts import PrivateHost


class Mortal(Weftd):
    def __init__(self, host: PrivateHost, directory: Path, **options: object) -> None:
        self._pidfd = -1
        self._pid = 0
        self._attempts = 0
        self._nursery: subprocess.Popen[str] | None = None
        super().__init__(host, directory, module="tests.crash.launcher")

    def start(self) -> None:
        if self._nursery is None:
            with open(self.log_path, "a") as log:
                pipe = subprocess.PIPE
                self._nursery = self.host.popen(
                    self.command, stdin=pipe, stdout=pipe, stderr=log, env=self.environment, bufsize=1
                )
        assert self._nursery.stdin is not None
        assert self._nursery.stdout is not None
        self._nursery.stdin.write("start\n")
        self._pid = int(self._nursery.stdout.readline())
        self._forget()
        self._pidfd = os.pidfd_open(self._pid)
        self.wait_until_ready()

    @property
    def pid(self) -> int:
        return self._pid

    @property
    def alive(self) -> bool:
        return self._pidfd >= 0 and not self.wait_dead(0)

    def wait_dead(self, timeout: float = PATIENCE) -> bool:
        return bool(select.select([self._pidfd], [], [], timeout)[0])

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def _end(self, signum: int) -> None:
        signal.pidfd_send_signal(self._pidfd, signum)
        assert self.wait_dead()

    def _forget(self) -> None:
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1

    def arm(self, deed: str, boundary: int) -> None:
        """From now on boundaries are counted; at this one, the deed is done."""
        Path(f"{self.run_dir}/strike.done").unlink(missing_ok=True)
        self._attempts += 1
        Path(f"{self.run_dir}/strike.new").write_text(f"{boundary} {deed} {self._attempts}")
        os.replace(f"{self.run_dir}/strike.new", f"{self.run_dir}/strike")

    def disarm(self) -> str:
        """Where it was struck; empty if it has not come that far."""
        Path(f"{self.run_dir}/strike").unlink(missing_ok=True)
        try:
            return Path(f"{self.run_dir}/strike.done").read_text() or "?"
        except FileNotFoundError:
            return ""

    def close(self) -> None:
        self.disarm()
        if not self.alive:
            self.start()  # to take the containers down
        super().close()
        self._forget()
        if self._nursery is not None and self._nursery.stdin is not None and self._nursery.stdout is not None:
            self._nursery.stdin.close()
            self._nursery.stdout.close()
            self._nursery.wait(PATIENCE)
            self._nursery = None
