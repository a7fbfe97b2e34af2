"""Kernels without a compiler: the same text, run by Python.

What Numba makes of a kernel takes it seconds; whether the kernel is right can be seen without it.
Only the pointers, products and functions that are machine code in the package have a twin here, in
NumPy.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_edu.arrays import Array

_WORDS = {
    np.dtype(dtype): word
    for dtype, word in [
        ("u1", ctypes.c_uint8),
        ("i1", ctypes.c_int8),
        ("i2", ctypes.c_int16),
        ("i4", ctypes.c_int32),
        ("i8", ctypes.c_int64),
        ("f4", ctypes.c_float),
        ("f8", ctypes.c_double),
    ]
}


class Pointer:
    """The entries at an address."""

    def __init__(self, address: Any, dtype: Any) -> None:
        self.address, self.dtype = int(address), np.dtype(dtype)
        self.word = _WORDS[self.dtype]

    def _at(self, i: Any) -> Any:
        return self.word.from_address(self.address + int(i) * self.dtype.itemsize)

    def __getitem__(self, i: Any) -> Any:
        return self.dtype.type(self._at(i).value)

    def __setitem__(self, i: Any, x: Any) -> None:
        self._at(i).value = self.dtype.type(x).item()


def _matrix(address: Any, shape: Any, steps: Any, dtype: Any) -> Array:
    """A matrix at an address; `steps` in entries."""
    size = np.dtype(dtype).itemsize
    reach = [(n - 1) * step * size for n, step in zip(shape, steps, strict=True)]
    before, after = (sum(f(0, r) for r in reach) for f in (min, max))
    block = (ctypes.c_uint8 * (after - before + size)).from_address(int(address) + before)
    return np.ndarray(shape, dtype, block, -before, [step * size for step in steps])


def product(c: Any, a: Any, b: Any, bias: Any, sizes: Any, steps: Any, dtype: Any) -> bool:
    """C = A B + bias; True if an entry is infinite or NaN."""
    (m, k, n), (c_row, b_row, a_row, a_column) = sizes, steps
    left = _matrix(a, (m, k), (a_row, a_column), dtype) if a else np.ones((m, k), dtype)
    result = left @ _matrix(b, (k, n), (b_row, 1), dtype)
    if bias:
        result = result + _matrix(bias, (1, n), (0, 1), dtype)
    _matrix(c, (m, n), (c_row, 1), dtype)[...] = result
    return not np.isfinite(result).all()


def dots(c: Any, a: Any, b: Any, bias: Any, sizes: Any, step: Any, dtype: Any) -> bool:
    """c = A b + bias; True if an entry is infinite or NaN."""
    return product(c, a, b, bias, (*sizes, 1), (1, 1, step, 1), dtype)


def matmul(c: Any, a: Any, b: Any, sizes: Any, steps: Any, dtype: Any) -> None:
    """C = A B."""
    (m, k, n), of = sizes, steps
    left, right = _matrix(a, (m, k), of[:2], dtype), _matrix(b, (k, n), of[2:4], dtype)
    np.matmul(left, right, _matrix(c, (m, n), of[4:], dtype))


def _function(name: str, bits: int) -> Callable[[Any], Any]:
    dtype = np.dtype(f"float{bits}").type
    return lambda x: dtype(getattr(np, name)(dtype(x)))


def _as_it_is(*args: Any, **settings: Any) -> Callable[[Any], Any]:
    return lambda function: function


def interpreted(source: str) -> Any:
    """The function `run` of a generated module."""
    names: dict[str, Any] = {
        "np": np,
        "pointer": Pointer,
        "product": product,
        "dots": dots,
        "matmul": matmul,
        "larger": np.maximum,
        "smaller": np.minimum,
        "erf": math.erf,
        "cfunc": _as_it_is,
        "njit": _as_it_is,
    }
    for name in ("exp", "expm1", "log", "log1p", "tanh"):
        for bits in (32, 64):
            names[f"{name}{'_' * (name == 'expm1')}{bits}"] = _function(name, bits)
    body = "\n".join(
        line for line in source.splitlines() if not line.startswith(("import", "from"))
    )
    exec(compile(body, "<kernels>", "exec"), names)
    return names["run"]
