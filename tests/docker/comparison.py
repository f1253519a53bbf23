"""`python -m tests.docker.comparison`: where weft answers Docker's CLI as Docker does, and where it does not, and why.

The same commands are put to Debian's dockerd and to weftd, each on a private host; ids, times and MAC addresses apart,
what the CLI prints and how it exits is compared. Writes docs/docker-compatibility.md. Each difference has its reason
here, next to the command; the test fails at a difference without one, and at a reason without a difference.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.docker.engines import API, Dockerd, Engine, Ours

PAGE = Path(__file__).parents[2] / "docs" / "docker-compatibility.md"

NEWER = "As Docker words it in newer versions."
EXPLAINS = "weft names what is in the way, and what would be right."
AT_NEED = "weft makes `bridge` when somebody first needs it; until then it has no subnet and no options."
CHECKED = "Docker keeps what it does not know, and does nothing with it. weft refuses it by name."
NAMES = "Networks' names are names in DNS, too: what cannot be one is refused."
HOST_BITS = "Docker drops the bits behind the prefix. weft takes them for a slip, and says what was probably meant."
DANGLING = "A network with a container on it is not dangling. This version of Docker lists it all the same."
NO_SWARM = "weft has no swarm, and says so."
RUNC = "Docker passes on what runc says. weft has a shell's codes: 127 for what is not there, as newer versions have."

TOLD = "{{.Action}} {{.Actor.Attributes.signal}} {{.Actor.Attributes.exitCode}} {{.Actor.Attributes.oldName}}"


@dataclass(frozen=True)
class Step:
    """A command for the CLI.

    Not compared are `run NAME NETWORK`, which starts a container in each engine's own way, and `forget NETWORK`, which
    removes one if it is there.
    """

    words: str
    reason: str = ""
    """Why the answers differ; empty: they do not."""
    sorted: bool = False
    """The lines come in no order."""


STEPS = (
    Step("network ls"),
    Step("network ls --filter type=custom"),
    Step("network inspect bridge", AT_NEED),
    Step("network inspect host none --format '{{.Name}} {{.Driver}} {{.Scope}} {{.Internal}}'"),
    Step("network create blue"),
    Step("network create --subnet 10.7.0.0/24 --gateway 10.7.0.5 --ip-range 10.7.0.128/25 --label team=a red"),
    Step("network create --internal --attachable --subnet 10.8.0.0/24 --aux-address printer=10.8.0.9 inner"),
    Step("network create --ipv6 --subnet fd07::/64 --subnet 10.9.0.0/24 both"),
    Step("network create -o com.docker.network.driver.mtu=1400 -o com.docker.network.bridge.enable_icc=false opted"),
    Step("network create -o com.docker.network.enable_ipv6=false --internal four"),
    Step("network create --config-only --subnet 10.10.0.0/24 common"),
    Step("network create --config-from common one"),
    Step("network ls"),
    Step("network ls --filter driver=bridge --filter name=e"),
    Step("network ls --filter name=^re --format '{{.Name}} {{.Labels}}'"),
    Step("network ls --filter label=team=a -q"),
    Step("network ls --filter dangling=true --format '{{.Name}}'"),
    Step("network ls --filter colour=blue", NEWER),
    Step("network ls --filter type=odd"),
    Step("network ls --filter dangling=perhaps", NEWER),
    Step("network inspect red"),
    Step("network inspect inner"),
    Step("network inspect both"),
    Step("network inspect opted"),
    Step("network inspect four --format '{{.EnableIPv6}} {{json .Options}}'"),
    Step("network inspect common"),
    Step("network inspect one"),
    Step("network inspect nowhere"),
    Step("network create blue"),
    Step("network create bridge"),
    Step("network create 'a b'", NAMES),
    Step("forget 'a b'"),
    Step("network create --driver nope n", EXPLAINS),  # for which Docker looks for 15 seconds
    Step("network create --subnet 10.7.0.0/25 n", EXPLAINS),
    Step("network create --subnet 10.11.0.0/24 --gateway 10.12.0.1 n"),
    Step("network create --subnet 10.11.0.0/24 --ip-range 10.12.0.0/25 n"),
    Step("network create --subnet ten n", EXPLAINS),
    Step("network create --subnet 10.11.0.3/24 n", HOST_BITS),
    Step("forget n"),
    Step("network create -o colour=blue n", CHECKED),
    Step("forget n"),
    Step("network create --ipam-opt colour=blue n", CHECKED),
    Step("forget n"),
    Step("network create -o com.docker.network.driver.mtu=wide n", EXPLAINS),
    Step("forget n"),
    Step("network create --ingress n", NO_SWARM),
    Step("network create --scope swarm n", NO_SWARM),
    Step("network create --config-from nowhere n"),
    Step("run web red"),
    Step("network inspect red"),
    Step("network connect blue web"),
    Step("network connect blue web"),
    Step("network connect --ip 10.9.0.77 --ip6 fd07::77 --alias www both web"),
    Step("network inspect both"),
    Step("network connect --ip 10.7.0.1 inner web", EXPLAINS),
    Step("network connect inner nobody"),
    Step("network connect nowhere web"),
    Step("network connect host web"),
    Step("network ls --filter dangling=true --format '{{.Name}}'", DANGLING),
    Step("network rm red", NEWER),
    Step("network rm bridge"),
    Step("network rm nowhere"),
    Step("network disconnect inner web", EXPLAINS),
    Step("network disconnect blue nobody"),
    Step("network disconnect blue web"),
    Step("network disconnect both web"),
    Step("network inspect both --format '{{.Containers}}'"),
    Step("network rm blue both"),
    Step("network prune -f --filter label=nothing"),
    Step("network prune -f --filter until=10m"),
    Step("network prune -f --filter colour=blue", NEWER),
    Step("network prune -f", sorted=True),
    Step("network ls"),
    Step("run box bridge"),
    Step("exec box /bin/busybox sh -c 'echo out; echo err >&2; exit 3'"),
    Step("exec box /bin/nonesuch", RUNC),
    Step("exec nobody /bin/busybox true"),
    Step("top box -o comm"),
    Step("top box -o pid=PID2 -o uid=PID"),
    Step("top box --nonsense"),
    Step("top nobody"),
    Step("rename box crate"),
    Step("stop -t 9 crate"),
    Step("wait crate"),
    Step("exec crate /bin/busybox true", NEWER),
    Step("top crate", NEWER),
    Step("rm crate"),
    Step("run hut bridge"),
    Step("inspect hut --format '{{.ExecIDs}}'"),
    Step("exec -d hut /bin/busybox sleep 1000"),
    Step("inspect hut --format '{{.ExecIDs}} {{.State.Status}} {{.State.ExitCode}}'"),
    Step("kill hut"),
    Step("inspect hut --format '{{.ExecIDs}} {{.State.Status}} {{.State.ExitCode}}'"),
    Step("kill hut", NEWER),
    Step("rm hut"),
    Step("run den bridge"),
    Step("rm den", NEWER),
    Step("rm -f den"),
    Step("rm -f nobody"),
    Step(f"events --since 1h --until=-2s --filter container=box --filter container=crate --format '{TOLD}'"),
    Step("events --since 1h --until=-2s --filter event=exec_create --format '{{.Action}} {{.Actor.ID}}'"),
    Step("events --since 1h --until=-2s --filter event=exec_die --format '{{.Actor.Attributes.exitCode}}'"),
    Step(f"events --since 1h --until=-2s --filter container=den --format '{TOLD}'"),
)


@dataclass(frozen=True)
class Answer:
    status: int
    said: str

    def __str__(self) -> str:
        return self.said or f"(nothing, status {self.status})"


@dataclass(frozen=True)
class Outcome:
    step: Step
    docker: Answer
    weft: Answer

    @property
    def same(self) -> bool:
        return self.docker == self.weft


def is_shown(step: Step) -> bool:
    """Whether it is the same command for both."""
    return step.words.split()[0] not in ("run", "forget")


def compare(directory: Path) -> tuple[str, list[Outcome]]:
    """dockerd's version, and how each step went."""
    with Dockerd(directory / "docker") as docker, Ours(directory / "weft") as weft:
        version = docker.version
        return version, [Outcome(step, answer(docker, step), answer(weft, step)) for step in STEPS]


def answer(engine: Engine, step: Step) -> Answer:
    words = shlex.split(step.words)
    if words[0] == "run":
        engine.container(*words[1:])
        return Answer(0, "")
    if words[0] == "forget":
        engine.docker("network", "rm", *words[1:])
        return Answer(0, "")
    done = engine.docker(*words)
    said = plain(done)
    return Answer(done.returncode, "\n".join(sorted(said.splitlines())) if step.sorted else said)


_APART = (
    (re.compile(r"\b[0-9a-f]{64}\b"), "ID"),
    (re.compile(r"\b[0-9a-f]{12}\b"), "ID"),
    (re.compile(r"\b[0-9a-f]{2}(:[0-9a-f]{2}){5}\b"), "MAC"),
    (re.compile(r"\d{4}-\d\d-\d\dT[0-9:.]+(Z|[+-]\d\d:\d\d)"), "TIME"),
    (re.compile(r"ID +NAME"), "ID NAME"),
    (re.compile(r" +(?=[^ ])"), " "),
)


def plain(done: subprocess.CompletedProcess[str]) -> str:
    """Without what is different every time."""
    text = (done.stdout + done.stderr).strip()
    for pattern, word in _APART:
        text = pattern.sub(word, text)
    return text


def unexplained(outcomes: Sequence[Outcome]) -> list[Outcome]:
    return [each for each in outcomes if not each.same and not each.step.reason]


def explained_in_vain(outcomes: Sequence[Outcome]) -> list[Outcome]:
    return [each for each in outcomes if each.same and each.step.reason]


def page(version: str, outcomes: Sequence[Outcome]) -> str:
    different = [each for each in outcomes if not each.same]
    same = [each for each in outcomes if each.same and is_shown(each.step)]
    return "\n".join(
        [
            "# Docker and weft, answer by answer",
            "",
            f"The same commands, one after the other, put to Docker {version} and to weft with the same CLI, in API",
            f"{API}. Ids, times and MAC addresses apart, the answers and exit statuses are compared. Written by",
            "`python -m tests.docker.comparison`; a test fails at a difference that is not on this page.",
            "See [Docker's clients](docker.md) for what weft's API has beyond these.",
            "",
            f"## Different ({len(different)})",
            "",
            *(line for each in different for line in section(each)),
            f"## The same ({len(same)})",
            "",
            *(f"- `docker {words}`" for words in dict.fromkeys(each.step.words for each in same)),
            "",
        ]
    )


def section(each: Outcome) -> list[str]:
    return [
        f"### `docker {each.step.words}`",
        "",
        each.step.reason,
        "",
        "```diff",
        *(f"{sign} {line}" for sign, line in changes(str(each.docker), str(each.weft))),
        "```",
        "",
    ]


def changes(docker: str, weft: str) -> list[tuple[str, str]]:
    """The lines that only Docker has, then those that only weft has."""
    theirs, ours = docker.splitlines(), weft.splitlines()
    return [
        *(("-", line) for line in theirs if line not in ours),
        *(("+", line) for line in ours if line not in theirs),
    ]


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="weft-comparison-", dir="/var/tmp") as directory:
        version, outcomes = compare(Path(directory))
    for each in unexplained(outcomes):
        print(f"no reason is given for: docker {each.step.words}\n- {each.docker}\n+ {each.weft}\n", file=sys.stderr)
    for each in explained_in_vain(outcomes):
        print(f"no difference any more: docker {each.step.words}\n", file=sys.stderr)
    PAGE.write_text(page(version, outcomes))
    print(f"{PAGE}: {sum(not each.same for each in outcomes)} of {len(outcomes)} answers differ")
    return 1 if unexplained(outcomes) or explained_in_vain(outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
