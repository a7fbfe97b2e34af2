"""A guess at the mistake in a rule, from the wrong numbers and the right ones."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from ..arrays import Array


def guess(claimed: Array, true: Array, x: Array, y: Array, g: Array | None = None) -> str:
    """Return the mistake that would explain the difference, to follow "it looks as if", or "".

    `x` is the input, `y` the output, `g` the error at the output.

    Example:
        >>> x = np.array([0.5, -1.0, 2.0])
        >>> y, g = np.tanh(x), np.ones(3)
        >>> guess(-g * (1 - y * y), g * (1 - y * y), x, y, g)
        'the sign were wrong'
        >>> guess(g, g * (1 - y * y), x, y, g)
        'a factor 1 − y² were missing'
    """
    with np.errstate(all="ignore"):
        for where, chosen in _places(claimed, true, x):
            told = "" if where else _whole(claimed, true, x, y)
            fits = y.shape == x.shape
            told = told or _entrywise(
                claimed[chosen],
                true[chosen],
                x[chosen],
                y[chosen] if fits else None,
                g[chosen] if fits and g is not None else None,
            )
            if told or where:
                return f"{told or 'it were wrong'}{where}"
    return ""


def _same(a: Array, b: Array) -> bool:
    """Return True if both are equal to six digits and not 0."""
    scale = float(np.abs(b).max(initial=0))
    return bool(a.shape == b.shape and scale > 0 and np.abs(a - b).max() <= 1e-6 * scale)


def _places(claimed: Array, true: Array, x: Array) -> Iterator[tuple[str, Array]]:
    """Yield conditions on the input under which the entries are wrong, with the entries; last ""
    for all.
    """
    wrong = np.abs(claimed - true) > 1e-7 * np.abs(true) + 1e-12
    if x.size > 3 and wrong.any() and not wrong.all():
        bad, good = x[wrong], x[~wrong]
        if bad.max() < good.min():
            where = "negative" if bad.max() < 0 <= good.min() else f"below {good.min():.3g}"
            yield f", and only where the input is {where}", wrong
        elif bad.min() > good.max():
            where = "positive" if bad.min() > 0 >= good.max() else f"above {good.max():.3g}"
            yield f", and only where the input is {where}", wrong
    yield "", np.ones(x.shape, bool)


def _whole(claimed: Array, true: Array, x: Array, y: Array) -> str:
    """Return a mistake that explains the whole array at once, or ""."""
    if not claimed.any() and true.any():
        return "the gradient were lost on its way: it is 0 everywhere"
    if not true.any():
        return "there were no slope at all, but the rule gives one"
    if true.size > 1 and not _ratio(claimed, true):
        if true.ndim > 1 and _same(claimed, np.swapaxes(true, -1, -2)):
            return "it were transposed"
        if _same(np.sort(claimed, None), np.sort(true, None)):
            return "the right numbers stood in the wrong places"
        for axis in range(true.ndim):
            if true.shape[axis] > 1 and _same(claimed.sum(axis), true.sum(axis)):
                return f"something were added up or averaged along a wrong axis (here axis {axis})"
    return ""


def _ratio(a: Array, b: Array) -> float:
    """Return c where a = c · b, or 0."""
    c = float((a * b).sum() / (b * b).sum())
    return c if _same(a, c * b) else 0.0


def _entrywise(claimed: Array, true: Array, x: Array, y: Array | None, g: Array | None) -> str:
    """Return a factor or a term that explains every entry, or ""."""
    c = _ratio(claimed, true)
    if np.isclose(c, -1):
        return "the sign were wrong"
    if c and (true.size > 1 or np.isclose(abs(c), [0.5, 2]).any()):
        return f"it were {_times(c)} times the right one"
    factors = {"x": x, "x²": x * x, "cos x": np.cos(x), "eˣ": np.exp(x), "sign(x)": np.sign(x)}
    if y is not None:
        factors = {
            "y": y,
            "1 − y": 1 - y,
            "y(1 − y)": y * (1 - y),
            "1 − y²": 1 - y * y,
            "y²": y * y,
        } | factors
    if g is not None:
        factors = {"g": g} | factors
    for name, factor in factors.items():
        for told, a, b in (
            ("a factor {} were missing", claimed * factor, true),
            ("there were a factor {} too many", claimed, true * factor),
        ):
            c = _ratio(a, b)
            if c and (true.size > 1 or np.isclose(abs(c), 1)):
                c = 1 / c if "missing" in told else c
                return told.format(_times(c, name))
    for name, term in (("1", np.ones_like(x)), *factors.items()):
        for sign, minus in ((1, ""), (-1, "−")):
            if g is not None and _same(true - claimed, sign * g * term):
                return f"a term {minus}g·{name} were missing".replace("g·1", "g")
    return ""


def _times(c: float, name: str = "") -> str:
    """Return c or c · name as text: c as a fraction if it is one, and left out if it is 1."""
    plain = Fraction(c).limit_denominator(64)
    number = str(plain) if np.isclose(float(plain), c, rtol=1e-6, atol=0) else f"{c:.6g}"
    if not name:
        return number
    return {"1": name, "-1": f"−{name}"}.get(number, f"{number}·{name}")
