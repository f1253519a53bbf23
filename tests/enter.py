"""Calls a function inside a private host, or inside a container of it, and brings back what it returns.

A forked child enters the namespaces, so that the test's own process stays where it is and nothing has to be started.
"""

from __future__ import annotations

import ctypes
import os
import pickle
import signal
import socket
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from tests.hosts import CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWUSER, Namespace
from tests.waiting import PACE

_libc = ctypes.CDLL(None, use_errno=True)

T = TypeVar("T")


def inside(host: Namespace, body: Callable[[], T], *, seconds: int = 60) -> T:
    """Call `body` in a child that has entered the host's network and mounts; its (pickled) result, or its failure."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        signal.alarm(round(seconds * PACE))
        with os.fdopen(writer, "wb") as answer:
            answer.write(pickle.dumps(_outcome(host.pid, body)))
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as answer:
        said = answer.read()
    _, status = os.waitpid(child, 0)
    if not said:
        raise AssertionError(f"the child inside the host died with status {status}")
    result, failure = pickle.loads(said)
    if failure:
        raise AssertionError(f"inside the host: {failure}")
    return result  # type: ignore[no-any-return]


def connected(host: Namespace, address: tuple[str, int]) -> socket.socket:
    """A TCP connection inside the host, for a test outside."""
    mine, theirs = socket.socketpair()

    def connect() -> None:
        with socket.create_connection(address, timeout=10) as sock:
            socket.send_fds(theirs, [b"it"], [sock.fileno()])

    with mine, theirs:
        inside(host, connect)
        (fd,) = socket.recv_fds(mine, 2, 1)[1]
    sock = socket.socket(fileno=fd)
    sock.settimeout(10)
    return sock


def _outcome(pid: int, body: Callable[[], Any]) -> tuple[Any, str]:
    try:
        enter_host(pid)
        return body(), ""
    except BaseException:  # all of it is the test's to judge
        return None, traceback.format_exc()


def enter_host(pid: int) -> None:
    """Move this process, which must have one thread, into the namespaces of the process that keeps a private host."""
    pidfd = os.pidfd_open(pid)
    mine, theirs = (os.stat(f"/proc/{p}/ns/user").st_ino for p in ("self", pid))
    user = 0 if mine == theirs else CLONE_NEWUSER
    if _libc.setns(pidfd, user | CLONE_NEWNET | CLONE_NEWNS):
        raise OSError(ctypes.get_errno(), "setns")
    os.close(pidfd)


@contextmanager
def network(path: str) -> Iterator[None]:
    """This thread is in the network namespace at `path` for a while."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    there = os.open(path, os.O_RDONLY)
    try:
        if _libc.setns(there, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"setns {path}")
        yield
    finally:
        _libc.setns(home, CLONE_NEWNET)
        os.close(there)
        os.close(home)
