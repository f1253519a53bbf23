"""The resolver as a process: it outlives weftd, is taken over, replaced, noticed when it dies, and does not linger."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import time

import pytest

from tests.hosts import in_private_host
from tests.resolver.world import NOERROR, NXDOMAIN, World, ask, holder, running_world, view
from weft.dns import control
from weft.errors import Unavailable
from weft.outside import names as names_module
from weft.outside.names import ResolverNames
from weft.resolver import __main__ as resolver_main

pytestmark = pytest.mark.root

NETWORKS = {"n1": "blue"}
HOLDERS = {"n1": [holder("e1", "c1 web", "10.1.0.2"), holder("e2", "c2 web", "10.1.0.3", "fd01::3")]}
VIEWS = [view("s1", "n1", forward=False), view("s2", "n1", forward=False, servers=["192.0.2.53"])]


def ended(pid: int, seconds: float = 5.0) -> bool:
    """Whether the process ends in this time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            with open(f"/proc/{pid}/stat", encoding="ascii") as file:
                if file.read().split()[2] == "Z":
                    return True
        except (FileNotFoundError, ProcessLookupError):  # gone before the open, or between open and read
            return True
        time.sleep(0.01)
    return False


def other_users_exist() -> bool:
    """Whether this user namespace has more than root."""
    with open("/proc/self/uid_map", encoding="ascii") as file:
        return int(file.read().split()[2]) > 1


def successor(world: World, **options: object) -> ResolverNames:
    """What a new weftd has."""
    return ResolverNames(world.run_dir, f"{world.run_dir}/resolv.conf", **options)  # type: ignore[arg-type]


@in_private_host
def test_names_resolve_while_weftd_is_dead_and_the_next_one_takes_over() -> None:
    with running_world() as world:
        weftd = os.fork()
        if weftd == 0:
            mine = successor(world)
            mine.reconcile(NETWORKS, HOLDERS, VIEWS, world.open_sockets)
            mine.publish("n1", holder("e3", "last", "10.1.0.4"))
            os.kill(os.getpid(), signal.SIGKILL)
        os.waitpid(weftd, 0)
        where = "127.0.11.1"
        assert ask(where, "last").addresses == ["10.1.0.4"]
        assert ask(where, "C1.Blue").addresses == ["10.1.0.2"]
        pid = world.names.pid
        world.names = successor(world)
        world.reconcile(NETWORKS, HOLDERS, VIEWS)
        assert world.names.pid == pid
        assert world.opened == []
        assert ask(where, "last").rcode == NXDOMAIN
        assert ask(where, "c2").addresses == ["10.1.0.3"]


@in_private_host
def test_reconcile_says_only_what_is_different_and_names_that_stay_are_never_absent() -> None:
    with running_world() as world:
        world.reconcile(NETWORKS, HOLDERS, VIEWS)
        assert world.opened == ["s1", "s2"]
        where = world.sockets["s1"]
        asking = os.fork()
        if asking == 0:
            until = time.monotonic() + 0.5
            while time.monotonic() < until:
                if not ask(where, "web").addresses or ask(where, "c1.blue").rcode or ask(where, "c1").rcode:
                    os._exit(1)
            os._exit(0)
        for turn in range(20):
            moved = holder(f"e{2 + turn}", "c2 web", "10.1.0.3")
            world.reconcile({**NETWORKS, f"n{turn + 2}": "x"}, {"n1": [HOLDERS["n1"][0], moved]}, VIEWS)
        assert os.waitstatus_to_exitcode(os.waitpid(asking, 0)[1]) == 0
        assert world.opened == ["s1", "s2"]
        world.reconcile({}, {}, [view("s2", forward=False)])
        assert world.names.counters()["views"] == 1
        assert ask(world.sockets["s2"], "c1").rcode == NXDOMAIN
        world.reconcile(NETWORKS, HOLDERS, VIEWS)
        assert world.opened == ["s1", "s2", "s1"]
        assert ask(where, "c1").rcode == NOERROR


@in_private_host
def test_reconcile_with_thousands_of_names() -> None:
    with running_world() as world:
        holders = {"n1": [holder(f"e{n}", f"name-{n} web-{n % 7}", f"10.1.{n // 250}.{n % 250}") for n in range(5000)]}
        world.reconcile(NETWORKS, holders, VIEWS)
        world.reconcile(NETWORKS, holders, VIEWS)
        assert ask(world.sockets["s1"], "name-4999").addresses == ["10.1.19.249"]
        assert len(world.opened) == 2


@in_private_host
def test_the_death_of_the_resolver_is_noticed_and_mended_by_the_next_message() -> None:
    with running_world() as world:
        restored = []

        def restore() -> None:
            restored.append(world.names.pid)
            world.reconcile(NETWORKS, HOLDERS, VIEWS)

        world.names = successor(world, restore=restore)
        world.reconcile(NETWORKS, HOLDERS, VIEWS)
        watched = select.poll()
        watched.register(world.names.fileno(), select.POLLIN)
        assert world.names.alive()
        assert watched.poll(0) == []
        old = world.names.pid
        os.kill(old, signal.SIGKILL)
        assert watched.poll(2000)
        assert not world.names.alive()
        world.names.publish("n1", holder("e3", "new", "10.1.0.4"))
        assert restored == [world.names.pid]
        assert world.names.pid != old
        assert world.names.alive()
        assert watched.poll(0) == []
        assert ask(world.sockets["s1"], "new").addresses == ["10.1.0.4"]
        assert ask(world.sockets["s2"], "c1").addresses == ["10.1.0.2"]


@in_private_host
def test_reviving_is_repeatable_and_does_nothing_to_the_living() -> None:
    with running_world() as world:
        pid = world.names.pid
        world.names.revive()
        assert world.names.pid == pid
        os.kill(pid, signal.SIGKILL)
        assert ended(pid)
        for _ in range(2):
            world.names.revive()
        assert world.names.pid != pid


@in_private_host
def test_without_restore_a_dead_resolver_is_an_error_that_says_so() -> None:
    with running_world() as world:
        os.kill(world.names.pid, signal.SIGKILL)
        assert ended(world.names.pid)
        with pytest.raises(Unavailable, match="does not take messages"):
            world.names.withdraw("n1", "e1")
        world.names.start()


@in_private_host
def test_a_resolver_that_hangs_is_replaced() -> None:
    with running_world() as world:
        names_module.TIMEOUT = 0.3  # type: ignore[misc]
        world.reconcile(NETWORKS, HOLDERS, VIEWS)
        old = world.names.pid
        os.kill(old, signal.SIGSTOP)
        world.names = successor(world)
        world.reconcile(NETWORKS, HOLDERS, VIEWS)
        assert ended(old)
        assert ask(world.sockets["s1"], "c1").rcode == NOERROR


@in_private_host
def test_a_resolver_of_another_version_is_replaced() -> None:
    with running_world() as world:
        world.reconcile(NETWORKS, HOLDERS, VIEWS)
        old = world.names.pid
        names_module.PROTOCOL = "another"  # type: ignore[misc]
        world.names = successor(world)
        with pytest.raises(Unavailable, match="does not answer"):
            world.names.start()
        assert ended(old)
        names_module.PROTOCOL = control.PROTOCOL  # type: ignore[misc]
        world.reconcile(NETWORKS, HOLDERS, VIEWS)
        assert world.opened == ["s1", "s2", "s1", "s2"]
        assert ask(world.sockets["s1"], "c1").rcode == NOERROR


@in_private_host
def test_a_resolver_whose_socket_was_removed_is_replaced() -> None:
    with running_world() as world:
        old = world.names.pid
        world.names.close()
        os.unlink(f"{world.run_dir}/resolver.sock")
        world.names.start()
        assert world.names.pid != old
        assert ended(old)


@in_private_host
def test_of_two_resolvers_only_one_runs() -> None:
    with running_world() as world:
        command = [sys.executable, "-I", "-S", resolver_main.__file__, "--control", f"{world.run_dir}/resolver.sock"]
        command += ["--resolv-conf", "/etc/resolv.conf"]
        second = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
        assert second.returncode == 3
        assert "another one is running" in second.stderr
        assert world.names.counters()["views"] == 0


@in_private_host
def test_a_run_directory_that_is_not_there_is_an_error_that_says_so() -> None:
    with pytest.raises(Unavailable, match="cannot be started"):
        ResolverNames("/nonexistent/weft", "/etc/resolv.conf").start()


@in_private_host
def test_it_runs_apart_and_without_privileges() -> None:
    with running_world() as world:
        with open(f"/proc/{world.names.pid}/status", encoding="ascii") as file:
            status = {key: value.strip() for key, _, value in (line.partition(":") for line in file)}
        assert status["Name"] == "weft-resolver"
        assert {status[c] for c in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
        assert status["NoNewPrivs"] == "1"
        assert os.getsid(world.names.pid) != os.getsid(0)
        if other_users_exist():
            assert status["Uid"] == "65534\t65534\t65534\t65534"
            assert status["Groups"] == ""
        for ignored in (signal.SIGHUP, signal.SIGINT):
            os.kill(world.names.pid, ignored)
        assert world.names.counters()["errors"] == 0


@in_private_host
def test_a_stranger_is_turned_away() -> None:
    if not other_users_exist():
        pytest.skip("no other users in this user namespace")
    with running_world() as world:
        os.chmod(f"{world.run_dir}/resolver.sock", 0o666)
        stranger = os.fork()
        if stranger == 0:
            os.setresuid(12345, 12345, 12345)
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            sock.settimeout(2)
            sock.connect(f"{world.run_dir}/resolver.sock")
            os._exit(0 if sock.recv(1) == b"" else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(stranger, 0)[1]) == 0
        assert world.names.counters()["views"] == 0


@in_private_host
def test_nonsense_on_the_line_is_logged_and_does_no_harm() -> None:
    with running_world() as world:
        for said in (("what", "is", "this"), ("publish", "n1"), ("publish", "n1", "e1", "c1", "not-hex"), ("view",)):
            world.names._tell([said])
        assert world.names.counters()["errors"] == 4
        with open(f"{world.run_dir}/resolver.log", encoding="utf-8") as log:
            assert "a message of weftd was not understood" in log.read()
        world.names.stop()
        world.names.start()


@in_private_host
def test_descriptors_that_come_with_nonsense_are_closed() -> None:
    with running_world() as world:
        held = f"/proc/{world.names.pid}/fd"
        before = len(os.listdir(held))
        null = os.open(os.devnull, os.O_RDONLY)
        assert world.names._sock is not None
        for packet in (b"\xff", b"what is this", b"view\x1es9\x1e\x1elocal\x1e\x1e"):
            socket.send_fds(world.names._sock, [packet], [null] * 4)
        assert world.names.counters()["views"] == 0
        assert len(os.listdir(held)) == before
        os.close(null)
        world.names.stop()
        world.names.start()


@pytest.mark.parametrize("views", [0, 1])
def test_it_ends_by_itself_once_nobody_can_want_it(views: int) -> None:
    @in_private_host
    def body() -> None:
        with running_world() as world:
            pid = _impatient(world)
            if views:
                world.enter(view("s1"))
            assert not ended(pid, 0.5)
            world.names.close()
            if views:
                assert not ended(pid, 0.5)
                os.unlink(f"{world.run_dir}/resolver.pid")
            assert ended(pid)
            world.names.start()

    body()


def _impatient(world: World) -> int:
    """A resolver that asks itself every fifth of a second what it is for, in place of the world's."""
    world.names.stop()
    code = (
        "import sys; sys.path[:0] = [sys.argv.pop(1)]\n"
        "from weft.resolver import __main__ as it\n"
        "it.LONELY = 0.2\n"
        "sys.exit(it.main(sys.argv[1:]))"
    )
    source = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(resolver_main.__file__))))
    command = [
        sys.executable,
        "-I",
        "-S",
        "-c",
        code,
        source,
        "--control",
        f"{world.run_dir}/resolver.sock",
        "--resolv-conf",
        f"{world.run_dir}/resolv.conf",
        "--detach",
    ]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=5, check=True)
    assert done.stdout == b"ready\n"
    world.names.start()
    return world.names.pid
