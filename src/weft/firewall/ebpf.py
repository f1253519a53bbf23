"""Extended BPF as bytes: a small assembler, of as much as programs on ports need. For little-endian machines.

A program is a sequence of steps and of labels, which are text and name the step behind them. Registers, codes and
layout as in linux/bpf.h (struct bpf_insn) and RFC 9669.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Literal, NamedTuple

R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, STACK = range(11)
"""Calls take R1 to R5 and clobber them, and answer in R0; R6 to R9 outlive them. STACK is the end of 512 bytes."""

Size = Literal[1, 2, 4]

_INSTRUCTION = struct.Struct("<BBhi")
_LOAD: dict[Size, int] = {4: 0x61, 2: 0x69, 1: 0x71}
_ALU64, _JUMP, _JUMP32 = 0x07, 0x05, 0x06
_REGISTER = 0x08
_MOVE, _ADD, _SUBTRACT, _AND, _SHIFT_LEFT = 0xB0, 0x00, 0x10, 0x50, 0x60
_IF = {"==": 0x10, ">": 0x20, "!=": 0x50, "<": 0xA0}
_CALL, _EXIT = 0x85, 0x95
_STORE = 0x63
_LOAD_WIDE, _MAP = 0x18, 1


class Step(NamedTuple):
    code: int
    to: int = 0
    of: int = 0
    offset: int = 0
    constant: int = 0
    label: str = ""
    """Where a jump leads."""


def assemble(steps: Iterable[Step | str]) -> bytes:
    """Raises KeyError for a jump to nowhere."""
    listed = list(steps)
    places: dict[str, int] = {}
    place = 0
    for step in listed:
        if isinstance(step, str):
            places[step] = place
        else:
            place += 1
    code = [step for step in listed if isinstance(step, Step)]
    return b"".join(
        _INSTRUCTION.pack(
            step.code,
            step.of << 4 | step.to,
            places[step.label] - place - 1 if step.label else step.offset,
            step.constant,
        )
        for place, step in enumerate(code)
    )


def put(to: int, constant: int) -> Step:
    return Step(_ALU64 | _MOVE, to, constant=constant)


def copy(to: int, of: int) -> Step:
    return Step(_ALU64 | _MOVE | _REGISTER, to, of)


def load(size: Size, to: int, of: int, offset: int) -> Step:
    """So many bytes at an offset from where a register points; what is above them is 0."""
    return Step(_LOAD[size], to, of, offset)


def store(of: int, to: int, offset: int) -> Step:
    """Four bytes, at an offset from where a register points."""
    return Step(_STORE, to, of, offset)


def point_to_map(to: int, table: int) -> tuple[Step, Step]:
    """Given by its descriptor."""
    return Step(_LOAD_WIDE, to, _MAP, constant=table), Step(0)


def add(to: int, constant: int) -> Step:
    return Step(_ALU64 | _ADD, to, constant=constant)


def add_register(to: int, of: int) -> Step:
    return Step(_ALU64 | _ADD | _REGISTER, to, of)


def subtract(to: int, constant: int) -> Step:
    return Step(_ALU64 | _SUBTRACT, to, constant=constant)


def mask(to: int, bits: int) -> Step:
    return Step(_ALU64 | _AND, to, constant=bits)


def shift_left(to: int, bits: int) -> Step:
    return Step(_ALU64 | _SHIFT_LEFT, to, constant=bits)


def jump(label: str) -> Step:
    return Step(_JUMP, label=label)


def jump_if(register: int, how: str, constant: int, label: str) -> Step:
    """`how`: ==, !=, < or >, without signs. Of the register's lower half, so that the constant may have 32 bits."""
    return Step(_JUMP32 | _IF[how], register, constant=_signed(constant), label=label)


def jump_unless_same(register: int, other: int, label: str) -> Step:
    """In their lower halves."""
    return Step(_JUMP32 | _IF["!="] | _REGISTER, register, other, label=label)


def jump_if_none(register: int, label: str) -> Step:
    """If a pointer is none."""
    return Step(_JUMP | _IF["=="], register, label=label)


def jump_beyond(register: int, end: int, label: str) -> Step:
    """If one pointer is beyond another."""
    return Step(_JUMP | _IF[">"] | _REGISTER, register, end, label=label)


def call(function: int) -> Step:
    return Step(_CALL, constant=function)


def leave() -> Step:
    return Step(_EXIT)


def as_loaded(raw: bytes) -> int:
    """Bytes of a packet as `load` sees them."""
    return int.from_bytes(raw, "little")


def _signed(constant: int) -> int:
    return constant - (1 << 32) if constant >= 1 << 31 else constant
