"""Losses under Keras' names, and the functions that `fit` takes as a loss.

A loss is a function of (prediction, target), in this order, such as `tg.cross_entropy`. It returns
one number, which is differentiated.

The losses with Keras' names take probabilities, as there: the model ends with `nn.Softmax()` or
`nn.Sigmoid()`. If the prediction was recorded as the output of a softmax or a sigmoid, the loss is
computed from its input, so that no digits are lost; any other is clipped to [10⁻⁷, 1 − 10⁻⁷], as in
Keras.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from .. import losses, ops
from ..arrays import Array
from ..engine import Box, primitive
from ..operation import Primitive

EPSILON = 1e-7  # keras.config.epsilon()
ROUNDING = 1e-5
LossOrMetric = Callable[..., Any]  # of (prediction, target)


def categorical_crossentropy(prediction: Any, target: Any, reduction: str = "mean") -> Any:
    """−Σ y log a of each row, averaged over the rows; a are probabilities, the output of a softmax.

    Shapes:  prediction (m, k); target (m,) class indices, or (m, k) rows of probabilities; a
             number, or with reduction="none" (m,)
    Error:   A − Y at the input of the softmax; without a softmax −y/a
    Raises:  ValueError for numbers outside [0, 1], and as `tinygrad_edu.cross_entropy`, which takes
             the logits
    Source:  keras.losses.CategoricalCrossentropy, SparseCategoricalCrossentropy
    Example:
        >>> a = np.array([[0.5, 0.25, 0.25], [0.5, 0.25, 0.25]])
        >>> float(categorical_crossentropy(a, np.array([1, 0])).round(6))
        1.039721
    """
    logits = _argument(prediction, ops.softmax)
    if logits is not None:
        return losses.cross_entropy(logits, target, reduction)
    a = _probabilities(prediction, logits="tg.cross_entropy")
    a = a / ops.sum(a, axis=-1, keepdims=True)
    log_a = ops.log(ops.clip(a, EPSILON, 1 - EPSILON))
    t: Any = target if isinstance(target, Box) else np.asarray(target)
    if t.ndim < np.ndim(log_a):
        t = ops.one_hot(t, log_a.shape[-1])
    if t.shape != log_a.shape:
        raise ValueError(f"probabilities {log_a.shape} and targets {t.shape} do not fit")
    return _reduced(-ops.sum(t * log_a, axis=-1), reduction)


def binary_crossentropy(prediction: Any, target: Any, reduction: str = "mean") -> Any:
    """−y log a − (1 − y) log(1 − a), averaged over all entries; a are probabilities.

    Shapes:  prediction and target the same; a number, or with reduction="none" the same again
    Error:   A − Y at the input of the sigmoid; without a sigmoid (a − y)/(a(1 − a))
    Raises:  ValueError for numbers outside [0, 1], and as
             `tinygrad_edu.binary_cross_entropy_with_logits`, which takes the logits
    Source:  keras.losses.BinaryCrossentropy
    Example:
        >>> float(binary_crossentropy(np.array([0.5, 0.25]), np.array([1.0, 0.0])).round(6))
        0.490415
    """
    logits = _argument(prediction, ops.sigmoid)
    if logits is not None:
        return losses.binary_cross_entropy_with_logits(logits, target, reduction)
    a = _probabilities(prediction, logits="tg.binary_cross_entropy_with_logits")
    a = ops.clip(a, EPSILON, 1 - EPSILON)
    return losses.binary_cross_entropy(a, target, reduction)


def mean_squared_error(prediction: Any, target: Any, reduction: str = "mean") -> Any:
    """Return the mean of (a − y)², `tinygrad_edu.mse_loss` under Keras' name; also a metric.

    Example:
        >>> float(mean_squared_error(np.array([1.0, 2.0]), np.array([1.0, 4.0])))
        2.0
    """
    return losses.mse_loss(prediction, target, reduction)


def mean_absolute_error(prediction: Any, target: Any, reduction: str = "mean") -> Any:
    """Return the mean of |a − y|; also a metric.

    Shapes:  prediction and target the same; a number, or with reduction="none" the same again
    Raises:  ValueError if the shapes differ
    Source:  keras.losses.MeanAbsoluteError
    Example:
        >>> float(mean_absolute_error(np.array([1.0, 2.0]), np.array([1.0, 4.0])))
        1.0
    """
    if np.shape(prediction) != np.shape(target):
        raise ValueError(
            f"predictions {np.shape(prediction)} and targets {np.shape(target)} must have the same "
            "shape"
        )
    return _reduced(ops.abs(prediction - target), reduction)


def _reduced(values: Any, reduction: str) -> Any:
    if reduction == "none":
        return values
    if reduction not in ("mean", "sum"):
        raise ValueError(f"reduction must be 'mean', 'sum' or 'none', received {reduction!r}")
    return ops.mean(values) if reduction == "mean" else ops.sum(values)


@primitive(lambda g, y, a, logits: g)
def _probabilities(a: Any, /, logits: str) -> Any:
    """Return the predictions. Raise ValueError unless they are in [0, 1]; rounding may leave one
    slightly above 1, and NaN is reported elsewhere.
    """
    low, high = np.minimum.reduce(a, None, initial=0), np.maximum.reduce(a, None, initial=1)
    if low < -ROUNDING or high > 1 + ROUNDING:
        raise ValueError(
            f"predictions must be probabilities, in [0, 1], received {np.min(a)} … {np.max(a)}; of "
            f"logits take loss={logits}, or end the model with nn.Softmax() or nn.Sigmoid()"
        )
    return a


def _argument(prediction: Any, activation: Primitive) -> Any:
    """Return the input of the activation if the prediction was recorded as its output, or None."""
    if isinstance(prediction, Box) and prediction.record is not None:
        _, op, args, _, settings = prediction.record
        if op is activation.op and settings.get("axis", -1) in (-1, prediction.value.ndim - 1):
            return args[0]
    return None


LOSSES: dict[str, LossOrMetric] = {
    "binary_crossentropy": binary_crossentropy,
    "categorical_crossentropy": categorical_crossentropy,
    "sparse_categorical_crossentropy": categorical_crossentropy,
    "mae": mean_absolute_error,
    "mean_absolute_error": mean_absolute_error,
    "mean_squared_error": mean_squared_error,
    "mse": mean_squared_error,
}


def as_loss(loss: Any) -> LossOrMetric:
    """Return the loss with that name; a function is returned as it is.

    Raises:  ValueError for an unknown name, TypeError for anything that is no loss
    """
    if isinstance(loss, str):
        if loss not in LOSSES:
            raise ValueError(
                f"loss {loss!r} is not known; known are {', '.join(map(repr, LOSSES))}, and any "
                "function of (prediction, target), such as tg.cross_entropy of logits"
            )
        return LOSSES[loss]
    return checked_function(loss, "loss")


def takes_probabilities(loss: LossOrMetric) -> bool:
    """Return True if the loss takes probabilities and looks for the logits in their record."""
    return unwrapped(loss) in (categorical_crossentropy, binary_crossentropy)


def per_sample_loss(loss: LossOrMetric) -> LossOrMetric:
    """Return the loss as a function that takes reduction="none".

    Raises:  ValueError if it does not take `reduction`, or its reduction is fixed to another one
    """
    function = unwrapped(loss)
    given = loss.keywords if isinstance(loss, partial) else getattr(loss, "__dict__", {})
    if given.get("reduction", "mean") != "mean":
        raise ValueError(
            f"weights of samples need the mean of the losses, {name_of(loss)} is set to "
            f"reduction={given['reduction']!r}"
        )
    try:
        known = "reduction" in inspect.signature(function).parameters
    except (TypeError, ValueError):
        known = False
    if not known:
        raise ValueError(
            f"weights of samples need a loss that takes reduction='none'; {name_of(loss)} does not"
        )
    return function  # type: ignore[no-any-return]


def match_target_shape(target: Array, prediction: Any) -> Array:
    """Return the target in the shape of the prediction: (m,) as a column if the prediction is a
    column, and indices (m, 1) as (m,).
    """
    shape = prediction.shape
    if len(shape) > 1 and target.shape != shape:
        if shape[-1] == 1 and target.shape == shape[:-1]:
            return target[..., None]
        if target.shape == (*shape[:-1], 1) and target.dtype.kind in "iu":
            return target[..., 0]
    return target


def checked_function(function: Any, what: str) -> LossOrMetric:
    """Return a loss or metric. Raise TypeError if it cannot be called with (prediction, target).

    A function that takes y_true first, as Keras' do, is refused too.
    """
    if inspect.isclass(function) or not callable(function):
        raise TypeError(
            f"a {what} is a function of (prediction, target) or a name, received {function!r:.60}"
        )
    try:
        first = next(iter(inspect.signature(function).parameters), "")
    except (TypeError, ValueError):  # a C function without a signature
        first = ""
    if first == "y_true":
        raise TypeError(
            f"a {what} is called with (prediction, target), but {name_of(function)} starts with "
            "y_true: write lambda prediction, target: function(target, prediction)"
        )
    return function  # type: ignore[no-any-return]


def name_of(function: Any) -> str:
    """Return the name of a function's column in the History."""
    inner = function.func if isinstance(function, partial) else function
    return str(getattr(inner, "__name__", type(inner).__name__))


def unwrapped(loss: Any) -> Any:
    """Return the function inside of a `functools.partial` or of a loss module."""
    return loss.func if isinstance(loss, partial) else getattr(loss, "_loss", loss)
