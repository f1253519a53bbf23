"""The private world that everything is measured in.

The whole run happens in network, mount and process namespaces of its own: it touches no link, rule, mount or file of
the machine, and when it ends the kernel ends every process that is left. Each contender gets a further network
namespace as its *host*, so that none pays for another's rules.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from bench.namespaces import entered, new_namespace

INSIDE = "WEFT_BENCH_SCRATCH"
"""Set inside the private world: the run's directory on disk, removed when it ends."""

REPOSITORY = Path(__file__).resolve().parent.parent
RUN = Path("/run")
"""A tmpfs of the private world's own."""


class Absent(Exception):
    """A peer or tool that is not installed; the message says which Debian package has it."""


def enter(arguments: Sequence[str]) -> int:
    """Run the benches again inside a private world; their exit status."""
    if os.geteuid() != 0:
        print("bench: namespaces, dockerd and the CNI plugins need root", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    scratch = tempfile.mkdtemp(prefix="weft-bench-", dir="/var/tmp")
    command = ["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"]
    try:
        return subprocess.run(
            [*command, sys.executable, "-m", "bench", *arguments], env={**os.environ, INSIDE: scratch}, check=False
        ).returncode
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def settle_in() -> None:
    """First thing inside: become the namespace's init in one process, go on with the benches in another.

    dockerd and netavark leave orphans behind, and in a process namespace its first process has to reap them.
    """
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", str(RUN)], check=True)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    child = os.fork()
    if child == 0:
        return
    while True:
        pid, status = os.wait()
        if pid == child:
            os._exit(os.waitstatus_to_exitcode(status) & 0xFF)


class Host:
    """A contender's own host: a network namespace with loopback up."""

    def __init__(self) -> None:
        self.netns = new_namespace()
        self.run("ip", "link", "set", "lo", "up")

    def run(self, *command: str, feed: str | None = None) -> str:
        """Run a program to its end; what it printed."""
        with entered(self.netns):
            done = subprocess.run(command, input=feed, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip() or done.returncode}")
        return done.stdout

    def spawn(
        self,
        *command: str,
        env: Mapping[str, str] | None = None,
        log: Path | None = None,
        pipes: bool = False,
    ) -> subprocess.Popen[str]:
        return spawn(self.netns, *command, env=env, log=log, pipes=pipes)

    def close(self) -> None:
        os.close(self.netns)


def spawn(
    netns: int | str | Path,
    *command: str,
    env: Mapping[str, str] | None = None,
    log: Path | None = None,
    pipes: bool = False,
) -> subprocess.Popen[str]:
    """Start a program in a namespace. It prints to `log`, or to a pipe (with `pipes`, its input is one too)."""
    output: IO[bytes] | int = log.open("ab") if log else subprocess.PIPE
    with entered(netns):
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE if pipes else subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT if log else None,
            env=None if env is None else {**os.environ, **env},
            text=True,
        )
    if not isinstance(output, int):
        output.close()
    return process


def stop(process: subprocess.Popen[str], *, patience: float = 20) -> None:
    """End a process that we started: politely, then not. Repeatable."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Where a run keeps things and how long it takes over them."""

    scratch: Path
    """On disk, as a real state directory is."""
    quick: bool

    def directory(self, name: str) -> Path:
        """A fresh directory on disk."""
        return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.scratch))

    def volatile(self, name: str) -> Path:
        """A fresh directory on tmpfs, as a real run directory is."""
        return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=RUN))

    def compiled(self, name: str) -> str:
        """A C program that stands beside this file, compiled once per run."""
        target = self.scratch / name
        if not target.exists():
            cc = require("cc", "gcc, libc6-dev and linux-libc-dev")
            source = Path(__file__).with_name(f"{name}.c")
            subprocess.run([cc, "-O2", "-Wall", "-Wextra", "-o", target, source], check=True)
        return str(target)

    def tell(self, message: str) -> None:
        """Progress, for whoever waits."""
        print(f"bench: {message}", file=sys.stderr, flush=True)


def require(program: str, package: str) -> str:
    """The path of a program (given as a name or as a path)."""
    found = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if found is None:
        raise Absent(f"{program} is not installed (Debian: {package})")
    return found
