"""The engines under attack: weft, and Debian's dockerd as `tests.docker` starts it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.daemons import SOURCE, Weftd
from tests.docker.engines import COMMAND, IMAGE, Dockerd, ask_docker, client_environment
from tests.hosts import PrivateHost
from weft.client import Publish


class Weft:
    """weftd, as the engine of a scene."""

    name = "weft"
    bridges = "wb-"

    def __init__(self, weftd: Weftd) -> None:
        self.weftd = weftd
        self.host: PrivateHost = weftd.host

    def docker(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Docker's own command line, put to weftd."""
        return ask_docker(self.host, self.weftd.socket, Path(self.weftd.state_dir), words)

    def start_docker(self, *words: str) -> subprocess.Popen[str]:
        """The same, and not to wait for it."""
        return _start(self.host, self.weftd.socket, Path(self.weftd.state_dir), words)

    def kill(self) -> None:
        """kill -9."""
        self.weftd.kill()

    def revive(self) -> None:
        """See to it that it runs again."""
        self.weftd.start()

    @property
    def environment(self) -> dict[str, str]:
        return self.weftd.environment

    def network(self, name: str, pools: Sequence[str], *, internal: bool) -> None:
        ipv6 = any(":" in pool for pool in pools)
        self.weftd.client.networks.create(name, ipv6=ipv6, pools=list(pools), internal=internal)

    def container(
        self, name: str, network: str, addresses: Sequence[str], ports: Sequence[tuple[str, int, int]]
    ) -> str:
        wish = {"network": network, **dict(zip(("ip", "ip6"), addresses, strict=False))}
        publish = [
            Publish(own, port, proto=proto, host_ip=address or None)
            for address, port, own in ports
            for proto in ("tcp", "udp")
        ]
        made: str = self.weftd.client.containers.create(name=name, networks=[wish], ports=publish).netns
        return made


class Docker:
    """Debian's dockerd, as the engine of a scene: containers outlive it, and there are rules for IPv6, too."""

    name = "Docker"
    bridges = "br-"
    options = ("--live-restore", "--experimental", "--ip6tables")

    def __init__(self, directory: Path, host: PrivateHost) -> None:
        self.host = host
        self._directory = directory
        self.dockerd = Dockerd(directory, host, options=self.options)

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": f"{SOURCE}:{Path(SOURCE).parent}"}

    def docker(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.dockerd.docker(*words)

    def start_docker(self, *words: str) -> subprocess.Popen[str]:
        return _start(self.host, str(self.dockerd.socket), self._directory, words)

    def network(self, name: str, pools: Sequence[str], *, internal: bool) -> None:
        flags = [*(("--internal",) if internal else ()), *(("--ipv6",) if any(":" in pool for pool in pools) else ())]
        self._do("network", "create", *flags, *(f"--subnet={pool}" for pool in pools), name)

    def container(
        self, name: str, network: str, addresses: Sequence[str], ports: Sequence[tuple[str, int, int]]
    ) -> str:
        wish = [f"--{flag}={address}" for flag, address in zip(("ip", "ip6"), addresses, strict=False)]
        for address, port, own in ports:
            where = f"[{address}]:" if ":" in address else f"{address}:" if address else ""
            wish += [f"--publish={where}{port}:{own}/{proto}" for proto in ("tcp", "udp")]
        self._do("run", "-d", "--name", name, "--network", network, *wish, IMAGE, *COMMAND)
        key = self._do("inspect", name, "--format", "{{.NetworkSettings.SandboxKey}}").strip()
        # It is mounted where dockerd alone sees it; /var/run is a link that would lead elsewhere.
        return f"/proc/{self.dockerd.supervisor}/root{key.replace('/var/run', '/run', 1)}"

    def kill(self) -> None:
        self.dockerd.kill()

    def revive(self) -> None:
        self.dockerd.wait_until_ready()

    def _do(self, *words: str) -> str:
        done = self.docker(*words)
        assert done.returncode == 0, done.stderr
        return done.stdout


def _start(host: PrivateHost, sock: str, config: Path, words: Sequence[str]) -> subprocess.Popen[str]:
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return host.popen(["docker", *words], env={**os.environ, **client_environment(sock, config)}, **quiet)
