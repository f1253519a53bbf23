"""Starts under difficulties: what is refused, what is done without, and what a reboot leaves."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.audits import assert_consistent, complaints, resolve
from tests.daemons import PATIENCE, Weftd
from tests.enter import inside, network
from tests.hosts import PrivateHost, needs_namespaces
from tests.waiting import eventually
from weft.client import Publish

pytestmark = pytest.mark.root


@pytest.fixture
def weftd(private_host: PrivateHost, tmp_path: Path) -> Iterator[Weftd]:
    """Two containers that know each other."""
    with Weftd(private_host, tmp_path) as weftd:
        weftd.client.networks.create("front", ipv6=True)
        for name in ("a", "b"):
            weftd.client.containers.create(name=name, networks=["front"])
        yield weftd


def _refusal(weftd: Weftd, *settings: str) -> str:
    """Start one more weftd, which must end by itself; what it says."""
    done = subprocess.run(
        [*weftd.host.prefix, *weftd.command, *settings],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env=weftd.environment,
        check=False,
    )
    assert done.returncode == 1
    said = done.stderr.splitlines()[-1]
    assert said.startswith("weftd: "), done.stderr
    assert "Traceback" not in done.stderr
    return said


def _corrupt(state: Path) -> None:
    for file in state.parent.glob("weft.db*"):
        file.write_bytes(b"this is no database" * 1000)


def _from_the_future(state: Path) -> None:
    database = sqlite3.connect(state)
    database.execute("UPDATE meta SET value = '99' WHERE key = 'schema'")
    database.commit()
    database.close()


@pytest.mark.parametrize(("harm", "words"), [(_corrupt, "weft.db"), (_from_the_future, "later weft")])
def test_state_that_cannot_be_read_is_refused_and_left_alone(
    weftd: Weftd, harm: Callable[[Path], None], words: str
) -> None:
    state = Path(weftd.state_dir) / "weft.db"
    weftd.stop()
    kept = {file: file.read_bytes() for file in state.parent.glob("weft.db*")}
    harm(state)
    harmed = state.read_bytes()
    assert words in _refusal(weftd)
    assert state.read_bytes() == harmed
    for file, content in kept.items():
        file.write_bytes(content)
    weftd.start()
    assert_consistent(weftd)


def test_a_second_weftd_is_refused_and_the_first_goes_on(weftd: Weftd) -> None:
    assert "another weftd" in _refusal(weftd)
    assert "another weftd" in _refusal(weftd, "--run-dir", f"{weftd.run_dir}-2", "--state-dir", f"{weftd.state_dir}-2")
    assert_consistent(weftd)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (("--mtu", "big"), "mtu"),
        (("--address-pools", "10.0.0.0/33"), "address-pools"),
        (("--config", "/nowhere"), "/nowhere"),
        (("--log-level", "loud"), "loud"),
    ],
)
def test_settings_that_are_wrong_are_named(weftd: Weftd, settings: tuple[str, ...], words: str) -> None:
    weftd.stop()
    assert words in _refusal(weftd, *settings)
    weftd.start()


def test_without_a_resolver_all_but_names_goes_on_and_names_come_as_soon_as_they_can(weftd: Weftd) -> None:
    weftd.kill()
    weftd.host.run(["kill", "-9", str(weftd.resolver_pid)])
    socket = Path(weftd.run_dir) / "resolver.sock"
    socket.unlink()
    socket.mkdir()
    (socket / "in-the-way").touch()
    weftd.start()
    weftd.sandbox("a", "ping", "-c1", "-W2", "-q", weftd.client.containers.get("b").endpoints[0].ipv4.split("/")[0])
    (socket / "in-the-way").unlink()
    socket.rmdir()

    def names_are_back() -> bool:
        path = weftd.client.containers.get("a").netns

        def ask() -> bool:
            with network(path):
                try:
                    return bool(resolve("b", seconds=0.1))
                except TimeoutError:
                    return False

        return inside(weftd.host, ask)

    eventually(names_are_back, within=3.0)
    assert_consistent(weftd)


def test_a_resolver_that_hangs_is_replaced_by_the_next_audit(private_host: PrivateHost, tmp_path: Path) -> None:
    with Weftd(private_host, tmp_path, settings=("--audit-seconds", "1")) as weftd:
        weftd.client.networks.create("front")
        pid = weftd.resolver_pid
        weftd.host.run(["kill", "-STOP", str(pid)])
        weftd.client.containers.create(name="new", networks=["front"])
        eventually(lambda: weftd.resolver_pid != pid, within=15.0)
        eventually(lambda: not complaints(weftd), within=5.0)


def test_after_a_reboot_networks_are_there_and_containers_are_not(tmp_path: Path) -> None:
    needs_namespaces()
    with PrivateHost() as before:
        weftd = Weftd(before, tmp_path)
        client = weftd.client
        network = client.networks.create("front", ipv6=True, labels={"kept": "yes"})
        client.containers.create(name="made", networks=["front"])
        client.containers.run(["sleep", "600"], name="run", networks=["front"], ports=[Publish(80, 8080)])
        client.containers.run(["sleep", "600"], name="passing", networks=["front"], auto_remove=True)
        with before.container() as namespace:
            client.containers.create(name="attached", pid=namespace.pid, networks=["front"])
            weftd.kill()
        for supervised in ("run", "passing"):
            _end(weftd, supervised)
        before.run(["kill", "-9", str(weftd.resolver_pid)])
    shutil.rmtree(weftd.run_dir)
    with PrivateHost() as after, Weftd(after, tmp_path) as weftd:
        assert weftd.client.networks.get("front").id == network.id
        assert weftd.client.networks.get("front").labels == {"kept": "yes"}
        assert {(c.name, c.state) for c in weftd.client.containers.list(all=True)} == {("run", "exited")}
        ended = weftd.client.containers.get("run").exit
        assert ended is not None
        assert ended.code == 137
        assert_consistent(weftd)
        weftd.client.containers.create(name="new", networks=["front"], ports=[Publish(80, 8080)])
        weftd.client.containers.remove("run")
        assert_consistent(weftd)


def _end(weftd: Weftd, name: str) -> None:
    """Kill a container's process, as the end of the host does."""
    database = sqlite3.connect(f"file:{weftd.state_dir}/weft.db?mode=ro", uri=True)
    ((ident,),) = database.execute("SELECT id FROM sandboxes WHERE name = ?", (name,)).fetchall()
    database.close()
    known = json.loads(Path(f"{weftd.run_dir}/containers/{ident[:12]}/status.json").read_text())
    weftd.host.run(["kill", "-9", str(known["shim_pid"]), str(known["pid"])])
