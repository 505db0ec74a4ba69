# SPDX-License-Identifier: Apache-2.0
"""Recognises a pickle stream by walking its opcodes, without ever loading it.

Streams of protocol 2 and newer announce themselves with two bytes. Older ones do not, so the opcodes are
walked as the unpickler would: arguments are skipped by length and never interpreted, because a reader that
is stricter than the unpickler is one that can be evaded. A stream counts as a pickle when it imports a name
and then calls something or ends well; plain text runs into an empty stack or an unknown opcode long before.
"""

from __future__ import annotations

import mmap
import pickle
import pickletools
import re
from typing import TypeAlias

Buffer: TypeAlias = bytes | mmap.mmap

_OPCODES = {opcode.code: opcode for opcode in pickletools.opcodes}
_IMPORTS = {"GLOBAL", "INST", "STACK_GLOBAL", "EXT1", "EXT2", "EXT4"}
_CALLS = {"REDUCE", "BUILD", "OBJ", "NEWOBJ", "NEWOBJ_EX", "INST"}
_LENGTH_BYTES = {
    pickletools.TAKEN_FROM_ARGUMENT1: 1,
    pickletools.TAKEN_FROM_ARGUMENT4: 4,
    pickletools.TAKEN_FROM_ARGUMENT4U: 4,
    pickletools.TAKEN_FROM_ARGUMENT8U: 8,
}
_DOTTED = re.compile(rb"[A-Za-z_\x80-\xff][\w.\x80-\xff-]*")
_PROTOCOLS = {bytes([0x80, version]) for version in range(pickle.HIGHEST_PROTOCOL + 1)}
_MOST_OPCODES = 200_000


def is_pickle(data: Buffer, *, total: int | None) -> bool:
    """Whether unpickling a file that begins with `data` could run code.

    `total` is the size of the whole file in bytes, None where unknown. A stream that is sound up to where
    `data` end but the file does not counts as a pickle.
    """
    if data[:2] in _PROTOCOLS:
        return True
    walk = _Walk(data, total)
    for _ in range(_MOST_OPCODES):
        verdict = walk.step()
        if verdict is not None:
            return verdict
    return True


class _Walk:
    """The unpickler's stack as counts: one number a mark, as each opcode would leave it."""

    def __init__(self, data: Buffer, total: int | None) -> None:
        self._data = data
        self._total = total
        self._position = 0
        self._frames = [0]
        self._imported = False

    def step(self) -> bool | None:
        """Take one opcode: a verdict, or None to go on."""
        if self._position >= len(self._data):
            return self._imported or self._is_unseen(self._position + 1)
        opcode = _OPCODES.get(chr(self._data[self._position]))
        if opcode is None:
            return False
        start = self._position + 1
        end = _argument_end(self._data, start, opcode)
        if end is None or end > len(self._data):
            return self._is_unseen(end or len(self._data) + 1)
        self._position = end
        return self._apply(opcode, bytes(self._data[start:end]) if opcode.name in _IMPORTS else b"")

    def _is_unseen(self, end: int) -> bool:
        """Whether a position beyond the data may still lie within the file."""
        return self._total is None or end <= self._total

    def _apply(self, opcode: pickletools.OpcodeInfo, argument: bytes) -> bool | None:
        if not self._shift(opcode):
            return False
        if opcode.name in _IMPORTS:
            if not _names_something(opcode.name, argument):
                return False
            self._imported = True
        if self._imported and opcode.name in _CALLS:
            return True
        return self._imported if opcode.name == "STOP" else None

    def _shift(self, opcode: pickletools.OpcodeInfo) -> bool:
        """Move the stack; False where the unpickler would find it empty."""
        before, frames = opcode.stack_before, self._frames
        if opcode.name == "MARK":
            frames.append(0)
            return True
        if opcode.name == "POP" and frames[-1] == 0 and len(frames) > 1:
            frames.pop()
            return True
        taken = len(before)
        if pickletools.markobject in before:
            if len(frames) == 1:
                return False
            frames.pop()
            taken = before.index(pickletools.markobject)
        if frames[-1] < taken:
            return False
        frames[-1] += len(opcode.stack_after) - taken
        return True


def _argument_end(data: Buffer, start: int, opcode: pickletools.OpcodeInfo) -> int | None:
    """Where an opcode's argument ends, or None when the data end before."""
    if opcode.arg is None:
        return start
    size = opcode.arg.n
    if size >= 0:
        return start + size
    if size == pickletools.UP_TO_NEWLINE:
        return _lines_end(data, start, 2 if opcode.name in {"GLOBAL", "INST"} else 1)
    width = _LENGTH_BYTES[size]
    length = int.from_bytes(data[start : start + width], "little")
    return start + width + length


def _lines_end(data: Buffer, start: int, lines: int) -> int | None:
    for _ in range(lines):
        start = data.find(b"\n", start) + 1
        if start == 0:
            return None
    return start


def _names_something(opcode: str, argument: bytes) -> bool:
    """Whether a by-name import names what Python could import."""
    if opcode not in {"GLOBAL", "INST"}:
        return True
    return all(_DOTTED.fullmatch(line) for line in argument.rstrip(b"\n").split(b"\n"))
