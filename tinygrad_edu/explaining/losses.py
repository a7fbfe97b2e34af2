"""The losses as the slides write them: −Σ y log a and −Σ (y log a + (1 − y) log(1 − a)).

Each is one operation of the library, whose value is computed in a way that cannot overflow. The
form of the slides has the same value unless a probability is rounded to 0 or 1. There the name of
the operation stays.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any, Protocol

import numpy as np

from .. import losses, ops
from ..engine import Box
from ..operation import Op
from .algebra import Axis, Call, Index, Sum, add, multiply, number, of, power, scale, summed


class Reads(Protocol):
    """A reader of recorded graphs, as far as a loss needs it.

    Example:
        >>> from tinygrad_edu.explaining.reading import Reader
        >>> Reader({}).whole_losses
        False
    """

    whole_losses: bool

    def read(self, x: Any, index: Index, raw: Any = None) -> Sum:
        """The formula of x at these indices."""

    def count(self, n: float) -> Sum | None:
        """m for the number of samples."""


Entries = Callable[[Sum, Sum, Index], Sum]  # the loss of each entry


def _squared(a: Sum, t: Sum, index: Index) -> Sum:
    difference = add(a, scale(t, -1))
    return power(difference, Fraction(2)) if difference.terms else difference


def _log(a: Sum, index: Index) -> Sum:
    return of(Call("log", ((a, ()),), index))


def _binary(a: Sum, t: Sum, index: Index) -> Sum:
    """−(t log a + (1 − t) log(1 − a))."""
    one = number(1)
    other = multiply(add(one, scale(t, -1)), _log(add(one, scale(a, -1)), index))
    return scale(add(multiply(t, _log(a, index)), other), -1)


def _binary_of_logits(z: Sum, t: Sum, index: Index) -> Sum:
    return _binary(of(Call("sigmoid", ((z, ()),), index)), t, index)


def _of_classes(z: Sum, t: Sum, index: Index) -> Sum:
    """−t log softmax(z)."""
    a = of(Call("softmax", ((z, index),), index, each=False))
    return scale(multiply(t, _log(a, index)), -1)


# The operation: the loss of an entry, the same as NumPy code, and whether the mean is over rows.
_CLASSES = losses._cross_entropy.op
_SLIDES: dict[Any, tuple[Entries, Callable[[Any, Any], Any], bool]] = {
    losses.mse_loss.op: (_squared, lambda a, t: np.square(a - t), False),
    losses.binary_cross_entropy.op: (
        _binary, lambda a, t: -(t * np.log(a) + (1 - t) * np.log(1 - a)), False,
    ),
    losses.binary_cross_entropy_with_logits.op: (
        _binary_of_logits,
        lambda z, t: -(t * np.log(ops.sigmoid(z)) + (1 - t) * np.log(1 - ops.sigmoid(z))),
        False,
    ),
    _CLASSES: (_of_classes, lambda z, t: -(t * np.log(ops.softmax(z))), True),
}  # fmt: skip


def is_loss(op: Op) -> bool:
    """Return True if the slides have a formula for this operation.

    Example:
        >>> is_loss(losses.mse_loss.op), is_loss(ops.exp.op)
        (True, False)
    """
    return op in _SLIDES


def is_as_on_the_slides(x: Box) -> bool:
    """Return True if the slides' formula has the value of this loss, as far as it can be computed.

    Example:
        >>> import tinygrad_edu as tg
        >>> z = tg.Tensor([0.5, 90.0], requires_grad=True)
        >>> is_as_on_the_slides(tg.binary_cross_entropy_with_logits(z, np.array([1.0, 0.0])))
        False
    """
    _, op, _, raw, settings = x.record
    _, numeric, by_row = _SLIDES[op]
    with np.errstate(all="ignore"):
        each = numeric(*(np.asarray(r, np.float64) for r in raw))
        if settings["reduction"] == "none":
            worth = each.sum(axis=-1) if by_row else each
        else:
            count = each.size // (each.shape[-1] if by_row else 1)
            worth = each.sum() / (count if settings["reduction"] == "mean" else 1)
    return bool(np.allclose(worth, x.value, rtol=1e-10, atol=0))


def read_loss(reader: Reads, x: Box, index: Index, a: Any, b: Any, /, reduction: str) -> Sum | None:
    """Return the slides' formula of a loss.

    Example:
        >>> import tinygrad_edu as tg
        >>> from tinygrad_edu.explaining.reading import Reader
        >>> a = tg.Tensor([1.0, 2.0], requires_grad=True)
        >>> loss = tg.mse_loss(a, np.zeros(2))
        >>> s = read_loss(Reader({a: "a"}), loss, (), a, np.zeros(2), reduction="sum")
        >>> s.terms[0].factors[0][0].name, s.terms[0].factors[0][1]
        ('a', Fraction(2, 1))
    """
    if reader.whole_losses:
        return None
    entries, _, by_row = _SLIDES[x.record[1]]
    raw = x.record[3]
    shape = np.shape(raw[0])
    kept = index if reduction == "none" else tuple(map(Axis, shape[:-1] if by_row else shape))
    own = (*kept, Axis(shape[-1])) if by_row else kept
    inner = entries(reader.read(a, own, raw[0]), reader.read(b, own, raw[1]), own)
    over = set(own) - set(index)
    whole = summed(inner, [i for i in own if i in over])
    if reduction != "mean":
        return whole
    n = int(np.prod([i.size for i in kept]))
    return multiply(whole, power(reader.count(n) or number(n), Fraction(-1)))
