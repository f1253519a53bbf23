"""What this kernel has: tests that need more than every kernel has skip here, and say what is missing.

`make test-vm` runs what is marked `full_kernel` on Debian's own kernel, which has all of it; so a test that asks one of
these bears the mark, too. A kernel loads a module when it is first asked for, so one has to ask: each question is put
in a namespace that is thrown away.
"""

from __future__ import annotations

import errno
import functools
import platform
import socket

import pytest

from tests.enter import inside
from tests.hosts import PrivateHost, needs_namespaces
from weft.kernel.guards import why_not

_LINK_OPTIONS = {
    "ipvlan": "mode l2",
    "macvlan": "mode bridge",
    "vlan": "id 7",
    "vrf": "table 7",
    "vxlan": "id 7 dstport 4789",
}
_QDISC_OPTIONS = {
    "netem": "delay 1ms",
    "tbf": "rate 1mbit burst 10kb latency 10ms",
}
_ABSENT = ("Unknown device type", "Operation not supported", "qdisc kind is unknown", "No such file or directory")
_PROTOCOLS = {"sctp": 132, "udplite": 136, "dccp": 33}


def needs_link_kind(kind: str) -> None:
    """Skip the running test unless a link of this kind can be made, by the name that `ip link add type` has for it."""
    needs_namespaces()
    _skip_if(_refused(f"ip link add link below name probe type {kind} {_LINK_OPTIONS.get(kind, '')}"), f"{kind} links")


def needs_qdisc(kind: str) -> None:
    """Skip the running test unless there is this queueing discipline, by the name that `tc qdisc add` has for it."""
    needs_namespaces()
    _skip_if(_refused(f"tc qdisc add dev below root {kind} {_QDISC_OPTIONS.get(kind, '')}"), f"{kind} queues")


def needs_protocol(name: str) -> None:
    """Skip the running test unless sockets of this transport protocol can be opened: sctp, dccp, udplite."""
    kind = socket.SOCK_DGRAM if name == "udplite" else socket.SOCK_STREAM
    try:
        socket.socket(socket.AF_INET, kind, _PROTOCOLS[name]).close()
    except OSError as error:
        if error.errno not in (errno.EPROTONOSUPPORT, errno.ESOCKTNOSUPPORT):
            raise
        _skip_if("it does not know the protocol", name.upper())


def needs_programs() -> None:
    """Skip the running test unless programs of extended BPF can be put on ports: as root, and not in a container."""
    needs_namespaces()
    _skip_if(_no_programs(), "programs on ports")


@functools.cache
def _no_programs() -> str:
    with PrivateHost() as host:
        return inside(host, why_not)


@functools.cache
def _refused(command: str) -> str:
    """What is said of a command on a host with a link `below`, if the kernel has not got what it asks for.

    Raises AssertionError if it fails for any other reason: a question put wrongly is no reason to skip a test.
    """
    with PrivateHost() as host:
        host.run("ip link add below type veth peer name far")
        done = host.run(command, check=False)
    said = done.stderr.strip()
    assert done.returncode == 0 or any(words in said for words in _ABSENT), f"{command}: {said}"
    return said if done.returncode else ""


def _skip_if(refused: str, what: str) -> None:
    if refused:
        pytest.skip(f"this kernel ({platform.release()}) has no {what}: {refused.splitlines()[-1]}")
