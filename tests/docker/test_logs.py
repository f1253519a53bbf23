"""docker logs: what a container has written, and goes on writing."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docker.conftest import World
from tests.waiting import eventually
from weft.client import Container

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("clean")]

TALK = "echo one; echo two >&2; echo three"


def run(world: World, script: str, *, name: str = "c", tty: bool = False) -> Container:
    return world.weftd.client.containers.run(["sh", "-c", script], name=name, tty=tty)


@pytest.fixture
def talker(world: World) -> Container:
    made = run(world, TALK)
    world.weftd.client.containers.wait(made)
    return made


def frames(body: bytes) -> Iterator[tuple[int, bytes]]:
    while body:
        stream, nothing, length = body[0], body[1:4], int.from_bytes(body[4:8], "big")
        assert nothing == b"\0\0\0"
        yield stream, body[8 : 8 + length]
        body = body[8 + length :]


@pytest.mark.usefixtures("talker")
def test_each_stream_comes_out_where_it_belongs(world: World, client: str):
    done = world.docker("logs", "c", client=client)
    assert (done.stdout, done.stderr) == ("one\nthree\n", "two\n")


def test_the_last_lines(world: World, client: str):
    world.weftd.client.containers.wait(run(world, "echo one; echo two; echo three"))
    done = world.docker("logs", "--tail", "1", "c", client=client)
    assert (done.stdout, done.stderr) == ("three\n", "")
    done = world.docker("logs", "-n", "0", "c", client=client)
    assert (done.stdout, done.stderr) == ("", "")


@pytest.mark.usefixtures("talker")
def test_times(world: World, client: str):
    line = world.lines("logs", "-t", "c", client=client)[0]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z one", line)


def test_since_and_until(world: World):
    world.weftd.client.containers.wait(run(world, "echo early; sleep 1; echo late"))
    early, late = (line.split()[0] for line in world.lines("logs", "-t", "c"))
    assert world.lines("logs", "--since", late, "c") == ["late"]
    assert world.lines("logs", "--until", early, "c") == ["early"]
    assert world.lines("logs", "--since", "10m", "c") == ["early", "late"]


@pytest.mark.usefixtures("talker")
def test_what_goes_over_the_wire(world: World):
    answer = world.ask("GET", "/containers/c/logs?stdout=1&stderr=1")
    assert answer.headers["content-type"] == "application/vnd.docker.multiplexed-stream"
    found = list(frames(answer.body))
    assert b"".join(text for stream, text in found if stream == 1) == b"one\nthree\n"
    assert [text for stream, text in found if stream == 2] == [b"two\n"]
    answer = world.ask("GET", "/containers/c/logs?stderr=1&tail=1", version="1.41")
    assert answer.headers["content-type"] == "application/vnd.docker.raw-stream"
    assert list(frames(answer.body)) == [(2, b"two\n")]


def test_a_terminal_has_one_stream_and_no_frames(world: World, client: str):
    made = run(world, TALK, tty=True)
    world.weftd.client.containers.wait(made)
    answer = world.ask("GET", "/containers/c/logs?stdout=1&stderr=1")
    assert answer.headers["content-type"] == "application/vnd.docker.raw-stream"
    assert answer.body == b"one\r\ntwo\r\nthree\r\n"
    assert world.lines("logs", "c", client=client) == ["one", "two", "three"]


def test_following_goes_on_to_the_end(world: World, client: str):
    run(world, "echo one; sleep 0.7; echo two; sleep 0.7; printf three; exit 3")
    begun = time.monotonic()
    done = world.docker("logs", "-f", "c", client=client)
    assert done.stdout == "one\ntwo\nthree"
    assert time.monotonic() - begun > 0.5


def test_following_tells_at_once(world: World):
    run(world, "while read line; do echo $line; done < /dev/zero & echo ready; sleep 30")
    command = ["docker", "logs", "-f", "c"]
    follower = world.host.popen(command, stdout=subprocess.PIPE, env={**os.environ, **world.environment})
    assert follower.stdout is not None
    assert follower.stdout.readline() == "ready\n"
    follower.terminate()
    follower.communicate(timeout=5)


def test_whoever_hangs_up_leaves_nothing_open(world: World):
    run(world, "echo ready; sleep 30")

    def logs() -> list[str]:
        found = []
        for fd in Path(f"/proc/{world.weftd.pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                found.append(os.readlink(fd))
        return [target for target in found if target.endswith("/log")]

    for _ in range(3):
        follower = world.host.popen(
            ["docker", "logs", "-f", "c"], stdout=subprocess.PIPE, env={**os.environ, **world.environment}
        )
        assert follower.stdout is not None
        follower.stdout.readline()
        assert logs()
        follower.kill()
        follower.communicate(timeout=5)
    eventually(lambda: not logs(), within=3)


def test_following_stops_at_the_moment_asked_for(world: World):
    run(world, "while :; do echo tick; sleep 0.2; done")
    begun = time.monotonic()
    answer = world.ask("GET", f"/containers/c/logs?stdout=1&follow=1&until={time.time() + 1:.3f}")
    assert 0.8 < time.monotonic() - begun < 6
    assert b"".join(text for _, text in frames(answer.body)).count(b"tick") >= 3


def test_much_is_told_whole(world: World):
    made = run(world, "i=0; while [ $i -lt 30000 ]; do echo line $i; i=$((i+1)); done")
    world.weftd.client.containers.wait(made)
    assert world.lines("logs", "c") == [f"line {number}" for number in range(30000)]


def test_what_cannot_be_told(world: World):
    run(world, "sleep 30")
    answer = world.ask("GET", "/containers/c/logs")
    assert (answer.status, answer.message) == (400, "Bad parameters: you must choose at least one stream")
    world.container("lent")
    assert world.ask("GET", "/containers/lent/logs?stdout=1").status == 501
    assert world.ask("GET", "/containers/c/logs?stdout=1&since=soon").status == 400
