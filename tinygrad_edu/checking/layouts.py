"""The memory layouts of an array, to check that an operation does not depend on them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..arrays import Array
from ..tensor import Tensor

Layout = Callable[[Array], Array]


def _strided(x: Array) -> Array:
    """Return a copy whose entries are every second entry of a larger array, along every axis."""
    around = np.full([2 * n + 1 for n in x.shape], 7, x.dtype)
    second: Any = (..., *[slice(1, None, 2)] * x.ndim)  # the dots keep a number an array
    view: Array = around[second]
    view[...] = x
    return view


def _backwards(x: Array) -> Array:
    turned: Any = (..., *[slice(None, None, -1)] * x.ndim)
    return np.asarray(np.array(x[turned], order="C")[turned])


def _read_only(x: Array) -> Array:
    copy = x.copy()
    copy.flags.writeable = False
    return copy


LAYOUTS: dict[str, Layout] = {
    "contiguous": np.array,
    "Fortran-ordered": lambda x: np.array(x, order="F"),
    "every second entry": _strided,
    "negative strides": _backwards,
    "read-only": _read_only,
}


def memory(x: Array) -> bytes:
    """Return all bytes of the array that x is a view of.

    Example:
        >>> whole = np.zeros(4, np.uint8)
        >>> len(memory(whole[::2]))
        4
    """
    while isinstance(x.base, np.ndarray):
        x = x.base
    return x.tobytes()


def on_memory(x: Array) -> Tensor:
    """Return a variable that shares the array's memory, as results do that are views of other
    arrays. (`Tensor(x, requires_grad=True)` and `t.data = x` copy.)

    Example:
        >>> x = np.ones(2)
        >>> on_memory(x).value is x
        True
    """
    t = Tensor(np.zeros(x.shape, x.dtype), requires_grad=True)
    t.value = x
    return t
