"""Texts: what a kernel is written in: loops over a shape, places of entries, numbers.

A kernel is Python that Numba compiles. Sizes and steps stand in it as numbers; where an array lies
is looked up in the row of a table, `at`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import prod
from typing import Any

import numpy as np

from .calls import Value

INDEX = "ijklmnopqrstuvwxyz"  # what loops count with, from the outermost
_DTYPES = {
    np.dtype(name)
    for name in ("bool", "uint8", "int8", "int16", "int32", "int64", "float32", "float64")
}


class NotNative(Exception):
    """A program that runs on NumPy and not as machine code; its text is a sentence that says why.

    Example:
        >>> str(NotNative("own of (3,)"))
        'there is no loop for own of (3,)'
    """

    def __str__(self) -> str:
        return f"there is no loop for {self.args[0]}"


def fresh(shape: Sequence[int], dtype: Any) -> Value:
    """A value that only kernels see."""
    value = Value("result", np.broadcast_to(np.zeros((), dtype), tuple(shape)))
    value.strides = tuple(step * value.dtype.itemsize for step in dense(value.shape))
    return value


class Kernel:
    """The text of one function, and the values whose addresses it is given.

    lines     its body; `a[…]`, `b[…]`, … are the entries at the addresses
    values    the values behind a, b, …
    written   those of them that it writes
    asks      whether it gives an answer: False where the program does not apply
    counts    whether that may be so although nothing is wrong: the step is then done in another
              way, and nothing may have been written before
    """

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.values: list[Value] = []
        self.dtypes: list[str] = []
        self.written: list[Value] = []
        self.asks = self.counts = False

    def name(self, value: Value, dtype: str | None = None, writes: bool = False) -> str:
        """What the entries of a value are called here."""
        if value not in self.values:
            if value.root.kind != "number" and value.dtype not in _DTYPES:
                raise NotNative(f"numbers of the dtype {value.dtype}")
            self.values.append(value)
            self.dtypes.append(dtype_of(value) if dtype is None else dtype)
        if writes:
            self.written.append(value)
        place = self.values.index(value)
        return "abcdefgh"[place] if place < 8 else f"a{place}"

    @property
    def results(self) -> set[Value]:
        """What it writes."""
        return {value.root for value in self.written}

    @property
    def read(self) -> list[Value]:
        """What it reads."""
        return [v for v in self.values if v not in self.written]

    @property
    def body(self) -> str:
        """The text of the function after its name."""
        heads = []
        for i, (value, dtype) in enumerate(zip(self.values, self.dtypes, strict=True)):
            place = f"at[{i + 1}]"
            kept = "np.uint8" if dtype == "np.bool_" else dtype
            heads.append(f"{self.name(value)} = {f'pointer({place}, {kept})' if kept else place}")
        lines = [*heads, *self.lines, *(["return True"] if self.asks else [])]
        return "(at):\n    " + "\n    ".join(lines) + "\n"


def nested(shape: Sequence[int], lines: list[str], axes: Iterable[int] | None = None) -> list[str]:
    """Lines in loops over a shape; `axes`: over these only, in this order."""
    result = [
        "    " * level + f"for {INDEX[k]} in range({shape[k]}):"
        for level, k in enumerate(range(len(shape)) if axes is None else axes)
    ]
    return result + ["    " * len(result) + line for line in lines]


def place(steps: Iterable[int], index: str = INDEX) -> str:
    """Where an entry lies: `i * 30 + j`."""
    parts = [
        (f"{index[k]} * {step}" if step != 1 else index[k]) for k, step in enumerate(steps) if step
    ]
    return " + ".join(parts) or "0"


def dense(shape: Sequence[int]) -> tuple[int, ...]:
    """The steps of an array without gaps."""
    return tuple(prod(shape[k + 1 :]) for k in range(len(shape)))


def dtype_of(value: Value) -> str:
    """The dtype of a value."""
    return f"np.{value.dtype}" if value.dtype != np.bool_ else "np.bool_"


def number(x: float) -> str:
    """A number."""
    return repr(x).replace("inf", "np.inf").replace("nan", "np.nan")


def stored(entry: str, out: Value) -> str:
    """An entry as it lies in memory."""
    return f"np.uint8({entry})" if out.dtype == np.bool_ else f"{dtype_of(out)}({entry})"
