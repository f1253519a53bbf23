"""The stage: a private machine with a neighbour, so that nothing of the real one is touched.

Everything happens in network, mount and process namespaces of its own, for a normal user in a user namespace too. When
the play is over the kernel ends every process in them and takes every link, rule and mount with it. "Outside" is a
second network namespace, joined to the private machine by a cable (a veth pair).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

INSIDE = "WEFT_EXAMPLE_SCRATCH"
"""Set inside the private machine: a directory for state and log."""

HOST, OUTSIDE = "192.0.2.1", "192.0.2.2"  # addresses for documentation: RFC 5737
NEIGHBOUR = f"http://{OUTSIDE}/"
"""A server outside; it answers with the address that it was asked from."""
OUTSIDE_NETNS = "/run/outside"
OUTSIDE_PREFIX = f"nsenter --net={OUTSIDE_NETNS}"
"""What to put before a command that shall run outside."""


class NoStage(Exception):
    """This machine does not let us have namespaces; the message says what would."""


def enter(arguments: Sequence[str], *, user: bool) -> int:
    """Run this program again in a private machine; its exit status. `user`: in a user namespace, even as root."""
    flags = ["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if user:
        flags = ["--user", "--map-root-user", *flags]
    probe = subprocess.run(["unshare", *flags, "true"], capture_output=True, text=True, check=False)
    if probe.returncode:
        way_out = "try as root: sudo make demo" if os.geteuid() else "is this a container without privileges?"
        raise NoStage(f"this machine gives no namespaces ({probe.stderr.strip()}); {way_out}")
    with tempfile.TemporaryDirectory(prefix="weft-example-") as scratch:
        command = ["unshare", *flags, sys.executable, *arguments]
        return subprocess.run(command, env={**os.environ, INSIDE: scratch}, check=False).returncode


def build() -> None:
    """Inside: an empty /run, the host's network, the outside and the cable between them."""
    _be_init()
    # The programs of this checkout first, then what administrators have.
    os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin:/sbin"
    _do("mount -t tmpfs -o mode=755 tmpfs /run")
    _do("ip link set lo up")
    Path(OUTSIDE_NETNS).touch()
    _do(f"unshare --net={OUTSIDE_NETNS} true")
    _do(f"ip link add uplink type veth peer name eth0 netns {OUTSIDE_NETNS}")
    _do(f"ip address add {HOST}/24 dev uplink")
    _do("ip link set uplink up")
    for command in ("ip link set lo up", f"ip address add {OUTSIDE}/24 dev eth0", "ip link set eth0 up"):
        _do(f"{OUTSIDE_PREFIX} {command}")
    _do(f"ip route add default via {OUTSIDE}")
    subprocess.Popen([*OUTSIDE_PREFIX.split(), sys.executable, str(Path(__file__).with_name("neighbour.py"))])


def start_weftd() -> subprocess.Popen[bytes]:
    """Started, and answering."""
    scratch = os.environ[INSIDE]
    Path(f"{scratch}/resolv.conf").write_text("# nobody to ask about names that are not weft's\n")
    command = ["weftd", "--state-dir", f"{scratch}/state", "--resolv-conf", f"{scratch}/resolv.conf"]
    with open(f"{scratch}/weftd.log", "ab") as log:
        weftd = subprocess.Popen(command, stdout=log, stderr=log)
    deadline = time.monotonic() + 10
    while subprocess.run(["weft", "ps"], capture_output=True, check=False).returncode:
        if weftd.poll() is not None or time.monotonic() > deadline:
            raise SystemExit("weftd does not start:\n" + Path(log.name).read_text())
        time.sleep(0.05)
    return weftd


def _be_init() -> None:
    """Go on in a child: the first process of a process namespace has to reap what others leave behind."""
    child = os.fork()
    if child == 0:
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the child by itself, and with it all ends
    while True:
        pid, status = os.wait()
        if pid == child:
            os._exit(abs(os.waitstatus_to_exitcode(status)))


def _do(command: str) -> None:
    subprocess.run(command.split(), check=True)
