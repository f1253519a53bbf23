"""docker exec: what is refused, what is said on the wire, and the library for Python."""

from __future__ import annotations

import socket
import sys
from typing import Any

import pytest

from tests.docker.conftest import OVER_BOTH, World
from tests.docker.streams import begin, exec_id, head_of, inspect, rest_of, sleeping
from tests.waiting import eventually

pytestmark = [pytest.mark.root, OVER_BOTH]

# Refusals


def test_refusals(world: World, box: str):
    assert world.refusal("exec", "nonesuch", "true") == "No such container: nonesuch"
    world.container("lab")
    assert world.refusal("exec", "lab", "true").startswith("weft did not start container lab and has no console of it")
    world.weftd.cli("run", "-d", "--name", "over", "--", "true")
    container = world.weftd.client.containers.get("over").id
    eventually(lambda: world.weftd.client.containers.get("over").exit is not None, within=5)
    assert world.refusal("exec", "over", "true") == f"container {container} is not running"
    for name in ("lab", "over"):
        world.weftd.cli("rm", name)


def test_what_is_asked_of_no_exec(world: World, box: str):
    for method, path in (("POST", "start"), ("POST", "resize?h=1&w=1"), ("GET", "json")):
        answer = world.ask(method, f"/exec/nonesuch/{path}", {} if path == "start" else None)
        assert (answer.status, answer.message) == (404, "No such exec instance: nonesuch")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "No exec command specified"),
        ({"Cmd": ["true", "a\0user=0"]}, "invalid exec config: neither arguments nor the environment can hold a NUL"),
        ({"Cmd": ["true"], "DetachKeys": "ctrl-5"}, "Invalid detach keys (ctrl-5) provided"),
        ({"Cmd": ["true"], "ConsoleSize": [70000, 1]}, "invalid resize height '70000': expected 0 to 65535"),
    ],
    ids=["nothing", "nul", "keys", "size"],
)
def test_what_is_no_exec(world: World, box: str, body: dict[str, Any], message: str):
    answer = world.ask("POST", f"/containers/{box}/exec", body)
    assert (answer.status, answer.message) == (400, message)


def test_an_exec_is_started_once(world: World, box: str):
    ident = exec_id(world, box, "cat", AttachStdin=True, AttachStdout=True)
    assert inspect(world, ident)["Running"] is False
    with begin(world, ident) as sock:
        eventually(lambda: inspect(world, ident)["Pid"], within=5)
        again = world.ask("POST", f"/exec/{ident}/start", {})
        assert (again.status, again.message) == (409, f"Error: Exec command {ident} is already running")
        sock.shutdown(socket.SHUT_WR)
        eventually(lambda: not inspect(world, ident)["Running"], within=5)
    again = world.ask("POST", f"/exec/{ident}/start", {})
    assert (again.status, again.message) == (409, f"Error: Exec command {ident} has already run")
    container = world.weftd.client.containers.get(box).id
    assert inspect(world, ident) == {
        "ID": ident,
        "Running": False,
        "ExitCode": 0,
        "ProcessConfig": {"tty": False, "entrypoint": "cat", "arguments": [], "privileged": False},
        "OpenStdin": True,
        "OpenStderr": False,
        "OpenStdout": True,
        "CanRemove": False,
        "ContainerID": container,
        "DetachKeys": "",
        "Pid": 0,
    }


def test_a_container_names_the_commands_that_run_or_have_yet_to(world: World):
    def named() -> Any:
        return world.ask("GET", "/containers/brief/json").json["ExecIDs"]

    world.weftd.cli("run", "-d", "--name", "brief", "--", "sleep", "600")
    assert named() is None
    waits, runs, over = (exec_id(world, "brief", *command) for command in (["true"], ["sleep", "77"], ["false"]))
    assert named() == [waits, runs, over]
    for ident in (runs, over):
        assert world.ask("POST", f"/exec/{ident}/start", {"Detach": True}).status == 200
    eventually(lambda: named() == [waits, runs], within=5)
    assert inspect(world, over)["ExitCode"] == 1
    world.weftd.cli("kill", "brief")
    eventually(lambda: named() is None, within=5)
    eventually(lambda: inspect(world, runs)["ExitCode"] == 137, within=5)
    assert inspect(world, over)["ExitCode"] == 1
    gone = world.ask("GET", f"/exec/{waits}/json")
    assert (gone.status, gone.message) == (404, f"No such exec instance: {waits}")
    ident = world.weftd.client.containers.get("brief").id
    again = world.ask("POST", f"/exec/{over}/start", {})
    assert (again.status, again.message) == (409, f"container {ident} is not running")
    world.weftd.cli("rm", "brief")
    assert world.ask("GET", f"/exec/{over}/json").status == 404


# What is on the wire


def test_the_answer_is_an_upgrade(world: World, box: str):
    ident = exec_id(world, box, "sh", "-c", "echo out; sleep 0.1; echo err >&2", AttachStdout=True, AttachStderr=True)
    with begin(world, ident) as sock:
        first, fields, rest = head_of(sock)
        said = rest_of(sock, rest)
    assert first == "HTTP/1.1 101 UPGRADED"
    assert (fields["connection"], fields["upgrade"]) == ("upgrade", "tcp")
    assert fields["content-type"] == "application/vnd.docker.multiplexed-stream"
    assert said == b"\1\0\0\0\0\0\0\4out\n\2\0\0\0\0\0\0\4err\n"


def test_the_answer_with_a_terminal_is_raw(world: World, box: str):
    ident = exec_id(world, box, "echo", "out", AttachStdout=True, Tty=True)
    with begin(world, ident, tty=True) as sock:
        _, fields, rest = head_of(sock)
        assert rest_of(sock, rest) == b"out\r\n"
    assert fields["content-type"] == "application/vnd.docker.raw-stream"


def test_older_clients_ask_for_no_upgrade(world: World, box: str):
    ident = exec_id(world, box, "cat", AttachStdin=True, AttachStdout=True)
    with begin(world, ident, fields="") as sock:
        first, fields, rest = head_of(sock)
        sock.sendall(b"input")
        sock.shutdown(socket.SHUT_WR)
        assert rest_of(sock, rest) == b"\1\0\0\0\0\0\0\5input"
    assert first == "HTTP/1.1 200 OK"
    assert fields["content-type"] == "application/vnd.docker.raw-stream"


def test_input_sent_along_with_the_request_is_not_lost(world: World, box: str):
    ident = exec_id(world, box, "cat", AttachStdin=True, AttachStdout=True)
    with begin(world, ident) as sock:
        sock.sendall(b"early")
        sock.shutdown(socket.SHUT_WR)
        assert rest_of(sock, head_of(sock)[2]) == b"\1\0\0\0\0\0\0\5early"


# The library for Python


LIBRARY = """
import docker, os, sys
for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):  # which would come before the authority that it is told
    os.environ.pop(name, None)
container = docker.from_env(timeout=20).containers.get(sys.argv[1])
done = container.exec_run(["sh", "-c", "echo out; echo err >&2; exit 4"], demux=True)
assert (done.exit_code, done.output) == (4, (b"out\\n", b"err\\n")), done
for _ in range(50):  # it forgets what comes together with the head
    done = container.exec_run("echo quick")
    assert done.output == b"quick\\n", done
assert container.exec_run("tty", tty=True).output.startswith(b"/dev/pts/")
pieces = container.exec_run(["sh", "-c", "echo 1; sleep 0.1; echo 2"], stream=True).output
assert list(pieces) == [b"1\\n", b"2\\n"]
it = container.exec_run(["sh", "-c", "read line; echo $line; sleep 77"], stdin=True, socket=True).output
it = getattr(it, "_sock", it)
it.sendall(b"typed\\n")
assert it.recv(100) == b"\\1\\0\\0\\0\\0\\0\\0\\6typed\\n"
"""


def test_the_library_for_python(world: World, box: str):
    pytest.importorskip("docker")
    world.host.run([sys.executable, "-c", LIBRARY, box], env=world.environment)
    eventually(lambda: not sleeping("77"), within=5)
