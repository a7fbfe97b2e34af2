"""Arrays: what counts as one, how messages describe it, and how its entries are summed.

This module imports NumPy and nothing of the package.
"""

from __future__ import annotations

import sys
from functools import lru_cache
from typing import Any

import numpy as np
from numpy import ndarray
from numpy.typing import NDArray

Array = NDArray[Any]
LONGEST_DOT_SUM = 4096  # the most terms that are summed by a product with ones


class NameMissing(KeyError):
    """A KeyError that prints its message as written; Python's own prints it in quotes.

    Example:
        >>> raise NameMissing("the state has no 'bias'")
        Traceback (most recent call last):
        tinygrad_edu.arrays.NameMissing: the state has no 'bias'
    """

    def __str__(self) -> str:
        return " ".join(map(str, self.args))


# --- what counts as an array ----------------------------------------------------------------------


def as_operand(x: Any) -> Any:
    """Return x in the form in which it is combined with a tensor.

    A Python number stays a number, so that float32 stays float32 beside it. Anything else becomes
    an array of real numbers.

    Raises:  TypeError for a numpy.matrix, whose `*` is the matrix product while a tensor's is not;
             else as `as_array`
    Example:
        >>> as_operand(2), as_operand([1, 2])
        (2, array([1, 2]))
    """
    if type(x) is ndarray and x.dtype.kind in "fiub":
        return x
    if isinstance(x, np.matrix):
        raise TypeError(
            "a numpy.matrix multiplies as a matrix with `*`, a tensor entry by entry; give "
            "np.asarray(matrix), and write @ for the matrix product"
        )
    if isinstance(x, (bool, int)):
        return x
    if isinstance(x, float) and not isinstance(x, np.generic):
        return float(x)  # NumPy treats an instance of a subclass of float as a float64 array
    return as_array(x)


def as_array(data: Any, dtype: Any = None) -> Array:
    """Return data as an array of real numbers, without a copy where it is one already.

    Raises:  TypeError for anything but real numbers (text, objects, complex numbers, masked
             arrays, recorded tensors), ValueError for rows of different lengths
    Example:
        >>> as_array([[1, 2], [3, 4]]).shape
        (2, 2)
    """
    masked = sys.modules.get("numpy.ma")  # np.ma would import it
    if masked is not None and isinstance(data, masked.MaskedArray):
        raise TypeError("a masked array would lose its mask here; give `array.filled(value)`")
    try:
        array = np.asarray(data)
    except ValueError as error:
        raise ValueError(f"expected numbers in rows of equal length: {error}") from error
    kind = array.dtype if array.dtype.kind not in "fiub" or dtype is None else np.dtype(dtype)
    if kind.kind not in "fiub":
        raise TypeError(
            f"expected real numbers (float, int or bool), received {type(data).__name__} "
            f"of dtype {kind}"
        )
    return array.astype(kind, copy=False)


def array_of(tensor: Any) -> Array | None:
    """Return the array of a tensor, or None if the argument is no tensor.

    Example:
        >>> import tinygrad_edu as tg
        >>> array_of(tg.Tensor([1.0])), array_of(1.0)
        (array([1.]), None)
    """
    value = getattr(tensor, "value", None)  # class Box is defined later, in `engine`
    return value if isinstance(value, ndarray) else None


def describe(x: Any) -> str:
    """Return the name, shape and dtype of an argument, for messages.

    Example:
        >>> describe(np.ones((2, 3)))
        '(2, 3) float64'
    """
    array = x if isinstance(x, ndarray) else array_of(x)
    if array is None:
        return f"{x!r:.60}"
    name = f"{x.name} " if getattr(x, "name", None) else ""
    return f"{name}{array.shape} {array.dtype}"


# --- sums -----------------------------------------------------------------------------------------


def is_matrix(x: Any) -> bool:
    """Return True for a matrix of a dtype that BLAS multiplies, float32 or float64.

    Example:
        >>> is_matrix(np.ones((2, 3))), is_matrix(np.ones((2, 3), int))
        (True, False)
    """
    return x.ndim == 2 and x.dtype.char in "fd"


def ones_beside(x: Any, axis: int) -> Array | None:
    """Return the vector 1 of 1ᵀX (axis 0) or X1 (axis 1), or None if `numpy.sum` should be used.

    These products sum a matrix along an axis several times faster than `numpy.sum`. With more
    than LONGEST_DOT_SUM terms they lose more digits than it, so None is returned.

    Example:
        >>> ones_beside(np.zeros((3, 2)), 0)
        array([1., 1., 1.])
    """
    return ones(n, x.dtype) if is_matrix(x) and (n := x.shape[axis]) <= LONGEST_DOT_SUM else None


@lru_cache(32)
def ones(n: int, dtype: Any) -> Array:
    """Return a read-only vector of n ones, from a cache.

    Example:
        >>> ones(2, np.dtype(float))
        array([1., 1.])
    """
    vector = np.ones(n, dtype)
    vector.flags.writeable = False
    return vector


def summed_to(x: Any, shape: Any) -> Any:
    """Return x summed over the axes along which `shape` is broadcast to x's shape.

    Raises:  ValueError if `shape` cannot be broadcast to x's shape
    Example:
        >>> summed_to(np.ones((3, 2)), (2,))
        array([3., 3.])
    """
    x = np.asarray(x)
    if x.shape[1:] == shape and (one := ones_beside(x, 0)) is not None:  # most often a bias
        return one.dot(x)
    new = x.ndim - len(shape)
    total = np.add.reduce(x, axis=tuple(range(new))) if new > 0 else x
    if total.shape != shape and new >= 0:
        gone = [i for i, (n, m) in enumerate(zip(shape, total.shape, strict=True)) if n == 1 != m]
        total = np.add.reduce(total, axis=tuple(gone), keepdims=True)
    if total.shape != tuple(shape):
        raise ValueError(f"{x.shape} cannot be summed to {tuple(shape)}")
    return total
