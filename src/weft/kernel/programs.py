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

NUMBER = {"x86_64": 321, "aarch64": 280}.get(platform.machine())
"""Of bpf(2), on the machines that programs are written for here."""

_MAP_CREATE, _MAP_LOOKUP, _MAP_UPDATE, _MAP_DELETE, _PROG_LOAD = 0, 1, 2, 3, 5
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


def make_table(size: int, name: str) -> int:
    """A descriptor of a hash map from numbers to values of that size, which programs may only read. Raises OSError."""
    flags = _ALLOCATE_AT_NEED | _READ_ONLY_FOR_PROGRAMS
    return call(_MAP_CREATE, _MAP.pack(_HASH, 4, size, MOST_ENTRIES, flags, 0, 0, name.encode()))


def write_value(table: int, number: int, value: bytes) -> None:
    """Raises OSError."""
    key, given = ctypes.c_uint32(number), ctypes.create_string_buffer(value, len(value))
    call(_MAP_UPDATE, _ENTRY.pack(table, ctypes.addressof(key), ctypes.addressof(given), 0))


def drop_value(table: int, number: int) -> None:
    """Raises OSError; ENOENT if there is none."""
    key = ctypes.c_uint32(number)
    call(_MAP_DELETE, _ENTRY.pack(table, ctypes.addressof(key), 0, 0))


def value_of(program: int, number: int, size: int) -> bytes:
    """What the program of that id finds for a number; empty if nothing of that size. Raises OSError."""
    descriptor = call(_PROG_BY_ID, struct.pack("=I", program))
    try:
        tables = _tables(descriptor)
    finally:
        os.close(descriptor)
    if len(tables) != 1:
        return b""
    table = call(_MAP_BY_ID, struct.pack("=I", tables[0]))
    try:
        return _read_value(table, number, size)
    finally:
        os.close(table)


def _tables(program: int) -> list[int]:
    """The ids of the maps that a program uses."""
    ids = (ctypes.c_uint32 * _FEW)()
    info = ctypes.create_string_buffer(_PROG_INFO.size)
    _PROG_INFO.pack_into(info, 0, _FEW, ctypes.addressof(ids))
    call(_INFO, struct.pack("=IIQ", program, len(info), ctypes.addressof(info)))
    count, _ = _PROG_INFO.unpack(info.raw)
    return list(ids[: min(count, _FEW)])


def _read_value(table: int, number: int, size: int) -> bytes:
    info = ctypes.create_string_buffer(_MAP_INFO.size)
    call(_INFO, struct.pack("=IIQ", table, len(info), ctypes.addressof(info)))
    kind, _, key_size, value_size = _MAP_INFO.unpack(info.raw)
    if (kind, key_size, value_size) != (_HASH, 4, size):
        return b""
    key, found = ctypes.c_uint32(number), ctypes.create_string_buffer(size)
    call(_MAP_LOOKUP, _ENTRY.pack(table, ctypes.addressof(key), ctypes.addressof(found), 0))
    return found.raw


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
