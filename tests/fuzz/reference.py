"""A reverse mode that has no rules: the derivatives of each call come from its definition alone.

The definition is run on the operand with one entry moved by 10⁻³⁰i. For an analytic function the
imaginary part of the result is then the derivative times 10⁻³⁰, exact to rounding, since nothing
is subtracted. The columns obtained so make up the call's Jacobian, and the sweep multiplies
Jacobians: it is the chain rule as it stands in the book, slow and without any of the short forms
that the package's rules have.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .operations import OPERATIONS
from .program import Array, Call, Program, evaluate, sloped

STEP = 1e-30


class Derivatives(NamedTuple):
    """For every register: its value, ∂L/∂register (None where there is no way to the loss), and
    the sum of the absolute values of all that was added up in it, by which rounding is judged."""

    values: list[Any]
    gradients: list[Array | None]
    sizes: list[Array | None]


def differentiate(program: Program, inputs: list[Any] | None = None) -> Derivatives:
    """Values and gradients of all registers, in float64; at other inputs if some are given."""
    if inputs is None:
        inputs = [x.value for x in program.inputs]
    values = evaluate(program, [_double(x) for x in inputs], full=True)
    depends = program.depends()
    gradients: list[Array | None] = [None] * len(values)
    sizes: list[Array | None] = [None] * len(values)
    for i, w in program.weights.items():
        if depends[i]:
            gradients[i], sizes[i] = w.astype(float), np.abs(w.astype(float))
    n = len(program.inputs)
    for place in reversed(range(len(program.calls))):
        call, g, size = program.calls[place], gradients[n + place], sizes[n + place]
        if g is None or size is None:
            continue
        operands = [values[i] for i in call.arguments]
        for k, (i, slope) in enumerate(sloped(call)):
            if not (slope and depends[i]):
                continue
            j = jacobian(call, operands, k, g.size)
            shape = np.shape(operands[k])
            gradients[i] = _plus(gradients[i], (g.reshape(-1) @ j).reshape(shape))
            sizes[i] = _plus(sizes[i], (size.reshape(-1) @ np.abs(j)).reshape(shape))
    return Derivatives(values, gradients, sizes)


def jacobian(call: Call, operands: list[Any], k: int, rows: int) -> Array:
    """∂(result)/∂(operand k), one row for each entry of the result."""
    forward = OPERATIONS[call.operation].reference
    x = np.asarray(operands[k])
    result = np.empty((rows, x.size))
    moved = x.astype(complex, order="C")
    entries = moved.reshape(-1)
    operands = [*operands[:k], moved, *operands[k + 1 :]]
    for column in range(x.size):
        entries[column] += STEP * 1j
        result[:, column] = np.imag(forward(*operands, **call.settings)).reshape(-1)
        entries[column] -= STEP * 1j
    return result / STEP


def _double(x: Any) -> Any:
    """Real numbers in full precision; integers, bools and Python numbers as they are."""
    return x.astype(float) if isinstance(x, np.ndarray) and x.dtype.kind == "f" else x


def _plus(a: Array | None, b: Array) -> Array:
    return b if a is None else a + b
