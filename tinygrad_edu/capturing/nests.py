"""Nests: operations that are a few loops of their own, one inside the other.

Reductions over other axes than the last, sums of products over any indices, and where the largest
entry stands. Nothing joins these loops.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import numpy as np

from .calls import Call, Value
from .formulas import SUMS, start_of
from .moves import call_of
from .texts import INDEX, Kernel, NotNative, dtype_of, nested, place, stored

Steps = Callable[[Value], tuple[int, ...]]
MOST = 2**22  # turns of a sum of products, which NumPy takes apart into products of matrices


def gone_of(call: Call) -> set[int]:
    """The axes that a reduction takes away."""
    x, axis = call.args[:2]
    axes = range(len(x.shape)) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    gone = {a % len(x.shape) for a in axes} if x.shape else set()
    ones = {k for k, n in enumerate(x.shape) if n == 1}
    return {*range(len(x.shape))} if len(gone | ones) == len(x.shape) else gone


def kept_steps(x: Value, gone: set[int], out: Value, steps: Steps) -> tuple[int, ...]:
    """For each axis of x from an entry of the reduced array to the next; 0 along those that go."""
    left = iter([step for n, step in zip(out.shape, steps(out), strict=True) if n != 1])
    return tuple(0 if k in gone or n == 1 else next(left) for k, n in enumerate(x.shape))


def reduced(call: Call, steps: Steps) -> Kernel:
    """A sum or an extreme over any axes."""
    kernel, out, x = Kernel(), call.out, call.args[0]
    gone = gone_of(call)
    kept = [k for k in range(len(x.shape)) if k not in gone]
    target = f"{kernel.name(out, writes=True)}[{place(kept_steps(x, gone, out, steps))}]"
    entry = f"{dtype_of(out)}({kernel.name(x)}[{place(steps(x))}])"
    combined = SUMS[call.function].format(target, entry)
    kernel.lines = [
        *nested(x.shape, [f"{target} = {stored(start_of(call), out)}"], kept),
        *nested(x.shape, [f"{target} = {combined}"]),
    ]
    return kernel


def summed(call: Call, steps: Steps) -> Kernel:
    """A sum of products of entries over all indices; the arguments are the subscripts, those of
    the result, and the operands."""
    terms, output, operands = call.args
    lengths: dict[str, int] = {}
    for term, x in zip(terms, operands, strict=True):
        for letter, n in zip(term, x.shape, strict=True):
            lengths[letter] = n if lengths.get(letter, 1) == 1 else lengths[letter]
    if prod(lengths.values()) > MOST:
        raise NotNative(f"einsum over {prod(lengths.values()):,} products")
    order = [*output, *(c for c in lengths if c not in output)]
    if len(order) > len(INDEX):
        raise NotNative(f"einsum over {len(order)} indices")

    def entry(x: Value, term: str) -> str:
        along = dict.fromkeys(order, 0)
        for letter, n, step in zip(term, x.shape, steps(x), strict=True):
            along[letter] += step if n > 1 else 0
        return f"{kernel.name(x)}[{place(along.values())}]"

    kernel, out = Kernel(), call.out
    dtype, shape = dtype_of(out), [lengths[c] for c in order]
    target = f"{kernel.name(out, writes=True)}[{place(steps(out))}]"
    factors = [f"{dtype}({entry(x, term)})" for x, term in zip(operands, terms, strict=True)]
    inner = range(len(output), len(order))
    kernel.lines = nested(
        shape,
        [
            f"s = {dtype}(0)",
            *nested(shape, [f"s = {dtype}(s + {' * '.join(factors)})"], inner),
            f"{target} = s",
        ],
        range(len(output)),
    )
    return kernel


def placed(call: Call, steps: Steps) -> Kernel:
    """Where the largest or smallest entry stands along an axis, or among all; nan is both."""
    function, settings, (x, *more) = call_of(call)
    axis = settings.get("axis", more[0] if more else None)
    rank = len(x.shape)
    gone = {*range(rank)} if axis is None else {axis % rank} if rank else set()
    kernel, out = Kernel(), call.out
    target = f"{kernel.name(out, writes=True)}[{place(kept_steps(x, gone, out, steps))}]"
    of = steps(x)
    first = f"{kernel.name(x)}[{place([0 if k in gone else step for k, step in enumerate(of)])}]"
    sign = ">" if function is np.argmax else "<"
    kernel.lines = nested(
        x.shape,
        [
            f"s = {first}",
            "t, u = 0, 0",
            *nested(
                x.shape,
                [
                    f"v = {kernel.name(x)}[{place(of)}]",
                    f"if v {sign} s or (v != v and s == s):",
                    "    s, t = v, u",
                    "u += 1",
                ],
                sorted(gone),
            ),
            f"{target} = t",
        ],
        [k for k in range(rank) if k not in gone],
    )
    return kernel
