"""The CNI project's own plugins, chained as runtimes chain them: bridge (with host-local addresses), then portmap."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from bench.contender import FIRST_PORT, execute
from bench.namespaces import entered, new_namespace, pin, unpin
from bench.world import Host, World, require

PLUGINS = "/usr/lib/cni"
PACKAGE = "containernetworking-plugins"
VERSION = {"cniVersion": "1.0.0", "name": "bench"}


class Cni:
    """No name server comes with these plugins: they do less than the others."""

    name = "cni"

    def __init__(self, world: World) -> None:
        self._world = world
        self._host: Host | None = None
        self._pins = world.volatile("cni-netns")
        self._results: dict[int, object] = {}
        self._leases = Path()

    def setup(self) -> None:
        for plugin in ("bridge", "portmap", "host-local"):
            require(f"{PLUGINS}/{plugin}", PACKAGE)
        require("iptables", "iptables")
        host = self._host = Host()
        host.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
        self._leases = self._world.directory("cni")
        self.join(0)  # the bridge and the chains are there from now on: a warm host

    def join(self, i: int) -> float:
        begun = time.perf_counter()
        fd = new_namespace()
        pin(fd, self._pins / str(i))
        made = (time.perf_counter() - begun) * 1e3
        os.close(fd)
        attached, answer = self._call("bridge", "ADD", i, self._bridge())
        result = json.loads(answer)
        mapped, answer = self._call("portmap", "ADD", i, _portmap(i, result))
        self._results[i] = json.loads(answer)
        return made + attached + mapped

    def leave(self, i: int) -> float:
        result = self._results.pop(i)
        unmapped, _ = self._call("portmap", "DEL", i, _portmap(i, result))
        detached, _ = self._call("bridge", "DEL", i, {**self._bridge(), "prevResult": result})
        begun = time.perf_counter()
        unpin(self._pins / str(i))
        return unmapped + detached + (time.perf_counter() - begun) * 1e3

    def _bridge(self) -> dict[str, object]:
        return {
            **VERSION,
            "type": "bridge",
            "bridge": "cni0",
            "isGateway": True,
            "ipMasq": True,
            "hairpinMode": True,
            "ipam": {
                "type": "host-local",
                "dataDir": str(self._leases),
                "ranges": [[{"subnet": "10.203.0.0/16"}]],
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        }

    def _call(self, plugin: str, command: str, i: int, config: object) -> tuple[float, bytes]:
        if self._host is None:
            raise RuntimeError("CNI is not set up")
        env = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": f"bench{i}",
            "CNI_NETNS": str(self._pins / str(i)),
            "CNI_IFNAME": "eth0",
            "CNI_PATH": PLUGINS,
        }
        with entered(self._host.netns):
            return execute([f"{PLUGINS}/{plugin}"], feed=json.dumps(config).encode(), env=env)

    def close(self) -> None:
        if self._host is not None:
            self._host.close()
            self._host = None


def _portmap(i: int, result: object) -> dict[str, object]:
    mapping = {"hostPort": FIRST_PORT + i, "containerPort": 80, "protocol": "tcp"}
    return {
        **VERSION,
        "type": "portmap",
        "snat": True,
        "capabilities": {"portMappings": True},
        "runtimeConfig": {"portMappings": [mapping]},
        "prevResult": result,
    }
