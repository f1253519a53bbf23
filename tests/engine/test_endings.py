"""Connections that an edited network does not allow end, even if weftd dies just before it ends them."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.engine.house import House, house, shell
from tests.engine.test_subnets import join, net
from tests.engine.test_updating import update
from tests.enter import network
from tests.hosts import Namespace, in_private_host
from tests.waiting import PACE

OUTSIDE = "192.0.2.2"


@contextmanager
def outside() -> Iterator[Namespace]:
    with Namespace() as there:
        shell(f"ip link add up0 type veth peer name eth0 netns {there.path}")
        shell("ip address add 192.0.2.1/24 dev up0; ip link set up0 up")
        for command in (f"ip address add {OUTSIDE}/24 dev eth0", "ip link set eth0 up"):
            there.run(command)
        there.run("ip route add default via 192.0.2.1")
        yield there


@contextmanager
def connection(caller: str, called: str, address: str) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Between two namespaces; both ends."""
    with network(called):
        listener = socket.create_server(("0.0.0.0", 80))
    with network(caller), listener:
        mine = socket.create_connection((address, 80), timeout=5)
        theirs, _ = listener.accept()
    with mine, theirs:
        theirs.settimeout(0.5 * PACE)
        yield mine, theirs


def arrives(ends: tuple[socket.socket, socket.socket]) -> bool:
    ends[0].sendall(b"?")
    try:
        return ends[1].recv(16) != b""
    except TimeoutError:
        return False


def die_while(directory: str, **change: object) -> None:
    """Another weftd makes the change, and dies when it is about to end connections."""
    child = os.fork()
    if child == 0:
        made = house(directory=directory)
        made.converge.start(rebooted=False)
        made.kernel.forget_flows = lambda *args, **kwargs: os._exit(9)
        update(made, **change)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


def settled(directory: str) -> House:
    """The next weftd."""
    made = house(directory=directory)
    made.converge.start(rebooted=False)
    return made


@pytest.mark.parametrize("dies", [False, True], ids=["alive", "killed"])
@in_private_host
def test_nobody_speaks_on_to_beyond_an_internal_network(dies: bool):
    directory = tempfile.mkdtemp()
    made = house(directory=directory)
    net(made, "10.7.0.0/24")
    join(made, "web")
    key = made.parts.records.sandbox("web").key
    with outside() as there, connection(key, there.path, OUTSIDE) as ends:
        assert arrives(ends)
        if dies:
            die_while(directory, internal=True)
            assert settled(directory).parts.records.network("net").internal
        else:
            update(made, internal=True)
        shell(f"nsenter --net={key} ip route replace default via 10.7.0.1")  # as root in there may
        assert not arrives(ends)


@in_private_host
def test_nobody_speaks_on_to_a_container_s_own_address_where_that_is_shut():
    made = house()
    net(made, "10.7.0.0/24", options={"gateway-mode": "nat-unprotected", "masquerade": "false"})
    join(made, "web")
    key = made.parts.records.sandbox("web").key
    with outside() as there, connection(there.path, key, "10.7.0.2") as ends:
        assert arrives(ends)
        update(made, options={"gateway-mode": None})
        assert not arrives(ends)
