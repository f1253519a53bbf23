"""docker exec -it, and docker attach."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from pathlib import Path

import pytest

from tests.docker.conftest import OVER_BOTH, World
from tests.docker.streams import Screen, begin, exec_id, head_of, inspect, rest_of, run, sleeping
from tests.waiting import eventually
from weft.names import short

pytestmark = [pytest.mark.root, OVER_BOTH]

# Terminals


def test_a_terminal_has_the_size_of_the_clients_from_the_beginning(world: World, box: str):
    with Screen(world, "exec", "-it", box, "sh", "-c", "stty size; echo $TERM-") as screen:
        screen.until(b"33 101\r\nxterm-")
        assert screen.code() == 0


def test_a_terminal_follows_the_size_of_the_clients(world: World, box: str):
    wait = "until test \"$(stty size)\" = '44 77'; do sleep 0.05; done; exit 9"
    with Screen(world, "exec", "-it", box, "sh", "-c", f"echo ready; {wait}") as screen:
        screen.until(b"ready")
        # The client heeds its terminal's size only once the first one has been taken, which may be after that.
        for rows in (43, 44, 43, 44):
            screen.resize(rows, 77)
            time.sleep(0.3)
        assert screen.code() == 9


def test_a_size_is_granted_once_the_command_has_it(world: World, box: str):
    """Not before it has begun: what is typed next would find the size of old."""
    ident = exec_id(world, box, "sh", "-c", "read line; stty size", AttachStdin=True, AttachStdout=True, Tty=True)
    supervisor = supervisor_of(world, box)
    os.kill(supervisor, signal.SIGSTOP)
    try:
        with begin(world, ident, tty=True) as terminal, socket.socket(socket.AF_UNIX) as asking:
            head_of(terminal)
            asking.connect(world.weftd.socket)
            asking.sendall(f"POST /exec/{ident}/resize?h=44&w=77 HTTP/1.1\r\nHost: docker\r\n\r\n".encode())
            asking.settimeout(0.5)
            with pytest.raises(TimeoutError):
                asking.recv(1)
            os.kill(supervisor, signal.SIGCONT)
            asking.settimeout(10)
            assert asking.recv(65536).startswith(b"HTTP/1.1 200")
            terminal.sendall(b"go\n")
            assert rest_of(terminal, b"").endswith(b"44 77\r\n")
    finally:
        os.kill(supervisor, signal.SIGCONT)


def supervisor_of(world: World, container: str) -> int:
    ident = world.weftd.client.containers.get(container).id
    known = json.loads(Path(f"{world.weftd.run_dir}/containers/{short(ident)}/status.json").read_text())
    return int(known["shim_pid"])


def test_interrupts_reach_the_command(world: World, box: str):
    with Screen(world, "exec", "-it", box, "sh", "-c", "echo ready; exec sleep 61") as screen:
        screen.until(b"ready")
        screen.type(b"\x03")
        assert screen.code() == 130


def test_a_terminal_without_input(world: World, box: str):
    done = run(world, "exec", "-t", box, "sh", "-c", "tty; echo err >&2")
    assert done.stdout.startswith(b"/dev/pts/")
    assert done.stdout.endswith(b"\r\nerr\r\n")


@pytest.mark.parametrize(("keys", "typed"), [("", b"\x10\x11"), ("ctrl-a,x", b"\x01x")], ids=["usual", "own"])
def test_the_detach_keys_leave_it_running(world: World, box: str, keys: str, typed: bytes):
    # On the wire: the CLI keeps them to itself and hangs up, which ends the command.
    mark = f"62.{len(keys)}"
    wishes = {"AttachStdin": True, "AttachStdout": True, "Tty": True, "DetachKeys": keys}
    ident = exec_id(world, box, "sleep", mark, **wishes)
    with begin(world, ident, tty=True) as sock:
        eventually(lambda: sleeping(mark), within=5)
        sock.sendall(typed)
        rest_of(sock, b"")
    time.sleep(0.2)
    assert sleeping(mark)
    assert inspect(world, ident)["Running"]


# attach


def test_attach_to_what_runs(world: World, client: str):
    world.weftd.cli("run", "-d", "-i", "--name", "reader", "--", "sh", "-c", "head -n 2; echo err >&2; exit 5")
    done = run(world, "attach", "reader", stdin=b"one\ntwo\n", client=client)
    assert (done.stdout, done.stderr, done.returncode) == (b"one\ntwo\n", b"err\n", 5)
    world.weftd.cli("rm", "-f", "reader")


def test_attach_to_a_terminal_and_leave_it(world: World):
    world.weftd.cli("run", "-d", "-i", "-t", "--name", "shell", "--", "sh")
    with Screen(world, "attach", "shell", rows=20, columns=90) as screen:
        screen.type(b"echo $((40+2)); stty size\n")
        screen.until(b"42\r\n")
        screen.until(b"20 90\r\n")
        screen.type(b"\x10\x11")
        screen.code()
    assert world.weftd.client.containers.get("shell").state == "running"
    with Screen(world, "attach", "shell") as screen:
        screen.type(b"exit 6\n")
        assert screen.code() == 6
    world.weftd.cli("rm", "-f", "shell")


def test_attach_to_what_does_not_run_or_is_not_wefts(world: World):
    world.container("lab")
    lab = world.ask("POST", "/containers/lab/attach?stream=1&stdout=1")
    assert (lab.status, lab.message.split(":")[0]) == (409, "weft did not start container lab and has no console of it")
    nonesuch = world.ask("POST", "/containers/nonesuch/attach?stream=1&stdout=1")
    assert (nonesuch.status, nonesuch.message) == (404, "No such container: nonesuch")
    world.weftd.cli("rm", "lab")
