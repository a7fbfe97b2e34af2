"""Is a value the gradient? Entry by entry, with the rounding of the sums behind each entry.

An entry is right if it differs from the gradient's by no more than

    1e-7·|gradient| + 1e-10·spread

`spread` (`rounding.spread`) is how large the terms are that the entry is a sum of: where they
cancel, as in A − Y or 1ᵀE, rounding is a part of the terms and not of what is left. A large entry
thus never hides a wrong small one. For values of a shorter format than float64 both factors are 32
units of rounding of that format: 2e-6 for float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import numpy as np

from ..arrays import Array
from .rounding import PART, TIMES

__all__ = ["Truth", "as_numbers", "digits_of", "stripped"]

RELATIVE, ROUNDING = 1e-7, 1e-10
UNITS = 32  # … of rounding, for float32 and float16
OWN_ROUNDING = 64 * 2.0**-53  # of the terms of the claim itself
PRECISION = 4e-6  # a claim nearer than this is right but for the precision of its arithmetic


class Truth:
    """A right value, with how close is equal.

    Leading axes of length 1 do not count, and what NumPy broadcasts to the right shape counts as
    that. With `columns`, a column stands for a vector, as on the slides. `spread` gives the size of
    the terms behind each entry when it is asked for; without it the largest entry stands for all.
    `scale` gives the largest entry of all gradients of the problem, for one that is 0 everywhere.
    `unguarded` is the value without the tiny numbers that `forward` adds (`guards`): it is right
    too.

    Example:
        >>> truth = Truth(np.array([1.0, 2.0]))
        >>> truth.agrees(np.array([[1.0, 2.0]])), truth.agrees(np.array([[1.0], [2.0]]))
        (True, False)
        >>> Truth(np.array([1e12, 1.0]), spread=lambda: np.array([1e12, 1.0])).agrees([1e12, 1.1])
        False
    """

    __slots__ = ("_bound", "_near", "_scale", "_spread", "array", "columns", "shape", "unguarded")

    def __init__(
        self,
        array: Array,
        columns: bool = False,
        spread: Callable[[], Array] | None = None,
        scale: Callable[[], float] | None = None,
    ):
        self.array, self.columns, self._spread, self._scale = array, columns, spread, scale
        self.shape = stripped(array.shape)
        self._near = RELATIVE * np.abs(array)
        self._bound: Array | None = None
        self.unguarded: Truth | None = None

    @property
    def spread(self) -> Array:
        """The size of the terms that each entry is a sum of."""
        largest = np.abs(self.array).max(initial=0.0)
        return np.full(self.array.shape, largest) if self._spread is None else self._spread()

    @property
    def bound(self) -> Array:
        """How much each entry of a value in float64 may differ."""
        if self._bound is None:
            self._bound = self._near + ROUNDING * self.spread
        return self._bound

    def relative_for(self, dtype: Any) -> float:
        """Return how much of itself an entry of this dtype may differ.

        Example:
            >>> Truth(np.ones(1)).relative_for(np.dtype("float32"))
            1.9073486328125e-06
        """
        unit = float(np.finfo(dtype).eps) / 2 if np.dtype(dtype).kind == "f" else 0.0
        return max(RELATIVE, UNITS * unit)

    def bound_for(self, value: Any) -> Array:
        """Return how much each entry may differ, for a value of this dtype."""
        dtype = getattr(value, "dtype", None)
        relative = self.relative_for(dtype) if isinstance(dtype, np.dtype) else RELATIVE
        if relative <= RELATIVE:
            return self.bound
        return np.asarray(relative * (np.abs(self.array) + self.spread))

    def agrees(self, value: Any) -> bool:
        """Return True if a value is this one, with or without the tiny numbers of `forward`."""
        return self.is_exactly(value) or self.without_guards(value)

    def without_guards(self, value: Any) -> bool:
        """Return True if a value is this one without the tiny numbers of `forward`."""
        return self.unguarded is not None and self.unguarded.is_exactly(value)

    def is_exactly(self, value: Any) -> bool:
        """Return True if a value is this one, with the tiny numbers that `forward` adds."""
        aligned = self.aligned(value)
        if aligned is None:
            return False
        difference = np.abs(aligned - self.array)
        if self._bound is None and (difference <= self._near).all():  # nan is not
            return True
        if aligned.dtype.char != "d":
            return bool((difference <= self.bound_for(value)).all())
        if self._bound is None and self._is_far(difference):
            return False
        return bool((difference <= self.bound).all())

    def _is_far(self, difference: Array) -> bool:
        """Return True for a difference that no rounding explains, without asking for the spread:
        rounding is that large only for terms 10¹⁰ times the largest entry of all gradients."""
        scale = 0.0 if self._scale is None else self._scale()
        return bool(scale > 0 and difference.max(initial=0.0) > 1e-5 * scale)

    def agrees_with_terms(self, value: Any, disturbed: Iterator[Any]) -> bool:
        """Return True if a value is this one but for the rounding of the terms that *it* sums up.

        `disturbed` yields the value where its arguments are changed by a part of 2⁻³⁰. It is asked
        only for a value that is near. Terms more than 10⁶ times as large as those of the same entry
        of the gradient are not excused (where it is 0 by its structure, 10³ times those of any): a
        claim could hide anything behind them.
        """
        difference = self.difference(value)
        if difference is None or self._is_far(difference):
            return False
        scale = 0.0 if self._scale is None else self._scale()
        largest = max(scale, np.abs(self.array).max(initial=0.0), self.spread.max(initial=0.0))
        if not difference.max(initial=0.0) <= 1e-5 * largest:
            return False
        base = self.aligned(value)
        squares: Array = np.zeros(self.array.shape)
        for changed in islice(disturbed, TIMES):
            again = self.aligned(changed)
            if again is None or base is None:
                return False
            squares = squares + np.square((again - base) / PART)
        size = np.abs(self.array) + self.spread
        most = np.where(size > 0, 1e6 * size, 1e3 * largest)
        terms = np.minimum(np.sqrt(squares / TIMES), most)
        return bool((difference <= self.bound + OWN_ROUNDING * terms).all())

    def nearly(self, value: Any) -> bool:
        """Return True if a value differs by no more than the arithmetic of float32 explains."""
        return self.relative_difference(value) <= PRECISION

    def relative_difference(self, value: Any) -> float:
        """Return the largest difference as a part of the gradient's entry and its terms."""
        difference = self.difference(value)
        if difference is None:
            return float("inf")
        size = np.abs(self.array) + self.spread
        with np.errstate(all="ignore"):
            parts = np.where(difference > 0, difference / size, 0.0)
        return float(parts.max(initial=0.0)) if np.isfinite(parts).all() else float("inf")

    def difference(self, value: Any) -> Array | None:
        """Return |value − gradient|; None for what is no array of numbers of a fitting shape."""
        value = self.aligned(value)
        return None if value is None else np.asarray(np.abs(value - self.array))

    def aligned(self, value: Any) -> Array | None:
        """Return a value in the gradient's shape, or one that NumPy broadcasts to it, else None."""
        if type(value) is not np.ndarray or value.dtype.kind not in "fiub":  # its own arithmetic
            value = as_numbers(value)
            if value is None:
                return None
        column = self.columns and np.shape(value) == (*self.array.shape, 1)
        if column or stripped(np.shape(value)) == self.shape:
            return np.reshape(value, self.array.shape)
        return value if _spreads(np.shape(value), self.array.shape) else None


def digits_of(part: float) -> int:
    """Return to how many digits numbers agree that differ by a part of themselves.

    Example:
        >>> digits_of(2e-7)
        6
    """
    return max(0, math.floor(-math.log10(part))) if part > 0 else 16


def as_numbers(value: Any) -> Array | None:
    """Return a value as an array of real numbers, None if it is none.

    Example:
        >>> as_numbers([1, 2]), as_numbers("text")
        (array([1., 2.]), None)
    """
    if not isinstance(value, (list, tuple, np.ndarray, np.generic, int, float)):
        return None
    try:
        array = np.asarray(value)
        if array.dtype.kind == "f":
            return array
        return array.astype(float) if array.dtype.kind in "iubO" else None
    except (ValueError, TypeError):
        return None


def stripped(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return a shape without its leading ones.

    Example:
        >>> stripped((1, 1, 3, 1))
        (3, 1)
    """
    i = 0
    while i < len(shape) and shape[i] == 1:
        i += 1
    return shape[i:]


def _spreads(shape: tuple[int, ...], over: tuple[int, ...]) -> bool:
    """Return True if NumPy broadcasts the one shape to the other."""
    return len(shape) <= len(over) and all(
        n in (1, length) for n, length in zip(shape[::-1], over[::-1], strict=False)
    )
