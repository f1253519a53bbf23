"""A machine under QEMU that runs Debian's own kernel on this machine's files, without changing them.

`carry_out(command, ...)` has a machine carry out a shell command in the checkout, and brings back the exit status.
Meanwhile its output is passed on. virtme-ng boots it (`vng`); what comes after that is in guest.sh. No KVM: where it is
to be had it does not always boot, and emulation is the same everywhere.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PLACE = ROOT / ".vm"

_MEMORY = "2G"
# What guards against speculation, or against reading freed memory, costs time here and guards nobody.
_KERNEL_OPTIONS = ("mitigations=off", "init_on_alloc=0", "apparmor=0", "audit=0", "loglevel=4")
_CONSOLE_LINES = 60


class Failed(Exception):
    """The machine did not get so far as to say how the command ended."""


def image() -> Path:
    """The kernel's image; fetched, if need be. Raises Failed if it is not to be had."""
    done = subprocess.run([ROOT / "scripts/kernel"], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise Failed("there is no kernel to boot")
    return Path(done.stdout.strip())


@contextlib.contextmanager
def shared_folder() -> Iterator[Path]:
    """A folder that the machine may write to."""
    PLACE.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="run-", dir=PLACE))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def vng(kernel: Path, folder: Path, *, cpus: int) -> list[str]:
    """The command that boots a kernel and has guest.sh do what it finds in the folder."""
    inside = shlex.join(
        ["unshare", "--mount", "--propagation=private", "sh", str(ROOT / "tests/vm/guest.sh"), str(folder), str(ROOT)]
    )
    files = "-virtfs local,path=/,mount_tag=weft,security_model=none,readonly=on,multidevs=remap"
    return [
        *(str(Path(sys.executable).parent / "vng"), "--run", str(kernel), "--verbose", "--user=root"),
        *("--disable-kvm", "--force-9p", f"--memory={_MEMORY}", f"--cpus={cpus}", f"--rwdir={folder}"),
        *(f"--qemu-opts={files}", *(f"--append={option}" for option in _KERNEL_OPTIONS)),
        *("--", inside),
    ]


def carry_out(command: str, boot: Sequence[str], folder: Path, *, limit: float) -> int:
    """The command's exit status. `boot` is the program that is the machine, such as `vng` says.

    After `limit` seconds it is ended, and Failed raised.
    """
    (folder / "command").write_text(command)
    (folder / "log").touch()
    console = folder / "console"
    with open(console, "w") as said:
        running = subprocess.Popen(
            # Ends all of it even if we have been killed meanwhile.
            ["timeout", "--kill-after=10", f"{limit}", *boot],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            cwd=ROOT,
            env=_environment(),
            start_new_session=True,
        )
    with _ended_with_us(running):
        _pass_on(folder / "log", running)
    status = folder / "status"
    if status.exists() and status.read_text().strip():
        return int(status.read_text())
    tail = "\n".join(console.read_text(errors="replace").splitlines()[-_CONSOLE_LINES:])
    why = f"was ended after {limit:.0f} seconds" if running.returncode in (124, 137) else "ended without a word"
    raise Failed(f"the machine {why}. The last lines on its console:\n{tail}")


def _environment() -> dict[str, str]:
    """virtme-ng finds its own parts on the path, and keeps its settings in the home directory."""
    home = PLACE / "home"
    home.mkdir(parents=True, exist_ok=True)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin:/sbin"
    unwanted = ("XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME")
    kept = {name: value for name, value in os.environ.items() if name not in unwanted}
    return {**kept, "PATH": path, "HOME": str(home)}


@contextlib.contextmanager
def _ended_with_us(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Whatever ends us, by a signal or an error, ends the process with all its children."""

    def give_up(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, give_up) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        # `timeout` makes a process group of its own for what it starts, and leads it.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM if process.poll() is None else signal.SIGKILL)
        process.wait()
        for number, handler in before.items():
            signal.signal(number, handler)


def _pass_on(log: Path, process: subprocess.Popen[bytes]) -> None:
    """Print what is written to a file until the process ends."""
    with open(log, errors="replace") as file:
        while True:
            over = process.poll() is not None
            text = file.read()
            if text:
                print(text, end="", flush=True)
            elif over:
                return
            else:
                time.sleep(0.2)
