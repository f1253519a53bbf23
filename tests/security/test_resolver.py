"""What a resolver that a container has taken over could still do: tried from inside the same sandbox.

`inside` shuts a process of its own exactly as the resolver shuts itself, and then tries; what is true of the resolver
that serves is read in /proc.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import platform
import resource
import signal
import socket
import struct
import sys
import tempfile
import threading
from collections.abc import Callable

import pytest

from tests.hosts import in_private_host
from tests.resolver.test_process import other_users_exist
from tests.resolver.world import NS1, Upstream, ask, holder, running_world, view
from weft.resolver import landlock, privileges, sandbox, seccomp
from weft.resolver.servers import Endpoint

pytestmark = pytest.mark.root

filtered = pytest.mark.skipif(not seccomp.assemble(platform.machine()), reason=f"no filter for {platform.machine()}")
landlocked = pytest.mark.skipif(not landlock.version(), reason="this kernel has no Landlock")
tcp_rules = pytest.mark.skipif(landlock.version() < 4, reason="Landlock without TCP rules: needs Linux 6.7")

libc = ctypes.CDLL(None, use_errno=True)


def inside(deed: Callable[[], object], *, resolv_conf: str = "") -> int:
    """The errno with which a deed fails in the sandbox; 0 if it succeeds. A signal that ends it is negative."""
    path = resolv_conf or f"{tempfile.mkdtemp()}/resolv.conf"
    child = os.fork()
    if child == 0:
        status = 255
        try:
            privileges.drop()
            sandbox.MEMORY = 1 << 40  # this is a copy of pytest, which is large by the end of a run
            assert sandbox.close(path, own_log=True).open == ()
            status = 0
            deed()
        except OSError as error:
            status = error.errno or 254
        except BaseException:  # a failed assertion is one of the parent's
            status = 253
        os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def called(name: str, *arguments: object) -> None:
    """A function of the C library that says -1 and errno."""
    if getattr(libc, name)(*arguments) == -1:
        raise OSError(ctypes.get_errno(), name)


def connect(family: int, kind: int, address: object) -> None:
    with socket.socket(family, kind) as sock:
        sock.connect(address)  # type: ignore[arg-type]


@in_private_host
def test_the_resolver_that_serves_has_shut_itself_in() -> None:
    with running_world() as world:
        with open(f"/proc/{world.names.pid}/status", encoding="ascii") as file:
            status = {key: value.strip() for key, _, value in (line.partition(":") for line in file)}
        assert {status[c] for c in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
        assert status["NoNewPrivs"] == "1"
        assert status["Threads"] == "1"
        counters = world.names.counters()
        assert counters["landlock"] == landlock.version()
        assert counters["seccomp"] == bool(seccomp.assemble(platform.machine()))
        assert status["Seccomp"] == ("2" if counters["seccomp"] else "0")
        with open(f"/proc/{world.names.pid}/limits", encoding="ascii") as file:
            limits = {line[:26].strip(): line[26:].split()[:2] for line in file}
        for limit, value in (
            ("Max processes", 0),
            ("Max core file size", 0),
            ("Max address space", sandbox.MEMORY),
            ("Max file size", sandbox.LOG_SIZE),
        ):
            assert limits[limit] == [str(value), str(value)]
        # It holds its sockets, its log, nothing else: no file of the host, no directory.
        held = {os.readlink(f"/proc/{world.names.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{world.names.pid}/fd")}
        files = {path for path in held if not path.startswith(("socket:", "anon_inode:"))}
        assert files == {"/dev/null", f"{world.run_dir}/resolver.log", f"{world.run_dir}/resolver.pid"}


@in_private_host
def test_it_cannot_write_another_process_id_where_weftd_looks_for_the_one_to_end() -> None:
    with running_world() as world:
        for fd in os.listdir(f"/proc/{world.names.pid}/fd"):
            if os.readlink(f"/proc/{world.names.pid}/fd/{fd}").endswith("resolver.pid"):
                with open(f"/proc/{world.names.pid}/fdinfo/{fd}", encoding="ascii") as info:
                    flags = next(int(line.split()[1], 8) for line in info if line.startswith("flags:"))
                assert flags & os.O_ACCMODE == os.O_RDONLY
                return
        pytest.fail("the lock is not held")


@landlocked
@in_private_host
def test_files_are_shut_but_for_the_hosts_servers_which_may_be_replaced() -> None:
    scratch = tempfile.mkdtemp()
    os.chmod(scratch, 0o755)
    path, other = f"{scratch}/resolv.conf", tempfile.mkdtemp()
    os.chmod(other, 0o755)
    for name in (path, f"{other}/secret"):
        with open(name, "w", encoding="ascii") as file:
            file.write("x")
        os.chmod(name, 0o644)

    def read_after_replacement() -> None:
        with open(path, encoding="ascii") as file:
            assert file.read() == "x"

    assert inside(read_after_replacement, resolv_conf=path) == 0
    for secret in (f"{other}/secret", "/proc/self/status", "/dev/null", sys.executable):
        assert inside(lambda secret=secret: os.open(secret, os.O_RDONLY), resolv_conf=path) == errno.EACCES
    assert inside(lambda: os.listdir(scratch), resolv_conf=path) == errno.EACCES


@landlocked
@in_private_host
def test_servers_are_read_where_a_link_leads() -> None:
    with running_world() as world:
        elsewhere = tempfile.mkdtemp()
        os.chmod(elsewhere, 0o755)
        world.names.stop()
        os.unlink(f"{world.run_dir}/resolv.conf")
        os.symlink(f"{elsewhere}/stub", f"{world.run_dir}/resolv.conf")
        world.names.start()
        with open(f"{elsewhere}/stub", "w", encoding="ascii") as file:
            file.write(f"nameserver {NS1}\n")
        Upstream(NS1, lambda asked: asked[:2] + struct.pack("!5H", 0x8183, 1, 0, 0, 0) + asked[12:])
        assert ask(world.enter(view("s1", "n1")), "one.example").rcode == 3


@filtered
@in_private_host
def test_nothing_is_written_made_or_removed() -> None:
    scratch = tempfile.mkdtemp()
    os.chmod(scratch, 0o777)
    path = f"{scratch}/resolv.conf"
    with open(path, "w", encoding="ascii"):
        pass
    os.chmod(path, 0o666)
    for deed in (
        lambda: os.open(path, os.O_WRONLY),
        lambda: os.open(path, os.O_RDWR),
        lambda: os.open(f"{scratch}/new", os.O_RDONLY | os.O_CREAT),
        lambda: os.unlink(path),
        lambda: os.rename(path, f"{scratch}/other"),
        lambda: os.symlink("/etc/passwd", f"{scratch}/link"),
        lambda: os.mkdir(f"{scratch}/directory"),
        lambda: os.mkfifo(f"{scratch}/pipe"),
        lambda: os.chmod(path, 0o777),
        lambda: os.truncate(path, 0),
    ):
        assert inside(deed, resolv_conf=path) == errno.EPERM


@filtered
@in_private_host
def test_no_process_is_started_and_none_is_touched() -> None:
    parent = os.getpid()
    for deed in (
        os.fork,
        lambda: os.execv("/bin/true", ["true"]),
        lambda: os.posix_spawn("/bin/true", ["true"], {}),
        lambda: os.kill(parent, 0),
        lambda: os.kill(os.getpid(), signal.SIGTERM),
        lambda: os.pidfd_open(parent),
        lambda: called("ptrace", 16, parent, None, None),
        lambda: called("process_vm_readv", parent, None, 0, None, 0, 0),
        lambda: os.setpriority(os.PRIO_PROCESS, 0, 5),
        lambda: called("setrlimit", resource.RLIMIT_NOFILE, struct.pack("QQ", 64, 64)),
    ):
        assert inside(deed) == errno.EPERM

    def start_thread() -> None:
        try:
            threading.Thread(target=print).start()
        except RuntimeError:
            raise OSError(errno.EPERM, "no thread") from None

    assert inside(start_thread) == errno.EPERM


@filtered
@in_private_host
def test_no_system_call_that_reaches_into_the_kernel() -> None:
    scratch = tempfile.mkdtemp()
    for deed in (
        lambda: called("mount", b"none", scratch.encode(), b"tmpfs", 0, None),
        lambda: called("unshare", 0x10000000),
        lambda: called("setns", 0, 0),
        lambda: called("chroot", scratch.encode()),
        lambda: called("syscall", 425, 8, None),  # io_uring_setup
        lambda: called("syscall", 321, 0, None, 0),  # bpf; elsewhere another call that is shut as well
        lambda: called("syscall", 250, 0, 0, 0),  # keyctl
        lambda: called("prctl", 22, 2, None, 0, 0),  # another filter
        lambda: called("syscall", 0x40000000 + 57),  # fork by x32's numbers
    ):
        assert inside(deed) == errno.EPERM


@filtered
@in_private_host
def test_no_memory_becomes_a_program() -> None:
    assert inside(lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE)) == 0
    executable = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
    assert inside(lambda: mmap.mmap(-1, 4096, prot=executable)) in (errno.EPERM, errno.EACCES)
    page = mmap.mmap(-1, 4096)
    place = ctypes.c_void_p(ctypes.addressof(ctypes.c_char.from_buffer(page)))
    assert inside(lambda: called("mprotect", place, ctypes.c_size_t(4096), 5)) == errno.EPERM


@filtered
@in_private_host
def test_the_only_sockets_are_those_of_udp_and_tcp() -> None:
    for family, kind in (
        (socket.AF_UNIX, socket.SOCK_STREAM),
        (socket.AF_UNIX, socket.SOCK_SEQPACKET),
        (socket.AF_NETLINK, socket.SOCK_RAW),
        (socket.AF_PACKET, socket.SOCK_RAW),
        (socket.AF_INET, socket.SOCK_RAW),
        (socket.AF_INET6, socket.SOCK_RAW),
    ):
        assert inside(lambda family=family, kind=kind: socket.socket(family, kind)) == errno.EPERM
    assert inside(lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_SCTP)) == errno.EPERM
    assert inside(socket.socketpair) == errno.EPERM

    def take_a_port() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(("127.0.0.1", 0))

    assert inside(take_a_port) == errno.EPERM


@filtered
@in_private_host
def test_weftds_socket_and_its_own_are_out_of_reach() -> None:
    scratch = tempfile.mkdtemp()
    os.chmod(scratch, 0o755)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as api:
        api.bind(f"{scratch}/weft.sock")
        os.chmod(f"{scratch}/weft.sock", 0o666)
        api.listen()
        connect(socket.AF_UNIX, socket.SOCK_STREAM, f"{scratch}/weft.sock")
        assert inside(lambda: connect(socket.AF_UNIX, socket.SOCK_STREAM, f"{scratch}/weft.sock")) == errno.EPERM
        # A socket that it holds does not help: it is bound or connected.
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as own:
            own.bind(f"{scratch}/resolver.sock")
            own.listen()
            assert inside(lambda: own.connect(f"{scratch}/weft.sock")) in (errno.EINVAL, errno.EPROTOTYPE)


@tcp_rules
@in_private_host
def test_tcp_goes_to_name_servers_alone() -> None:
    with socket.create_server(("127.0.0.1", 53)), socket.create_server(("127.0.0.1", 2376)):
        connect(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 2376))
        assert inside(lambda: connect(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 53))) == 0
        assert inside(lambda: connect(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 2376))) == errno.EACCES


@in_private_host
def test_memory_and_files_have_an_end() -> None:
    def devour() -> None:
        try:
            bytearray(sandbox.MEMORY)
        except MemoryError:
            raise OSError(errno.ENOMEM, "no memory") from None

    assert inside(devour) == errno.ENOMEM
    with tempfile.TemporaryFile() as log:
        assert inside(lambda: os.pwrite(log.fileno(), b"x", sandbox.LOG_SIZE)) in (errno.EPERM, errno.EFBIG)


@filtered
@in_private_host
def test_the_servers_address_may_name_a_link() -> None:
    def index() -> None:
        assert Endpoint("fe80::1%lo").address == ("fe80::1", 53, 0, lo)

    lo = socket.if_nametoindex("lo")
    assert inside(index) == 0


@filtered
@in_private_host
def test_a_call_in_another_processor_mode_ends_it() -> None:
    if platform.machine() != "x86_64":
        pytest.skip("int 0x80 is of x86")
    page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3")  # mov eax, 20 (getpid); int 0x80; ret
    enter = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
    assert inside(enter) == -signal.SIGSYS


def test_a_processor_without_numbers_is_said_and_not_filtered_by_others() -> None:
    assert seccomp.assemble("riscv64") == b""
    assert seccomp.install("riscv64") == "no filter for riscv64"
    assert seccomp.assemble("aarch64") != seccomp.assemble("x86_64") != b""


@in_private_host
def test_a_resolver_that_reads_another_file_is_replaced() -> None:
    with running_world() as world:
        world.enter(view("s1", "n1"), ("n1", holder("e1", "c1", "10.1.0.2")))
        before = world.names.pid
        world.names.close()
        world.names._resolv_conf = f"{world.run_dir}/other.conf"
        world.names.start()
        assert world.names.pid != before


@in_private_host
def test_it_is_nobody() -> None:
    if not other_users_exist():
        pytest.skip("no other users in this user namespace")
    with running_world() as world:
        assert os.stat(f"/proc/{world.names.pid}/task").st_uid in (0, 65534)
        with open(f"/proc/{world.names.pid}/status", encoding="ascii") as file:
            assert "Uid:\t65534\t65534\t65534\t65534\n" in file.read()
