"""The two engines of the comparison: Docker's own and weftd, each on a private host, driven by the same CLI."""

from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, Self

from bench.docker import RUNC

from tests.daemons import Weftd
from tests.hosts import PrivateHost

API = "1.41"
"""What both are asked in: the newest that Debian's dockerd knows."""
PATIENCE = 60
IMAGE = "busybox:1"
COMMAND = ("/bin/busybox", "sh", "-c", "trap 'exit 3' TERM; while :; do /bin/busybox sleep 1; done")
"""Does nothing, and heeds SIGTERM even as process 1."""


REVIVED = 'while :; do dockerd "$@"; sleep 0.1; done'


class Engine(Protocol):
    name: str

    def docker(self, *words: str) -> subprocess.CompletedProcess[str]: ...

    def container(self, name: str, network: str) -> None:
        """Start one that does nothing."""


class Dockerd:
    name = "Docker"

    def __init__(self, directory: Path, host: PrivateHost | None = None, *, options: Sequence[str] = ()) -> None:
        """`host`: where it is to run, if not on one of its own. `options`: further ones for dockerd.

        If dockerd dies, it is started anew, as a service manager would.
        """
        self.host = host or PrivateHost()
        self._owns_host = host is None
        self._directory = directory
        self._options = options
        self.socket = directory / "docker.sock"
        self._process: subprocess.Popen[str] | None = None
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    def _start(self) -> None:
        if self._owns_host:
            self.host.run("mount -t tmpfs -o mode=755 tmpfs /run")
        programs = self._directory / "bin"
        programs.mkdir(parents=True)
        runc = shutil.which("runc")
        (programs / "runc").write_text(RUNC.format(python=sys.executable, runc=runc))
        (programs / "runc").chmod(0o755)
        places = ("--data-root", str(self._directory / "data"), "--pidfile", str(self._directory / "pid"))
        options = ("--storage-driver", "vfs", "--userland-proxy=false", "-H", f"unix://{self.socket}")
        alone = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")  # whatever it starts ends with it
        with open(self._directory / "log", "w") as log:
            self._process = self.host.popen(
                [*alone, "sh", "-c", REVIVED, "dockerd", *places, *options, *self._options],
                stdout=log,
                stderr=log,
                env={**os.environ, "PATH": f"{programs}:{os.environ['PATH']}:/usr/sbin:/sbin"},
            )
        self.wait_until_ready()
        self._import_image()

    def wait_until_ready(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + PATIENCE
        while self.docker("version").returncode != 0:
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"dockerd does not answer:\n{(self._directory / 'log').read_text()[-2000:]}")
            time.sleep(0.1)

    def kill(self) -> None:
        """kill -9, of dockerd alone; another is started at once."""
        (daemon,) = [pid for pid in _children(self.supervisor) if _program(pid) == "dockerd"]
        os.kill(daemon, signal.SIGKILL)
        while os.path.exists(f"/proc/{daemon}"):
            time.sleep(0.005)

    @property
    def supervisor(self) -> int:
        """The first process of dockerd's namespaces, by its number outside."""
        assert self._process is not None
        (first,) = _children(self._process.pid)
        return first

    def _import_image(self) -> None:
        busybox = shutil.which("busybox")
        assert busybox is not None
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            tar.add(os.path.realpath(busybox), "bin/busybox")
        path = self._directory / "image.tar"
        path.write_bytes(archive.getvalue())
        done = self.docker("import", str(path), IMAGE)
        assert done.returncode == 0, done.stderr

    @property
    def version(self) -> str:
        return self.docker("version", "--format", "{{.Server.Version}}").stdout.strip()

    def docker(self, *words: str) -> subprocess.CompletedProcess[str]:
        return ask_docker(self.host, str(self.socket), self._directory, words)

    def container(self, name: str, network: str) -> None:
        done = self.docker("run", "-d", "--name", name, "--network", network, IMAGE, *COMMAND)
        assert done.returncode == 0, done.stderr

    def close(self) -> None:
        if self._process is not None:
            for ident in self.docker("ps", "-aq").stdout.split():
                self.docker("rm", "-f", ident)
            self._process.kill()  # and with it all that lives in its process namespace
            self._process.wait()
        if self._owns_host:
            self.host.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Ours:
    name = "weft"

    def __init__(self, directory: Path) -> None:
        self.host = PrivateHost()
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        try:
            self.weftd = Weftd(self.host, directory)
        except BaseException:
            self.host.close()
            raise

    def docker(self, *words: str) -> subprocess.CompletedProcess[str]:
        return ask_docker(self.host, self.weftd.socket, self._directory, words)

    def container(self, name: str, network: str) -> None:
        self.weftd.client.containers.run(COMMAND, name=name, networks=[{"network": network}])

    def close(self) -> None:
        self.weftd.close()
        self.host.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _program(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


def ask_docker(host: PrivateHost, sock: str, config: Path, words: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    return host.run(["docker", *words], check=False, timeout=PATIENCE, env=client_environment(sock, config))


def client_environment(sock: str, config: Path) -> dict[str, str]:
    """For Docker's command line: whom it asks, and in which words."""
    return {"DOCKER_HOST": f"unix://{sock}", "DOCKER_API_VERSION": API, "DOCKER_CONFIG": str(config / "client")}
