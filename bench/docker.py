"""Debian's dockerd in a host of its own, driven through its HTTP API on one kept-alive connection.

A join is `POST /networks/bench/connect` for a running container. The pool's containers are made on an internal
network with a port to publish: Docker publishes it when the first network with a way out is connected, so the timed
request does all of it. The userland proxy is off, which spares Docker a process per port.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench.contender import FIRST_PORT
from bench.http import Connection, dig, encode
from bench.world import RUN, Host, World, require, stop

NETWORK = "bench"
IMAGE = "bench:1"
SLEEP = ["/bin/busybox", "sleep", "1000000"]

# Without CAP_SYS_RESOURCE (virtual machines of CI) runc cannot set the limits that dockerd writes: leave them out.
RUNC = """#!{python} -IS
import json, os, sys
args = sys.argv[1:]
for flag in ("--bundle", "-b"):
    if flag in args and ("create" in args or "run" in args):
        path = os.path.join(args[args.index(flag) + 1], "config.json")
        with open(path) as source:
            config = json.load(source)
        config["process"].pop("rlimits", None)
        config["process"].pop("oomScoreAdj", None)
        with open(path, "w") as target:
            json.dump(config, target)
os.execv({runc!r}, ["runc", *args])
"""


class Docker:
    name = "docker"

    def __init__(self, world: World, *, pool: int) -> None:
        self._world = world
        self._pool = pool
        self._containers: list[str] = []
        self._process: subprocess.Popen[str] | None = None
        self.host: Host | None = None
        self._run = world.volatile("dockerd")
        self.api = Connection(self._run / "docker.sock")

    def setup(self) -> None:
        dockerd = require("dockerd", "docker.io")
        runc = require("runc", "runc")
        require("iptables", "iptables")
        self.host = Host()
        home = self._world.directory("docker")
        wrapper = home / "bin" / "runc"
        wrapper.parent.mkdir()
        wrapper.write_text(RUNC.format(python=sys.executable, runc=runc))
        wrapper.chmod(0o755)
        (RUN / "docker").mkdir(exist_ok=True)
        self._process = self.host.spawn(
            dockerd,
            *("--data-root", str(home / "data"), "--exec-root", str(self._run / "exec")),
            *("--pidfile", str(self._run / "pid"), "-H", f"unix://{self.api.path}"),
            *("--storage-driver", "vfs", "--userland-proxy=false"),
            env={"PATH": f"{wrapper.parent}:{os.environ['PATH']}:/usr/sbin:/sbin"},
            log=home / "log",
        )
        self._await_ready(home / "log")
        self._import_image()
        self.api.call("POST", "/v1.41/networks/create", {"Name": "pool", "Internal": True, "CheckDuplicate": True})
        self.api.call("POST", "/v1.41/networks/create", {"Name": NETWORK, "CheckDuplicate": True})
        for i in range(self._pool):
            self._containers.append(self.run(f"c{i}", "pool", ports=[(FIRST_PORT + i, 80)]))

    def _await_ready(self, log: Path) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if self._process is not None and self._process.poll() is not None:
                break
            try:
                self.api.call("GET", "/v1.41/version")
                return
            except OSError:
                time.sleep(0.1)
        raise RuntimeError(f"dockerd does not answer; its last words: {log.read_text().splitlines()[-3:]}")

    def _import_image(self) -> None:
        busybox = Path(require("busybox", "busybox-static"))
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            tar.add(busybox.resolve(), "bin/busybox")
        name, tag = IMAGE.split(":")
        path = f"/v1.41/images/create?fromSrc=-&repo={name}&tag={tag}"
        self.api.ready()
        status, answer = self.api.exchange(encode("POST", path, archive.getvalue(), kind="application/x-tar"))
        if status >= 400 or b"error" in answer:
            raise RuntimeError(f"docker import: {answer.decode(errors='replace')}")

    def run(self, name: str, network: str, *, ports: Sequence[tuple[int, int]] = ()) -> str:
        """Start a container with these ports (host, container) to publish; its id."""
        bindings = {
            f"{inner}/tcp": [{"HostPort": str(outer)} for outer, i in ports if i == inner] for _, inner in ports
        }
        made = self.api.call(
            "POST",
            f"/v1.41/containers/create?name={name}",
            {
                "Image": IMAGE,
                "Cmd": SLEEP,
                "ExposedPorts": {port: {} for port in bindings},
                "HostConfig": {"NetworkMode": network, "PortBindings": bindings},
            },
        )
        ident = str(dig(made, "Id"))
        self.api.call("POST", f"/v1.41/containers/{ident}/start")
        return ident

    def join(self, i: int) -> float:
        return self._network("connect", i)

    def leave(self, i: int) -> float:
        return self._network("disconnect", i)

    def _network(self, verb: str, i: int) -> float:
        body = {"Container": self._containers[i % self._pool]}
        took, _ = self.api.timed(encode("POST", f"/v1.41/networks/{NETWORK}/{verb}", body))
        return took

    def netns(self, name: str) -> str:
        """The namespace of a running container."""
        return f"/proc/{dig(self._inspect(name), 'State', 'Pid')}/ns/net"

    def address(self, name: str) -> str:
        """A container's address on the bench's network."""
        return str(dig(self._inspect(name), "NetworkSettings", "Networks", NETWORK, "IPAddress"))

    def _inspect(self, name: str) -> object:
        return self.api.call("GET", f"/v1.41/containers/{name}/json")

    def close(self) -> None:
        self.api.close()
        if self._process is not None:
            stop(self._process, patience=60)
        if self.host is not None:
            self.host.close()
            self.host = None
