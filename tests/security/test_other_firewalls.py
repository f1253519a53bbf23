"""Other tools that drop what the host forwards: doctor names each, its commands let weft through as they are printed,
and what weft keeps out stays out. The tools are the real ones, in a host of the test's own."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.daemons import Weftd
from tests.docker.engines import Dockerd
from tests.hosts import PrivateHost, needs_root
from tests.security import attacks
from tests.security.attacks import answers
from tests.security.engines import Weft
from tests.security.scene import ADDRESSES, OPEN, PUBLISHED, Scene, scene_of, wires
from tests.system.people import HOST4, HOST6, OUTSIDE4, OUTSIDE6

pytestmark = [pytest.mark.root, pytest.mark.system]


def needs(*programs: str) -> None:
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")


@contextlib.contextmanager
def policies(host: PrivateHost, directory: Path, *, kind: str = "nft") -> Iterator[None]:
    """What an administrator of the old school has: closed to whatever is not listed."""
    if kind == "legacy":
        needs_root("in a user namespace nobody is told which of the old tables are in use")
    for program in (f"iptables-{kind}", f"ip6tables-{kind}"):
        needs(program)
        host.run([program, "-P", "FORWARD", "DROP"])
        host.run([program, "-A", "FORWARD", "-m", "conntrack", "--ctstate", "ESTABLISHED,RELATED", "-j", "ACCEPT"])
    yield


@contextlib.contextmanager
def ufw(host: PrivateHost, directory: Path) -> Iterator[None]:
    """With a configuration of its own, and without the kernel's modules that it would load."""
    needs_root("ufw")
    needs("ufw")
    shutil.copytree("/etc/ufw", directory / "ufw")
    defaults = Path("/etc/default/ufw").read_text().replace("IPT_MODULES=", "IPT_MODULES= #")
    (directory / "defaults").write_text(defaults)
    host.run("mount -t tmpfs -o mode=755 tmpfs /run")
    host.run(["mount", "--bind", str(directory / "ufw"), "/etc/ufw"])
    host.run(["mount", "--bind", str(directory / "defaults"), "/etc/default/ufw"])
    host.run("ufw --force enable", timeout=60)
    yield
    host.run("ufw --force disable", timeout=60)


@contextlib.contextmanager
def docker(host: PrivateHost, directory: Path) -> Iterator[None]:
    needs_root("dockerd")
    needs("docker", "dockerd", "runc", "busybox")
    host.run("mount -t tmpfs -o mode=755 tmpfs /run")
    host.run("sysctl -qw net.ipv4.ip_forward=0")  # it drops what is forwarded only if it turned forwarding on itself
    with Dockerd(directory, host):
        yield


@contextlib.contextmanager
def nftables(host: PrivateHost, directory: Path) -> Iterator[None]:
    """Somebody's own table."""
    host.run("nft add table inet mine")
    host.run(["nft", "add chain inet mine through { type filter hook forward priority 5; policy drop; }"])
    host.run("nft add rule inet mine through ct state established,related accept")
    yield


def legacy(host: PrivateHost, directory: Path) -> AbstractContextManager[None]:
    return policies(host, directory, kind="legacy")


Tool = Callable[[PrivateHost, Path], AbstractContextManager[None]]

TOOLS: dict[str, tuple[Tool, str]] = {
    "iptables": (policies, "iptables drops"),
    "iptables-legacy": (legacy, "iptables-legacy drops"),
    "ufw": (ufw, "ufw drops"),
    "Docker": (docker, "Docker drops"),
    "nftables": (nftables, "another firewall drops"),
}


@pytest.mark.parametrize("name", TOOLS)
def test_doctor_names_the_tool_and_its_commands_let_weft_through(
    private_host: PrivateHost, tmp_path: Path, name: str
) -> None:
    tool, named = TOOLS[name]
    for directory in ("weft", "tool"):
        (tmp_path / directory).mkdir()
    with (
        wires(private_host) as others,
        Weftd(private_host, tmp_path / "weft", settings=("--dns", OUTSIDE4)) as weftd,
        scene_of(Weft(weftd), *others) as scene,
    ):
        assert through(scene) == ALL
        with tool(private_host, tmp_path / "tool"):
            assert through(scene) != ALL, "the tool is in nobody's way"
            for finding in in_the_way(weftd):
                assert str(finding["what"]).startswith(named)
                for command in finding["mend"]:
                    private_host.run(["sh", "-c", command], timeout=60)
            assert in_the_way(weftd) == []
            assert through(scene) == ALL
            for attack in ATTACKS:
                assert attack(scene) == [], attack.__name__


ALL = {"published": 4, "out": 4, "neighbours": 4}
ATTACKS = (
    attacks.loopback_from_the_wire,
    attacks.loopback_from_another_network,
    attacks.lan_to_unpublished_ports,
    attacks.lan_to_published_ports_at_own_address,
    attacks.network_to_network,
    attacks.out_of_an_internal_network,
    attacks.into_an_internal_network,
    attacks.through_the_host,
)


def through(scene: Scene) -> dict[str, int]:
    """How many ways lead in, out, and to a neighbour: of both families and protocols."""
    return {
        "published": len(answers(scene, "outside", [HOST4, HOST6], [PUBLISHED])),
        "out": len(answers(scene, "web", [OUTSIDE4, OUTSIDE6], [OPEN])),
        "neighbours": len(answers(scene, "beside", ADDRESSES["web"], [OPEN])),
    }


def in_the_way(weftd: Weftd) -> list[dict[str, object]]:
    findings = json.loads(weftd.cli("doctor", "--json", check=False).stdout)["findings"]
    return [each for each in findings if each["check"] == "other-firewalls" and each["level"] != "ok"]
