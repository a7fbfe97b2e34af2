"""Losses: one number that measures how far predictions are from their targets.

Each loss is one operation with the short rule of the slides (`A − Y`) in place of the chain of
operations behind it. That is faster, and no intermediate result overflows. Predictions and targets
must have the same shape: (m,) beside (m, 1) would be broadcast to (m, m) and give a wrong number
silently.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .arrays import Array, as_array
from .engine import Box, primitive
from .ops import (
    first_place,
    floating,
    inner_of_targets,
    is_array,
    largest,
    log_softmax,
    max_along,
    one_hot,
    row_sums,
    same_layout,
    sigmoid,
    smallest,
    softmax,
    sum_all,
    traced_as_one_call,
)

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "mse_loss",
]


def _reduced(losses: Array, reduction: str) -> Any:
    if reduction == "mean":
        if losses.size == 0:
            raise ValueError("the mean over no samples has no value")
        if losses.itemsize < 4:  # float16 loses digits and overflows in long sums
            return losses.mean()
        return sum_all(losses) / losses.size
    if reduction == "sum":
        return sum_all(losses)
    if reduction == "none":
        return losses
    raise ValueError(f"reduction must be 'mean', 'sum' or 'none', received {reduction!r}")


def _error_per_entry(g: Any, reduction: str, x: Any) -> Any:
    """Return the error at the loss of each entry of x, given the error g at the reduced loss."""
    return _divided(g, getattr(x, "size", 1)) if reduction == "mean" else g


def _divided(g: Any, n: int) -> Any:
    """Return g/n. NumPy divides a number faster than an array of shape ()."""
    return np.asarray(g[()] / n) if type(g) is np.ndarray and not g.ndim else g / n


def _checked_pair(prediction: Any, target: Any) -> tuple[Array, Array]:
    """Return both as floating arrays of the prediction's dtype.

    Raises:  ValueError if the shapes differ
    """
    prediction = floating(prediction)
    target = floating(target, prediction.dtype)
    if prediction.shape != target.shape:
        raise ValueError(
            f"predictions {prediction.shape} and targets {target.shape} must have the same shape; "
            "reshape one of them (y.reshape(-1, 1) makes a column)"
        )
    return prediction, target


def _check_range(x: Array, what: str) -> None:
    if x.size and not (smallest(x) >= 0 and largest(x) <= 1):
        raise ValueError(
            f"{what} must be in [0, 1], received {x.min()} … {x.max()}"
            f"{first_place(~((x >= 0) & (x <= 1)), x)}"
        )


@primitive(
    lambda g, y, a, t, reduction: 2 * (a - t) * _error_per_entry(g, reduction, a),
    lambda g, y, a, t, reduction: 2 * (t - a) * _error_per_entry(g, reduction, a),
)
def mse_loss(a: Any, t: Any, /, reduction: str = "mean") -> Any:
    """Σ(a − t)²/n, the mean squared error over all n entries.

    Shapes:  a and t the same; a number, or with reduction="none" the same again
    Error:   2(a − t)/n; with "sum" and "none" without the /n
    Raises:  ValueError if the shapes differ or there is nothing to take the mean of
    Source:  the chapter, "squared error" (there with ½ and without the mean)
    Example:
        >>> mse_loss(np.array([1.0, 2.0]), np.array([1.0, 4.0]))
        np.float64(2.0)
    """
    a, t = _checked_pair(a, t)
    return _reduced(np.square(a - t), reduction)


@primitive(
    lambda g, y, z, t, reduction: (sigmoid(z) - t) * _error_per_entry(g, reduction, z),
    lambda g, y, z, t, reduction: z * -_error_per_entry(g, reduction, z),
)
def binary_cross_entropy_with_logits(z: Any, t: Any, /, reduction: str = "mean") -> Any:
    """−t log σ(z) − (1 − t) log(1 − σ(z)), averaged over all n entries.

    Shapes:  z and t the same; a number, or with reduction="none" the same again
    Error:   (A − Y)/n with A = σ(z); with "sum" and "none" without the /n
    Raises:  ValueError if the shapes differ or a target is not in [0, 1]
    Source:  the chapter, "logistic loss"
    Example:
        >>> binary_cross_entropy_with_logits(np.array([0.0, 10_000.0]), np.array([1.0, 1.0]))
        np.float64(0.34657359027997264)
    """
    z, t = _checked_pair(z, t)
    _check_range(t, "targets")
    # log(1 + eᶻ) − t z, with the exponential of −|z| only, which cannot overflow
    e = np.exp(-np.abs(z))
    return _reduced(np.log1p(e) + (np.maximum(z, 0) - t * z), reduction)


def _log(p: Any) -> Any:
    """Return log p, but at least −100, so that a probability of 0 gives a finite loss."""
    return np.maximum(np.log(np.maximum(p, 1e-44)), -100.0)


@primitive(
    lambda g, y, a, t, reduction: (
        (a - t) / np.maximum(a * (1 - a), 1e-12) * _error_per_entry(g, reduction, a)
    ),
    lambda g, y, a, t, reduction: (_log(1 - a) - _log(a)) * _error_per_entry(g, reduction, a),
)
def binary_cross_entropy(a: Any, t: Any, /, reduction: str = "mean") -> Any:
    """−t log a − (1 − t) log(1 − a), averaged over all n entries; logarithms are at least −100.

    If the probabilities come from a sigmoid, apply `binary_cross_entropy_with_logits` to its input
    instead: it is faster, and saturated samples keep their gradient.

    Shapes:  a and t the same; a number, or with reduction="none" the same again
    Error:   (a − t)/(a(1 − a))/n, its denominator a(1 − a) at least 10⁻¹²
    Raises:  ValueError if the shapes differ, or a probability or target is not in [0, 1]
    Source:  torch.nn.functional.binary_cross_entropy, whose bounds these are
    Example:
        >>> binary_cross_entropy(np.array([0.5, 0.0]), np.array([1.0, 1.0])).round(6)
        np.float64(50.346574)
    """
    a, t = _checked_pair(a, t)
    _check_range(a, "probabilities")
    _check_range(t, "targets")
    return _reduced(-(t * _log(a) + (1 - t) * _log(1 - a)), reduction)


def _error_per_row(g: Any, z: Any, reduction: str) -> Any:
    """Return the error at each row's loss, in a shape that broadcasts over the rows of z."""
    if reduction == "mean":
        return _divided(g, z.size // z.shape[-1])
    return np.expand_dims(g, -1) if reduction == "none" else g


@primitive(
    lambda g, y, z, t, reduction: (softmax(z) - t) * _error_per_row(g, z, reduction),
    lambda g, y, z, t, reduction: -log_softmax(z) * _error_per_row(g, z, reduction),
)
def _cross_entropy(z: Any, t: Any, /, reduction: str) -> Any:
    z, t = _checked_pair(z, t)
    sums = row_sums(t)
    if t.size and not (
        smallest(t) >= 0 and smallest(sums) >= 1 - 1e-5 and largest(sums) <= 1 + 1e-5
    ):
        below, off = ~(t >= 0), ~(np.abs(sums - 1) <= 1e-5)
        raise ValueError(
            "each row of targets must be probabilities, none negative, with the sum 1; "
            f"received a smallest entry of {t.min()} and row sums {sums.min()} … {sums.max()}"
            f"{first_place(below, t) if below.any() else first_place(off, sums)}"
        )
    x = z - max_along(z)
    log_sums = np.log(row_sums(np.exp(x)))  # −Σ t log a = log Σ eˣ − Σ t x, where Σ t = 1
    # 0 · log 0 = 0: a class that is not the target's may be impossible (a logit of −∞)
    if reduction in ("mean", "sum") and same_layout(t, x):
        # Both log Σ eˣ and −t x are at least 0: summed separately, nothing cancels.
        loss = sum_all(log_sums) - traced_as_one_call(inner_of_targets, t, x)
        return loss / log_sums.size if reduction == "mean" else loss
    if not (is_array(x) and smallest(x) > -np.inf):  # a captured step does not check
        x = np.where(t == 0, 0, x)
    return _reduced(log_sums - row_sums(t * x), reduction)


def cross_entropy(logits: Any, target: Any, reduction: str = "mean") -> Any:
    """−Σ y log softmax(z) of each row, averaged over the m rows.

    Shapes:  logits (m, k); target (m,) class indices, or (m, k) rows of probabilities (one-hot);
             a number, or with reduction="none" (m,)
    Error:   (A − Y)/m with A = softmax(z), since the rows of Y sum to 1 (also assumed where Y is
             differentiated); with "sum" and "none" without the /m
    Raises:  ValueError if the shapes do not fit, a class index is not in [0, k) or a row is no
             probabilities
    Source:  the chapter, "cross-entropy" and "its gradient"
    Example:
        >>> cross_entropy(np.zeros((2, 4)), np.array([3, 0]))
        np.float64(1.3862943611198906)
    """
    z = logits.value if isinstance(logits, Box) else np.asarray(logits)
    t = target.value if isinstance(target, Box) else as_array(target)
    if z.ndim == 0:
        raise ValueError("cross_entropy: logits are rows of one number for each class, received ()")
    if t.dtype.kind in "iu" and t.shape == z.shape[:-1]:
        try:
            target = one_hot(target, z.shape[-1], np.result_type(z, 0.0))
        except ValueError as error:
            told = str(error).removeprefix("one_hot: ")
            raise ValueError(f"cross_entropy: {told}") from None
    elif t.shape != z.shape:
        raise ValueError(
            f"cross_entropy: for logits {z.shape} the target is class indices {z.shape[:-1]} "
            f"(integers) or probabilities {z.shape}, received {t.shape} {t.dtype}"
        )
    return _cross_entropy(logits, target, reduction=reduction)
