"""Docker's API: the same requests to weftd and to dockerd, and the stock command line against both, interleaved."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.docker import Docker
from bench.figures import Bar, Part, amount, median, percentile, ratio, rounded
from bench.http import Connection, dig, encode
from bench.weftd import Weft
from bench.world import World, require

CONTAINERS = 5
"""Each of them on every network."""

LIST = "/v1.41/networks"

LABELS = {"weft": "weftd", "docker": "dockerd"}

Times = dict[str, list[float]]


def measure(world: World) -> list[Part]:
    networks, rounds = (10, 5) if world.quick else (200, 60)
    command = require("docker", "docker.io")
    weft, docker = Weft(world, network="api"), Docker(world, pool=0)
    try:
        weft.setup()
        docker.setup()
        for i in range(CONTAINERS):
            weft.daemon.create({"name": f"m{i}", "networks": [{"network": "api"}]})
            docker.run(f"m{i}", "bench")
        apis = {"weft": weft.daemon.api, "docker": docker.api}
        for name, api in apis.items():
            world.tell(f"making {networks} networks with {CONTAINERS} containers on each, {LABELS[name]}")
            _populate(api, networks)
        world.tell(f"{rounds} rounds")
        listed = _lists(apis, networks, rounds)
        made = _commands(command, {name: api.path for name, api in apis.items()}, max(3, rounds // 4))
    finally:
        weft.close()
        docker.close()
    return [_part(listed, made, networks)]


def _populate(api: Connection, networks: int) -> None:
    for n in range(networks):
        pool = {"Subnet": f"10.{100 + n // 256}.{n % 256}.0/24"}
        api.call("POST", "/v1.41/networks/create", {"Name": f"n{n}", "IPAM": {"Config": [pool]}})
        for i in range(CONTAINERS):
            api.call("POST", f"/v1.41/networks/n{n}/connect", {"Container": f"m{i}"})
    members = dig(api.call("GET", f"{LIST}/n{networks - 1}"), "Containers")
    if not isinstance(members, dict) or len(members) != CONTAINERS:
        raise RuntimeError(f"{api.path}: not all containers are on the networks: {members}")


def _lists(apis: Mapping[str, Connection], networks: int, rounds: int) -> Times:
    """Milliseconds of each GET of all networks."""
    times: Times = {name: [] for name in apis}
    for _ in range(rounds):
        for name, api in apis.items():
            took, answer = api.timed(encode("GET", LIST))
            if answer.count(b'"Subnet"') < networks:
                raise RuntimeError(f"{api.path}: networks are missing in its list")
            times[name].append(took)
            time.sleep(0.02)
    return times


def _commands(command: str, sockets: Mapping[str, Path], rounds: int) -> Times:
    """Milliseconds of `docker network create` and `docker network rm`, whole processes, together."""
    times: Times = {name: [] for name in sockets}
    for _ in range(rounds):
        for name, path in sockets.items():
            begun = time.perf_counter()
            for arguments in (("create", "--subnet", "10.99.0.0/24", "once"), ("rm", "once")):
                _docker(command, path, arguments)
            times[name].append((time.perf_counter() - begun) * 1e3)
            time.sleep(0.05)
    return times


def _docker(command: str, path: Path, arguments: Sequence[str]) -> None:
    done = subprocess.run(
        [command, "-H", f"unix://{path}", "network", *arguments],
        env={**os.environ, "DOCKER_CONFIG": "/nonexistent"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"docker network {' '.join(arguments)}: {done.stderr.strip()}")


def _part(listed: Times, made: Times, networks: int) -> Part:
    lists = {name: median(times) for name, times in listed.items()}
    commands = {name: median(times) for name, times in made.items()}
    rows = []
    for what, medians, times in (
        (f"GET /networks, {networks} of them", lists, listed),
        ("docker network create + rm", commands, made),
    ):
        for name in medians:
            spread = amount(percentile(times[name], 95), "ms")
            rows.append((f"{LABELS[name]}, {what}", amount(medians[name], "ms"), spread))
    return Part(
        title=f"api: {networks} networks with {CONTAINERS} endpoints each, interleaved, medians",
        columns=("", "p50", "p95"),
        rows=tuple(rows),
        bars=(
            Bar(what="GET /networks, docker / weft", measured=ratio(lists["docker"], lists["weft"]), at_least=1),
            Bar(what="create + rm, docker / weft", measured=ratio(commands["docker"], commands["weft"]), at_least=2),
        ),
        notes=(),
        figures={
            "api": {
                **{f"{name}_list_ms": rounded(lists[name]) for name in lists},
                **{f"{name}_create_rm_ms": rounded(commands[name]) for name in commands},
            }
        },
    )
