"""The API over TCP: for those whose certificate weftd's authority has signed, and for nobody else."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemons import Weftd
from tests.hosts import PrivateHost

pytestmark = pytest.mark.root

PLACE = "127.0.0.1:2376"


def openssl(directory: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=directory, check=True, capture_output=True)


def authority(directory: Path, *names: str) -> Path:
    """A directory with ca.pem and, for each name, a certificate and key that it signed."""
    directory.mkdir()
    new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    openssl(
        directory, "req", "-x509", *new_key, "-keyout", "ca-key.pem", "-out", "ca.pem", "-subj", "/CN=ca", "-days", "2"
    )
    (directory / "san").write_text("subjectAltName=IP:127.0.0.1")
    for name in names:
        openssl(directory, "req", *new_key, "-keyout", f"{name}-key.pem", "-out", "request", "-subj", f"/CN={name}")
        openssl(
            directory,
            *("x509", "-req", "-in", "request", "-CA", "ca.pem", "-CAkey", "ca-key.pem", "-CAcreateserial"),
            *("-out", f"{name}.pem", "-extfile", "san", "-days", "2"),
        )
    return directory


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return authority(tmp_path_factory.mktemp("tls") / "ours", "server", "client")


@pytest.fixture(scope="module")
def weftd(ours: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Weftd]:
    files = {"tls-cert": "server.pem", "tls-key": "server-key.pem", "tls-ca": "ca.pem"}
    settings = [word for name, file in files.items() for word in (f"--{name}", str(ours / file))]
    with (
        PrivateHost() as host,
        Weftd(host, tmp_path_factory.mktemp("weftd"), settings=("--tcp", PLACE, *settings)) as it,
    ):
        yield it


def docker(weftd: Weftd, ca: Path, client: Path) -> subprocess.CompletedProcess[str]:
    files = ("--tlscacert", ca / "ca.pem", "--tlscert", client / "client.pem", "--tlskey", client / "client-key.pem")
    command = ["docker", "--tlsverify", *map(str, files), "-H", f"tcp://{PLACE}", "network", "ls", "-q"]
    return weftd.host.run(command, check=False)


def test_who_has_a_certificate_is_let_in(weftd: Weftd, ours: Path):
    done = docker(weftd, ours, ours)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) == 3


def test_who_has_anothers_certificate_is_not(weftd: Weftd, ours: Path, tmp_path: Path):
    others = authority(tmp_path / "others", "client")
    done = docker(weftd, ours, others)
    assert done.returncode != 0
    assert done.stdout == ""


@pytest.mark.parametrize("url", [f"https://{PLACE}/_ping", f"http://{PLACE}/_ping"])
def test_who_has_none_is_not(weftd: Weftd, url: str):
    done = weftd.host.run(["curl", "-sk", "--max-time", "5", url], check=False)
    assert done.returncode != 0
    assert done.stdout == ""


def test_the_unix_socket_serves_beside_it(weftd: Weftd):
    assert weftd.cli("network", "ls").returncode == 0


def test_without_an_authority_nothing_is_served(ours: Path, tmp_path: Path):
    with PrivateHost() as host:
        settings = ("--tcp", PLACE, "--tls-cert", str(ours / "server.pem"), "--tls-key", str(ours / "server-key.pem"))
        places = ("--state-dir", str(tmp_path / "state"), "--run-dir", str(tmp_path / "run"))
        done = host.run(
            [sys.executable, "-P", "-m", "weft.daemon", *places, *settings], check=False, env=_environment()
        )
        assert done.returncode == 1
        assert done.stderr.strip().endswith("name one")
        assert "tls-ca" in done.stderr


def _environment() -> dict[str, str]:
    source = Path(__file__).parents[2] / "src"
    return {"PYTHONPATH": str(source)}


def test_a_stream_both_ways_is_refused(weftd: Weftd, ours: Path):
    """TLS knows no half-close: such a command would end as soon as it has all its input."""
    weftd.cli("run", "-d", "--name", "box", "--", "sleep", "60")
    url = f"https://{PLACE}/containers/box/attach?stream=1&stdout=1"
    files = ("--cacert", ours / "ca.pem", "--cert", ours / "client.pem", "--key", ours / "client-key.pem")
    done = weftd.host.run(["curl", "-s", "--max-time", "5", "-X", "POST", *map(str, files), url])
    assert "over TCP weft runs commands in the background alone" in done.stdout
    weftd.cli("rm", "-f", "box")
