"""The operations, one line each, and what must hold for every line.

A line says how an operation is called, what its value is by another way (`define`: loops and
formulas that share nothing with the operation), what its inputs are drawn from and in which
shapes. Definitions compute with complex numbers and look at real parts only where they choose
(|x|, max, clip …), so the complex step gives their derivatives to the last digit:

    ∂φ/∂x = Im φ(x + ih)/h,   h = 10⁻³⁰, without a difference and so without cancellation

`check` runs one line on one set of shapes. The gradient it asks for is that of Σ w ⊙ f(x) with
random w: with `.sum()` in its place a wrong sign in the rule of `sum` would cancel itself. No
operation of the library stands between the one that is checked and the verdict.
"""

from __future__ import annotations

import cmath
import math
import operator
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial, reduce
from itertools import product
from typing import Any
from zlib import crc32

import numpy as np

import tinygrad_edu as tg
from tests.tools.domains import (
    Domain,
    Shape,
    Shapes,
    between,
    labels,
    mask,
    nonzero,
    positive,
    rows,
    sizes,
    spaced,
    unit,
    whole,
    wide,
)
from tests.tools.functions import FUNCTIONS, Function
from tinygrad_edu.arrays import Array
from tinygrad_edu.checking.layouts import LAYOUTS, memory, on_memory
from tinygrad_edu.engine import Box, as_recorded
from tinygrad_edu.ops import _add_rows
from tinygrad_edu.windows import _overlap, _windows

Define = Callable[..., Any]


@dataclass(frozen=True, eq=False)
class Row:
    """One way to call one operation."""

    name: str  # of the public operation
    call: Callable[..., Any]  # on arrays or tensors
    define: Define  # its value on complex arrays, by another way
    domains: tuple[Domain, ...]  # one for each input
    shapes: tuple[Shapes, ...]  # each with one shape for each input
    label: str = ""  # what sets it apart from other rows of the same name
    fixed: tuple[int, ...] = ()  # the inputs without a derivative
    result: Any = None  # the dtype of the result, where it is not that of the inputs

    def __str__(self) -> str:
        return f"{self.name} {self.label}".strip()

    @property
    def wanted(self) -> list[int]:
        """The inputs with a derivative."""
        return [i for i in range(len(self.domains)) if i not in self.fixed]


# --- definitions ----------------------------------------------------------------------------------


def entrywise(f: Callable[..., complex]) -> Define:
    """f of every entry, the inputs broadcast."""

    def define(*arrays: Array) -> Array:
        together = np.broadcast(*arrays)
        out = np.empty(together.shape, complex)
        for i, entries in enumerate(together):
            out.flat[i] = f(*map(complex, entries))
        return out

    return define


def larger(a: complex, b: complex) -> complex:
    return a if a.real > b.real else b


def smaller(a: complex, b: complex) -> complex:
    return a if a.real < b.real else b


def sigma(z: complex) -> complex:
    return 1 / (1 + cmath.exp(-z))


def error_function(z: complex) -> complex:
    """2/√π e^(−z²) Σ 2ⁿ z²ⁿ⁺¹/(2n + 1)!!, all terms of one sign."""
    term = terms = z
    for n in range(1, 120):
        term *= 2 * z * z / (2 * n + 1)
        terms += term
    return 2 / math.sqrt(math.pi) * cmath.exp(-z * z) * terms


def held(low: float | None, high: float | None) -> Callable[[complex], complex]:
    def f(x: complex) -> complex:
        if low is not None and x.real < low:
            return low
        return high if high is not None and x.real > high else x

    return f


def folded(f: Callable[[list[complex]], complex], axis: Any, keepdims: bool) -> Define:
    """f of the list of entries that lie along the axes."""

    def define(x: Array) -> Array:
        chosen = range(x.ndim) if axis is None else np.atleast_1d(np.array(axis, int))
        axes = {int(i) % x.ndim for i in chosen}
        out = np.empty([1 if i in axes else n for i, n in enumerate(x.shape)], complex)
        for place in np.ndindex(out.shape):
            along = tuple(slice(None) if i in axes else p for i, p in enumerate(place))
            out[place] = f([complex(v) for v in np.asarray(x[along]).flat])
        kept = [n for i, n in enumerate(out.shape) if keepdims or i not in axes]
        return out.reshape(kept)

    return define


def total(entries: list[complex]) -> complex:
    return sum(entries, 0j)


def average(entries: list[complex]) -> complex:
    return total(entries) / len(entries)


def spread(ddof: int) -> Callable[[list[complex]], complex]:
    """The variance, from the distances of all pairs and without a mean."""

    def f(entries: list[complex]) -> complex:
        n = len(entries)
        return sum(((a - b) ** 2 for a in entries for b in entries), 0j) / (2 * n * (n - ddof))

    return f


def log_total(entries: list[complex]) -> complex:
    return cmath.log(sum(map(cmath.exp, entries)))


def largest(entries: list[complex]) -> complex:
    return reduce(larger, entries)


def smallest(entries: list[complex]) -> complex:
    return reduce(smaller, entries)


def softened(axis: Any) -> Define:
    sums = folded(lambda entries: sum(map(cmath.exp, entries)), axis, True)
    return lambda x: np.exp(x) / sums(x)


def written_out(subscripts: str) -> Define:
    """The sum of products over every value of every index; a length of 1 is repeated."""
    left, output = subscripts.split("->")
    terms = left.split(",")
    letters = sorted(set(left) - {","})

    def define(*operands: Array) -> Array:
        sizes: dict[str, int] = {}
        for term, x in zip(terms, operands, strict=True):
            for c, n in zip(term, x.shape, strict=True):
                sizes[c] = n if sizes.get(c, 1) == 1 else sizes[c]
        out = np.zeros([sizes[c] for c in output], complex)
        for values in product(*(range(sizes[c]) for c in letters)):
            at = dict(zip(letters, values, strict=True))
            factors = [
                x[tuple(at[c] if n > 1 else 0 for c, n in zip(term, x.shape, strict=True))]
                for term, x in zip(terms, operands, strict=True)
            ]
            out[tuple(at[c] for c in output)] += reduce(operator.mul, factors)
        return out

    return define


def row_times_column(a: Array, b: Array) -> Array:
    """The matrix product, stacks broadcast, a vector being one row or one column."""
    left = a[None, :] if a.ndim == 1 else a
    right = b[:, None] if b.ndim == 1 else b
    stack = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    left = np.broadcast_to(left, stack + left.shape[-2:])
    right = np.broadcast_to(right, stack + right.shape[-2:])
    out = np.empty((*stack, left.shape[-2], right.shape[-1]), complex)
    for *s, i, k in np.ndindex(out.shape):
        out[(*s, i, k)] = sum(
            (left[(*s, i, j)] * right[(*s, j, k)] for j in range(left.shape[-1])), 0j
        )
    if a.ndim == 1:
        out = out[..., 0, :]
    return out[..., 0] if b.ndim == 1 else out


def permuted(axes: Sequence[int]) -> Define:
    def define(x: Array) -> Array:
        out = np.empty([x.shape[i] for i in axes], complex)
        for place in np.ndindex(x.shape):
            out[tuple(place[i] for i in axes)] = x[place]
        return out

    return define


def added_at(index: Any, shape: Shape) -> Define:
    def define(x: Array) -> Array:
        out = np.zeros(shape, complex)
        places = np.arange(out.size).reshape(shape)[index]
        for place, entry in zip(places.flat, np.broadcast_to(x, places.shape).flat, strict=True):
            out.flat[place] += entry
        return out

    return define


def summed_to(shape: Shape) -> Define:
    def define(x: Array) -> Array:
        out = np.zeros(shape, complex)
        for place in np.ndindex(x.shape):
            tail = place[x.ndim - len(shape) :]
            out[tuple(0 if n == 1 else p for p, n in zip(tail, shape, strict=True))] += x[place]
        return out

    return define


def reduced(entries: Array, reduction: str) -> Any:
    if reduction == "none":
        return entries
    return total(list(entries.flat)) / (entries.size if reduction == "mean" else 1)


def entry_loss(f: Callable[[complex, complex], complex], reduction: str) -> Define:
    entries = entrywise(f)
    return lambda a, t: reduced(entries(a, t), reduction)


def row_loss(reduction: str) -> Define:
    """Cross-entropy of logits and probabilities, or class indices, one row after the other."""

    def define(z: Array, t: Array) -> Any:
        out = np.empty(z.shape[:-1], complex)
        for place in np.ndindex(out.shape):
            row = [complex(v) for v in z[place]]
            if t.ndim < z.ndim:
                out[place] = log_total(row) - row[int(t[place].real)]
            else:
                out[place] = sum(
                    -p * (v - log_total(row)) for p, v in zip(t[place], row, strict=True)
                )
        return reduced(out, reduction)

    return define


# --- the table ------------------------------------------------------------------------------------

NUMBER: Shape = ()


ONE: tuple[Shapes, ...] = sizes("", "0", "4", "23", "203", "232")
TWO: tuple[Shapes, ...] = sizes(
    ",", "4,4", "23,23", "23,3", "3,23", "21,3", "232,31", ",23", "23,", "0,1", "20,0"
)
THREE: tuple[Shapes, ...] = sizes(",,", "4,4,4", "23,3,21", "3,23,", ",2,31", "0,0,", "232,31,2")
MATRICES: tuple[Shapes, ...] = sizes(
    "3,3",
    "23,3",
    "3,32",
    "23,34",
    "33,33",
    "223,232",
    "223,32",
    "23,232",
    "223,3",
    "3,232",
    "2123,332",
    "123,232",
    "20,03",
    "02,23",
    "0,0",
    "023,32",
)


def unary(
    name: str,
    f: Callable[[complex], complex],
    domain: Domain = wide,
    shapes: tuple[Shapes, ...] = ONE,
    call: Callable[..., Any] | None = None,
    label: str = "",
) -> Row:
    return Row(name, call or getattr(tg, name), entrywise(f), (domain,), shapes, label)


def binary(
    name: str,
    f: Callable[..., complex],
    domains: tuple[Domain, ...] = (wide, wide),
    label: str = "",
) -> Row:
    return Row(name, getattr(tg, name), entrywise(f), domains, TWO, label)


ENTRYWISE = [
    unary("negative", lambda x: 0 - x),
    unary("exp", cmath.exp),
    unary("log", cmath.log, positive),
    unary("sqrt", cmath.sqrt, positive),
    unary("square", lambda x: x * x),
    unary("abs", lambda x: x if x.real > 0 else -x, nonzero),
    unary("sin", cmath.sin),
    unary("cos", cmath.cos),
    unary("tan", cmath.tan, unit),
    unary("arctan", cmath.atan),
    unary("sinh", lambda x: (cmath.exp(x) - cmath.exp(-x)) / 2),
    unary("cosh", lambda x: (cmath.exp(x) + cmath.exp(-x)) / 2),
    unary("log2", lambda x: cmath.log(x) / math.log(2), positive),
    unary("log10", lambda x: cmath.log(x) / math.log(10), positive),
    unary("tanh", lambda x: (cmath.exp(2 * x) - 1) / (cmath.exp(2 * x) + 1)),
    unary("log1p", lambda x: cmath.log(1 + x), positive),
    unary("expm1", lambda x: cmath.exp(x) - 1),
    unary("sigmoid", sigma),
    unary("relu", lambda x: larger(x, 0), nonzero),
    unary("softplus", lambda x: cmath.log(1 + cmath.exp(x))),
    unary("leaky_relu", lambda x: x if x.real > 0 else 0.01 * x, nonzero),
    unary(
        "leaky_relu",
        lambda x: x if x.real > 0 else -0.3 * x,
        nonzero,
        ONE,
        lambda x: tg.leaky_relu(x, -0.3),
        "negative_slope=-0.3",
    ),
    unary("silu", lambda x: x * sigma(x)),
    unary("erf", lambda x: error_function(x)),
    unary("gelu", lambda x: x * (1 + error_function(x / math.sqrt(2))) / 2),
    unary(
        "gelu",
        lambda x: x * sigma(math.sqrt(8 / math.pi) * (x + 0.044715 * x**3)),
        wide,
        ONE,
        lambda x: tg.gelu(x, approximate="tanh"),
        "tanh",
    ),
]
BETWEEN_TWO = [
    binary("add", lambda a, b: a + b),
    binary("subtract", lambda a, b: a - b),
    binary("multiply", lambda a, b: a * b),
    binary("divide", lambda a, b: a * b**-1, (wide, nonzero)),
    binary("power", lambda a, b: cmath.exp(b * cmath.log(a)), (positive, wide)),
    binary("logaddexp", lambda a, b: cmath.log(cmath.exp(a) + cmath.exp(b))),
    binary("maximum", larger, (spaced, between)),
    binary("minimum", smaller, (spaced, between)),
]


def powers() -> list[Row]:
    """Exponents and bases that are numbers, and exponents that are whole numbers (0 among them)."""

    def times_itself(x: complex, n: complex) -> complex:
        up = reduce(operator.mul, [x] * abs(int(n.real)), 1 + 0j)
        return up if n.real >= 0 else 1 / up

    def to_the(n: float) -> Row:
        f: Callable[[complex], complex] = lambda x: cmath.exp(n * cmath.log(x))  # noqa: E731
        return unary("power", f, positive, ONE, lambda x: tg.power(x, n), f"x**{n}")

    def itself(n: int) -> Row:
        f: Callable[[complex], complex] = lambda x: times_itself(x, n)  # noqa: E731
        return unary("power", f, nonzero, ONE, lambda x: x**n, f"x**{n}")

    return [
        *(itself(n) for n in (0, 1, 2, 3, -1, -2)),
        *(to_the(n) for n in (0.5, 1.5, -0.5)),
        unary(
            "power", lambda x: cmath.exp(x * cmath.log(3)), wide, ONE, lambda x: 3.0**x, "3.0**x"
        ),
        Row("power", tg.power, entrywise(times_itself), (nonzero, whole), TWO, "x**array", (1,)),
        Row("power", tg.power, entrywise(lambda a, b: a**b), (positive, whole), TWO, "whole"),
    ]


def choices() -> list[Row]:
    low = np.array([-0.45, -0.15, 0.45], np.float32)  # float32 stays float32 beside these
    high = np.array([[1.05], [0.45]], np.float32)

    def clipped(low: Any, high: Any, label: str, shapes: tuple[Shapes, ...] = ONE) -> Row:
        def define(x: Array) -> Array:
            minus, plus = (
                np.asarray(np.inf * sign if bound is None else bound)
                for sign, bound in ((-1, low), (1, high))
            )
            return np.asarray(entrywise(lambda v, a, b: held(a.real, b.real)(v))(x, minus, plus))

        return Row("clip", lambda x: tg.clip(x, low, high), define, (spaced,), shapes, label)

    return [
        clipped(-0.45, 0.75, "both"),
        clipped(-0.45, None, "low"),
        clipped(None, 0.75, "high"),
        clipped(None, None, "none"),
        clipped(low, high, "arrays", shapes=sizes("23", "3", "223")),
        Row(
            "where",
            tg.where,
            entrywise(lambda c, a, b: a if c else b),
            (mask, wide, wide),
            THREE,
            fixed=(0,),
        ),
        Row(
            "where",
            lambda c, a: tg.where(c, a, 0.0),
            entrywise(lambda c, a: a if c else 0),
            (mask, wide),
            TWO,
            "a number for b",
            (0,),
        ),
        Row(
            "where",
            lambda c, b: tg.where(c, 1.0, b),
            entrywise(lambda c, b: 1 if c else b),
            (mask, wide),
            TWO,
            "a number for a",
            (0,),
        ),
    ]


BOTH, ALL_THREE = (wide,) * 2, (wide,) * 3
PRODUCTS = [
    Row("matmul", tg.matmul, row_times_column, BOTH, MATRICES),
    Row(
        "linear",
        tg.linear,
        lambda x, w, b: row_times_column(x, w) + b,
        (wide, wide, wide),
        sizes("23,34,4", "23,31,1", "3,32,2", "02,23,3", "223,32,2", "20,02,2"),
    ),
    Row(
        "dot",
        tg.dot,
        row_times_column,
        BOTH,
        sizes("3,3", "23,3", "23,32", "223,32", "20,03"),
        "matrices",
    ),
    Row("dot", tg.dot, entrywise(operator.mul), BOTH, sizes(",", ",23", "3,"), "numbers"),
    Row("dot", tg.dot, written_out("ij,ajb->iab"), BOTH, sizes("23,232"), "stack"),
    Row("dot", tg.dot, written_out("j,ajb->ab"), BOTH, sizes("3,232"), "vector, stack"),
    Row("outer", tg.outer, written_out("i,j->ij"), BOTH, sizes("3,2", "0,2")),
    Row(
        "outer",
        tg.outer,
        lambda a, b: written_out("i,j->ij")(a.ravel(), b.ravel()),
        BOTH,
        sizes("22,3", ",2"),
        "flattened",
    ),
    Row("trace", tg.trace, written_out("ii->"), (wide,), sizes("33", "11", "00")),
]


def einsums() -> list[Row]:
    def line(subscripts: str, spelled: str, *shapes: Shapes) -> Row:
        domains = (wide,) * len(shapes[0])
        call: Callable[..., Any] = lambda *xs: tg.einsum(subscripts, *xs)  # noqa: E731
        return Row("einsum", call, written_out(spelled), domains, shapes, subscripts)

    return [
        line("ij,jk->ik", "ij,jk->ik", ((2, 3), (3, 2)), ((2, 0), (0, 2))),
        line(" i j , j k ", "ij,jk->ik", ((2, 3), (3, 2))),
        line("ba,b", "ba,b->a", ((2, 3), (2,))),
        line("i,i->", "i,i->", ((3,), (3,)), ((3,), (1,)), ((1,), (3,))),
        line("i,j->ij", "i,j->ij", ((3,), (2,))),
        line("i,->i", "i,->i", ((3,), ())),
        line("ij,ij->i", "ij,ij->i", ((2, 3), (2, 3)), ((2, 3), (2, 1)), ((1, 3), (2, 3))),
        line("ij->ji", "ij->ji", ((2, 3),)),
        line("ba", "ba->ab", ((2, 3),)),
        line("ij->j", "ij->j", ((2, 3),), ((0, 3),)),
        line("ij->", "ij->", ((2, 3),)),
        line("ij,kj->", "ij,kj->", ((2, 3), (2, 3))),
        line("ii->i", "ii->i", ((3, 3),)),
        line("ii", "ii->", ((3, 3),)),
        line("iii->i", "iii->i", ((2, 2, 2),)),
        line("iij,j->i", "iij,j->i", ((2, 2, 3), (3,))),
        line("iij->j", "iij->j", ((2, 2, 3),)),
        line("ii,i->i", "ii,i->i", ((2, 2), (2,))),
        line("i,ij,j->", "i,ij,j->", ((2,), (2, 3), (3,))),
        line("ij,jk,kl->il", "ij,jk,kl->il", ((2, 3), (3, 2), (2, 2))),
        line("bij,bjk->bik", "bij,bjk->bik", ((2, 2, 3), (2, 3, 2))),
        line("...ij,jk->...ik", "aij,jk->aik", ((2, 2, 3), (3, 2))),
        line("...i,...i->...i", "ai,ai->ai", ((2, 3), (2, 3)), ((2, 3), (1, 3)), ((2, 1), (2, 3))),
        line("...i,...i->...", "ai,i->a", ((2, 3), (3,))),
        line("i...->...", "iab->ab", ((2, 3, 2),)),
        line("i...,i...", "iab,ib->ab", ((2, 3, 2), (2, 2))),
    ]


def reductions(axis: Any, keepdims: bool, *shapes: Shape) -> list[Row]:
    at: dict[str, Any] = {"axis": axis, "keepdims": keepdims}

    def line(name: str, f: Callable[[list[complex]], complex], **more: Any) -> Row:
        call: Callable[..., Any] = lambda x: getattr(tg, name)(x, **at, **more)  # noqa: E731
        label = " ".join(f"{k}={v}" for k, v in {**at, **more}.items())
        enough = tuple((s,) for s in shapes if (name != "std" and not more) or _terms(s, axis) > 1)
        return Row(name, call, folded(f, axis, keepdims), (spaced,), enough, label)

    lines = [
        line("sum", total),
        line("mean", average),
        line("max", largest),
        line("min", smallest),
        line("logsumexp", log_total),
        line("var", spread(0)),
        line("var", spread(1), ddof=1),
        line("std", lambda entries: cmath.sqrt(spread(0)(entries))),
        line("std", lambda entries: cmath.sqrt(spread(1)(entries)), ddof=1),
    ]
    return [row for row in lines if row.shapes]


def _terms(shape: Shape, axis: Any) -> int:
    """How many entries of an array of that shape go into one of the reduction's."""
    return (
        np.zeros(shape).size if axis is None else int(np.prod(np.array(shape)[np.array(axis, int)]))
    )


def softmaxes(axis: Any, *shapes: Shape) -> list[Row]:
    tries, at = tuple((s,) for s in shapes), f"axis={axis}"
    soft = softened(axis)
    return [
        Row("softmax", lambda x: tg.softmax(x, axis=axis), soft, (wide,), tries, at),
        Row(
            "log_softmax",
            lambda x: tg.log_softmax(x, axis=axis),
            lambda x: np.log(soft(x)),
            (wide,),
            tries,
            at,
        ),
    ]


def rearranged(
    name: str, label: str, call: Callable[[Any], Any], define: Define, *shapes: str | Shape
) -> Row:
    """A row of an operation with one input; "23" for the shape (2, 3)."""
    tries = tuple((tuple(map(int, shape)),) for shape in shapes)
    return Row(name, call, define, (wide,), tries, label)


REARRANGEMENTS = [
    rearranged(
        "reshape",
        "(3, 2)",
        lambda x: tg.reshape(x, (3, 2)),
        lambda x: np.array([list(x.flat)[i : i + 2] for i in (0, 2, 4)]),
        "23",
        "6",
        "123",
    ),
    rearranged(
        "reshape",
        "-1",
        lambda x: tg.reshape(x, -1),
        lambda x: np.array(list(x.flat), complex),
        "",
        "0",
        "23",
        "232",
    ),
    rearranged(
        "reshape",
        "(2, -1, 1)",
        lambda x: tg.reshape(x, shape=(2, -1, 1)),
        lambda x: x.ravel().reshape(2, x.size // 2, 1),
        "4",
        "23",
        "20",
    ),
    rearranged(
        "flatten",
        "",
        tg.flatten,
        lambda x: np.array(list(x.flat), complex),
        "",
        "0",
        "3",
        "23",
        "232",
    ),
    rearranged(
        "transpose",
        "",
        tg.transpose,
        lambda x: permuted(range(x.ndim)[::-1])(x),
        "",
        "3",
        "23",
        "33",
        "234",
        "20",
    ),
    rearranged("transpose", "(1, 0)", lambda x: tg.transpose(x, (1, 0)), permuted((1, 0)), "23"),
    rearranged(
        "transpose",
        "(2, 0, 1)",
        lambda x: tg.transpose(x, (2, 0, 1)),
        permuted((2, 0, 1)),
        "234",
        "203",
    ),
    rearranged(
        "transpose",
        "[-1, 0, 1]",
        lambda x: tg.transpose(x, axes=[-1, 0, 1]),
        permuted((2, 0, 1)),
        "234",
    ),
    rearranged("swapaxes", "0, -1", lambda x: tg.swapaxes(x, 0, -1), permuted((2, 1, 0)), "234"),
    rearranged("swapaxes", "1, 1", lambda x: tg.swapaxes(x, 1, 1), permuted((0, 1)), "23"),
    rearranged("moveaxis", "0, -1", lambda x: tg.moveaxis(x, 0, -1), permuted((1, 2, 0)), "234"),
    rearranged(
        "moveaxis",
        "(0, 2), (1, 0)",
        lambda x: tg.moveaxis(x, (0, 2), (1, 0)),
        permuted((2, 0, 1)),
        "234",
    ),
    rearranged(
        "expand_dims", "0", lambda x: tg.expand_dims(x, 0), lambda x: x[None], "", "3", "02"
    ),
    rearranged(
        "expand_dims",
        "(0, -1)",
        lambda x: tg.expand_dims(x, (0, -1)),
        lambda x: x[None, ..., None],
        "3",
        "23",
    ),
    rearranged(
        "squeeze",
        "",
        tg.squeeze,
        lambda x: x.reshape([n for n in x.shape if n != 1]),
        "",
        "1",
        "131",
        "23",
        "10",
    ),
    rearranged("squeeze", "-1", lambda x: tg.squeeze(x, -1), lambda x: x[..., 0], "131", "31"),
    rearranged(
        "squeeze", "(0, 2)", lambda x: tg.squeeze(x, axis=(0, 2)), lambda x: x[0, :, 0], "131"
    ),
    rearranged(
        "broadcast_to",
        "(2, 3)",
        lambda x: tg.broadcast_to(x, (2, 3)),
        lambda x: x + np.zeros((2, 3)),
        "",
        "3",
        "21",
        "13",
        "23",
    ),
    rearranged(
        "broadcast_to",
        "(0, 2)",
        lambda x: tg.broadcast_to(x, (0, 2)),
        lambda x: x + np.zeros((0, 2)),
        "2",
        "12",
    ),
    rearranged(
        "broadcast_to",
        "(2, 3, 2)",
        lambda x: tg.broadcast_to(x, shape=(2, 3, 2)),
        lambda x: x + np.zeros((2, 3, 2)),
        "31",
        "212",
    ),
    rearranged("sum_to", "(3,)", lambda x: tg.sum_to(x, (3,)), summed_to((3,)), "23", "3", "223"),
    rearranged(
        "sum_to",
        "(2, 1)",
        lambda x: tg.sum_to(x, (2, 1)),
        summed_to((2, 1)),
        "23",
        "322",
        "20",
        "21",
    ),
    rearranged("sum_to", "()", lambda x: tg.sum_to(x, ()), summed_to(()), "", "3", "23", "0"),
]


SOME, MASK_1, MASK_2 = (
    np.array([0, 0, 3]),
    np.array([True, False, True, True]),
    np.eye(4, 3) > 0,
)
EVERYWHERE: list[tuple[Any, str]] = [
    (..., "..."),
    (None, "None"),
    ((None, ..., None), "None, ..., None"),
    ((), "()"),
    (True, "True"),
    (False, "False"),
]
ON_MATRICES: list[tuple[Any, str]] = [
    (1, "1"),
    (-1, "-1"),
    (np.int64(2), "np.int64"),
    (np.array(2), "0-d array"),
    (slice(1, 3), "1:3"),
    (slice(None, None, -1), "::-1"),
    (slice(3, None, -2), "3::-2"),
    (slice(2, 2), "2:2"),
    ((1, 2), "1, 2"),
    ((slice(None), 1), ":, 1"),
    ((..., 0), "..., 0"),
    ((slice(None), None, slice(1, 3)), ":, None, 1:3"),
    (SOME, "array"),
    ([0, 0, 3], "list"),
    ([], "empty list"),
    (np.array([[0, 3], [1, 1]]), "2-D array"),
    ((SOME, np.array([2, 2, 0])), "array, array"),
    ((SOME, 1), "array, 1"),
    ((SOME[:, None], np.array([0, 2])), "array[:, None], array"),
    ((SOME, slice(0, 2)), "array, 0:2"),
    ((slice(1, 4), np.array([1, 1])), "1:4, array"),
    ((SOME, None), "array, None"),
    ((SOME, [1, 1, 2]), "array, list"),
    (MASK_1, "mask"),
    (MASK_2, "2-D mask"),
    ((MASK_1, 1), "mask, 1"),
    ((slice(None), np.array([True, False, True])), ":, mask"),
    ((MASK_1, np.array([0, 0, 2])), "mask, array"),
    (np.zeros(4, bool), "mask of nothing"),
]
ON_STACKS: list[tuple[Any, str]] = [
    ((np.array([0, 1, 1]), slice(None), np.array([1, 0, 0])), "array, :, array"),
    ((0, slice(None), np.array([1, 0])), "0, :, array"),
    ((slice(None), np.array([2, 2]), 0), ":, array, 0"),
    ((..., np.array([1, 1]), None), "..., array, None"),
]


def taken(index: Any, label: str, *shapes: str) -> Row:
    take: Callable[[Any], Any] = lambda x: x[index]  # noqa: E731
    return rearranged("getitem", f"[{label}]", take, take, *shapes)


def called(index: Any, label: str) -> Row:
    return rearranged(
        "getitem", f"({label})", lambda x: tg.getitem(x, index), lambda x: x[index], "43"
    )


def scattered(index: Any, label: str, shape: Shape, *shapes: str) -> Row:
    return rearranged(
        "scatter", label, lambda x: tg.scatter(x, index, shape), added_at(index, shape), *shapes
    )


# Every kind of index that NumPy has, in the notation x[…], and through the function.
INDEXED = [
    *(taken(index, label, "", "43", "0") for index, label in EVERYWHERE),
    *(taken(index, label, "43") for index, label in ON_MATRICES),
    *(taken(index, label, "232") for index, label in ON_STACKS),
    called(SOME, "array"),
    called([0, 0, 3], "list"),
    called(MASK_2, "2-D mask"),
    called((slice(None), 1), ":, 1"),
    scattered(np.array([1, 1, 0]), "array", (3,), "3", "1", ""),
    scattered([1, 1, 0], "list", (3, 2), "32", "2"),
    scattered((slice(1, 3), np.array([0, 0])), "1:3, array", (3, 2), "22"),
    scattered(MASK_1, "mask", (4,), "3", ""),
    scattered((slice(None, None, -1), 1), "::-1, 1", (3, 2), "3"),
    scattered(2, "2", (3,), ""),
]


def lists(*xs: Array) -> Array:
    return np.array([entry for x in xs for entry in x.tolist()], complex)


def columns(*xs: Array) -> Array:
    return np.array(
        [reduce(operator.add, row) for row in zip(*(x.tolist() for x in xs), strict=True)]
    )


def layers(axis: int) -> Define:
    def define(*xs: Array) -> Array:
        shape = list(xs[0].shape)
        new = axis % (len(shape) + 1)
        out = np.empty([*shape[:new], len(xs), *shape[new:]], complex)
        for place in np.ndindex(out.shape):
            out[place] = xs[place[new]][place[:new] + place[new + 1 :]]
        return out

    return define


JOINED = [
    Row(
        "concatenate",
        lambda *xs: tg.concatenate(xs),
        lists,
        ALL_THREE,
        sizes("2,3,1", "12,22,02", "122,222,122"),
    ),
    Row(
        "concatenate",
        lambda *xs: tg.concatenate(list(xs), axis=1),
        columns,
        BOTH,
        sizes("21,23", "22,20"),
        "axis=1",
    ),
    Row(
        "concatenate",
        lambda *xs: tg.concatenate(xs, -1),
        columns,
        ALL_THREE,
        sizes("21,23,21"),
        "axis=-1",
    ),
    Row(
        "concatenate",
        lambda *xs: tg.concatenate(xs, axis=None),
        lambda *xs: lists(*(x.ravel() for x in xs)),
        BOTH,
        sizes("22,3", ",02"),
        "axis=None",
    ),
    Row(
        "stack",
        lambda *xs: tg.stack(xs),
        layers(0),
        ALL_THREE,
        (((),) * 3, ((2,),) * 3, ((2, 3),) * 3, ((0,),) * 3),
    ),
    Row(
        "stack",
        lambda *xs: tg.stack(xs, axis=1),
        layers(1),
        BOTH,
        (((2,),) * 2, ((2, 3),) * 2),
        "axis=1",
    ),
    Row(
        "stack",
        lambda *xs: tg.stack(list(xs), -1),
        layers(-1),
        BOTH,
        (((),) * 2, ((2, 3),) * 2),
        "axis=-1",
    ),
]


def one_row_each(n: int) -> Define:
    return entry_rows(lambda label: [1.0 if label.real == i else 0.0 for i in range(n)], n)


def entry_rows(f: Callable[[complex], list[float]], n: int) -> Define:
    return lambda y: np.array([f(complex(v)) for v in y.flat], complex).reshape(*y.shape, n)


def rows_added(x: Array, rows: Array, n: int) -> Array:
    out = np.zeros((n, *x.shape[rows.ndim :]), complex)
    for place in np.ndindex(rows.shape):
        out[int(rows[place].real)] += x[place]
    return out


def rows_taken(rows: Array, table: Array) -> Array:
    out = np.empty((*rows.shape, *table.shape[1:]), complex)
    for place in np.ndindex(rows.shape):
        out[place] = table[int(rows[place].real)]
    return out


SAME: Define = lambda x: x + 0  # noqa: E731


OTHERS = [
    Row(
        "astype",
        lambda x: tg.astype(x, np.float32),
        SAME,
        (wide,),
        ONE,
        "float32",
        result=np.float32,
    ),
    Row(
        "astype",
        lambda x: tg.astype(x, dtype=np.float64),
        SAME,
        (wide,),
        ONE,
        "float64",
        result=np.float64,
    ),
    Row("as_recorded", as_recorded, SAME, (wide,), ONE),
    Row(
        "embedding",
        tg.embedding,
        rows_taken,
        (labels, wide),
        sizes("5,42", ",43", "23,52", "0,42", "3,4", "4,422"),
        fixed=(0,),
    ),
    Row(
        "add_rows",
        lambda x, rows: _add_rows(x, rows, 5),
        lambda x, i: rows_added(x, i, 5),
        (wide, labels),
        sizes("62,6", "3,", "232,23", "02,0", "4,4"),
        fixed=(1,),
    ),
    Row(
        "one_hot",
        lambda y: tg.one_hot(y, 4),
        one_row_each(4),
        (labels,),
        ONE,
        fixed=(0,),
        result=np.float64,
    ),
    Row(
        "one_hot",
        lambda y: tg.one_hot(y, n_classes=5, dtype=np.float32),
        one_row_each(5),
        (labels,),
        ONE,
        "float32",
        (0,),
        np.float32,
    ),
]


def patches(size: Shape, axes: Shape, step: Shape) -> Define:
    """All windows along the axes, their own axes at the end, entry by entry."""

    def define(x: Array) -> Array:
        lengths = list(x.shape)
        for axis, k, s in zip(axes, size, step, strict=True):
            lengths[axis] = (lengths[axis] - k) // s + 1
        out = np.empty((*lengths, *size), complex)
        for place in np.ndindex(out.shape):
            at = list(place[: x.ndim])
            for axis, s, offset in zip(axes, step, place[x.ndim :], strict=True):
                at[axis] = at[axis] * s + offset
            out[place] = x[tuple(at)]
        return out

    return define


def patches_added(shape: Shape, axes: Shape, step: Shape) -> Define:
    def define(x: Array) -> Array:
        out = np.zeros(shape, complex)
        for place in np.ndindex(x.shape):
            at = list(place[: len(shape)])
            for axis, s, offset in zip(axes, step, place[len(shape) :], strict=True):
                at[axis] = at[axis] * s + offset
            out[tuple(at)] += x[place]
        return out

    return define


def padded(widths: Any, number: float = 0.0) -> Define:
    def define(x: Array) -> Array:
        out = np.full([n + a + b for n, (a, b) in zip(x.shape, widths, strict=True)], number + 0j)
        for place in np.ndindex(x.shape):
            out[tuple(p + a for p, (a, _) in zip(place, widths, strict=True))] = x[place]
        return out

    return define


def convolved(stride: Shape, margin: Any = ((0, 0), (0, 0))) -> Define:
    """Every sum of products of a convolution, written out."""

    def define(x: Array, weight: Array, bias: Any = None) -> Array:
        x = padded(((0, 0), (0, 0), *margin))(x)
        o, _, *size = weight.shape
        rows, columns = (
            (n - k) // s + 1 for n, k, s in zip(x.shape[2:], size, stride, strict=True)
        )
        out = np.zeros((len(x), o, rows, columns), complex)
        for m, k, i, j in np.ndindex(out.shape):
            out[m, k, i, j] = 0 if bias is None else bias[k]
            for c, p, q in np.ndindex(weight.shape[1:]):
                pixel = x[m, c, i * stride[0] + p, j * stride[1] + q]
                out[m, k, i, j] += pixel * weight[k, c, p, q]
        return out

    return define


def pooled(
    f: Callable[[list[complex]], complex], size: Shape, stride: Shape, margin: int, number: float
) -> Define:
    def define(x: Array) -> Array:
        x = padded(((0, 0), (0, 0), (margin, margin), (margin, margin)), number)(x)
        windows = patches(size, (2, 3), stride)(x)
        out = np.empty(windows.shape[:4], complex)
        for place in np.ndindex(out.shape):
            out[place] = f([complex(v) for v in windows[place].flat])
        return out

    return define


def windows(label: str, size: Shape, axes: Shape, step: Shape, *shapes: str) -> Row:
    settings = {"sizes": size, "axes": axes, "steps": step}
    call: Callable[[Any], Any] = lambda x: _windows(x, **settings)  # noqa: E731
    return rearranged("windows", label, call, patches(size, axes, step), *shapes)


def overlap(
    label: str, shape: Shape, size: Shape, axes: Shape, step: Shape, laid_out: Shape
) -> Row:
    settings = {"shape": shape, "sizes": size, "axes": axes, "steps": step}
    call: Callable[[Any], Any] = lambda x: _overlap(x, **settings)  # noqa: E731
    return rearranged("overlap", label, call, patches_added(shape, axes, step), laid_out)


def pool(
    name: str, fold: Any, number: float, size: int, step: int, margin: int, **more: int
) -> Row:
    shapes = ((1, 2, 4, 5), (0, 1, 4, 4)) if margin == 0 else ((1, 1, 4, 5),)
    return Row(
        name,
        lambda x: getattr(tg, name)(x, size, **more),
        pooled(fold, (size,) * 2, (step,) * 2, margin, number),
        (spaced,),
        tuple((shape,) for shape in shapes),
        f"{size} {more}",
    )


VIEW = tg.sliding_window_view
AROUND = ((1, 1), (2, 2))
LARGEST_OF = "max_pool2d", largest, -np.inf
MEAN_OF = "avg_pool2d", average, 0.0


SLIDING = [
    windows("rows", (2,), (0,), (1,), "4", "32", "40"),
    windows("step 2", (3,), (1,), (2,), "27", "18"),
    windows("images", (2, 3), (2, 3), (1, 2), "1235", "0134"),
    overlap("rows", (4,), (2,), (0,), (1,), (3, 2)),
    overlap("step 2", (2, 7), (3,), (1,), (2,), (2, 3, 3)),
    overlap("gaps", (2, 7), (2,), (1,), (3,), (2, 2, 2)),
    overlap("images", (1, 2, 3, 5), (2, 3), (2, 3), (1, 2), (1, 2, 2, 2, 2, 3)),
    overlap("nothing", (0, 3), (2,), (1,), (1,), (0, 2, 2)),
    rearranged(
        "sliding_window_view", "2", lambda x: VIEW(x, 2), patches((2,), (0,), (1,)), "2", "5"
    ),
    rearranged(
        "sliding_window_view",
        "(2, 2)",
        lambda x: VIEW(x, (2, 2)),
        patches((2, 2), (0, 1), (1, 1)),
        "23",
        "33",
    ),
    rearranged(
        "sliding_window_view",
        "axis=-1 step=2",
        lambda x: VIEW(x, 2, -1, step=2),
        patches((2,), (1,), (2,)),
        "25",
        "34",
    ),
    rearranged(
        "sliding_window_view",
        "axis=(0, 2)",
        lambda x: VIEW(x, (1, 3), axis=(0, 2)),
        patches((1, 3), (0, 2), (1, 1)),
        "223",
    ),
    rearranged(
        "pad",
        "1",
        lambda x: tg.pad(x, 1),
        lambda x: padded([(1, 1)] * x.ndim)(x),
        "",
        "3",
        "23",
        "0",
    ),
    rearranged(
        "pad",
        "((0, 2), (1, 0))",
        lambda x: tg.pad(x, ((0, 2), (1, 0))),
        padded(((0, 2), (1, 0))),
        "23",
        "02",
    ),
    rearranged(
        "pad",
        "(1, 2) with 3",
        lambda x: tg.pad(x, (1, 2), constant_values=3.0),
        lambda x: padded([(1, 2)] * x.ndim, 3.0)(x),
        "2",
        "12",
    ),
    Row(
        "conv2d",
        tg.conv2d,
        convolved((1, 1)),
        BOTH,
        sizes("2243,3222", "1122,1122", "0133,2122"),
    ),
    Row("conv2d", tg.conv2d, convolved((1, 1)), ALL_THREE, sizes("2233,3221,3"), "bias"),
    Row(
        "conv2d",
        lambda x, w, b: tg.conv2d(x, w, b, stride=(2, 1), padding=(1, 2)),
        convolved((2, 1), AROUND),
        ALL_THREE,
        sizes("1243,2232,2"),
        "stride",
    ),
    Row(
        "conv2d",
        lambda x, w: tg.conv2d(x, w, stride=2, padding=1),
        convolved((2, 2), ((1, 1), (1, 1))),
        BOTH,
        sizes("1145,2123"),
        "2, 1",
    ),
    Row(
        "conv2d",
        lambda x, w: tg.conv2d(x, w, padding="same"),
        convolved((1, 1), ((1, 1), (0, 1))),
        BOTH,
        sizes("1133,2132"),
        "same",
    ),
    pool(*LARGEST_OF, 2, 2, 0),
    pool(*MEAN_OF, 2, 2, 0),
    pool(*LARGEST_OF, 3, 2, 1, stride=2, padding=1),
    pool(*MEAN_OF, 3, 2, 1, stride=2, padding=1),
    pool(*LARGEST_OF, 2, 1, 0, stride=1),
    pool(*MEAN_OF, 2, 1, 0, stride=1),
]


def losses(reduction: str) -> list[Row]:
    def bce(a: complex, t: complex) -> complex:
        return -t * cmath.log(a) - (1 - t) * cmath.log(1 - a)

    some: tuple[Shapes, ...] = ((((),) * 2), ((4,),) * 2, ((2, 3),) * 2, ((2, 2, 2),) * 2)
    each: tuple[Shapes, ...] = (((3, 4),) * 2, ((4,),) * 2, ((2, 2, 4),) * 2)
    picked: tuple[Shapes, ...] = sizes("34,3", "4,", "224,22")
    if reduction != "mean":
        some = (*some, ((0, 2),) * 2)
        each, picked = (*each, ((0, 4),) * 2), (*picked, ((0, 4), (0,)))

    def line(
        name: str, define: Define, domains: Any, shapes: Any, label: str = "", **more: Any
    ) -> Row:
        call: Callable[..., Any] = lambda a, t: getattr(tg, name)(a, t, reduction)  # noqa: E731
        return Row(name, call, define, domains, shapes, f"{label} {reduction}".strip(), **more)

    return [
        line("mse_loss", entry_loss(lambda a, t: (t - a) ** 2, reduction), (wide, wide), some),
        line("binary_cross_entropy", entry_loss(bce, reduction), (unit, unit), some),
        line(
            "binary_cross_entropy_with_logits",
            entry_loss(lambda z, t: bce(sigma(z), t), reduction),
            (wide, unit),
            some,
        ),
        line("cross_entropy", row_loss(reduction), (wide, rows), each),
        line("cross_entropy", row_loss(reduction), (wide, labels), picked, "indices", fixed=(1,)),
    ]


def rows_of(function: Function) -> Iterator[Row]:
    """Yield a row for each domain and each of the settings, with the shapes that go with them."""
    for domain in (function.domain, *function.corners):
        for settings in function.settings:
            told = [*function.named, *(f"{name}={value}" for name, value in settings.items())]
            if domain is not function.domain:
                told.append(domain.__name__)
            yield Row(
                function.name,
                partial(function.ours, **settings),
                partial(function.defined, **settings),
                (domain,) * len(function.shapes[0]),
                function.shapes_for(settings),
                ", ".join(told),
            )


TABLE: list[Row] = [
    *(row for function in FUNCTIONS for row in rows_of(function)),
    *ENTRYWISE,
    *BETWEEN_TWO,
    *powers(),
    *choices(),
    *PRODUCTS,
    *einsums(),
    *reductions(None, False, (), (4,), (2, 3)),
    *reductions(None, True, (2, 3)),
    *reductions(0, False, (4,), (2, 3), (2, 3, 2)),
    *reductions(-1, True, (2, 3), (0, 3)),
    *reductions(1, False, (2, 3), (2, 3, 2), (0, 3)),
    *reductions((0, -1), False, (2, 3, 2)),
    *reductions((-1, 1), True, (2, 2, 2)),
    *reductions((), False, (2, 3)),
    Row("sum", tg.sum, folded(total, None, False), (wide,), sizes("0", "20"), "of nothing"),
    Row("sum", lambda x: tg.sum(x, 0), folded(total, 0, False), (wide,), sizes("02"), "of no rows"),
    *softmaxes(-1, (4,), (2, 3), (2, 3, 2), (0, 3)),
    *softmaxes(0, (4,), (2, 3)),
    *softmaxes(1, (2, 3, 2)),
    *softmaxes((0, 1), (2, 3)),
    *softmaxes(None, (2, 3)),
    *REARRANGEMENTS,
    *INDEXED,
    *JOINED,
    *OTHERS,
    *SLIDING,
    *losses("mean"),
    *losses("sum"),
    *losses("none"),
]

CASES = [(row, shapes) for row in TABLE for shapes in row.shapes]


# --- what must hold -------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Reference:
    """Inputs of one row, and what the definition says of them."""

    arrays: list[Array]
    value: Array
    w: Array  # the error at the output
    gradients: dict[int, Array]  # of Σ w ⊙ f, for each input with a derivative
    u: dict[int, Array]  # a direction for each of these inputs
    slope: Array  # the derivative of f in that direction
    v: dict[int, Array]  # another direction; probabilities keep their sum along it


H = 1e-30


@cache
def reference(row: Row, shapes: Shapes) -> Reference:
    rng = np.random.default_rng(crc32(f"{row} {shapes}".encode()))
    arrays = [np.asarray(draw(rng, s)) for draw, s in zip(row.domains, shapes, strict=True)]
    as_complex = [x.astype(complex) for x in arrays]
    value = np.asarray(row.define(*as_complex)).real
    w = np.asarray(rng.normal(size=value.shape))

    def derivative(directions: dict[int, Array]) -> Array:
        moved = [
            x + 1j * H * directions[i] if i in directions else x for i, x in enumerate(as_complex)
        ]
        return np.asarray(row.define(*moved)).imag / H

    gradients = {}
    for i in row.wanted:
        gradient = np.zeros(shapes[i])
        for place in np.ndindex(shapes[i]):
            there = np.zeros(shapes[i])
            there[place] = 1
            gradient[place] = (w * derivative({i: there})).sum()
        gradients[i] = gradient
    u = {i: np.asarray(rng.uniform(-1, 1, shapes[i])) for i in row.wanted}
    v = {i: np.asarray(rng.uniform(-1, 1, shapes[i])) for i in row.wanted}
    for i in row.wanted:
        if row.domains[i] is rows:
            v[i] -= v[i].mean(axis=-1, keepdims=True)
    return Reference(arrays, value, w, gradients, u, derivative(u), v)


def assert_close(got: Any, want: Any, what: str, tolerance: float = 1e-11) -> None:
    __tracebackhide__ = True
    got, want = np.asarray(got), np.asarray(want)
    assert got.shape == want.shape, f"{what}: shape {got.shape}, not {want.shape}"
    scale = 1 + np.abs(want).max(initial=0)
    wrong = ~(np.abs(got - want) <= tolerance * scale)
    assert not wrong.any(), f"{what}:\n{got}\n  is not\n{want}"


def assert_same(got: Any, want: Any, what: str) -> None:
    """Equal to the last bit, −0 and 0 apart."""
    __tracebackhide__ = True
    got, want = np.asarray(got), np.asarray(want)
    assert (got.shape, got.dtype) == (want.shape, want.dtype), (
        f"{what}: {got.shape} {got.dtype}, not {want.shape} {want.dtype}"
    )
    assert got.tobytes() == want.tobytes(), f"{what}:\n{got}\n  differs in bits from\n{want}"


def check(row: Row, shapes: Shapes) -> None:
    """Everything that must hold for one line of the table on inputs of these shapes."""
    ref = reference(row, shapes)
    for layout in LAYOUTS:
        _check_value_and_gradients(row, ref, layout)
    if row.wanted:
        _check_second_derivatives(row, ref)
        _check_float32(row, ref)


def _check_value_and_gradients(row: Row, ref: Reference, layout: str) -> None:
    where = f"{row}, {layout} {[x.shape for x in ref.arrays]}"
    arrays = [LAYOUTS[layout](x) for x in ref.arrays]
    seed = ref.w.copy()
    before = [memory(x) for x in (*arrays, seed)]

    inputs = tensors(row, arrays)
    output = row.call(*inputs)
    assert type(output) is tg.Tensor, f"{where}: gave {type(output).__name__}"
    tolerance = 1e-6 if row.result is np.float32 else 1e-11
    assert_close(output.value, ref.value, f"{where}: value", tolerance)
    plain = row.call(*arrays)
    assert not isinstance(plain, Box), f"{where}: a tensor from plain arrays"
    assert_same(plain, output.value, f"{where}: value on plain arrays")

    if row.wanted:
        variables = [inputs[i] for i in row.wanted]
        result = output.value.copy()
        error, *gradients = tg.grad(output, [output, *variables], gradient=seed)
        recorded = tg.grad(output, variables, gradient=seed, create_graph=True)
        alone = [_gradient_alone(row, arrays, i, seed) for i in row.wanted]
        output.backward(seed)
        for i, got, graph, single in zip(row.wanted, gradients, recorded, alone, strict=True):
            what = f"{where}: gradient of input {i}"
            assert_close(got, ref.gradients[i], what, tolerance)
            assert type(graph) is tg.Tensor, f"{what}: {type(graph).__name__} with create_graph"
            assert_same(got, graph.value, f"{what}, recorded or not")
            assert_same(got, single, f"{what}, the other inputs constant or not")
            assert_same(got, inputs[i].grad, f"{what}, by backward() or grad()")
        assert_same(
            error, seed.astype(output.dtype), f"{where}: the error at the output, afterwards"
        )
        assert_same(output.value, result, f"{where}: the output, afterwards")
        _assert_own_memory(
            [error, *gradients, *(v.grad for v in variables)], [*arrays, seed, output.value], where
        )

    after = [memory(x) for x in (*arrays, seed)]
    assert after == before, f"{where}: an input was changed"


def tensors(row: Row, arrays: list[Array]) -> list[Any]:
    """Variables, and arrays where there is no derivative; a row without any gets constants."""
    if not row.wanted:
        return [tg.Tensor(x) for x in arrays]
    return [on_memory(x) if i in row.wanted else x for i, x in enumerate(arrays)]


def _gradient_alone(row: Row, arrays: list[Array], i: int, seed: Array) -> Any:
    inputs: list[Any] = list(arrays)
    inputs[i] = on_memory(arrays[i])
    return tg.grad(row.call(*inputs), inputs[i], gradient=seed)


def _assert_own_memory(gradients: list[Any], others: list[Array], where: str) -> None:
    for k, g in enumerate(gradients):
        assert type(g) is np.ndarray, f"{where}: a gradient is a {type(g).__name__}"
        assert g.flags.writeable, f"{where}: a gradient cannot be written to"
        for other in (*gradients[:k], *others):
            assert not np.shares_memory(g, other), f"{where}: a gradient shares memory"


def _check_second_derivatives(row: Row, ref: Reference) -> None:
    """⟨u, G⟩ differentiated again, G being the gradient of Σ w ⊙ f: by the inputs along one
    direction v against differences of G, and by w against the slope of f along u."""
    where = f"{row} {[x.shape for x in ref.arrays]}"
    inputs, w = tensors(row, ref.arrays), on_memory(ref.w)
    variables = [inputs[i] for i in row.wanted]
    gradients = tg.grad(row.call(*inputs), variables, gradient=w, create_graph=True)
    second: list[Any] = [0.0] * (len(variables) + 1)
    for i, g in zip(row.wanted, gradients, strict=True):
        assert g.requires_grad, f"{where}: the gradient of input {i} is not recorded"
        parts = tg.grad(g, [*variables, w], gradient=ref.u[i])
        second = [a + b for a, b in zip(second, parts, strict=True)]

    single = 1e-6 if row.result is np.float32 else 1e-11
    assert_close(second.pop(), ref.slope, f"{where}: gradient of the gradient by w", single)

    def first(step: float) -> float:
        moved = list(ref.arrays)
        for i, v in ref.v.items():
            moved[i] = np.asarray(moved[i] + step * v)
        inputs = tensors(row, moved)
        found = tg.grad(row.call(*inputs), [inputs[i] for i in row.wanted], gradient=ref.w)
        return float(sum((ref.u[i] * g).sum() for i, g in zip(row.wanted, found, strict=True)))

    want = (8 * (first(H2) - first(-H2)) - (first(2 * H2) - first(-2 * H2))) / (12 * H2)
    got = sum(float((ref.v[i] * s).sum()) for i, s in zip(row.wanted, second, strict=True))
    tolerance = 1e-3 if row.result is np.float32 else 1e-7
    assert_close(got, want, f"{where}: second derivative", tolerance)


H2 = 1e-3  # the error of the differences is of the order H2⁴, below 1e-9 on this table


def _check_float32(row: Row, ref: Reference) -> None:
    """float32 in, float32 out, in value and gradient; and beside float64 in the gradient."""
    where = f"{row}, float32 {[x.shape for x in ref.arrays]}"
    narrow = [x.astype(np.float32) if x.dtype == np.float64 else x for x in ref.arrays]
    inputs = tensors(row, narrow)
    output = row.call(*inputs)
    want = np.dtype(row.result or np.float32)
    assert output.dtype == want, f"{where}: the value is {output.dtype}"
    assert np.asarray(row.call(*narrow)).dtype == want, f"{where}: on plain arrays not {want}"
    assert_close(output.value, ref.value, f"{where}: value", 1e-4)
    variables = [inputs[i] for i in row.wanted]
    gradients = tg.grad(output, variables, gradient=ref.w)
    recorded = tg.grad(output, variables, gradient=ref.w, create_graph=True)
    for i, got, graph in zip(row.wanted, gradients, recorded, strict=True):
        what = f"{where}: gradient of input {i}"
        assert got.dtype == np.float32, f"{what} is {got.dtype}"
        assert_close(got, ref.gradients[i], what, 1e-3)
        assert_same(got, graph.value, f"{what}, recorded or not")
        beside: list[Any] = list(ref.arrays)
        beside[i] = on_memory(narrow[i])
        mixed = tg.grad(row.call(*beside), beside[i], gradient=ref.w)
        assert mixed.dtype == np.float32, f"{what} beside float64 is {mixed.dtype}"
        assert_close(mixed, ref.gradients[i], f"{what} beside float64", 1e-3)
