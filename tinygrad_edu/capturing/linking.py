"""Linking: an object file as one piece of machine code that works wherever it is put.

A compiler leaves its instructions, its constants and its tables of jumps in *sections*, and writes
down in which places the distance from one to another belongs (*relocations*). Here the sections are
laid one behind the other and the distances are filled in. As the code knows distances only, it can
be copied to any address. A function from outside, such as `pow`, is reached by a jump behind the
code; whoever loads the code puts the address there.

Source:  the ELF-64 object file format; System V ABI, AMD64 supplement, section 4.4
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

__all__ = ["linked"]

# What a section is, and what may be done with it.
_BYTES, _SYMBOLS, _RELOCATIONS = 1, 2, 4
_WRITABLE, _LOADED = 1, 2
_DISTANCES = {2, 4}  # kinds of relocations: R_X86_64_PC32, R_X86_64_PLT32
_OUTSIDE = 0  # the section of what is in none
_JUMP = b"\xff\x25\0\0\0\0"  # to the address that stands behind it


def linked(data: bytes, name: str) -> tuple[bytes, int, dict[str, int]]:
    """An object file for Linux on x86-64: (the code, where its function `name` begins, where the
    addresses of the functions from outside belong).

    Raises:  ValueError for an object file that needs more: variables, addresses of its own
    """
    sections = list(_rows(data, "<4xIQ8xQQIIQ8x", *struct.unpack_from("<40xQ12xH", data)))
    code = bytearray()
    starts: dict[int, int] = {}
    for i, (kind, flags, at, size, _, _, align) in enumerate(sections):
        if flags & _LOADED and kind == _BYTES and size:
            if flags & _WRITABLE:
                raise ValueError("machine code with variables")
            code += bytes(-len(code) % max(1, align))
            starts[i] = len(code)
            code += data[at : at + size]
    (table,) = (section for section in sections if section[0] == _SYMBOLS)
    names = sections[table[4]][2]
    symbols: list[tuple[str, int, int]] = []
    for at_name, home, value in _rows(data, "<I2xHQ8x", table[2], table[3] // 24):
        start = names + at_name
        symbols.append((data[start : data.index(0, start)].decode(), home, value))
    jumps: dict[str, int] = {}
    for kind, _, at, size, _, of, _ in sections:
        if kind != _RELOCATIONS or of not in starts:
            continue
        for place, what, more in _rows(data, "<QQq", at, size // 24):
            symbol, home, value = symbols[what >> 32]
            if what & 0xFFFFFFFF not in _DISTANCES or home not in (_OUTSIDE, *starts):
                raise ValueError(f"machine code that holds the address of {symbol or 'a part'}")
            if home != _OUTSIDE:
                target = starts[home] + value
            else:
                target = jumps.setdefault(symbol, len(code))
                if target == len(code):
                    code += _JUMP + bytes(8)
            here = starts[of] + place
            struct.pack_into("<i", code, here, target + more - here)
    (begin,) = (starts[home] + value for symbol, home, value in symbols if symbol == name)
    return bytes(code), begin, {symbol: at + len(_JUMP) for symbol, at in jumps.items()}


def _rows(data: bytes, row: str, start: int, count: int) -> Iterator[tuple[int, ...]]:
    """So many rows of a table."""
    size = struct.calcsize(row)
    return (struct.unpack_from(row, data, start + i * size) for i in range(count))
