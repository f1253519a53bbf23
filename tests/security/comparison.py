"""`python -m tests.security.comparison`: the same attackers let loose on Debian's dockerd and on weft, side by side.

Each engine has a private host of its own, with the same neighbours, networks, containers and published ports, and once
more one with firewalld. Writes a section of docs/security.md. What is not asked: what only one of them has.
"""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.daemons import Weftd
from tests.hosts import PrivateHost
from tests.security import attacks
from tests.security.attacks import answers
from tests.security.engines import Docker, Weft
from tests.security.firewalld import Firewalld
from tests.security.scene import ADDRESSES, OPEN, PUBLISHED, RESOLV_CONF, SHUT, Scene, scene_of, wires
from tests.system.people import HOST4, HOST6

PAGE = Path(__file__).parents[2] / "docs" / "security.md"
TITLE = "## Compared with Docker, as measured"

Trial = Callable[[Scene], list[str]]


@dataclass(frozen=True)
class Row:
    number: int | None
    """Of the statement in docs/security.md."""
    says: str
    trial: Trial
    """What got through."""
    firewalld: bool = False
    """On a host with firewalld."""


def _all(*trials: Trial) -> Trial:
    return lambda scene: [each for trial in trials for each in trial(scene)]


# Trials that need more than an attacker


FLOOD = """
import socket, sys, time
address, seconds = sys.argv[1], float(sys.argv[2])
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect((address, int(sys.argv[3]))); s.settimeout(0.002)
end, got = time.monotonic() + seconds, 0
print("ready", flush=True)
while time.monotonic() < end:
    try: s.send(b"?"); s.recv(100); got += 1
    except OSError: pass
print(got)
"""


def killed_and_started_anew(scene: Scene) -> list[str]:
    """Packets to an unpublished port all the while that the daemon is killed and comes back."""
    command = [sys.executable, "-c", FLOOD, ADDRESSES["web"][0], "6", str(SHUT)]
    with scene.outside.popen(command, stdout=subprocess.PIPE) as flood:
        assert flood.stdout is not None
        assert flood.stdout.readline() == "ready\n"
        time.sleep(0.3)
        scene.engine.kill()
        scene.engine.revive()
        got = int(flood.stdout.read())
    return [f"{got} packets"] if got else []


def flushed(scene: Scene) -> list[str]:
    """Two seconds after somebody has flushed all rules."""
    scene.host.run("nft flush ruleset")
    time.sleep(2)
    return attacks.lan_to_unpublished_ports(scene)


def unserved_after_the_flush(scene: Scene) -> list[str]:
    """And whether published ports are back; to be tried after `flushed`."""
    expected = {f"tcp/{address}:{PUBLISHED}" for address in (HOST4, HOST6)}
    return sorted(expected - set(answers(scene, "outside", [HOST4, HOST6], [PUBLISHED])))


ROUNDS = 6


def orphans(scene: Scene) -> list[str]:
    """Bridges that no network is known for, after the daemon was killed again and again while networks were made."""
    engine = scene.engine
    for number in range(ROUNDS):
        making = [engine.start_docker("network", "create", f"brief-{number}-{each}") for each in range(6)]
        time.sleep(0.05 + 0.03 * number)
        engine.kill()
        for each in making:
            each.wait()
        engine.revive()
    known = {ident[:12] for ident in engine.docker("network", "ls", "-q", "--no-trunc").stdout.split()}
    listed = json.loads(scene.host.run("ip -j link show type bridge").stdout)
    bridges = {link["ifname"] for link in listed if link["ifname"].startswith(engine.bridges)}
    return sorted(bridge for bridge in bridges if bridge.removeprefix(engine.bridges) not in known)


def after_reload(*trials: Trial) -> Trial:
    def trial(scene: Scene) -> list[str]:
        scene.host.run("firewall-cmd --reload", timeout=60)
        time.sleep(2)  # for who is told of it
        return _all(*trials)(scene)

    return trial


def unserved(scene: Scene) -> list[str]:
    expected = {f"{proto}/{address}:{PUBLISHED}" for address in (HOST4, HOST6) for proto in ("tcp", "udp")}
    return sorted(expected - set(answers(scene, "outside", [HOST4, HOST6], [PUBLISHED])))


def apart(scene: Scene) -> list[str]:
    """Containers of one network that do not reach each other."""
    expected = {f"{proto}/{address}:{OPEN}" for address in ADDRESSES["web"] for proto in ("tcp", "udp")}
    return sorted(expected - set(answers(scene, "beside", ADDRESSES["web"], [OPEN])))


LOOPBACK = (
    attacks.loopback_from_the_wire,
    attacks.loopback_from_a_lax_wire,
    attacks.loopback_from_a_neighbour,
    attacks.loopback_from_another_network,
)

ROWS = (
    # In this order: some leave things as they ought not to be.
    Row(None, "published ports are reached at the host's addresses, neighbours by each other", _all(unserved, apart)),
    Row(1, "a port published on 127.0.0.1 is not reached by a machine on the wire", attacks.loopback_from_the_wire),
    Row(1, "nor the host's own services there, if another program has set `route_localnet`", LOOPBACK[1]),
    Row(1, "nor either by a container of the same network, or of another", _all(*LOOPBACK[2:])),
    Row(4, "who has a route reaches no unpublished port", attacks.lan_to_unpublished_ports),
    Row(5, "nor a published one at the container's own address", attacks.lan_to_published_ports_at_own_address),
    Row(6, "networks are apart", attacks.network_to_network),
    Row(
        8,
        "nothing leads out of an internal network, or into it",
        _all(attacks.out_of_an_internal_network, attacks.into_an_internal_network),
    ),
    Row(8, "not even a name that is looked up", attacks.names_out_of_an_internal_network),
    Row(13, "the host becomes nobody's router", attacks.through_the_host),
    Row(22, "a neighbour's name is told to nobody outside", attacks.local_names_to_the_world),
    Row(None, "a container takes no neighbour's address", attacks.borrowed_address),
    Row(
        10,
        "a container that says it is an IPv6 router is not believed by one without IPv6, nor by the host",
        lambda scene: attacks.rogue_router(scene, ("plain", "host")),
    ),
    Row(10, "nor by one with IPv6", lambda scene: attacks.rogue_router(scene, ("web",))),
    Row(19, "an unpublished port stays shut while the daemon is killed and comes back", killed_and_started_anew),
    Row(21, f"killed {ROUNDS} times while networks are made, no bridge is left that no network is known for", orphans),
    Row(20, "two seconds after `nft flush ruleset` unpublished ports are shut", flushed),
    Row(20, "and published ones open", unserved_after_the_flush),
    Row(6, "beside firewalld, networks are apart", attacks.network_to_network, firewalld=True),
    Row(2, "after `firewall-cmd --reload` published ports are reached", after_reload(unserved), firewalld=True),
    Row(2, "and loopback is not, by a machine on the wire", attacks.loopback_from_the_wire, firewalld=True),
    Row(3, "and networks are still apart", attacks.network_to_network, firewalld=True),
    Row(4, "and unpublished ports shut", attacks.lan_to_unpublished_ports, firewalld=True),
)


@contextlib.contextmanager
def weft(directory: Path, host: PrivateHost) -> Iterator[Weft]:
    with Weftd(host, directory) as weftd:
        yield Weft(weftd)


@contextlib.contextmanager
def docker(directory: Path, host: PrivateHost) -> Iterator[Docker]:
    engine = Docker(directory, host)
    try:
        yield engine
    finally:
        engine.dockerd.close()


ENGINES = {"Docker": docker, "weft": weft}


def outcomes(name: str, directory: Path) -> tuple[str, dict[Row, list[str]]]:
    """The engine's version, and what got through, trial by trial."""
    found: dict[Row, list[str]] = {}
    version = ""
    for firewalld in (False, True):
        place = directory / f"{name}-{firewalld}"
        for part in ("engine", "firewalld"):
            (place / part).mkdir(parents=True)
        with contextlib.ExitStack() as stack:
            host = stack.enter_context(PrivateHost())
            machines = stack.enter_context(wires(host))
            if firewalld:
                stack.enter_context(Firewalld(host, place / "firewalld"))
            else:
                host.run("mount -t tmpfs -o mode=755 tmpfs /run")
            (place / "resolv.conf").write_text(RESOLV_CONF)
            host.run(f"mount --bind {place}/resolv.conf /etc/resolv.conf")
            engine = stack.enter_context(ENGINES[name](place / "engine", host))
            version = engine.docker("version", "--format", "{{.Server.Version}}").stdout.strip()
            scene = stack.enter_context(scene_of(engine, *machines))
            found |= {row: row.trial(scene) for row in ROWS if row.firewalld == firewalld}
    return version, found


def section(version: str, found: dict[str, dict[Row, list[str]]]) -> str:
    lines = [
        TITLE,
        "",
        f"The same attackers, let loose on Docker {version} as Debian 12 has it and on weft, side by side, by",
        "`python -m tests.security.comparison`. Docker runs with `--live-restore`, and with `--ip6tables`, without",
        "which it has no rules for IPv6 at all. Newer versions of it have mended some of this; they were not measured.",
        "Where it says no, it says what got through.",
        "",
        "| | | Docker | weft |",
        "|--:|---|---|---|",
    ]
    for row in ROWS:
        said = " | ".join(verdict(found[name][row], row) for name in ENGINES)
        lines.append(f"| {row.number or ''} | {row.says} | {said} |".replace("|  |", "| |"))
    return "\n".join([*lines, "", ""])


def verdict(through: list[str], row: Row) -> str:
    """In a cell: whether it holds, and if not, what shows it."""
    if not through:
        return "holds"
    plain = [re.sub(r" \(.+\)$", "", WAY.sub(_way, each)) for each in through]
    if row.trial is orphans:
        plain = [f"{len(through)} are left"]
    return "**no**: " + ", ".join(dict.fromkeys(plain))


WAY = re.compile(r"^(tcp|udp)/(.+):\d+$")


def _way(match: re.Match[str]) -> str:
    return f"{match[1].upper()} over IPv{4 if '.' in match[2] else 6}"


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="weft-security-", dir="/var/tmp", ignore_cleanup_errors=True) as scratch:
        measured = {name: outcomes(name, Path(scratch)) for name in ENGINES}
    text = section(measured["Docker"][0], {name: found for name, (_, found) in measured.items()})
    page = PAGE.read_text()
    begin = page.index(TITLE)
    end = page.find("\n## ", begin + 1) + 1 or len(page)
    PAGE.write_text(page[:begin] + text.rstrip("\n") + "\n" + ("\n" + page[end:] if end < len(page) else ""))
    print(text)
    return 1 if any(measured["weft"][1].values()) else 0


if __name__ == "__main__":
    sys.exit(main())
