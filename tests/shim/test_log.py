"""The log: the format, the bound, and reading it back."""

from __future__ import annotations

import os
import re
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.shim.boxes import Boxes, eventually
from weft.shim.frames import STDERR, STDOUT
from weft.shim.log import Log
from weft.shim.reader import Reader, show_until


def read(path: Path, capfdbinary: pytest.CaptureFixture[bytes], **options: object) -> tuple[bytes, bytes]:
    Reader(str(path), **options).show()  # type: ignore[arg-type]
    return capfdbinary.readouterr()


def test_a_line_is_a_cri_line(tmp_path: Path) -> None:
    log = Log(str(tmp_path / "log"))
    log.write(STDOUT, b"one\ntwo")
    log.write(STDERR, b"three\n")
    stamp = rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z"
    wanted = b"^%s stdout F one\n%s stdout P two\n%s stderr F three\n$" % (stamp, stamp, stamp)
    assert re.match(wanted, (tmp_path / "log").read_bytes())
    assert (tmp_path / "log").stat().st_mode & 0o077 == 0


@given(pieces=st.lists(st.tuples(st.sampled_from([STDOUT, STDERR]), st.binary(min_size=1, max_size=20))))
def test_what_is_written_is_read_back(
    pieces: list[tuple[int, bytes]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("log") / "log"
    log = Log(str(path), limit=1 << 20)
    for kind, data in pieces:
        log.write(kind, data)
    reader = Reader(str(path))
    read_back = [reader._piece(line) for block in reader._blocks() for line in block]
    for kind, fd in ((STDOUT, 1), (STDERR, 2)):
        assert b"".join(text for to, text in read_back if to == fd) == b"".join(d for k, d in pieces if k == kind)


def test_it_is_bounded_and_keeps_the_newest(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    log = Log(str(tmp_path / "log"), limit=1000)
    for n in range(200):
        log.write(STDOUT, b"%d\n" % n)
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 2100
    out, _ = read(tmp_path / "log", capfdbinary)
    numbers = [int(line) for line in out.split()]
    assert numbers == list(range(numbers[0], 200))
    assert len(numbers) > 15


def test_a_reader_follows_through_the_change_of_files(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    log = Log(str(tmp_path / "log"), limit=1000)
    reader = Reader(str(tmp_path / "log"))
    for n in range(200):
        log.write(STDOUT, b"%d\n" % n)
        reader.show()
    assert capfdbinary.readouterr()[0] == b"".join(b"%d\n" % n for n in range(200))


def test_tail_counts_lines_not_pieces(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    log = Log(str(tmp_path / "log"))
    for data in (b"one\ntwo\nth", b"r", b"ee\nunfin", b"ished"):
        log.write(STDOUT, data)
    for tail, wanted in ((0, b""), (1, b"unfinished"), (2, b"three\nunfinished"), (9, b"one\ntwo\nthree\nunfinished")):
        Reader(str(tmp_path / "log")).show(tail=tail)
        assert capfdbinary.readouterr()[0] == wanted


def test_since_and_until(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    log = Log(str(tmp_path / "log"))
    log.write(STDOUT, b"before\n")
    time.sleep(0.01)
    moment = time.time()
    time.sleep(0.01)
    log.write(STDOUT, b"after\n")
    assert read(tmp_path / "log", capfdbinary, since=moment)[0] == b"after\n"
    assert read(tmp_path / "log", capfdbinary, until=moment)[0] == b"before\n"


def test_timestamps_are_at_the_beginning_of_lines_only(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    log = Log(str(tmp_path / "log"))
    log.write(STDOUT, b"on")
    log.write(STDOUT, b"e\n")
    out, _ = read(tmp_path / "log", capfdbinary, timestamps=True)
    assert re.match(rb"^\S{30} one\n$", out)


def test_show_until_stops_at_the_position(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    log = Log(str(tmp_path / "log"), limit=1000)
    for n in range(30):
        log.write(STDOUT, b"%d\n" % n)
    position = log.position()
    log.write(STDOUT, b"later\n")
    show_until(str(tmp_path / "log"), *position)
    assert capfdbinary.readouterr()[0].split() == [b"%d" % n for n in range(30)]


def test_a_missing_log_is_an_empty_one(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert read(tmp_path / "log", capfdbinary) == (b"", b"")


def test_logs_after_the_end(boxes: Boxes) -> None:
    sandbox = boxes.start("sh", "-c", "echo out; echo err >&2")
    boxes.end(sandbox)
    done = boxes.logs(sandbox, follow=True)
    assert (done.stdout, done.stderr) == ("out\n", "err\n")


def test_follow_sees_new_lines_and_ends_with_the_container(boxes: Boxes) -> None:
    sandbox = boxes.start("sh", "-c", "echo one; read line; echo $line", open_stdin=True)
    command = boxes.call("logs", boxes.runtime.log(sandbox.id), console=boxes.console(sandbox), follow=True)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as follower:
        assert follower.stdout is not None
        assert follower.stdout.readline() == "one\n"
        attached = boxes.call("attach", boxes.console(sandbox))
        subprocess.run(attached, input="two\n", text=True, stdout=subprocess.DEVNULL, timeout=10, check=True)
        assert follower.stdout.read() == "two\n"
        assert follower.wait(5) == 99


def test_follow_loses_nothing_of_a_flood(boxes: Boxes) -> None:
    sandbox = boxes.sandbox("seq", "1", "150000")
    boxes.runtime.prepare(sandbox.id)
    command = boxes.call("logs", boxes.runtime.log(sandbox.id), console=boxes.console(sandbox), follow=True)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as follower:
        assert follower.stdout is not None
        boxes.runtime.start(sandbox, {})
        numbers = follower.stdout.read().split()
    assert numbers == [str(n) for n in range(1, 150_001)]


def test_a_full_log_device_does_not_stop_the_container(boxes: Boxes) -> None:
    sandbox = boxes.sandbox("sh", "-c", "seq 1 1000; exit 3")
    log = boxes.runtime.log(sandbox.id)
    os.makedirs(os.path.dirname(log))
    os.symlink("/dev/full", log)
    boxes.runtime.start(sandbox, {})
    assert boxes.end(sandbox).code == 3
    eventually(lambda: not boxes.runtime.pids(sandbox.id))
