"""Network namespaces: making, binding, entering.

A thread, not a process, is in a namespace. Whoever enters another one here is back before the function returns, also
after an error. Python gained unshare and setns in 3.12; until that is the oldest version, ctypes stands in.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import logging
import os
from collections.abc import Callable
from typing import TypeVar

from weft.errors import NotFound, WeftError
from weft.kernel.refusal import refusal

log = logging.getLogger("weft.kernel")

_CLONE_NEWNET = 0x40000000
_MS_BIND = 0x1000
_MS_NOSUID_NODEV_NOEXEC = 0x2 | 0x4 | 0x8
_MNT_DETACH = 2
_TMPFS_MAGIC = 0x01021994
_NS_GET_NSTYPE = 0xB703
_HERE = "/proc/thread-self/ns/net"

_libc = ctypes.CDLL(None, use_errno=True)

T = TypeVar("T")


class Namespaces:
    """Enters namespaces from the one it was made in, on one thread, and makes new ones."""

    def __init__(self, directory: str) -> None:
        """`directory` holds the pins. It is made, and a tmpfs mounted on it unless it is on one.

        On a disk's file system, making a file soon after deleting many costs up to a millisecond.
        """
        self.directory = directory
        self.home = os.open(_HERE, os.O_RDONLY | os.O_CLOEXEC)
        os.makedirs(directory, mode=0o755, exist_ok=True)
        if _file_system(directory) != _TMPFS_MAGIC:
            try:
                _mount("tmpfs", directory, "tmpfs", _MS_NOSUID_NODEV_NOEXEC, "mode=0755,size=4m,nr_inodes=64k")
            except OSError as error:
                log.warning("no tmpfs on %s (%s): joins will be slower", directory, error.strerror)

    def close(self) -> None:
        os.close(self.home)

    def identity(self, path: str) -> tuple[int, int] | None:
        """Device and inode of the namespace at a path ("" is home); None if there is nothing."""
        try:
            found = os.stat(path) if path else os.fstat(self.home)
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def make(self, path: str, inside: Callable[[], T]) -> tuple[int, T]:
        """A new namespace bound at `path`; a descriptor of it, and what `inside` returned when called in it."""
        _touch(path)
        if _libc.unshare(_CLONE_NEWNET):
            raise _failed(f"make a network namespace for {path}")
        try:
            descriptor = os.open(_HERE, os.O_RDONLY | os.O_CLOEXEC)
            try:
                _mount(_HERE, path, "", _MS_BIND, "")
                result = inside()
            except BaseException:
                os.close(descriptor)
                raise
        except OSError as error:
            raise refusal(error.errno or 0, f"bind a new network namespace at {path}", error.strerror or "") from error
        finally:
            self._return()
        return descriptor, result

    def apart(self, inside: Callable[[], T]) -> tuple[int, T]:
        """A new namespace that only the returned descriptor (and what `inside` opened in it) keeps."""
        descriptors: list[int] = []

        def look() -> T:
            descriptors.append(os.open(_HERE, os.O_RDONLY | os.O_CLOEXEC))
            return inside()

        try:
            found = self.scratch(look)
            return descriptors[0], found
        except BaseException:
            for descriptor in descriptors:
                os.close(descriptor)
            raise

    def bind_descriptor(self, path: str, descriptor: int) -> None:
        _touch(path)
        try:
            _mount(f"/proc/thread-self/fd/{descriptor}", path, "", _MS_BIND, "")
        except OSError as error:
            raise refusal(error.errno or 0, f"bind a network namespace at {path}", error.strerror or "") from error

    def bind(self, path: str, source: str) -> None:
        """Bind an existing namespace, so that it can be reached (and stays) as long as weft needs it."""
        if not is_namespace(source):
            raise NotFound(f"no network namespace at {source}")
        _touch(path)
        try:
            _mount(source, path, "", _MS_BIND, "")
        except OSError as error:
            raise refusal(error.errno or 0, f"bind {source} at {path}", error.strerror or "") from error

    def within(self, descriptor: int, do: Callable[[], T]) -> T:
        """Call `do` inside the namespace."""
        if _libc.setns(descriptor, _CLONE_NEWNET):
            raise _failed("enter a network namespace")
        try:
            return do()
        finally:
            self._return()

    def scratch(self, do: Callable[[], T]) -> T:
        """Call `do` inside a new namespace that nothing keeps."""
        if _libc.unshare(_CLONE_NEWNET):
            raise _failed("make a network namespace")
        try:
            return do()
        finally:
            self._return()

    def _return(self) -> None:
        if _libc.setns(self.home, _CLONE_NEWNET):
            # A worker that stays in a container would do to it what is meant for the host.
            log.critical("cannot return to the host's network namespace: errno %d", ctypes.get_errno())
            os._exit(70)


def drop_pin(path: str) -> None:
    """Unbind; without processes and other holders the kernel then ends the namespace, a little later."""
    if _libc.umount2(path.encode(), _MNT_DETACH) and ctypes.get_errno() not in (errno.EINVAL, errno.ENOENT):
        raise _failed(f"unbind {path}")
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise refusal(error.errno or 0, f"remove {path}", error.strerror or "") from error


def open_namespace(path: str) -> int:
    """A descriptor. Raises NotFound if there is no network namespace at the path."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise NotFound(f"no network namespace at {path}: {error.strerror}") from error
    try:
        if fcntl.ioctl(descriptor, _NS_GET_NSTYPE) == _CLONE_NEWNET:
            return descriptor
    except OSError:
        pass
    os.close(descriptor)
    raise NotFound(f"no network namespace at {path}: it is something else")


def is_namespace(path: str) -> bool:
    try:
        os.close(open_namespace(path))
    except NotFound:
        return False
    return True


def same_namespace(one: str, other: str) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False


def _touch(path: str) -> None:
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o444))
    except OSError as error:
        raise refusal(error.errno or 0, f"make {path}", error.strerror or "") from error


def _mount(source: str, target: str, kind: str, flags: int, data: str) -> None:
    if _libc.mount(source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), data.encode()):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _file_system(path: str) -> int:
    buffer = ctypes.create_string_buffer(256)
    if _libc.statfs(path.encode(), buffer):
        return 0
    return int.from_bytes(buffer.raw[: ctypes.sizeof(ctypes.c_long)], "little")


def _failed(deed: str) -> WeftError:
    number = ctypes.get_errno()
    return refusal(number, deed, os.strerror(number))
