"""What the tests of Docker's API share: a private host with weftd, and stock clients that speak to it."""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.daemons import Weftd
from tests.enter import connected
from tests.hosts import PrivateHost, needs_namespaces
from tests.tls import TlsClient, authority, client_context

CLIENTS = [path for path in ("/usr/local/bin/docker", "/usr/bin/docker") if shutil.which(path)]
"""Docker's own packages install to the one or the other, Debian's to the latter: as many versions as there are."""

TCP = ("127.0.0.1", 2376)
OVER_BOTH = pytest.mark.parametrize("transport", ["unix", "tls"], scope="module")
"""For tests of what must not depend on how clients reach weftd."""


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def message(self) -> str:
        """Of a refusal, which says nothing else."""
        document = self.json
        assert list(document) == ["message"]
        return str(document["message"])


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("docker", timeout=20)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(20)
        self.sock.connect(self._path)


@dataclass(frozen=True)
class World:
    host: PrivateHost
    weftd: Weftd
    config: Path
    """An empty directory for Docker's client: whatever the user has configured is left alone."""
    certificates: Path | None = None
    """Of a client, if clients come over TLS."""

    def docker(
        self, *arguments: str, check: bool = True, client: str = "docker", stdin: str | None = None, timeout: float = 30
    ) -> subprocess.CompletedProcess[str]:
        """Run the stock CLI on the host."""
        command = [client, *arguments]
        return self.host.run(command, check=check, timeout=timeout, env=self.environment, stdin=stdin)

    @property
    def environment(self) -> dict[str, str]:
        config = {"DOCKER_CONFIG": str(self.config)}
        if self.certificates is None:
            return {**config, "DOCKER_HOST": f"unix://{self.weftd.socket}"}
        place = "tcp://{}:{}".format(*TCP)
        tls = {"DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(self.certificates)}
        return {**config, **tls, "DOCKER_HOST": place}

    def connect(self) -> socket.socket | TlsClient:
        """A connection without a client in between."""
        if self.certificates is not None:
            return TlsClient(connected(self.host, TCP), client_context(self.certificates))
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(self.weftd.socket)
        return sock

    def lines(self, *arguments: str, client: str = "docker") -> list[str]:
        return self.docker(*arguments, client=client).stdout.splitlines()

    def networks(self, *words: str, client: str = "docker") -> list[str]:
        """Their names, in the order that the CLI shows them in."""
        return self.lines("network", "ls", "--format", "{{.Name}}", *words, client=client)

    def inspect(self, network: str, client: str = "docker") -> Any:
        """What `docker network inspect` says of one."""
        (document,) = json.loads(self.docker("network", "inspect", network, client=client).stdout)
        return document

    def refusal(self, *arguments: str, client: str = "docker") -> str:
        """What the CLI says when the daemon refuses."""
        done = self.docker(*arguments, check=False, client=client)
        assert done.returncode == 1, done.stdout + done.stderr
        first = done.stderr.strip().splitlines()[0]
        return first.removeprefix("Error response from daemon: ").removeprefix("Error: ")

    def ask(
        self, method: str, path: str, body: object = None, *, kind: str = "application/json", version: str = ""
    ) -> Answer:
        """One request, without a client in between. `body` is text or bytes as they are, or a document."""
        connection = _Connection(self.weftd.socket)
        try:
            raw = body.encode() if isinstance(body, str) else body
            sent = raw if raw is None or isinstance(raw, bytes) else json.dumps(raw).encode()
            headers = {} if sent is None or not kind else {"Content-Type": kind}
            connection.request(method, f"/v{version}{path}" if version else path, sent, headers)
            answer = connection.getresponse()
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def send(self, raw: bytes, *, hang_up: bool = True) -> bytes:
        """Bytes as they are, and no more to come; what comes back until weftd closes the connection."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(20)
            connection.connect(self.weftd.socket)
            connection.sendall(raw)
            if hang_up:
                connection.shutdown(socket.SHUT_WR)
            found = b""
            while chunk := connection.recv(65536):
                found += chunk
            return found

    def container(self, name: str, *networks: str, **options: Any) -> str:
        """A namespace without a process, on these networks; its id."""
        wishes = [{"network": network} for network in networks]
        return str(self.weftd.client.containers.create(name=name, networks=wishes, **options).id)

    def marks(self) -> set[str]:
        """What is weft's in the kernel."""
        return self.weftd.marks()

    def empty(self) -> None:
        """Take away all containers and networks."""
        client = self.weftd.client
        for container in client.containers.list(all=True):
            client.containers.remove(container, force=True)
        for network in client.networks.list():
            client.networks.remove(network)


@pytest.fixture(scope="module")
def transport() -> str:
    """How clients reach weftd: unix or tls."""
    return "unix"


@pytest.fixture(scope="module")
def world(transport: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Each test leaves it as it likes; `clean` takes everything away. At the end weftd's log has no traceback."""
    needs_namespaces()
    directory = tmp_path_factory.mktemp("docker")
    config = directory / "client"
    config.mkdir()
    certificates = None
    settings: tuple[str, ...] = ()
    if transport == "tls":
        files = authority(directory / "authority", "server", "client")
        certificates, settings = files / "client", over_tls(files)
    with PrivateHost() as host, Weftd(host, directory, settings=settings) as weftd:
        yield World(host, weftd, config, certificates)
        assert "Traceback" not in weftd.log(), weftd.log()


def over_tls(files: Path) -> tuple[str, ...]:
    """weftd's settings to listen on TCP, for those whom this authority knows."""
    server = files / "server"
    names = (("cert", server / "cert.pem"), ("key", server / "key.pem"), ("ca", server / "ca.pem"))
    return ("--tcp", "{}:{}".format(*TCP), *(word for name, file in names for word in (f"--tls-{name}", str(file))))


@pytest.fixture
def clean(world: World) -> Iterator[World]:
    yield world
    world.empty()


@pytest.fixture(params=CLIENTS or ["docker"], ids=lambda path: str(Path(path).parent))
def client(request: pytest.FixtureRequest) -> str:
    """Every stock CLI that is installed."""
    if not CLIENTS:
        pytest.skip("docker's CLI is not installed")
    return str(request.param)


@pytest.fixture(scope="module")
def box(world: World) -> Iterator[str]:
    """A running container; its name."""
    world.weftd.cli("run", "-d", "--name", "box", "-e", "FROM=box", "--", "sleep", "600")
    yield "box"
    world.weftd.cli("rm", "-f", "box")
