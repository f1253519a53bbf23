"""weftd in a host of its own, driven through its HTTP API on one kept-alive connection."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping

from bench.contender import FIRST_PORT
from bench.http import Connection, dig, encode
from bench.world import REPOSITORY, Host, World, stop

API = "/weft/v1"
NETWORK = "bench"


class Weftd:
    """One daemon with its own host, state and run directories."""

    def __init__(self, world: World, name: str) -> None:
        self.host = Host()
        self.run_dir = world.volatile(name)
        self.state_dir = world.directory(name)
        self.api = Connection(self.run_dir / "weft.sock")
        self._log = self.state_dir / "log"
        self._process: subprocess.Popen[str] | None = None
        self.start()

    def start(self) -> float:
        """Start the daemon; seconds from exec until it answers."""
        begun = time.perf_counter()
        self._process = self.host.spawn(
            *(sys.executable, "-m", "weft.daemon"),
            *("--state-dir", str(self.state_dir), "--run-dir", str(self.run_dir), "--socket", str(self.api.path)),
            env=weft_environment(),
            log=self._log,
        )
        while time.perf_counter() - begun < 60:
            if self._process.poll() is not None:
                break
            try:
                if dig(self.api.call("GET", f"{API}/ping"), "ready") is True:
                    return time.perf_counter() - begun
            except (OSError, KeyError):
                pass
            time.sleep(0.002)
        raise RuntimeError(f"weftd does not answer; its last words:\n{self.last_words()}")

    def kill(self) -> None:
        """As a crash does: no signal that it could handle."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self.api.close()

    def last_words(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-15:]) if self._log.exists() else ""

    @property
    def pids(self) -> tuple[int, int]:
        """The daemon and its resolver."""
        if self._process is None:
            raise RuntimeError("weftd does not run")
        return self._process.pid, int((self.run_dir / "resolver.pid").read_text())

    def create_network(self, name: str, **options: object) -> str:
        """The name of the network's bridge in the kernel."""
        return str(dig(self.api.call("POST", f"{API}/networks", {"name": name, **options}), "bridge"))

    def create(self, body: Mapping[str, object]) -> object:
        return self.api.call("POST", f"{API}/containers", body)

    def container(self, name: str) -> object:
        return self.api.call("GET", f"{API}/containers/{name}")

    def netns(self, name: str) -> str:
        return str(dig(self.container(name), "netns"))

    def address(self, name: str) -> str:
        """A container's IPv4 address on its first network."""
        endpoints = dig(self.container(name), "endpoints")
        if not isinstance(endpoints, list):
            raise KeyError("endpoints")
        return str(dig(endpoints[0], "ipv4")).partition("/")[0]

    def close(self) -> None:
        resolver = self.run_dir / "resolver.pid"
        pid = int(resolver.read_text()) if resolver.exists() else None
        self.api.close()
        if self._process is not None:
            stop(self._process)
        if pid is not None:
            try:
                os.kill(pid, 15)  # it outlives its daemon by design
            except ProcessLookupError:
                pass
        self.host.close()


class Weft:
    """weft as a contender: one request gives a container all of its network."""

    name = "weft"

    def __init__(self, world: World, *, network: str = NETWORK, ipv6: bool = False) -> None:
        self._world = world
        self._network = network
        self._ipv6 = ipv6
        self._daemon: Weftd | None = None

    @property
    def daemon(self) -> Weftd:
        if self._daemon is None:
            raise RuntimeError("weft is not set up")
        return self._daemon

    def setup(self) -> None:
        self._daemon = Weftd(self._world, f"weft-{self._network}")
        self.daemon.create_network(self._network, ipv6=self._ipv6)

    def join(self, i: int) -> float:
        request = encode("POST", f"{API}/containers", container(i, self._network))
        return self.daemon.api.timed(request)[0]

    def leave(self, i: int) -> float:
        return self.daemon.api.timed(encode("DELETE", f"{API}/containers/c{i}?force=1"))[0]

    def ping(self) -> float:
        """A request that does nothing."""
        return self.daemon.api.timed(encode("GET", f"{API}/ping"))[0]

    def close(self) -> None:
        if self._daemon is not None:
            self._daemon.close()
            self._daemon = None


def container(i: int, network: str) -> dict[str, object]:
    """A container with one network and one published port."""
    port = {"proto": "tcp", "container_port": 80, "host_port": FIRST_PORT + i}
    return {"name": f"c{i}", "networks": [{"network": network}], "ports": [port]}


def weft_environment() -> dict[str, str]:
    """The checkout's own weft, whether or not one is installed."""
    paths = [str(REPOSITORY / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {"PYTHONPATH": os.pathsep.join(paths)}
