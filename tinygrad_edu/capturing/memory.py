"""Memory that arrays of many shapes are cut out of."""

from __future__ import annotations

from ctypes import c_int64
from typing import Any

import numpy as np

from ..arrays import Array

_HEAD = object.__basicsize__  # bytes that every object of Python begins with
ALIGNED = 64  # bytes at whose multiples arrays begin: a line of the processor's cache


class Memory:
    """So many bytes, all 0 at first, which are taken when the first array is cut out of them.

    Example:
        >>> memory = Memory(64)
        >>> memory.array((2,), np.float64)[:] = 1.0
        >>> memory.array((3,), np.float64)
        array([1., 1., 0.])
    """

    def __init__(self, size: int) -> None:
        self._size, self._start = size, 0
        self._bytes: bytearray | None = None

    def array(
        self, shape: tuple[int, ...], dtype: Any, start: int = 0, strides: Any = None
    ) -> Array:
        """The array that begins at a byte.

        Views of it refer to it, and not to all of the memory: its own count of references tells
        whether anybody else can see it.
        """
        if self._bytes is None:
            self._bytes = bytearray(self._size + ALIGNED)
            self._start = -np.frombuffer(self._bytes, np.uint8).ctypes.data % ALIGNED
        return np.ndarray(shape, dtype, self._bytes, self._start + start, strides)


def address(array: Array) -> int:
    """`array.ctypes.data`, in a fifth of the time: what lies behind the head of NumPy's array.

    Source:  PyArrayObject_fields in NumPy's C interface
    Example:
        >>> row = np.arange(3.0)
        >>> address(row[1:]) - address(row), address(row) == row.ctypes.data
        (8, True)
    """
    return c_int64.from_address(id(array) + _HEAD).value
