"""The API over TCP: for those whose certificate weftd's authority has signed, and for nobody else.

What clients do with a container's streams is tested over TLS and over the socket alike: in test_exec, test_exec_wire
and test_terminals.
"""

from __future__ import annotations

import dataclasses
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.daemons import SOURCE
from tests.docker.conftest import TCP, World, over_tls
from tests.docker.streams import begin, exec_id, head_of, rest_of, sleeping
from tests.enter import connected
from tests.hosts import PrivateHost
from tests.tls import TlsClient, authority
from tests.waiting import eventually

pytestmark = pytest.mark.root

PLACE = "{}:{}".format(*TCP)


@pytest.fixture(scope="module")
def transport() -> str:
    return "tls"


# Who is let in


def test_who_has_a_certificate_is_let_in(world: World, client: str):
    assert len(world.docker("network", "ls", "-q", client=client).stdout.split()) == 3


def test_who_has_anothers_certificate_is_not(world: World, client: str, tmp_path: Path):
    assert world.certificates
    foreign = authority(tmp_path / "others", "client") / "client"
    (foreign / "ca.pem").write_bytes((world.certificates / "ca.pem").read_bytes())
    done = dataclasses.replace(world, certificates=foreign).docker("network", "ls", "-q", check=False, client=client)
    assert done.returncode != 0
    assert done.stdout == ""


@pytest.mark.parametrize("url", [f"https://{PLACE}/_ping", f"http://{PLACE}/_ping"])
def test_who_has_none_is_not(world: World, url: str):
    done = world.host.run(["curl", "-sk", "--max-time", "5", url], check=False)
    assert done.returncode not in (0, 28)
    assert done.stdout == ""


def test_the_unix_socket_serves_beside_it(world: World):
    assert world.weftd.cli("network", "ls").returncode == 0


def test_without_an_authority_nothing_is_served(tmp_path: Path):
    settings = over_tls(authority(tmp_path / "authority", "server"))[:-2]
    places = ("--state-dir", str(tmp_path / "state"), "--run-dir", str(tmp_path / "run"))
    with PrivateHost() as host:
        command = [sys.executable, "-P", "-m", "weft.daemon", *places, *settings]
        done = host.run(command, check=False, env={"PYTHONPATH": SOURCE})
        assert done.returncode == 1
        assert done.stderr.strip().endswith("name one")
        assert "tls-ca" in done.stderr


# Ends


def test_who_ends_tcp_along_with_tls_has_sent_all_and_no_more(world: World, box: str):
    """As Node's clients end what they send."""
    ident = exec_id(world, box, "sh", "-c", "cat; sleep 0.5; echo done", AttachStdin=True, AttachStdout=True, Tty=False)
    with begin(world, ident) as line:
        assert isinstance(line, TlsClient)
        rest = head_of(line)[2]
        line.sendall(b"input\n")
        line.shutdown(socket.SHUT_WR)
        line.beneath.shutdown(socket.SHUT_WR)
        said = rest_of(line, rest).replace(b"\1" + bytes(7) + b"\1", b"\1")  # an empty frame before another
        assert said == b"\1\0\0\0\0\0\0\6input\n\1\0\0\0\0\0\0\5done\n"


def test_a_host_that_is_gone_is_asked_after(world: World):
    """By TCP itself: nothing says that a machine has lost its power."""
    command = f"ss -tnoH state established sport = :{TCP[1]}"
    with world.connect():
        eventually(lambda: "timer:(keepalive," in world.host.run(command).stdout)


def test_a_stop_waits_for_no_client(world: World, box: str):
    ident = exec_id(world, box, "sleep", "78", AttachStdout=True)
    with connected(world.host, TCP), world.connect(), begin(world, ident) as line:
        rest = head_of(line)[2]
        eventually(lambda: sleeping("78"), within=5)
        begun = time.monotonic()
        world.weftd.stop()
        assert time.monotonic() - begun < 5
        assert rest_of(line, rest) == b""
        eventually(lambda: not sleeping("78"), within=5)
    world.weftd.start()


def test_input_and_output_at_once_while_nobody_reads(world: World, box: str):
    """Neither side waits for the other when only one of them is slow."""
    environment = {**os.environ, **world.environment}
    command = [*world.host.prefix, "docker", "exec", "-i", box, "sh", "-c", "head -c 20000000 /dev/zero; sleep 79"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as client:
        try:
            assert client.stdout
            time.sleep(0.5)  # all is full, from the command to us
            assert not sleeping("79")
            left = 20_000_000
            while left:
                left -= len(client.stdout.read(min(left, 1 << 16)))
            eventually(lambda: sleeping("79"), within=5)
        finally:
            client.send_signal(signal.SIGKILL)
    eventually(lambda: not sleeping("79"), within=5)
