"""An address that comes back with another MAC is reached at once: its neighbours are told."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemons import Weftd
from tests.hosts import PrivateHost

pytestmark = [pytest.mark.root, pytest.mark.system]


@pytest.fixture
def weftd(private_host: PrivateHost, tmp_path: Path) -> Iterator[Weftd]:
    with Weftd(private_host, tmp_path) as weftd:
        weftd.cli("network", "create", "front", "--subnet", "10.5.0.0/24")
        weftd.cli("run", "-d", "--name", "neighbour", "--network", "front", "--", "sleep", "600")
        yield weftd


@pytest.mark.statement(17)
def test_a_neighbour_reaches_the_new_holder_of_an_address_at_once(weftd: Weftd) -> None:
    for mac in ("02:00:00:00:00:01", "02:00:00:00:00:02", "02:00:00:00:00:03"):
        weftd.cli("run", "-d", "--name", "x", "--network", f"front:ip=10.5.0.77,mac={mac}", "--", "sleep", "600")
        weftd.sandbox("neighbour", "ping", "-c1", "-W1", "-q", "10.5.0.77")
        known = weftd.sandbox("neighbour", "ip", "neigh", "show", "10.5.0.77").stdout
        assert mac in known
        weftd.cli("rm", "-f", "x")


def heard(weftd: Weftd, name: str, *options: str, seconds: float) -> list[float]:
    """When neighbours on a network with these options hear of a new container, in seconds after the first time."""
    opts = [part for option in options for part in ("--opt", option)]
    weftd.cli("network", "create", name, "--ipv6", *opts)
    bridge = weftd.client.networks.get(name).bridge
    script = (
        "import socket, sys, time\n"
        "s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)); s.bind((sys.argv[1], 0))\n"
        "s.settimeout(0.1); print('ready', flush=True); end = time.monotonic() + float(sys.argv[2])\n"
        "while time.monotonic() < end:\n"
        "    try: frame = s.recv(2000)\n"
        "    except TimeoutError: continue\n"
        # RFC 5227: whoever asks for its own address; RFC 4861: an advertisement to all nodes.
        "    gratuitous = frame[12:14] == b'\\x08\\x06' and frame[28:32] == frame[38:42]\n"
        "    advert = frame[12:14] == b'\\x86\\xdd' and frame[20] == 58 and frame[54] == 136 and frame[38] == 0xff\n"
        "    if gratuitous or advert: print('arp' if gratuitous else 'na', time.monotonic(), flush=True)\n"
    )
    listener = weftd.host.popen(
        [sys.executable, "-c", script, bridge, str(seconds)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert listener.stdout is not None
    assert listener.stdout.readline() == "ready\n"
    weftd.client.containers.create(name=f"on-{name}", networks=[name])
    lines = [line.split() for line in listener.communicate()[0].splitlines()]
    arp, na = ([float(at) for kind, at in lines if kind == wanted] for wanted in ("arp", "na"))
    assert len(arp) == len(na), lines
    return [at - arp[0] for at in arp]


def test_by_default_nobody_is_told_what_he_knows(weftd: Weftd) -> None:
    assert heard(weftd, "quiet", seconds=0.8) == []


@pytest.mark.statement(17)
def test_neighbours_are_told_as_often_as_the_network_wants(weftd: Weftd) -> None:
    told = heard(weftd, "loud", "advertise-count=3", "advertise-interval=200", seconds=1.2)
    assert len(told) == 3
    assert 0.15 < told[1] < 0.39 < told[2] < 0.8
    assert heard(weftd, "silent", "advertise-count=0", seconds=0.8) == []
