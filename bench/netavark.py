"""podman's netavark, as podman runs it: a new namespace, then `netavark setup` with JSON on its standard input."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

from bench.contender import FIRST_PORT, execute
from bench.namespaces import entered, new_namespace, pin, unpin
from bench.world import Host, World, require

BINARY = "/usr/lib/podman/netavark"
AARDVARK = "/usr/lib/podman/aardvark-dns"
NETWORK = "bench"
GATEWAY = "10.202.0.1"


class Netavark:
    """Addresses are given, as podman gives them; names are on, so that aardvark-dns is part of it."""

    name = "netavark"

    def __init__(self, world: World) -> None:
        self._host: Host | None = None
        self._config = world.volatile("netavark")
        self._pins = world.volatile("netavark-netns")

    def setup(self) -> None:
        require(BINARY, "netavark")
        require(AARDVARK, "aardvark-dns")
        require("iptables", "iptables")
        host = self._host = Host()
        host.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
        self.join(0)  # the bridge, the chains and aardvark-dns are there from now on: a warm host

    def join(self, i: int) -> float:
        begun = time.perf_counter()
        fd = new_namespace()
        pin(fd, self.netns(i))
        made = (time.perf_counter() - begun) * 1e3
        os.close(fd)
        return made + self._call("setup", i)

    def leave(self, i: int) -> float:
        torn = self._call("teardown", i)
        begun = time.perf_counter()
        unpin(self.netns(i))
        return torn + (time.perf_counter() - begun) * 1e3

    def netns(self, i: int) -> Path:
        return self._pins / str(i)

    def _call(self, verb: str, i: int) -> float:
        if self._host is None:
            raise RuntimeError("netavark is not set up")
        command = [BINARY, "--config", str(self._config), "--rootless=false", f"--aardvark-binary={AARDVARK}"]
        env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "RUST_LOG": "netavark=warn"}
        with entered(self._host.netns):
            took, _ = execute([*command, verb, str(self.netns(i))], feed=_request(i), env=env)
        return took

    def close(self) -> None:
        pid_file = self._config / "aardvark-dns" / "aardvark.pid"
        if pid_file.exists():
            try:
                os.kill(int(pid_file.read_text()), signal.SIGTERM)
            except ProcessLookupError:
                pass
        if self._host is not None:
            self._host.close()
            self._host = None


def _request(i: int) -> bytes:
    port = {"host_ip": "", "container_port": 80, "host_port": FIRST_PORT + i, "range": 1, "protocol": "tcp"}
    address = f"10.202.{(i + 2) >> 8}.{(i + 2) & 255}"
    network = {
        "name": NETWORK,
        "id": "b" * 64,
        "driver": "bridge",
        "network_interface": "podman1",
        "created": "2024-01-01T00:00:00Z",
        "subnets": [{"subnet": "10.202.0.0/16", "gateway": GATEWAY}],
        "ipv6_enabled": False,
        "internal": False,
        "dns_enabled": True,
        "ipam_options": {"driver": "host-local"},
    }
    return json.dumps(
        {
            "container_id": f"{i:064x}",
            "container_name": f"c{i}",
            "port_mappings": [port],
            "networks": {NETWORK: {"static_ips": [address], "aliases": [f"c{i}"], "interface_name": "eth0"}},
            "network_info": {NETWORK: network},
        }
    ).encode()
