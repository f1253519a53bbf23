"""The resolver process: `python -I -S .../weft/resolver/__main__.py --control PATH --resolv-conf PATH`.

It listens at the first PATH for weftd, and keeps its process id, locked, in a file beside it: PATH's name with .pid.
The second names the host's servers, and can be no other later: all other files are shut (`sandbox`). With `--detach`
it goes into the background and says "ready" on standard output once weftd may connect. It outlives weftd; it ends by
SIGTERM, or by itself when nobody can want it any more (`_watch`).
"""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import sys

if not __package__:
    # Started by its path, without `site`: this is much faster, and needs the package's own place only.
    sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from weft.resolver import privileges, sandbox
from weft.resolver.control import Control
from weft.resolver.counts import Counts
from weft.resolver.log import Log
from weft.resolver.loop import Loop
from weft.resolver.server import Server

LONELY = 10.0
"""Seconds without weftd after which the resolver asks itself what it is still for."""


def main(argv: list[str]) -> int:
    if "--control" not in argv[:-1] or "--resolv-conf" not in argv[:-1]:
        sys.stderr.write("usage: weft.resolver --control PATH --resolv-conf PATH [--detach]\n")
        return 2
    path, resolv_conf = (argv[argv.index(option) + 1] for option in ("--control", "--resolv-conf"))
    if "--detach" in argv and os.fork():
        os._exit(0)
    if "--detach" in argv:
        os.setsid()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    log = Log(own="--detach" in argv)
    lock = _lock(path.removesuffix(".sock") + ".pid")
    if lock is None:
        log.event("another one is running", control=path)
        return 3
    return _serve(path, resolv_conf, lock, log)


def _lock(path: str) -> int | None:
    """The locked file with our process id; None if another process has it."""
    # Only to be read from here on: weftd ends, as root, the process whose number it finds there.
    fd = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return None
    # In place, and never empty: whoever looks meanwhile finds a number.
    writing = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.ftruncate(writing, os.write(writing, b"%d\n" % os.getpid()))
    finally:
        os.close(writing)
    return fd


def _serve(path: str, resolv_conf: str, lock: int, log: Log) -> int:
    loop = Loop(log)
    server = Server(loop, Counts(), log, resolv_conf)
    listener = _listen(path)
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    privileges.set_name("weft-resolver")
    descriptors = privileges.raise_descriptor_limit()
    privileges.come_first()
    os.chdir("/")
    user = privileges.drop()
    closed = sandbox.close(resolv_conf, own_log=log.own)
    log.event("started", pid=os.getpid(), control=path, descriptors=descriptors, user=user, landlock=closed.landlock)
    for why in closed.open:
        log.event(f"not shut: {why}")
    control = Control(loop, server, listener, closed, log)
    loop.after(LONELY, lambda: _watch(loop, server, control, lock, log))
    _say_ready(null)
    loop.run()
    return 0


def _listen(path: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    before = os.umask(0o177)
    listener.bind(path)
    os.umask(before)
    listener.listen(8)
    return listener


def _say_ready(null: int) -> None:
    """Tell the one who started us, and let go of the pipe on which that one waits."""
    try:
        os.write(1, b"ready\n")
    except OSError:
        pass
    os.dup2(null, 1)
    os.close(null)


def _watch(loop: Loop, server: Server, control: Control, lock: int, log: Log) -> None:
    """End once nobody can want us: no weftd, and nobody to answer, or our files gone so that no weftd can come."""
    removed = os.fstat(lock).st_nlink == 0
    if not control.connected and (removed or not server.views):
        log.event("ended", why="the run directory was removed" if removed else "nothing to serve")
        loop.stop()
        return
    loop.after(LONELY, lambda: _watch(loop, server, control, lock, log))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
