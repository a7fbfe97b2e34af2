"""Measured slopes, with which gradients are compared.

`measure` takes differences (f(x + h) − f(x − h))/2h for ever smaller h and extrapolates them to h =
0, which gives about ten digits and an estimate of their error. If f also works on complex numbers,
the complex step Im f(x + ih)/h with h = 10⁻³⁰ gives all digits, since nothing is subtracted. It is
used only where the differences agree with it, because a function may drop the imaginary part
silently (`np.abs` does). At a kink the slopes on both sides are measured.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..arrays import Array

STEPS = [2.0**-k for k in range(4, 17)]
TINY = 1e-30  # the complex step


@dataclass(frozen=True)
class Slope:
    """The slope of a function at a point.

    value          the best estimate
    error          the estimate of its error
    complex_step   the result of the complex step, if it agrees
    sides          the slopes on the left and on the right, where they differ: a kink

    Example:
        >>> Slope(2.0, 1e-9).allows(2.0 + 1e-10), Slope(2.0, 1e-9).allows(2.002)
        (True, False)
    """

    value: float
    error: float
    complex_step: float | None = None
    sides: tuple[float, float] | None = None

    def allows(self, claimed: float, rtol: float = 1e-6) -> bool:
        """Return True if a claimed slope may be right: near the measured one, or between the two
        sides of a kink.
        """
        if self.sides is not None:
            low, high = sorted(self.sides)
            room = 10 * self.error + rtol * max(abs(low), abs(high))
            return bool(low - room <= claimed <= high + room)
        return bool(abs(claimed - self.value) <= 10 * self.error + rtol * abs(self.value))


def measure(f: Callable[[Any], Array], eps: float = 2.0**-52, size: float = 1.0) -> Slope:
    """Return the slope of Σ f(t) at t = 0, where f(t) are the terms of a sum for a number t.

    `eps` is the precision in which f computes, `size` the magnitude of the entry to which t is
    added.

    Example:
        >>> slope = measure(lambda t: np.exp(np.array([t, 2 * t])))
        >>> round(slope.value, 9), slope.error < 1e-9
        (3.0, True)
    """
    middle = np.asarray(f(0.0), float)
    ends = [np.asarray(f(sign * STEPS[0] * size), float) for sign in (1, -1)]
    changed = ends[0] != ends[1]  # the other terms cancel; if all do, rounding may have hidden it
    noise = 2 * eps * float(np.abs(middle[changed] if changed.any() else middle).sum())

    def central(h: float) -> float:
        return float((np.asarray(f(h), float) - np.asarray(f(-h), float)).sum()) / (2 * h)

    def right(h: float) -> float:
        return float((np.asarray(f(h), float) - middle).sum()) / h

    value, error = _extrapolated(central, 4, noise, size)
    error += 4 * eps  # intermediate results may be of size 1 where f is small
    exact = _complex_step(f)
    if exact is not None and abs(exact - value) <= 10 * error + 1e-6 * abs(value):
        return Slope(exact, min(error, 1e-13 * abs(exact) + noise + 4 * eps), exact)
    (a, a_error), (b, b_error) = (
        _extrapolated(side, 2, noise, size) for side in (lambda h: right(-h), right)
    )
    if abs(a - b) > 100 * (a_error + b_error + eps) + 1e-5 * max(abs(a), abs(b)):
        return Slope(value, max(a_error, b_error), None, (a, b))
    return Slope(value, error)


def _extrapolated(
    quotient: Callable[[float], float], base: int, noise: float, size: float
) -> tuple[float, float]:
    """Return the limit of the quotients for h → 0 and its error: C. Ridders, 1982.

    `base` is how much the error of a quotient shrinks when h is halved.
    """
    best, error = np.nan, np.inf
    last: list[float] = []
    for step in STEPS:
        h = step * size
        first = quotient(h)
        if not np.isfinite(first):  # outside the domain of f
            last = []
            continue
        row = [first]
        for j, before in enumerate(last, 1):
            row.append(row[-1] + (row[-1] - before) / (base**j - 1))
            off = max(abs(row[j] - row[j - 1]), abs(row[j] - before)) + noise / h
            if off < error:
                best, error = row[j], off
        last = row
        if len(row) > 3 and error <= 1e-11 * abs(best) + noise / h:
            break
    return best, error


def _complex_step(f: Callable[[Any], Array]) -> float | None:
    try:
        y = np.asarray(f(1j * TINY))
    except Exception:  # f does not work on complex numbers
        return None
    slope = float(np.imag(y).sum() / TINY)
    return slope if y.dtype.kind == "c" and np.isfinite(slope) else None
