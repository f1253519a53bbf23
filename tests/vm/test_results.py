"""How the results on two kernels are put side by side."""

from __future__ import annotations

from pathlib import Path

from tests.vm.results import Results, read, summary

JUNIT = """<?xml version="1.0" encoding="utf-8"?>
<testsuites><testsuite name="pytest" time="12.4"><properties><property name="kernel" value="{kernel}"/></properties>
<testcase classname="tests.a" name="test_plain" time="0.1"/>
<testcase classname="tests.a" name="test_sctp[one]" time="0.1">{sctp}</testcase>
<testcase classname="tests.a" name="test_sctp[two::three]" time="0.1">{sctp}</testcase>
<testcase classname="tests.b" name="test_old" time="0.1">{old}</testcase>
<testcase classname="tests.b" name="test_neither" time="0.1"><skipped message="no WireGuard"/></testcase>
{more}</testsuite></testsuites>"""
BAD = (
    '<testcase classname="tests.c" name="test_bad"><failure message="no">trace</failure></testcase>'
    '<testcase classname="tests.c" name="test_worse"><error message="no">trace</error></testcase>'
)


def results(path: Path, **parts: str) -> Results:
    path.write_text(JUNIT.format(**{"sctp": "", "old": "", "more": "", **parts}))
    found = read(path)
    assert found is not None
    return found


def test_what_only_one_of_them_could_run_is_told_by_name(tmp_path: Path) -> None:
    here = results(tmp_path / "here", kernel="6.18.1", sctp='<skipped message="has no SCTP"/>')
    there = results(tmp_path / "there", kernel="6.1.0-9", old='<skipped message="too old"/>', more=BAD)
    assert summary(here, there).splitlines() == [
        "",
        "By kernel:",
        "  this machine's, 6.18.1: 2 passed, 3 skipped in 12 s",
        "  Debian's own, 6.1.0-9: 3 passed, 2 skipped, 1 failed, 1 error in 12 s",
        "Skipped here, ran there: 2",
        "    2 × has no SCTP",
        "        tests.a::test_sctp × 2",
        "Skipped there, ran here: 1",
        "    1 × too old",
        "        tests.b::test_old",
        "Skipped on both: 1",
        "    1 × no WireGuard",
        "        tests.b::test_neither",
    ]


def test_without_results_of_this_machine_the_others_are_told(tmp_path: Path) -> None:
    there = results(tmp_path / "there", kernel="6.1.0-9")
    assert summary(None, there).splitlines()[2:] == [
        "  Debian's own, 6.1.0-9: 4 passed, 1 skipped in 12 s",
        "Skipped there: 1",
        "    1 × no WireGuard",
        "  Of this machine's kernel there are no results to compare with: `make test` leaves them.",
    ]


def test_a_run_that_did_not_get_to_its_end_has_no_results(tmp_path: Path) -> None:
    assert read(tmp_path / "none") is None
    (tmp_path / "half").write_text("<testsuites><testsuite>")
    assert read(tmp_path / "half") is None
