"""Classic BPF filters on sockets: which datagrams the kernel queues, decided before anybody is woken.

A filter is a straight line: load something, and where it matches, keep or drop; the end is reached if nothing did.
"""

from __future__ import annotations

import ctypes
import socket
import struct
from collections.abc import Sequence
from typing import NamedTuple

_SO_ATTACH_FILTER = 26
_LOAD_WORD = 0x20
_LOAD_HALF = 0x28
_LOAD_BYTE = 0x30
_LOAD_WORD_AT_X = 0x40
_LOAD_CONSTANT = 0x00
_LOAD_X_CONSTANT = 0x01
_COPY_TO_X = 0x07
_JUMP_EQUAL = 0x15
_JUMP_SET = 0x45
_RETURN = 0x06
_EVERYTHING = 0xFFFFFFFF
_FIND_ATTRIBUTE = 0xFFFFF000 + 12  # SKF_AD_OFF + SKF_AD_NLATTR


class Instruction(NamedTuple):
    code: int
    if_true: int
    if_false: int
    constant: int


Program = Sequence[Instruction]

KEEP = Instruction(_RETURN, 0, 0, _EVERYTHING)
DROP = Instruction(_RETURN, 0, 0, 0)


def load_word(offset: int) -> Program:
    return (Instruction(_LOAD_WORD, 0, 0, offset),)


def load_half(offset: int) -> Program:
    return (Instruction(_LOAD_HALF, 0, 0, offset),)


def load_byte(offset: int) -> Program:
    return (Instruction(_LOAD_BYTE, 0, 0, offset),)


def find_attribute(kind: int, first: int) -> Program:
    """Load the offset of a netlink attribute (0 if it is absent); attributes begin at `first`."""
    return (
        Instruction(_LOAD_X_CONSTANT, 0, 0, kind),
        Instruction(_LOAD_CONSTANT, 0, 0, first),
        Instruction(_LOAD_WORD, 0, 0, _FIND_ATTRIBUTE),
    )


def load_found_word() -> Program:
    """The four bytes of the attribute just found."""
    return Instruction(_COPY_TO_X, 0, 0, 0), Instruction(_LOAD_WORD_AT_X, 0, 0, 4)


def equals(value: int, then: Program) -> Program:
    """Do `then` if what was loaded is the value."""
    return Instruction(_JUMP_EQUAL, 0, len(then), value), *then


def differs(value: int, then: Program) -> Program:
    return Instruction(_JUMP_EQUAL, len(then), 0, value), *then


def has(bits: int, then: Program) -> Program:
    return Instruction(_JUMP_SET, 0, len(then), bits), *then


def lacks(bits: int, then: Program) -> Program:
    return Instruction(_JUMP_SET, len(then), 0, bits), *then


def word(value: int) -> int:
    """A number of the host's byte order as a load, which is big-endian, sees it."""
    return int.from_bytes(struct.pack("=I", value), "big")


def half(value: int) -> int:
    return int.from_bytes(struct.pack("=H", value), "big")


def attach(target: socket.socket, program: Program) -> None:
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *instruction) for instruction in program))
    target.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", len(program), ctypes.addressof(code)))
