"""Calls and values: what a straight-line program is written in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from operator import mul
from typing import Any

import numpy as np

from ..arrays import Array


class Value:
    """A place in a program.

    kind      argument: given at each call · home: outlives the call (a parameter's data) ·
              constant · number: a Python number given at each call · view: of another value ·
              result: of a call
    array     what it held while tracing; None for results, of which there are many: their shape,
              dtype and layout are enough
    strides   those of a new array in its layout, and whether it is `in_a_row`
    of        what it is a view of
    function  how the view is made
    block     the number of the piece of memory that it lies in, or the home that it is written to
    offset    and where in that it begins, in bytes
    """

    __slots__ = (
        "array", "block", "dtype", "function", "in_a_row", "kind", "of", "offset", "shape",
        "strides",
    )  # fmt: skip

    def __init__(
        self, kind: str, array: Any, of: Value | None = None, function: Any = None
    ) -> None:
        self.kind, self.of, self.function = kind, of, function
        self.array: Any = None if kind == "result" else array
        self.block: Any = None
        self.offset = 0
        self.shape: tuple[int, ...] = np.shape(array)
        self.dtype: Any = getattr(array, "dtype", None)
        self.strides = strides_of_new(array) if isinstance(array, np.ndarray) else None
        self.in_a_row = isinstance(array, np.ndarray) and array.flags.c_contiguous

    @property
    def root(self) -> Value:
        """What owns the memory."""
        value = self
        while value.of is not None:
            value = value.of
        return value

    def copied(self) -> Value:
        """A result of the same shape, dtype and layout."""
        copy = Value("result", None)
        copy.shape, copy.dtype = self.shape, self.dtype
        copy.strides, copy.in_a_row = self.strides, self.in_a_row
        return copy


def strides_of_new(array: Array) -> tuple[int, ...]:
    """np.empty_like(array).strides, without making one that may be large.

    Example:
        >>> strides_of_new(np.ones((2, 3))), strides_of_new(np.ones((2, 3)).T)
        ((24, 8), (8, 24))
    """
    if not array.ndim or not array.size or not array.flags.forc:
        return np.empty_like(array).strides
    by_rows = array.flags.c_contiguous
    shape = array.shape[::-1] if by_rows else array.shape
    strides = tuple(accumulate((array.itemsize, *shape[:-1]), mul))
    return strides[::-1] if by_rows else strides


class Nested:
    """A setting with values inside, such as an index of arrays."""

    def __init__(self, parts: Any) -> None:
        self.parts = parts


class Out:
    """Stands for the result among the arguments of a call."""


OUT = Out()


class Call:
    """`function(*args)`, which writes `out`; the place of out among the arguments is OUT.

    elementwise   each entry of out depends on the same entries of the operands only, so that out
                  may be written over one of them
    guard         gives no value but raises, and so comes before everything that can wait
    """

    __slots__ = ("args", "elementwise", "function", "guard", "out")

    def __init__(
        self,
        function: Callable[..., Any],
        args: Sequence[Any],
        out: Any,  # a Value; None: a guard
        elementwise: bool = False,
    ) -> None:
        self.function, self.args, self.out = function, args, out
        self.elementwise, self.guard = elementwise, out is None

    def reads(self) -> Iterator[Value]:
        """The values among the arguments."""
        return values_in(self.args)


def values_in(x: Any) -> Iterator[Value]:
    """All values in an argument, also inside of settings."""
    if isinstance(x, Value):
        yield x
    elif isinstance(x, Nested):
        yield from values_in(x.parts)
    elif isinstance(x, (tuple, list)):
        for part in x:
            yield from values_in(part)
    elif isinstance(x, dict):
        yield from values_in(list(x.values()))


class Mispredicted(Exception):
    """What was decided on when the program was made is otherwise now."""


def expect(condition: Array, expected: bool) -> None:
    """Go on only where a question about the data has the answer that it had."""
    if bool(condition.all() if condition.ndim else condition) is not expected:
        raise Mispredicted
