"""Containers without the daemon: a namespace, a runtime, and `weft run` as far as it concerns the console."""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from tests.hosts import Namespace
from tests.shim.foreground import FILES
from weft.model import Exit, Process, Sandbox
from weft.names import new_id
from weft.outside.runtime import ShimRuntime

SRC = Path(__file__).parents[2] / "src"


class Boxes:
    """A place for containers, all in one network namespace of the test's own; ends them when it ends."""

    def __init__(self) -> None:
        self.place = tempfile.mkdtemp(prefix="wb", dir="/tmp")
        self.runtime = ShimRuntime(f"{self.place}/run", f"{self.place}/state")
        self.namespace = Namespace()
        self._made: list[Sandbox] = []

    def sandbox(self, *argv: str, **process: Any) -> Sandbox:
        made = Sandbox(
            id=new_id(), name="box", key=self.namespace.path, hostname="box", process=Process(argv=argv, **process)
        )
        self._made.append(made)
        return made

    def start(self, *argv: str, **process: Any) -> Sandbox:
        """Start in the background."""
        sandbox = self.sandbox(*argv, **process)
        self.runtime.start(sandbox, FILES)
        return sandbox

    def end(self, sandbox: Sandbox, timeout: float = 5.0) -> Exit:
        """Wait for the end, as the daemon does."""
        fd = self.runtime.pidfd(sandbox.id)
        if fd is not None:
            ended = select.select([fd], [], [], timeout)[0]
            os.close(fd)
            assert ended, "the container has not ended"
        exited = self.runtime.exit_of(sandbox.id)
        assert exited is not None
        return exited

    def run(
        self, *argv: str, stdin: str | None = None, prepared: bool = True, **process: Any
    ) -> subprocess.CompletedProcess[str]:
        """`weft run` in the foreground, without a terminal."""
        if stdin is not None:
            process["open_stdin"] = True
        sandbox = self.sandbox(*argv, **process)
        return subprocess.run(
            self.command(sandbox, prepared=prepared),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )

    def command(self, sandbox: Sandbox, *, prepared: bool = True) -> list[str]:
        """A command line that runs the container in the foreground; not `prepared`: the daemon was restarted."""
        assert sandbox.process is not None
        process = {field: getattr(sandbox.process, field) for field in Process.__slots__}
        wanted = {"place": self.place, "id": sandbox.id, "key": sandbox.key, "process": process, "prepared": prepared}
        return [sys.executable, str(SRC.parent / "tests/shim/foreground.py"), json.dumps(wanted)]

    def console(self, sandbox: Sandbox) -> str:
        return self.runtime.console(sandbox.id)

    def call(self, function: str, *args: Any, **options: Any) -> list[str]:
        """A command line that calls a function of weft.shim.client and exits with what it returns."""
        code = (
            f"import sys; sys.path.insert(0, {str(SRC)!r})\n"
            "from weft.errors import WeftError\n"
            "from weft.shim import client\n"
            "try:\n"
            f"    code = client.{function}(*{args!r}, **{options!r})\n"
            "except WeftError as error:\n"
            "    sys.exit(f'{type(error).__name__}: {error.message}')\n"
            "sys.exit(99 if code is None else code)\n"
        )
        return [sys.executable, "-c", code]

    def execute(self, sandbox: Sandbox, *argv: str, **options: Any) -> subprocess.CompletedProcess[str]:
        command = self.call("execute", self.console(sandbox), list(argv), **options)
        return subprocess.run(
            command, capture_output=True, stdin=subprocess.DEVNULL, text=True, timeout=20, check=False
        )

    def logs(self, sandbox: Sandbox, **options: Any) -> subprocess.CompletedProcess[str]:
        log = self.runtime.log(sandbox.id)
        command = self.call("logs", log, console=self.console(sandbox), **options)
        return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)

    def close(self) -> None:
        for sandbox in self._made:
            self.runtime.discard(sandbox.id)
            self.runtime.discard(sandbox.id)
        self.namespace.close()
        shutil.rmtree(self.place)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def eventually(claim: Callable[[], object], timeout: float = 5.0) -> None:
    """Wait until the claim holds, and fail if it does not in time."""
    end = time.monotonic() + timeout
    while not claim():
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(0.01)
