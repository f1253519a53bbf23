"""A network to be edited, who is on it, and connections that should go on."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from tests.audits import assert_consistent
from tests.daemons import Weftd
from tests.enter import network
from tests.hosts import Namespace
from tests.system.people import Listener, listening
from tests.waiting import PACE, eventually
from weft.client import Attachment, Container, Publish

ECHO = 7


@contextmanager
def front(weftd: Weftd, outside: Namespace) -> Iterator[Container]:
    """`web` on network front, with published ports and a neighbour, `near`; everybody listens at port 80."""
    weftd.client.networks.create("front", ipv6=True, pools=["10.1.0.0/24", "fd01::/64"])
    published = [Publish(80, 8080), Publish(ECHO, 7007)]
    wish = Attachment("front", ip="10.1.0.11", ip6="fd01::11")
    web = weftd.client.containers.run(["sleep", "600"], name="web", networks=[wish], ports=published)
    wish = Attachment("front", ip="10.1.0.12", ip6="fd01::12")
    near = weftd.client.containers.create(name="near", networks=[wish])
    with listening(weftd, *(Listener(n, p) for n, p in (("web", web.netns), ("near", near.netns)))):
        with listening(weftd, Listener("outside", outside.path)):
            yield web
    assert_consistent(weftd)
    for container in weftd.client.containers.list(all=True):
        weftd.client.containers.remove(container, force=True)
    for each in weftd.client.networks.list():
        weftd.client.networks.remove(each)


def update(weftd: Weftd, **change: object) -> None:
    weftd.client.networks.update("front", **change)


@contextmanager
def echoing(weftd: Weftd, *paths: str) -> Iterator[None]:
    servers = [
        weftd.host.popen(["nsenter", f"--net={path}", "busybox", "nc", "-ll", "-p", str(ECHO), "-e", "cat"])
        for path in paths
    ]
    try:
        for path in paths:
            probe = ["nsenter", f"--net={path}", "ss", "-Hltn"]
            eventually(lambda probe=probe: f":{ECHO} " in weftd.host.run(probe).stdout)
        yield
    finally:
        for server in servers:
            server.kill()
            server.wait()


def connected(path: str, address: str, port: int) -> socket.socket:
    """From a namespace; to be called inside the host."""
    with network(path):
        return socket.create_connection((address, port), timeout=2 * PACE)


def talks(stream: socket.socket, *, size: int = 100_000, patience: float = 5.0) -> bool:
    """Whether all that is said comes back: many full packets in each direction."""
    stream.settimeout(patience * PACE)
    try:
        left = size
        while left:
            stream.sendall(b"x" * min(left, 10_000))
            heard = 0
            while heard < min(left, 10_000):
                got = stream.recv(1 << 16)
                if not got:
                    return False
                heard += len(got)
            left -= heard
    except OSError:
        return False
    return True
