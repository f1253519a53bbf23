"""weftd that is killed, or refused something, at a boundary of the test's choosing.

A boundary is the instant before or after a call that changes the world outside the process: a transaction of the
store, a message to the kernel, a mount, a word to the resolver, a socket for a port. While the file `strike` in the
run directory holds "N WHAT ATTEMPT", the boundaries of this attempt are counted, and at the N-th one WHAT happens:
`weftd`, `resolver` and `both` name who is killed; `error` is an error raised in place of the call.

The launcher itself stays: it has everything imported and forks one weftd for each line on standard input, which makes
hundreds of restarts affordable. It answers with the process id.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from dataclasses import replace
from typing import Any

from weft import daemon
from weft.engine.parts import Parts
from weft.errors import Unavailable
from weft.kernel import netlink, netns, nft
from weft.settings import load_config

_PARTS = {
    "kernel": (
        "ensure",
        "remove",
        "replace_firewall",
        "open_nameserver",
        "sweep",
        "forget_flows",
        "distrust_flows",
        "cut_flows",
        "prepare",
    ),
    "store": ("put", "confirm", "drop", "set_meta"),
    "names": ("set_network", "drop_network", "publish", "withdraw", "enter", "set_view", "leave"),
    "ports": ("reserve", "release", "aim"),
    "runtime": ("prepare", "start", "write_files", "kill", "discard", "sweep"),
}
_KERNEL = (
    (netlink.Netlink, ("send", "get")),
    (nft.Nft, ("run",)),
    (netns, ("_mount", "_touch")),
    (netns._libc, ("umount2", "unshare", "setns")),
)


class Boundaries:
    def __init__(self, run_dir: str) -> None:
        self._strike = f"{run_dir}/strike"
        self._resolver = f"{run_dir}/resolver.pid"
        self._attempt = ""
        self._count = 0
        self._counting = threading.Lock()

    def cross(self, what: str, *, refusable: bool = False) -> None:
        try:
            with open(self._strike) as file:
                number, deed, attempt = file.read().split()
        except FileNotFoundError:
            return
        if deed == "error" and not refusable:
            return
        with self._counting:  # two threads cross boundaries, and each of them has a number of its own
            self._count = count = 1 if attempt != self._attempt else self._count + 1
            self._attempt = attempt
        if count == int(number):
            self._do(deed, what)

    def _do(self, deed: str, what: str) -> None:
        sys.stderr.write(f"strike: {deed} at {what}\n")
        with open(f"{self._strike}.done", "w") as file:
            file.write(what)
        if deed == "error":
            raise Unavailable(f"{what} is made to fail")
        if deed in ("resolver", "both"):
            _kill_resolver(self._resolver)
        if deed in ("weftd", "both"):
            os.kill(os.getpid(), signal.SIGKILL)


def _kill_resolver(path: str) -> None:
    try:
        with open(path) as file:
            os.kill(int(file.read()), signal.SIGKILL)
    except (OSError, ValueError):  # it is being replaced
        pass


class Watched:
    """A part whose changing methods cross a boundary before and after."""

    def __init__(self, name: str, part: object, boundaries: Boundaries) -> None:
        self._part = part
        for method in _PARTS[name]:
            whole = name == "store"  # a transaction that has failed has not happened
            setattr(self, method, _crossing(f"{name}.{method}", getattr(part, method), boundaries, whole=whole))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._part, name)


def _crossing(what: str, method: Any, boundaries: Boundaries, *, whole: bool) -> Any:
    def crossing(*args: Any, **kwargs: Any) -> Any:
        boundaries.cross(what, refusable=True)
        result = method(*args, **kwargs)
        boundaries.cross(f"{what} done", refusable=not whole)
        return result

    return crossing


def _counted(what: str, function: Any, boundaries: Boundaries) -> Any:
    def counted(*args: Any, **kwargs: Any) -> Any:
        boundaries.cross(what)
        return function(*args, **kwargs)

    return counted


def _run_weftd() -> int:
    boundaries = Boundaries(load_config(sys.argv[1:], os.environ).run_dir)
    for owner, methods in _KERNEL:
        for method in methods:
            setattr(owner, method, _counted(method, getattr(owner, method), boundaries))

    def wrap(parts: Parts) -> Parts:
        return replace(parts, **{name: Watched(name, getattr(parts, name), boundaries) for name in _PARTS})

    return daemon.main(sys.argv[1:], wrap=wrap)


def main() -> int:
    """One weftd a line, until standard input ends."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel buries them
    for _ in sys.stdin:
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.close(0)
            os.open(os.devnull, os.O_RDWR)
            os.dup2(2, 1)
            os._exit(_run_weftd())
        print(pid, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
