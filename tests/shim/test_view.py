"""What a container sees: a root file system of its own, awkward hosts, a user namespace around all of it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hosts import needs_root
from tests.shim.boxes import SRC, Boxes
from tests.shim.foreground import FILES
from tests.shim.terminals import Terminal

BUSYBOX = "/bin/busybox"


@pytest.fixture
def rootfs(boxes: Boxes) -> Path:
    """A root file system with busybox alone."""
    if not os.path.exists(BUSYBOX):
        pytest.skip("needs a static busybox")
    root = Path(boxes.place, "rootfs")
    (root / "bin").mkdir(parents=True)
    shutil.copy(BUSYBOX, root / "bin")
    for name in ("sh", "ls", "cat", "mount", "hostname", "stty", "tty", "sleep", "readlink", "id", "echo"):
        (root / "bin" / name).symlink_to("busybox")
    return root


def test_a_root_of_its_own(boxes: Boxes, rootfs: Path) -> None:
    done = boxes.run("sh", "-c", "ls /; cat /etc/hosts /etc/resolv.conf; hostname", rootfs=str(rootfs))
    listing = "bin\ndev\netc\nproc\nsys\n"
    assert done.stdout == listing + FILES["hosts"] + FILES["resolv.conf"] + "box\n"


def test_the_old_root_is_out_of_reach(boxes: Boxes, rootfs: Path) -> None:
    done = boxes.run("sh", "-c", "cat /proc/self/mountinfo; ls /proc/1/root/", rootfs=str(rootfs))
    points = [line.split()[4] for line in done.stdout.splitlines() if " - " in line]
    assert points[0] == "/"
    assert all(point == "/" or point.split("/")[1] in ("proc", "sys", "dev", "etc") for point in points)
    assert "home" not in done.stdout.split()


def test_devices(boxes: Boxes, rootfs: Path) -> None:
    script = "ls /dev; echo x >/dev/null; echo err >/dev/stderr; ls -d /sys/class/net/*; readlink /dev/ptmx"
    done = boxes.run("sh", "-c", script, rootfs=str(rootfs))
    devices = "fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero".split()
    assert done.stdout.split() == [*devices, "/sys/class/net/lo", "pts/ptmx"]
    assert done.stderr == "err\n"


def test_a_terminal_in_it(boxes: Boxes, rootfs: Path) -> None:
    sandbox = boxes.sandbox("sh", "-c", "tty; stty size", rootfs=str(rootfs), tty=True)
    with Terminal(boxes.command(sandbox), rows=12, columns=34) as terminal:
        assert terminal.expect("34") == "/dev/pts/0\r\n12 34"


def test_exec_and_commands_are_looked_for_in_it(boxes: Boxes, rootfs: Path) -> None:
    sandbox = boxes.start("sleep", "60", rootfs=str(rootfs))
    assert boxes.execute(sandbox, "ls", "/bin/busybox").stdout == "/bin/busybox\n"
    assert (
        boxes.execute(sandbox, "python3").stderr
        == "CannotExecute: cannot execute 'python3': no such file or directory\n"
    )


def test_a_link_for_resolv_conf_is_followed_within_it(boxes: Boxes, rootfs: Path) -> None:
    (rootfs / "etc").mkdir()
    (rootfs / "etc/resolv.conf").symlink_to("/run/systemd/resolve/stub-resolv.conf")
    done = boxes.run("cat", "/etc/resolv.conf", "/run/systemd/resolve/stub-resolv.conf", rootfs=str(rootfs))
    assert done.stdout == 2 * FILES["resolv.conf"]
    assert not Path("/run/systemd/resolve/stub-resolv.conf").exists()


def test_a_read_only_root(boxes: Boxes, rootfs: Path) -> None:
    for name in ("dev", "proc", "sys", "etc"):
        (rootfs / name).mkdir()
    (rootfs / "etc/motd").write_text("hello\n")
    subprocess.run(["mount", "--bind", rootfs, rootfs], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", rootfs], check=True)
        done = boxes.run("sh", "-c", "cat /etc/hosts /etc/motd; echo >/x", rootfs=str(rootfs))
    finally:
        subprocess.run(["umount", rootfs], check=True)
    assert done.stdout == FILES["hosts"] + "hello\n"
    assert "Read-only" in done.stderr


def test_a_root_that_is_not_there_is_refused(boxes: Boxes) -> None:
    done = boxes.run("true", rootfs="/nonesuch")
    assert "cannot prepare the container: mount: No such file or directory (/nonesuch)" in done.stderr


@pytest.mark.parametrize("link", ["/run/nonesuch/deep/resolv.conf", None])
def test_a_host_without_resolv_conf_stays_without(boxes: Boxes, link: str | None) -> None:
    """The host's /etc is covered, in a mount namespace of the test's own, by one that is a link or nothing."""
    script = f"""
        mount -t tmpfs tmpfs /mnt && cp -a /etc /mnt/etc && rm /mnt/etc/resolv.conf
        {f"ln -s {link} /mnt/etc/resolv.conf" if link else ""}
        mount --bind /mnt/etc /etc
        "$@"
        ls /run/nonesuch /mnt/etc/resolv.conf 2>&1 | grep -c 'No such file' >&2
    """
    sandbox = boxes.sandbox(
        "sh", "-c", "cat /etc/resolv.conf; test -f /etc/passwd && ls -d /run/user /run/lock /etc/ssl"
    )
    command = ["unshare", "--mount", "--propagation=private", "sh", "-c", script, "sh", *boxes.command(sandbox)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert done.stdout.startswith(FILES["resolv.conf"])
    assert "/etc/ssl" in done.stdout
    assert done.stderr.splitlines()[-1] == ("1" if link else "2")


NOBODY = ("runuser", "-u", "nobody", "--", "unshare", "--user", "--map-root-user", "--mount", "--net")

UNPRIVILEGED = """
import os, sys
sys.path[:0] = [sys.argv[1], sys.argv[2]]
from tests.shim.foreground import FILES
from weft.model import Process, Sandbox
from weft.outside.runtime import ShimRuntime
from weft.shim.client import attach

runtime = ShimRuntime(sys.argv[3] + "/run", sys.argv[3] + "/state")
def run(*argv, **process):
    sandbox = Sandbox(id=os.urandom(32).hex(), name="box", key="/proc/self/ns/net", hostname="box",
                      process=Process(argv=argv, **process))
    console = runtime.prepare(sandbox.id)
    sys.stdout.flush()
    code = attach(console, start=lambda: runtime.start(sandbox, FILES), foreground=True, stdin=False)
    print("code", code)
    runtime.discard(sandbox.id)

run("sh", "-c", "id -u; cat /etc/hostname; ls /sys/class/net; ls -d /proc/[0-9]* | wc -l; exit 3")
run("sh", "-c", "tty", tty=True)
if len(sys.argv) > 4:
    run("/bin/busybox", "ls", "/", rootfs=sys.argv[4])
"""


@pytest.fixture
def nobodys() -> Iterator[str]:
    """A directory of nobody's, with a copy of what nobody may not read."""
    needs_root("to become nobody")
    place = tempfile.mkdtemp(prefix="wn", dir="/tmp")
    shutil.copytree(SRC / "weft", f"{place}/src/weft", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("__init__.py", "shim/__init__.py", "shim/foreground.py"):
        os.makedirs(os.path.dirname(f"{place}/tests/{name}"), exist_ok=True)
        shutil.copy(SRC.parent / "tests" / name, f"{place}/tests/{name}")
    subprocess.run(["chown", "-R", "nobody", place], check=True)
    yield place
    shutil.rmtree(place)


def test_inside_a_user_namespace(nobodys: str) -> None:
    python = shutil.which("python3", path="/usr/bin") or sys.executable
    if not _nobody_may(python):
        pytest.skip("needs a Python that nobody can run, and user namespaces")
    os.makedirs(f"{nobodys}/root/bin")
    shutil.copy(BUSYBOX, f"{nobodys}/root/bin")
    subprocess.run(["chown", "-R", "nobody", f"{nobodys}/root"], check=True)
    command = [*NOBODY, python, "-c", UNPRIVILEGED, f"{nobodys}/src", nobodys, nobodys, f"{nobodys}/root"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert done.stderr == ""
    first, second, third, _ = done.stdout.split("code ")
    user, hostname, interfaces, processes, _ = first.split("\n")
    assert (user, hostname, interfaces) == ("0", "box", "lo")
    assert int(processes) < 6
    assert second.replace("\r", "") == "3\n/dev/pts/0\n"
    assert third.split() == ["0", "bin", "dev", "etc", "proc", "sys"]


def _nobody_may(python: str) -> bool:
    return subprocess.run([*NOBODY, python, "-c", ""], capture_output=True, check=False).returncode == 0
