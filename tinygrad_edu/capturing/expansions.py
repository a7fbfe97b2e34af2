"""Expansions: a call that is several, in the words that kernels have.

Kernels know operations element by element, reductions, products of stacks of matrices, and moves.
What NumPy does in one call and is made of these, such as a variance, becomes that here, so that its
parts join the loops around them. So does what a program calls as it is, because it could not be
followed: a convolution is windows, copied side by side, and products.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from operator import methodcaller
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from .. import ops, windows
from ..arrays import Array
from ..ops import sum_to
from . import lowering
from .calls import OUT, Call, Value, expect
from .moves import call_of
from .texts import fresh

NEAR = 2**15  # bytes that the processor has at hand

Example = Callable[[Value], Any]  # an array that lies in memory as the value will


def expanded(call: Call, example: Example) -> list[Call]:
    """The calls that do what a call does: itself, or several."""
    function, *_ = named = (
        call_of(call) if call.function in lowering.CALLED else (call.function, {}, [])
    )
    rule = _RULES.get(function)
    if rule is None or (call.out is not None and 0 in call.out.shape):
        return [call]
    words = Expansion(call, example)
    if call.function in lowering.CALLED:
        rule(words, *named[2], **named[1])
    else:
        rule(words, *(x for x in call.args if x is not OUT))
    return words.calls


class Expansion:
    """What a call becomes, call by call.

    out  the value that the last one writes
    """

    def __init__(self, call: Call, example: Example) -> None:
        self.call, self.out = call, call.out
        self._example = example
        self.calls: list[Call] = []

    def fresh(self, shape: Sequence[int], dtype: Any = None) -> Value:
        """A value in between; in the dtype of the result if nothing else is said."""
        return fresh(shape, self.out.dtype if dtype is None else dtype)

    def do(self, function: Any, *args: Any, out: Value | None) -> Any:
        """Call a function whose result is `out`."""
        found = [x.item() if isinstance(x, np.generic) else _held(x) for x in args]
        self.calls += expanded(Call(function, found, out), self._example)
        return out

    def each(self, function: Any, *args: Any, out: Value | None = None, dtype: Any = None) -> Any:
        """Call a function element by element."""
        shapes = [np.shape(x) if not isinstance(x, Value) else x.shape for x in args]
        out = self.fresh(np.broadcast_shapes(*shapes), dtype) if out is None else out
        return self.do(function, *args, OUT, out=out)

    def reduced(
        self, ufunc: Any, x: Value, axis: Any, out: Value | None = None, dtype: Any = None
    ) -> Any:
        """Call a reduction; its axes are kept."""
        out = self.fresh(kept(x.shape, axis), dtype) if out is None else out
        return self.do(ufunc.reduce, x, axis, None, OUT, True, out=out)

    def view(self, value: Value, function: Callable[[Array], Array]) -> Value:
        """A view of a value, or of a copy where its entries do not lie so that it can be one."""
        array = self._example(value)
        if not (array.size and np.shares_memory(function(array), array)):
            value = self.each(lowering._convert, value, dtype=value.dtype)
            array = self._example(value)
        return Value("view", function(array), value, function)

    def is_in_rows(self, value: Value) -> bool:
        """Whether the entries of a value lie in memory in order and without gaps."""
        return bool(self._example(value).flags.c_contiguous)

    def like(self, value: Value, shape: Sequence[int]) -> Value:
        """A value in another shape."""
        if value.shape == tuple(shape):
            return value
        return self.view(value, methodcaller("reshape", tuple(shape)))

    def product(self, a: Value, b: Value, shape: Sequence[int]) -> None:
        """The product of two (stacks of) matrices, of that shape, as the result."""
        is_whole = self.is_in_rows(self.out)
        out = self.like(self.out, shape) if is_whole else self.fresh(shape)
        self.calls.append(Call(np.matmul, (a, b, OUT), out))
        if not is_whole:
            self.each(lowering._convert, self.like(out, self.out.shape), out=self.out)


def _held(x: Any) -> Any:
    return Value("constant", np.array(x, order="C")) if isinstance(x, np.ndarray) else x


def kept(shape: Sequence[int], axis: Any) -> tuple[int, ...]:
    """A shape with reduced axes as 1."""
    axes = range(len(shape)) if axis is None else normalize_axis_tuple(axis, len(shape))
    return tuple(1 if k in axes else n for k, n in enumerate(shape))


def _number_of(x: Value, axis: Any) -> int:
    return math.prod(x.shape) // max(1, math.prod(kept(x.shape, axis)))


# --- rules ----------------------------------------------------------------------------------------


def _mean(words: Expansion, x: Value, axis: Any = None, keepdims: bool = False) -> None:
    total = words.reduced(np.add, x, axis)
    words.each(np.divide, words.like(total, words.out.shape), _number_of(x, axis), out=words.out)


def _var(
    words: Expansion, x: Value, axis: Any = None, ddof: int = 0, keepdims: bool = False
) -> None:
    n = _number_of(x, axis)
    mean = words.each(np.divide, words.reduced(np.add, x, axis), n)
    squares = words.each(np.square, words.each(np.subtract, x, mean))
    total = words.like(words.reduced(np.add, squares, axis), words.out.shape)
    words.each(np.divide, total, max(0, n - ddof), out=words.out)


def _logsumexp(words: Expansion, x: Value, axis: Any = None, keepdims: bool = False) -> None:
    top = words.reduced(np.maximum, x, axis)
    top = words.each(lowering._choose, words.each(np.isfinite, top, dtype=bool), top, 0.0)
    powers = words.each(np.exp, words.each(np.subtract, x, top))
    total = words.like(words.reduced(np.add, powers, axis), words.out.shape)
    words.each(np.add, words.each(np.log, total), words.like(top, words.out.shape), out=words.out)


def _clip(words: Expansion, x: Any, a_min: Any = None, a_max: Any = None) -> None:
    bounds = [(lowering._maximum, a_min), (lowering._minimum, a_max)]
    bounds = [(function, bound) for function, bound in bounds if bound is not None]
    for i, (function, bound) in enumerate(bounds):
        last = i == len(bounds) - 1
        x = words.each(function, x, bound, out=words.out if last else None)
    if not bounds:
        words.each(lowering._convert, x, out=words.out)


def _summed(words: Expansion, x: Value, shape: Any) -> None:
    new = len(x.shape) - len(shape)
    axes = [k for k in range(len(x.shape)) if k < new or x.shape[k] != shape[k - new]]
    if math.prod(x.shape) == math.prod(shape):
        words.each(lowering._convert, words.like(x, shape), out=words.out)
    else:
        words.reduced(np.add, x, tuple(axes), out=words.out)


def error_function(x: Array, out: Array) -> None:
    """Stands for the error function of each entry."""


def sum_of_products(*args: Any) -> None:
    """Stands for the sum over all indices of the products of entries."""


def _erf(words: Expansion, x: Any) -> None:
    words.each(error_function, x, out=words.out)


def _gelu(words: Expansion, x: Any, approximate: str) -> None:
    found = words.each(error_function, words.each(np.multiply, x, math.sqrt(0.5)))
    half = words.each(np.divide, words.each(np.add, 1, found), 2)
    words.each(np.multiply, x, half, out=words.out)


def _one_hot(words: Expansion, labels: Value, n_classes: int | None, dtype: Any) -> None:
    """Labels from 0 on; where nobody says how many classes there are, the largest is the last."""
    n = words.out.shape[-1]
    for reduce, compare, bound in [
        (np.minimum, np.greater_equal, 0),
        (np.maximum, np.equal if n_classes is None else np.less, n - (n_classes is None)),
    ]:
        extreme = words.fresh((), labels.dtype)
        words.do(reduce.reduce, labels, None, None, OUT, False, out=extreme)
        words.do(expect, words.each(compare, extreme, bound, dtype=bool), True, out=None)
    column = words.like(labels, (*labels.shape, 1))
    words.each(lowering._convert, words.each(np.equal, column, np.arange(n), dtype=bool),
               out=words.out)  # fmt: skip


def _expected(words: Expansion, condition: Value, answer: bool) -> None:
    """A question to all entries is one to a single number."""
    if condition.shape != ():
        whole = words.fresh((), bool)
        words.do(np.logical_and.reduce, condition, None, None, OUT, False, out=whole)
        condition = whole
    words.calls.append(Call(expect, (condition, answer), None))


def _dot(words: Expansion, a: Value, b: Value) -> None:
    """A product of matrices; with ones, 1ᵀE and E1, the sum that it is."""
    for axis, (one, x) in enumerate(((a, b), (b, a))):
        if one.kind == "constant" and len(one.shape) == 1:
            axis = min(axis, len(x.shape) - 1)
            words.do(np.add.reduce, x, axis, None, OUT, False, out=words.out)
            return
    words.do(np.matmul, a, b, OUT, out=words.out)


def _tops(words: Expansion, x: Value) -> None:
    words.do(np.maximum.reduce, x, 1, None, OUT, True, out=words.out)


def _inner(words: Expansion, t: Value, x: Value) -> None:
    chosen = words.each(lowering._choose, words.each(np.equal, t, 0, dtype=bool), 0, x)
    parts = words.each(np.multiply, t, chosen)
    words.do(np.add.reduce, parts, None, None, OUT, False, out=words.out)


def _matmul(words: Expansion, a: Value, b: Value) -> None:
    """A vector is one row or one column, a stack times one matrix a long matrix, and nothing is
    added up where nothing is between."""
    out = words.out
    if a.shape[-1] == 0:
        words.do(lowering._convert, OUT, 0, out=out)
        return
    if out.dtype.kind != "f":
        words.calls.append(Call(sum_of_products, (*_letters(a, b), (a, b)), out))
        return
    a, b = (
        x if x.dtype == out.dtype else words.each(lowering._convert, x, dtype=out.dtype)
        for x in (a, b)
    )
    if a.shape[-1] == 1 and len(a.shape) == len(b.shape) == 2 and _is_far(out):
        words.each(np.multiply, a, b, out=out)  # nothing is summed: what comes next can join it
        return
    stack = out.shape[: len(out.shape) - (len(a.shape) > 1) - (len(b.shape) > 1)]
    rows = a.shape[-2] if len(a.shape) > 1 else 1
    columns = b.shape[-1] if len(b.shape) > 1 else 1
    a = a if len(a.shape) > 1 else words.like(a, (1, *a.shape))
    b = b if len(b.shape) > 1 else words.like(b, (*b.shape, 1))
    if len(b.shape) == 2 and stack and words.is_in_rows(a):
        a, stack, rows = words.like(a, (-1, a.shape[-1])), (), math.prod(stack) * rows
    words.product(a, b, (*stack, rows, columns))


def _is_far(value: Value) -> bool:
    """Whether it pays to spare a value the way to memory and back."""
    return math.prod(value.shape) * int(value.dtype.itemsize) > NEAR


def _letters(a: Value, b: Value) -> tuple[list[str], str]:
    """A product as subscripts."""
    m, n = "m" * (len(a.shape) > 1), "n" * (len(b.shape) > 1)
    stack = "abcdefgh"[: max(len(a.shape), len(b.shape), 2) - 2]
    left, right = (stack[len(stack) - max(0, len(x.shape) - 2) :] for x in (a, b))
    return [left + m + "k", right + "k" + n], stack + m + n


def _einsum(words: Expansion, subscripts: str, *operands: Value, optimize: bool) -> None:
    """A product of matrices, if it is one; else the sum as it stands."""
    terms, output = ops._einsum_terms(subscripts, [len(x.shape) for x in operands])
    is_product = len(terms) == 2 and all(len({*t}) == len(t) for t in terms)
    if is_product:
        (a, b), (left, right) = operands, terms
        lengths = [dict(zip(t, x.shape, strict=True)) for t, x in zip(terms, operands, strict=True)]
        both = [c for c in left if c in right]
        inner = [c for c in both if c not in output]
        stack = [c for c in both if c in output]
        rows, columns = [c for c in left if c not in right], [c for c in right if c not in left]
        fits = "".join([*stack, *rows, *columns])
        is_product = (
            len(inner) == 1 and max(len(rows), len(columns)) == 1 and sorted(fits) == sorted(output)
            and all(lengths[0][c] == lengths[1][c] for c in both) and words.out.dtype.kind == "f"
        )  # fmt: skip
    if not is_product:
        words.calls.append(Call(sum_of_products, (terms, output, operands), words.out))
        return
    turned = [
        words.view(x, partial(np.transpose, axes=[t.index(c) for c in order]))
        for x, t, order in (
            (a, left, [*stack, *rows, *inner]), (b, right, [*stack, *inner, *columns])
        )
    ]  # fmt: skip
    if not rows:
        turned[0] = words.like(turned[0], (*turned[0].shape[:-1], 1, turned[0].shape[-1]))
    if not columns:
        turned[1] = words.like(turned[1], (*turned[1].shape, 1))
    sizes = lengths[1] | lengths[0]
    shape = [sizes[c] for c in fits]
    product = words.fresh([*shape[: len(stack)], turned[0].shape[-2], turned[1].shape[-1]])
    words.do(np.matmul, *turned, OUT, out=product)
    back = partial(np.transpose, axes=[fits.index(c) for c in output])
    words.each(lowering._convert, words.view(words.like(product, shape), back), out=words.out)


def _conv2d(words: Expansion, x: Value, weight: Value, steps: Any) -> None:
    size = weight.shape[2:]
    cut = words.view(x, partial(_patches, size=size, steps=steps))
    m, o, rows, columns = words.out.shape
    side_by_side = words.each(lowering._convert, cut, dtype=x.dtype)
    depth = math.prod(weight.shape[1:])
    words.product(
        words.like(weight, (o, depth)),
        words.like(side_by_side, (m, depth, rows * columns)),
        (m, o, rows * columns),
    )


def _patches(x: Array, size: Any, steps: Any) -> Array:
    return np.asarray(windows.sliding_window_view(x, size, (2, 3), step=steps)).transpose(
        (0, 1, 4, 5, 2, 3)
    )


_RULES: dict[Any, Callable[..., None]] = {
    lowering.DOT: _dot,
    np.clip: _clip, np.einsum: _einsum, np.matmul: _matmul, np.mean: _mean, expect: _expected,
    ops.clip.op.forward: _clip, ops.erf.op.forward: _erf, ops.gelu.op.forward: _gelu,
    ops.logsumexp.op.forward: _logsumexp,
    ops.one_hot.op.forward: _one_hot, ops.var.op.forward: _var,
    ops.inner_of_targets: _inner, ops.row_max: _tops,
    sum_to.op.forward: _summed, windows._conv2d.op.forward: _conv2d,
}  # fmt: skip
