"""Private hosts: network namespaces that a test makes for itself, so that nothing on this machine is touched.

Two ways to have one:

* `@in_private_host` runs a test's body in a forked child that lives in a fresh network and mount namespace. For code
  that works in-process (the kernel room). Fixtures are made before the fork; a failed assertion or a skip in the child
  is one in the test.
* `PrivateHost()` is a long-lived one, kept by a process of its own; programs are started in it with `run` and
  `popen`. For tests that drive weftd and its doors from outside. `host.container()` makes a further namespace, as
  another tool would: a container that weft did not make.

Both work as root and, for a normal user, inside a user namespace. Where neither is possible `needs_namespaces()`
skips the test and says why.
"""

from __future__ import annotations

import ctypes
import functools
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self, TypeVar

import pytest

from tests.waiting import PACE

CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000
MS_REC_PRIVATE = 0x4000 | (1 << 18)

Test = TypeVar("Test", bound=Callable[..., None])


def in_private_host(test: Test) -> Test:
    """Run the test in a child that is alone in a fresh network and mount namespace, `lo` up, all mounts private."""

    @functools.wraps(test)
    def forked(*args: Any, **kwargs: Any) -> None:
        needs_namespaces()
        _in_child(lambda: test(*args, **kwargs))

    return forked  # type: ignore[return-value]


def needs_namespaces() -> None:
    """Skip the running test, with the reason, where no private host can be made."""
    reason = why_not()
    if reason:
        pytest.skip(reason)


def needs_root(why: str) -> None:
    """Skip the running test unless it is the machine's own root that runs it, not one of a user namespace."""
    with open("/proc/self/uid_map") as file:
        everybody = file.read().split() == ["0", "0", "4294967295"]
    if os.geteuid() != 0 or not everybody:
        pytest.skip(f"needs root: {why}")


@functools.cache
def why_not() -> str:
    """Why no private host can be made here; empty if one can."""
    command = ["unshare", *_user_flags(), "--net", "--mount", "ip", "link", "set", "lo", "up"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20 * PACE, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"no private host: {error}"
    return f"no private host, neither as root nor in a user namespace: {done.stderr.strip()}" if done.returncode else ""


class Namespace:
    """A network namespace kept alive by a process of its own (`pid`), which ends when this process does."""

    def __init__(self, *, enter: Sequence[str] = (), unshare: Sequence[str] = ("--net",)) -> None:
        """`enter`: a command prefix to start from (nsenter ...); `unshare`: what is to be new."""
        self._holder = subprocess.Popen(
            [*enter, "unshare", *unshare, "sh", "-c", "ip link set lo up && echo up && exec cat"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != "up\n":
            self.close()
            raise RuntimeError(f"{unshare} failed")

    @property
    def pid(self) -> int:
        return self._holder.pid

    @property
    def path(self) -> str:
        """The namespace's path, as another tool would hand it over."""
        return f"/proc/{self.pid}/ns/net"

    @property
    def prefix(self) -> tuple[str, ...]:
        """What to put before a command that shall run in here (it keeps the caller's mounts)."""
        return ("nsenter", f"--net={self.path}")

    def popen(self, command: Sequence[str], **options: Any) -> subprocess.Popen[str]:
        """Start a program in here; the caller ends it. Text mode; options are subprocess.Popen's."""
        return subprocess.Popen([*self.prefix, *command], text=True, **options)

    def run(
        self,
        command: Sequence[str] | str,
        *,
        check: bool = True,
        timeout: float = 20.0,
        env: Mapping[str, str] | None = None,
        stdin: str | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, output captured as text. A string is split at spaces; `env` adds variables."""
        argv = command.split() if isinstance(command, str) else list(command)
        done = subprocess.run(
            [*self.prefix, *argv],
            capture_output=True,
            text=True,
            timeout=timeout * PACE,
            input=stdin,
            env={**os.environ, **env} if env else None,
            check=False,
        )
        if check and done.returncode:
            raise AssertionError(f"{' '.join(argv)}: status {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def close(self) -> None:
        """End the holder; the namespace goes with its last process."""
        for stream in (self._holder.stdin, self._holder.stdout):
            if stream is not None:
                stream.close()
        try:
            self._holder.wait(timeout=5 * PACE)
        except subprocess.TimeoutExpired:
            self._holder.kill()
            self._holder.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class PrivateHost(Namespace):
    """A host of one's own: fresh network and mount namespaces (and a user namespace, unless root)."""

    def __init__(self) -> None:
        super().__init__(unshare=(*_user_flags(), "--net", "--mount", "--propagation", "private"))

    @property
    def prefix(self) -> tuple[str, ...]:
        user = ("--user", "--preserve-credentials") if _user_flags() else ()
        return ("nsenter", f"--target={self.pid}", *user, "--net", "--mount", f"--wd={os.getcwd()}")

    def container(self) -> Namespace:
        """A further namespace on this host that weft did not make; inside, only `lo` is up."""
        return _Container(self)


class _Container(Namespace):
    def __init__(self, host: PrivateHost) -> None:
        self._host = host
        super().__init__(enter=host.prefix)

    @property
    def prefix(self) -> tuple[str, ...]:
        return (*self._host.prefix, "nsenter", f"--net={self.path}")


def _user_flags() -> tuple[str, ...]:
    return () if os.geteuid() == 0 else ("--user", "--map-root-user")


def _in_child(body: Callable[[], None]) -> None:
    # What the test puts in temporary files goes with it, mounts and all.
    with tempfile.TemporaryDirectory(prefix="weft-", ignore_cleanup_errors=True) as scratch:
        os.chmod(scratch, 0o755)  # the resolver is nobody in there
        said, status = _fork(body, scratch)
    if not said:
        pytest.fail(f"the private host's process died with status {status}", pytrace=False)
    kind, text = pickle.loads(said)
    if kind == "skipped":
        pytest.skip(text)
    if kind == "failed":
        pytest.fail(text, pytrace=False)


def _fork(body: Callable[[], None], scratch: str) -> tuple[bytes, int]:
    reader, writer = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        os.close(reader)
        tempfile.tempdir = scratch
        with os.fdopen(writer, "wb") as answer:
            answer.write(pickle.dumps(_outcome(body)))
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as answer:
        said = answer.read()
    return said, os.waitpid(child, 0)[1]


def _outcome(body: Callable[[], None]) -> tuple[str, str]:
    signal.alarm(round(60 * PACE))  # A test that hangs ends itself, not the run.
    try:
        _become_private()
        body()
    except pytest.skip.Exception as skipped:
        return "skipped", str(skipped)
    except BaseException:  # all of it, KeyboardInterrupt too, is the parent's to judge
        return "failed", traceback.format_exc()
    return "passed", ""


def _become_private() -> None:
    uid, gid = os.geteuid(), os.getegid()
    flags = CLONE_NEWNET | CLONE_NEWNS | (0 if uid == 0 else CLONE_NEWUSER)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(flags):
        raise OSError(ctypes.get_errno(), "unshare")
    if uid:
        for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)
    if libc.mount(b"none", b"/", None, MS_REC_PRIVATE, None):
        raise OSError(ctypes.get_errno(), "mount --make-rprivate /")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
