"""Programs of extended BPF: handed to the kernel, which looks at them first and then makes machine code of them.

Numbers and layout as in linux/bpf.h (union bpf_attr, BPF_PROG_LOAD); glibc has no wrapper for the call.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import platform
import struct
from collections.abc import Iterable
from typing import NamedTuple

NUMBER = {"x86_64": 321, "aarch64": 280}.get(platform.machine())
"""Of bpf(2), on the machines that programs are written for here."""

_MAP_CREATE, _MAP_LOOKUP, _MAP_UPDATE, _MAP_DELETE, _MAP_NEXT_KEY, _PROG_LOAD = range(6)
_PROG_BY_ID, _MAP_BY_ID, _INFO = 13, 14, 15
_HASH = 1
_ALLOCATE_AT_NEED = 1
_READ_ONLY_FOR_PROGRAMS = 1 << 7
_SCHED_CLS = 3
_ATTRIBUTES = struct.Struct("=IIQQIIQII16s")
_MAP = struct.Struct("=IIIIIII16s")
_ENTRY = struct.Struct("=I4xQQQ")
_PROG_INFO = struct.Struct("=52xIQ")
"""Of struct bpf_prog_info: how many maps, and where their ids are."""
_MAP_INFO = struct.Struct("=4I")
"""Of struct bpf_map_info: type, id, and the sizes of key and value."""
_FEW = 4
MOST_ENTRIES = 1 << 14
_SIZE = 128
_TAG = 8
_libc = ctypes.CDLL(None, use_errno=True)


def load_classifier(code: bytes, name: str) -> int:
    """A descriptor of the program, which is gone with the last of those who hold it. Raises OSError."""
    # Kept for as long as the kernel reads them. No function is used that asks for a licence of a certain kind.
    instructions, licence = ctypes.create_string_buffer(code, len(code)), ctypes.create_string_buffer(b"Apache-2.0")
    count, at, under = len(code) // 8, ctypes.addressof(instructions), ctypes.addressof(licence)
    return call(_PROG_LOAD, _ATTRIBUTES.pack(_SCHED_CLS, count, at, under, 0, 0, 0, 0, 0, name.encode()))


class Table(NamedTuple):
    """A hash map that programs may only read."""

    descriptor: int
    """To be closed by whoever has it."""
    id: int
    key_size: int
    value_size: int


def make_table(key_size: int, value_size: int, name: str) -> Table:
    """Raises OSError."""
    flags = _ALLOCATE_AT_NEED | _READ_ONLY_FOR_PROGRAMS
    descriptor = call(_MAP_CREATE, _MAP.pack(_HASH, key_size, value_size, MOST_ENTRIES, flags, 0, 0, name.encode()))
    return _table(descriptor)


def write_value(table: Table, key: bytes, value: bytes) -> None:
    """Raises OSError; E2BIG if there are MOST_ENTRIES."""
    wanted, given = ctypes.create_string_buffer(key, len(key)), ctypes.create_string_buffer(value, len(value))
    call(_MAP_UPDATE, _ENTRY.pack(table.descriptor, ctypes.addressof(wanted), ctypes.addressof(given), 0))


def drop_value(table: Table, key: bytes) -> None:
    """Raises OSError; ENOENT if there is none."""
    wanted = ctypes.create_string_buffer(key, len(key))
    call(_MAP_DELETE, _ENTRY.pack(table.descriptor, ctypes.addressof(wanted), 0, 0))


def read_value(table: Table, key: bytes) -> bytes:
    """Empty if there is none. Raises OSError."""
    wanted, found = ctypes.create_string_buffer(key, len(key)), ctypes.create_string_buffer(table.value_size)
    try:
        call(_MAP_LOOKUP, _ENTRY.pack(table.descriptor, ctypes.addressof(wanted), ctypes.addressof(found), 0))
    except OSError as error:
        if error.errno == errno.ENOENT:
            return b""
        raise
    return found.raw


def keys_of(table: Table) -> list[bytes]:
    """Raises OSError."""
    keys: list[bytes] = []
    before, following = None, ctypes.create_string_buffer(table.key_size)
    while len(keys) < MOST_ENTRIES:
        after = 0 if before is None else ctypes.addressof(before)
        try:
            call(_MAP_NEXT_KEY, _ENTRY.pack(table.descriptor, after, ctypes.addressof(following), 0))
        except OSError as error:
            if error.errno == errno.ENOENT:
                break
            raise
        keys.append(following.raw)
        before = ctypes.create_string_buffer(following.raw, table.key_size)
    return keys


def tables_of(program: int) -> list[Table]:
    """The maps that the program of that id uses. Raises OSError."""
    descriptor = call(_PROG_BY_ID, struct.pack("=I", program))
    try:
        ids = (ctypes.c_uint32 * _FEW)()
        info = ctypes.create_string_buffer(_PROG_INFO.size)
        _PROG_INFO.pack_into(info, 0, _FEW, ctypes.addressof(ids))
        call(_INFO, struct.pack("=IIQ", descriptor, len(info), ctypes.addressof(info)))
        count, _ = _PROG_INFO.unpack(info.raw)
    finally:
        os.close(descriptor)
    tables: list[Table] = []
    try:
        for number in ids[: min(count, _FEW)]:
            tables.append(_table(call(_MAP_BY_ID, struct.pack("=I", number))))
    except OSError:
        close(tables)
        raise
    return tables


def close(tables: Iterable[Table]) -> None:
    for table in tables:
        os.close(table.descriptor)


def _table(descriptor: int) -> Table:
    """Raises OSError, and the descriptor is closed."""
    info = ctypes.create_string_buffer(_MAP_INFO.size)
    try:
        call(_INFO, struct.pack("=IIQ", descriptor, len(info), ctypes.addressof(info)))
    except OSError:
        os.close(descriptor)
        raise
    _, number, key_size, value_size = _MAP_INFO.unpack(info.raw)
    return Table(descriptor, number, key_size, value_size)


def call(command: int, attributes: bytes) -> int:
    """bpf(2). Raises OSError."""
    if NUMBER is None:
        raise OSError(errno.ENOSYS, f"no programs for {platform.machine()}")
    given = ctypes.create_string_buffer(attributes, _SIZE)
    answer = int(_libc.syscall(NUMBER, command, given, _SIZE))
    if answer < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return answer


def tags(code: bytes) -> tuple[bytes, ...]:
    """What the kernel may show a program as: a beginning of its hash, which was SHA-1 until Linux 6.18."""
    return tuple(hash_(code, usedforsecurity=False).digest()[:_TAG] for hash_ in (hashlib.sha1, hashlib.sha256))
