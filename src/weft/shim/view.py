"""What a container sees: its own mounts, host name, IPC objects and /etc files, made from inside its namespaces.

With a root file system of its own the root is pivoted, and until `enter` returns the working directory is the host's
root: absolute paths are the container's, relative ones the host's. Without one both are the same.

Works as root and as root of a user namespace: nothing is made by mknod, and where the kernel refuses a fresh /proc or
/sys (because the outer one is partly covered) the host's is shown instead.
"""

from __future__ import annotations

import _socket
import os

from weft.shim.linux import (
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWUTS,
    MNT_DETACH,
    MS_BIND,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_PRIVATE,
    MS_REC,
    MS_SLAVE,
    mount,
    pivot_root,
    setns,
    umount,
    unshare,
)

ETC = ("hosts", "hostname", "resolv.conf")
"""The files of /etc that are the container's own."""

DEVICES = ("null", "zero", "full", "random", "urandom", "tty")

SYSCTLS = {
    # Ports below 1024 and ICMP echo need no privilege in a namespace of one's own, as in Docker.
    "net/ipv4/ip_unprivileged_port_start": "0",
    "net/ipv4/ping_group_range": "0 2147483647",
}

_QUIET = MS_NOSUID | MS_NODEV | MS_NOEXEC


def enter(*, netns: str, rootfs: str, hostname: str, files: str) -> None:
    """Enter the network namespace and new mount, UTS and IPC namespaces, and furnish them. Raises OSError.

    `netns` is empty for the host's own, of which nothing is changed. `rootfs` is a directory, or empty for the host's
    file system; `files` the directory with the contents of `ETC`.
    To be called by the first process of the PID namespace: /proc shows the namespace of who mounts it.
    """
    if netns:
        setns(netns, CLONE_NEWNET)
    unshare(CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC)
    mount("none", "/", None, MS_REC | MS_SLAVE)  # what the host mounts later appears here, and nothing goes back
    os.chdir("/")
    if rootfs:
        _pivot(rootfs)
    _mount_proc()
    _mount_sys()
    if rootfs:
        _make_dev()
    _mount_terminals()
    if hostname:
        _socket.sethostname(hostname)
    for name in ETC:
        _bind_etc(f"{files.lstrip('/')}/{name}", f"/etc/{name}", may_create=bool(rootfs))
    if rootfs:
        mount("none", ".", None, MS_REC | MS_PRIVATE)
        umount(".", MNT_DETACH)
        os.chdir("/")
    for key, value in SYSCTLS.items() if netns else ():
        _write_sysctl(key, value)


def _pivot(rootfs: str) -> None:
    """Make a directory the root, and leave the working directory in the old one.

    The old root ends up on top of the new one at the same place, so neither a directory for it is needed nor a writable
    root file system (pivot_root(2), "pivot_root(".", ".")").
    """
    mount(rootfs, rootfs, None, MS_BIND | MS_REC)
    old = os.open("/", os.O_PATH | os.O_DIRECTORY)
    os.chdir(rootfs)
    pivot_root(".", ".")
    os.fchdir(old)
    os.close(old)


def _mount_proc() -> None:
    try:
        _make_directory("/proc")
        mount("proc", "/proc", "proc", _QUIET)
    except OSError:
        # Only the host's own is to be had; it shows this process, and more than it should.
        mount("proc", "/proc", None, MS_BIND | MS_REC)


def _mount_sys() -> None:
    """A fresh /sys, whose class/net is the container's, with the host's control groups where they were."""
    old = os.open(".", os.O_PATH | os.O_DIRECTORY)
    try:
        os.chdir("sys")
        _make_directory("/sys")
        try:
            mount("sysfs", "/sys", "sysfs", _QUIET)
        except OSError:
            mount(".", "/sys", None, MS_BIND | MS_REC)
        else:
            if os.path.isdir("fs/cgroup") and os.path.isdir("/sys/fs/cgroup"):
                mount("fs/cgroup", "/sys/fs/cgroup", None, MS_BIND | MS_REC)
    except OSError:
        pass  # a container without /sys is of use still
    finally:
        os.fchdir(old)
        os.close(old)


def _make_dev() -> None:
    _make_directory("/dev")
    mount("tmpfs", "/dev", "tmpfs", MS_NOSUID, "mode=755,size=64k")
    for name in DEVICES:
        if os.path.exists(f"dev/{name}"):
            _make_file(f"/dev/{name}")
            mount(f"dev/{name}", f"/dev/{name}", None, MS_BIND)
    for name, target in (
        ("ptmx", "pts/ptmx"),
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ):
        os.symlink(target, f"/dev/{name}")
    for name in ("pts", "shm", "mqueue"):
        os.mkdir(f"/dev/{name}")
    mount("shm", "/dev/shm", "tmpfs", _QUIET, "mode=1777,size=64m")


def _mount_terminals() -> None:
    """A devpts of the container's own, so that its first terminal is /dev/pts/0, and its own message queues."""
    try:
        mount("devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5")
    except OSError:  # no group 5 in this user namespace
        mount("devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620")
    if os.path.isdir("/dev/mqueue"):
        try:
            mount("mqueue", "/dev/mqueue", "mqueue", _QUIET)
        except OSError:
            pass  # the kernel may lack POSIX message queues


def _bind_etc(source: str, target: str, *, may_create: bool) -> None:
    if not os.path.exists(source):
        return
    target = os.path.realpath(target)  # it may be a link, as systemd-resolved makes it, and lead nowhere
    if not os.path.exists(target):
        try:
            if not may_create:
                raise FileNotFoundError(target)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            _make_file(target)
        except OSError:
            _grow(target)
    mount(source, target, None, MS_BIND)


def _grow(target: str) -> None:
    """Make an empty file to mount on, where it must not (the host's file system) or cannot (read-only) be made.

    The nearest directory that exists is covered by a tmpfs in which all that it holds is mounted again.
    """
    place = os.path.dirname(target)
    while not os.path.isdir(place):
        place = os.path.dirname(place)
    back = os.open(".", os.O_PATH | os.O_DIRECTORY)
    os.chdir(place)
    mount("tmpfs", place, "tmpfs", MS_NOSUID | MS_NODEV, "mode=755")
    for entry in os.scandir("."):
        copy = os.path.join(place, entry.name)
        if entry.is_symlink():
            os.symlink(os.readlink(entry.name), copy)
            continue
        if entry.is_dir():
            os.mkdir(copy)
        else:
            _make_file(copy)
        mount(entry.name, copy, None, MS_BIND | MS_REC)
    os.fchdir(back)
    os.close(back)
    os.makedirs(os.path.dirname(target), exist_ok=True)
    _make_file(target)


def _make_directory(path: str) -> None:
    if not os.path.isdir(path):
        os.mkdir(path)


def _make_file(path: str) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o644))


def _write_sysctl(key: str, value: str) -> None:
    try:
        with open(f"/proc/sys/{key}", "w") as file:
            file.write(value)
    except OSError:
        pass  # read-only, or numbers that this user namespace does not know
