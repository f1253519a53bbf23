from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serve.house import House, served
from weft.doors.cli.completion import FILES, SCRIPTS, candidates
from weft.doors.cli.session import Session


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    with served(tmp_path_factory.mktemp("house")) as house:
        prepare(house)
        yield Session(house.host)


def prepare(house: House) -> None:
    house.client.networks.create("front")
    house.client.networks.create("back")
    house.client.containers.create(name="db", networks=["front"])
    house.client.containers.create(name="web", networks=["front"])


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["ne"], ["network"]),
        (["--h"], ["--host"]),
        (["network", "cre"], ["create"]),
        (["network", "rm", ""], ["front", "back"]),
        (["network", "rm", "front", "b"], ["back"]),
        (["network", "connect", ""], ["front", "back"]),
        (["network", "connect", "front", ""], ["db", "web"]),
        (["network", "connect", "front", "db", ""], []),
        (["rm", "-f", "d"], ["db"]),
        (["rm", "--fo"], ["--force"]),
        (["run", "--network", "f"], ["front"]),
        (["run", "--network=f"], ["--network=front"]),
        (["run", "-d", "--netw"], ["--network", "--network-alias"]),
        (["run", "--name", ""], []),
        (["run", ""], [FILES]),
        (["run", "ls", "-"], [FILES]),
        (["run", "--rootfs", "/sr"], [FILES]),
        (["run", "--", "-"], [FILES]),
        (["exec", ""], ["db", "web"]),
        (["exec", "-it", "web", ""], [FILES]),
        (["kill", "-s", "T"], ["TERM"]),
        (["completion", "z"], ["zsh"]),
        (["network", "create", "-d", "m"], ["macvlan"]),
        (["network", "create", "--ipam-driver", "d"], ["default", "dhcp"]),
        (["network", "create", "-o", "mo"], ["mode="]),
        (["network", "create", "-o", "ho"], ["host-access="]),
        (["network", "create", "-o", "parent=l"], []),
        (["nix", ""], []),
        (["network", "nix", ""], []),
        (["--host", "unix:///nowhere", "rm", ""], []),
    ],
)
def test_candidates(session: Session, words: list[str], offered: list[str]):
    assert [line.partition("\t")[0] for line in candidates(words, session)] == offered


def test_commands_are_explained(session: Session):
    assert "ps\tList containers" in candidates([""], session)
    assert not any(line.startswith("__") for line in candidates([""], session))


@pytest.mark.parametrize("shell", SCRIPTS)
def test_scripts_are_valid(shell: str):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    done = subprocess.run([shell, "-n"], input=SCRIPTS[shell], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


# What each shell does with its script, around `typed`. bash gets its words as readline splits them; zsh's own functions
# are replaced by ones that print.
TRIES = {
    "bash": """
COMP_WORDS=({split})
COMP_CWORD={last_split}
COMP_LINE="{typed}"
COMP_POINT={length}
_weft
printf '%s\\n' "${{COMPREPLY[@]}}"
""",
    "zsh": """
words=({words})
CURRENT={last}
_weft
""",
    "fish": """
complete -C "{typed}"
""",
}
ZSH_STUBS = """
compdef() { :; }
_describe() { print -l -- "${(@P)2}" }
_files() { print FILES }
"""


@pytest.mark.parametrize("shell", SCRIPTS)
@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("weft netw", ["network"]),
        ("weft network rm ", ["back", "front"]),
        ("weft run --network=fr", ["--network=front"]),
        ("weft run --network fr", ["front"]),
        ("weft rm -f d", ["db"]),
    ],
)
def test_shells_complete(session: Session, tmp_path: Path, shell: str, typed: str, offered: list[str]):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    program = tmp_path / "weft"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m weft.doors.cli "$@"\n')
    program.chmod(0o755)
    words, split = typed.split(" "), typed.replace("=", " = ").split(" ")
    attempt = TRIES[shell].format(
        typed=typed,
        length=len(typed),
        words=" ".join(f"'{word}'" for word in words),
        last=len(words),
        split=" ".join(f"'{word}'" for word in split),
        last_split=len(split) - 1,
    )
    environment = {
        **os.environ,
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "PYTHONPATH": "src",
        "WEFT_HOST": str(session._host),
        "HOME": str(tmp_path),
    }
    done = subprocess.run(
        [shell],
        input=(ZSH_STUBS if shell == "zsh" else "") + SCRIPTS[shell] + attempt,
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    # zsh and fish show an explanation behind each; bash replaces only what follows the last '='.
    shown = [
        line.partition("\t")[0] if shell == "fish" else line.partition(":")[0] for line in done.stdout.splitlines()
    ]
    expected = [word.rpartition("=")[2] for word in offered] if shell == "bash" else offered
    assert (sorted(shown), done.stderr) == (expected, "")
