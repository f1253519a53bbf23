"""docker top with arguments for ps: as Docker does it, and no way to see other processes than the container's."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from tests.docker.conftest import World
from tests.waiting import eventually
from weft.errors import Unavailable, Unsupported
from weft.serve.docker import ps
from weft.serve.docker.dialect import Refused

root = pytest.mark.root


@pytest.fixture(scope="module")
def pair(world: World) -> Iterator[dict[str, set[str]]]:
    """Two containers; the pids in each."""
    pids = {}
    for name in ("one", "two"):
        world.weftd.client.containers.run(["sh", "-c", "sleep 600; true"], name=name)
        rows = world.lines("top", name)[1:]
        pids[name] = {row.split()[1] for row in rows}
        assert len(pids[name]) == 3
    yield pids
    world.empty()


def top(world: World, name: str, arguments: str) -> Any:
    answer = world.ask("GET", f"/containers/{name}/top?ps_args={quote(arguments)}")
    assert answer.status == 200, answer.body
    return answer.json


@root
@pytest.mark.parametrize(
    ("arguments", "titles"),
    [
        ("aux", "USER PID %CPU %MEM VSZ RSS TTY STAT START TIME COMMAND"),
        ("-eF", "UID PID PPID C SZ RSS PSR STIME TTY TIME CMD"),
        ("-o pid,comm", "PID COMMAND"),
        ("-A  -o\tcomm=NAME -o pid=PID", "NAME PID"),
        ("-o pid=PID -o ppid=FROM", "PID FROM"),
        ("-o%p%c", "PID COMMAND"),
        ("axf", "PID TTY STAT TIME COMMAND"),
        ("-N", "PID TTY TIME CMD"),
        ("-ef", "UID PID PPID C STIME TTY TIME CMD"),
    ],
)
def test_the_columns_are_those_asked_for_and_the_rows_the_containers(
    world: World, pair: dict[str, set[str]], arguments: str, titles: str
):
    found = top(world, "one", arguments)
    assert found["Titles"] == titles.split()
    assert {len(row) for row in found["Processes"]} <= {len(found["Titles"])}
    column = found["Titles"].index("PID")
    shown = {row[column] for row in found["Processes"]}
    assert shown == (set() if arguments == "-N" else pair["one"])


@root
def test_a_command_line_is_one_field_with_its_blanks(world: World, pair: dict[str, set[str]]):
    found = top(world, "two", "-o pid,args")
    assert "sh -c sleep 600; true" in [row[1] for row in found["Processes"]]


@root
def test_threads_come_with_their_process(world: World, pair: dict[str, set[str]]):
    rows = [row[0] for row in top(world, "one", "m")["Processes"]]
    assert len(rows) == 6
    assert rows[1::2] == ["-"] * 3
    assert set(rows[::2]) == pair["one"]


@root
def test_with_the_cli(world: World, pair: dict[str, set[str]], client: str):
    heading, *rows = world.lines("top", "one", "-o", "pid,comm", client=client)
    assert heading.split() == ["PID", "COMMAND"]
    assert {row.split()[0] for row in rows} == pair["one"]
    assert sorted(row.split()[1] for row in rows)[:2] == ["sh", "sleep"]
    refusal = world.refusal("top", "one", "-o", "ppid=PID", client=client)
    assert refusal == 'specifying "ppid=PID" is not allowed'


@root
def test_with_the_library(world: World, pair: dict[str, set[str]]):
    docker = pytest.importorskip("docker", reason="the Docker SDK for Python is not installed")
    sdk = docker.DockerClient(base_url=f"unix://{world.weftd.socket}", timeout=20)
    try:
        container = sdk.containers.get("two")
        assert {row[0] for row in container.top(ps_args="-o pid")["Processes"]} == pair["two"]
        with pytest.raises(docker.errors.APIError, match="Couldn't find PID field in ps output"):
            container.top(ps_args="-o comm")
    finally:
        sdk.close()


@root
def test_of_what_weft_did_not_start(world: World):
    with world.host.container() as foreign:
        world.weftd.client.containers.create(name="lent", pid=foreign.pid)
        assert str(foreign.pid) in [row[0] for row in top(world, "lent", "-o pid")["Processes"]]
        world.weftd.cli("rm", "-f", "lent")
    world.container("bare")
    assert top(world, "bare", "-o pid") == {"Titles": ["PID"], "Processes": []}
    world.weftd.cli("rm", "-f", "bare")


REFUSED = {
    "no PID": ("-o comm", 500, "Couldn't find PID field in ps output"),
    "help": ("--help simple", 500, "Couldn't find PID field in ps output"),
    "another column as PID": ("-o uid=PID", 500, 'specifying "uid=PID" is not allowed'),
    "at the very beginning": ("-oppid=PID", 500, 'specifying "-oppid=PID" is not allowed'),
    "behind the right one": ("-o pid=PID2 -o uid=PID", 500, 'specifying "uid=PID" is not allowed'),
    "in a list": ("-o pid,uid=PID", 500, 'specifying "pid,uid=PID" is not allowed'),
    "by the long option": ("--format=uid=PID", 500, 'specifying "--format=uid=PID" is not allowed'),
    "with a tab": ("-o\tuid=PID", 500, 'specifying "uid=PID" is not allowed'),
    "unknown": ("--nonsense", 500, "ps: error: unknown gnu long option"),
    "a shell's words": ("-o pid; touch {}", 500, "ps: error: TTY could not be found"),
    "a shell's substitution": ("$(touch {})", 500, "ps: error: garbage option"),
    "NUL": ("-o pid\0", 400, "ps_args cannot hold a NUL"),
}


@root
@pytest.mark.parametrize("name", REFUSED)
def test_refusals(world: World, pair: dict[str, set[str]], tmp_path: Path, name: str):
    arguments, status, message = REFUSED[name]
    trace = tmp_path / "trace"
    query = quote(arguments.replace("{}", str(trace)))
    answer = world.ask("GET", f"/containers/one/top?ps_args={query}")
    assert (answer.status, answer.message) == (status, message)
    assert not trace.exists()


# ps itself


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts a script in the place of ps, the only program there is."""
    monkeypatch.setenv("PATH", str(tmp_path))

    def write(script: str) -> None:
        (tmp_path / "ps").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "ps").chmod(0o755)

    return write


def ask(arguments: str, pids: list[int]) -> dict[str, Any]:
    """As weftd does: on its kind of loop, which goes on when the answer is there."""

    async def on_and_on() -> dict[str, Any]:
        try:
            return await ps.processes(arguments, pids)
        finally:
            await asyncio.sleep(0.2)

    return uvloop.run(on_and_on())


def test_a_host_without_ps(program: Callable[[str], None]):
    with pytest.raises(Unsupported, match="this host has no ps"):
        ask("aux", [1])


def test_more_arguments_than_a_program_can_have():
    with pytest.raises(Refused, match=r"^ps: Argument list too long$"):
        ask("a" * 200_000, [1])


def test_a_ps_that_does_not_end(program: Callable[[str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ps, "PATIENCE", 0.5)
    program(f"echo $$ > {tmp_path}/pid; exec /bin/sleep 66")
    begun = time.monotonic()
    with pytest.raises(Unavailable, match=r"ps has not ended within 0.5 s"):
        ask("aux", [1])
    assert time.monotonic() - begun < 5
    eventually(lambda: not Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}/exe").exists(), within=5)


def test_a_ps_that_does_not_stop_talking(program: Callable[[str], None]):
    program("exec /usr/bin/yes PID")
    with pytest.raises(Refused, match="ps: it says more than"):
        ask("aux", [1])


def test_a_ps_that_knows_no_q(program: Callable[[str], None]):
    program('case "$*" in *-q1,5*) echo no such option >&2; exit 1;; esac; printf "A PID\\n%s 5\\nb 6\\n" "$1"')
    assert ask("-x", [1, 5]) == {"Titles": ["A", "PID"], "Processes": [["-x", "5"]]}


def test_a_ps_that_fails(program: Callable[[str], None]):
    program("printf 'it is broken\\nand more\\n' >&2; exit 3")
    with pytest.raises(Refused, match=r"^ps: it is broken$"):
        ask("-x", [1])
    program("exit 3")
    with pytest.raises(Refused, match=r"^ps: exit status 3$"):
        ask("-x", [1])


def test_ps_has_no_environment_of_the_daemons(program: Callable[[str], None], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PS_FORMAT", "uid=PID")
    program('echo "PID FORMAT"; echo "1 ${PS_FORMAT-none}"')
    assert ask("-x", [1])["Processes"] == [["1", "none"]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("  UID COMMAND\n   42 foo\n", "Couldn't find PID field in ps output"),
        ("\u2003PID COMMAND\n   42 foo\n", "Couldn't find PID field in ps output"),
        ("PIDX\n42\n", "Couldn't find PID field in ps output"),
        ("", "Couldn't find PID field in ps output"),
        ("PID\nx\n", "Unexpected pid 'x': it is not a number"),
        ("PID\n²\n", "Unexpected pid '²': it is not a number"),
        ("PID\n-5\n", "Unexpected pid '-5': it is not a number"),
    ],
)
def test_what_is_no_table(text: str, message: str):
    with pytest.raises(Refused) as refusal:
        ps.read_table(text, {42})
    assert refusal.value.message == message


def test_a_table():
    text = "  PID COMMAND\n   42 foo -x  1\n   43 bar\n\t\t- -\n  100 baz\n    - -\n   42\n"
    rows = [["42", "foo -x 1"], ["43", "bar"], ["-", "-"], ["42", ""]]
    assert ps.read_table(text, {42, 43}) == {"Titles": ["PID", "COMMAND"], "Processes": rows}


@given(st.text(alphabet="PID -=42\t\n\u2003x", max_size=80), st.sets(st.sampled_from([2, 4, 42])))
def test_whatever_it_says_the_rows_are_whole_and_of_those_processes(text: str, pids: set[int]):
    try:
        found = ps.read_table(text, pids)
    except Refused:
        return
    column = found["Titles"].index("PID")
    for row in found["Processes"]:
        assert len(row) == len(found["Titles"])
        assert row[column] == "-" or int(row[column]) in pids


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("", []),
        ("ae", ["ae"]),
        (" -A  -o pid ", ["-A", "-o", "pid"]),
        ("ae -o pid=PID", ["ae", "-o", "pid=PID"]),
        ("-o uid=\u2003PID", ["-o", "uid=\u2003PID"]),
        ("-o pid=XPID", ["-o", "pid=XPID"]),
    ],
)
def test_arguments(arguments: str, words: list[str]):
    assert ps.read_arguments(arguments) == words


@pytest.mark.parametrize(
    "arguments",
    [
        "ae -o uid=PID",
        'ae -o "uid= PID"',
        "ae o uid=PID",
        "aeo uid=PID",
        "ae -O uid=PID",
        "ae -o pid=PID2 -o uid=PID",
        "ae -o uid=\fPID",
    ],
)
def test_no_other_column_is_called_pid(arguments: str):
    with pytest.raises(Refused, match=r'^specifying "\S*uid=PID\S*" is not allowed$'):
        ps.read_arguments(arguments)
