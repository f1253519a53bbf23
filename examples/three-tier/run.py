"""Three tiers on two networks, built and proved step by step: `make demo`.

    outside ── 8080 ─▶ web ── front ── app ── back (internal) ── data (Redis)

Every claim below is checked by a real request, and the first that does not hold ends the story with status 1. Nothing
of this machine is touched (stage.py). `--user` plays in a user namespace even as root, as it does for a normal user.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import stage

HERE = Path(__file__).parent
SITE = f"http://{stage.HOST}:8080/"
FROM_OUTSIDE = f"{stage.OUTSIDE_PREFIX} curl -sS"

BOLD, GREEN, RED, DIM, PLAIN = ("\33[1m", "\33[32m", "\33[31m", "\33[2m", "\33[0m") if sys.stdout.isatty() else [""] * 5

UNKNOWN_NAME, REFUSED, BLOCKED = (6,), (7,), (7, 28)
"""Exit statuses of curl: no such name; refused; refused or no answer in time."""


def main() -> int:
    begun = time.monotonic()
    stage.build()
    weftd = stage.start_weftd()
    build_tiers()
    prove_the_way_through()
    prove_the_walls()
    weftd = prove_that_nothing_needs_weftd(weftd)
    tell("What holds web together")
    show("weft explain --brief web")
    take_away(weftd)
    took = f"{time.monotonic() - begun:.1f} seconds"
    print(f"\n{GREEN}{BOLD}Every claim held.{PLAIN} It took {took}, and this machine is as it was.")
    return 0


def build_tiers() -> None:
    tell("Two networks; nothing leads out of the second")
    show("weft network create front")
    show("weft network create --internal back")
    tell("Three tiers: only web is published, only app is on both networks")
    show("weft run -d --name data --network back -- redis-server --bind 0.0.0.0 --protected-mode no --save ''")
    show(f"weft run -d --name app --network front --network back -e PATH -w {HERE} -- python app.py")
    show(f"weft run -d --name web --network front -p 8080:80 -e PATH -w {HERE} -- python web.py")
    show("weft ps")


def prove_the_way_through() -> None:
    tell("From outside through all three: web finds app by its name, app finds data by its name")
    first = visit(patience=15)  # servers take a moment to start
    claim("the published port leads through web and app", holds="app counts visit" in first, proof=first)
    second = visit()
    claim("and the data store has counted", holds=number(second) == number(first) + 1, proof=second)
    own = ask("curl -sS -m 5 http://127.0.0.1:8080/")
    claim("the host itself reaches it over 127.0.0.1", holds=number(own) == number(second) + 1, proof=own)


def prove_the_walls() -> None:
    tell("What is not allowed does not work, not even for one who knows the addresses")
    web, app, data = address("web", "front"), address("app", "front"), address("data", "back")
    refuses("web does not even know a name for data", "weft exec web curl -sS -m 2 http://data:6379", UNKNOWN_NAME)
    refuses("web does not reach data by its address", f"weft exec web curl -sS -m 1 http://{data}:6379", BLOCKED)
    welcome = ask(f"weft exec app curl -sS -m 5 {stage.NEIGHBOUR}")
    claim("app reaches a server outside, under the host's address", holds=stage.HOST in welcome, proof=welcome)
    refuses("data, on an internal network, does not", f"weft exec data curl -sS -m 1 {stage.NEIGHBOUR}", BLOCKED)

    tell("Somebody outside, with routes to the containers through this host")
    for there in (web, app, data):
        ask(f"{stage.OUTSIDE_PREFIX} ip route add {there} via {stage.HOST}")
    for what, there in (("app", f"{app}:5000"), ("data", f"{data}:6379"), ("web past its published port", f"{web}:80")):
        refuses(f"does not reach {what}", f"{FROM_OUTSIDE} -m 1 http://{there}", BLOCKED)
    for port in (5000, 6379):
        refuses(f"finds no port {port}", f"{FROM_OUTSIDE} -m 1 http://{stage.HOST}:{port}", BLOCKED)


def prove_that_nothing_needs_weftd(weftd: subprocess.Popen[bytes]) -> subprocess.Popen[bytes]:
    tell("Kill the daemon: packets flow and names resolve all the same")
    print(f"{DIM}${PLAIN} kill -9 {weftd.pid}")
    weftd.kill()
    weftd.wait()
    before = visit()
    claim("requests go through while weftd is dead", holds="app counts visit" in before, proof=before)
    print(f"{DIM}${PLAIN} weftd &")
    weftd = stage.start_weftd()
    after = visit()
    claim("the next weftd takes over without a gap", holds=number(after) == number(before) + 1, proof=after)
    show("weft ps")
    return weftd


def take_away(weftd: subprocess.Popen[bytes]) -> None:
    tell("Take it all away")
    show("weft rm -f web app data")
    show("weft network rm front back")
    refuses("nothing answers any more", f"{FROM_OUTSIDE} -m 1 {SITE}", REFUSED)
    print(f"{DIM}${PLAIN} kill {weftd.pid}")
    weftd.terminate()
    weftd.wait()
    deadline = time.monotonic() + 15  # the kernel takes links away in its own time
    while (left := links_of_weft()) and time.monotonic() < deadline:
        time.sleep(0.1)
    claim("no link is left", holds=not left, proof=" ".join(left))
    claim("no namespace is left", holds=not ask("ls /run/weft/netns"))


def links_of_weft() -> list[str]:
    names = [line.partition("@")[0].partition(" ")[0] for line in ask("ip -br link").splitlines()]
    return [name for name in names if name.startswith(("wb-", "wv-"))]


# How it is told and checked


def tell(what: str) -> None:
    print(f"\n{BOLD}{what}{PLAIN}", flush=True)


def show(command: str) -> None:
    """Run a command before the audience; it has to succeed."""
    print(f"{DIM}${PLAIN} {command}", flush=True)
    if subprocess.run(shlex.split(command), check=False).returncode:
        raise SystemExit(f"{RED}that should have worked{PLAIN}")


def claim(what: str, *, holds: bool, proof: str = "") -> None:
    mark = f"{GREEN}✓{PLAIN}" if holds else f"{RED}✗{PLAIN}"
    print(f"{mark} {what}" + (f"  {DIM}{proof}{PLAIN}" if proof else ""), flush=True)
    if not holds:
        raise SystemExit(1)


def refuses(what: str, command: str, statuses: Sequence[int]) -> None:
    """Claim that a request fails, and in one of these ways."""
    status, said = request(command)
    claim(what, holds=status in statuses, proof=said if status else f"curl succeeded: {said}")


def visit(*, patience: float = 0) -> str:
    """What the published port answers outside, for somebody with so many seconds of patience."""
    return ask(f"{FROM_OUTSIDE} -f -m 5 {SITE}", patience=patience)


def ask(command: str, *, patience: float = 0) -> str:
    """What a request answers; it has to succeed."""
    deadline = time.monotonic() + patience
    while True:
        status, said = request(command)
        if status == 0:
            return said
        if time.monotonic() > deadline:
            raise SystemExit(f"{RED}✗ {command}\n  status {status}: {said}{PLAIN}")
        time.sleep(0.1)


def request(command: str) -> tuple[int, str]:
    done = subprocess.run(
        shlex.split(command), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=30
    )
    return done.returncode, done.stdout.strip()


def number(text: str) -> int:
    """The number of a visit."""
    return int(text.rpartition(" ")[2])


def address(container: str, network: str) -> str:
    endpoints = json.loads(ask(f"weft inspect {container}"))[0]["endpoints"]
    return next(e["ipv4"].partition("/")[0] for e in endpoints if e["network"] == network)


if __name__ == "__main__":
    try:
        if stage.INSIDE in stage.os.environ:
            sys.exit(main())
        sys.exit(stage.enter(sys.argv[:1], user="--user" in sys.argv[1:] or stage.os.geteuid() != 0))
    except stage.NoStage as reason:
        sys.exit(f"{RED}{reason}{PLAIN}")
    except KeyboardInterrupt:
        sys.exit(130)
