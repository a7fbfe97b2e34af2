"""What training is measured by: losses and metrics, also under the names that Keras gives them.

A loss and a metric are functions of (prediction, target), in this order, as `tg.cross_entropy` is.
A loss gives one number to be differentiated. A metric sees plain arrays and gives a number for
each sample, or one for the batch.

The losses with Keras' names take probabilities, as there: the model ends with `nn.Softmax()` or
`nn.Sigmoid()`. Where the recorded prediction comes out of a softmax or a sigmoid they start from
what went into it, so that no digit is lost; any other is kept away from 0 and 1 by 10⁻⁷, as in
Keras.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from .. import losses, ops
from ..arrays import Array, describe
from ..engine import Box, primitive
from ..operation import Primitive

__all__ = [
    "binary_accuracy", "binary_crossentropy", "categorical_accuracy",
    "categorical_crossentropy", "mean_absolute_error", "mean_squared_error", "top_k_accuracy",
]  # fmt: skip

EPSILON = 1e-7  # keras.config.epsilon()
ROUNDING = 1e-5
Function = Callable[..., Any]  # of (prediction, target)


# --- losses ---------------------------------------------------------------------------------------


def categorical_crossentropy(prediction: Any, target: Any, reduction: str = "mean") -> Any:
    """−Σ y log a of each row, the mean over the rows; a are probabilities, as softmax gives them.

    Shapes:  prediction (m, k); target (m,) class indices, or (m, k) rows of probabilities; a
             number, or with reduction="none" (m,)
    Error:   A − Y at what went into the softmax; without a softmax −y/a
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
    """−y log a − (1 − y) log(1 − a), the mean over all entries; a are probabilities.

    Shapes:  prediction and target the same; a number, or with reduction="none" the same again
    Error:   A − Y at what went into the sigmoid; without a sigmoid (a − y)/(a(1 − a))
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
    """The mean of (a − y)²: `tinygrad_edu.mse_loss` under Keras' name; also a metric.

    Example:
        >>> float(mean_squared_error(np.array([1.0, 2.0]), np.array([1.0, 4.0])))
        2.0
    """
    return losses.mse_loss(prediction, target, reduction)


def mean_absolute_error(prediction: Any, target: Any, reduction: str = "mean") -> Any:
    """The mean of |a − y|; also a metric.

    Shapes:  prediction and target the same; a number, or with reduction="none" the same again
    Raises:  ValueError if the shapes differ
    Source:  keras.losses.MeanAbsoluteError
    Example:
        >>> float(mean_absolute_error(np.array([1.0, 2.0]), np.array([1.0, 4.0])))
        1.0
    """
    if np.shape(prediction) != np.shape(target):
        raise ValueError(f"predictions {np.shape(prediction)} and targets {np.shape(target)} must "
                         "have the same shape")  # fmt: skip
    return _reduced(ops.abs(prediction - target), reduction)


def _reduced(values: Any, reduction: str) -> Any:
    if reduction == "none":
        return values
    if reduction not in ("mean", "sum"):
        raise ValueError(f"reduction must be 'mean', 'sum' or 'none', received {reduction!r}")
    return ops.mean(values) if reduction == "mean" else ops.sum(values)


@primitive(lambda g, y, a, logits: g)
def _probabilities(a: Any, /, logits: str) -> Any:
    """The predictions, refused where they can be no probabilities; rounding may leave one above 1,
    and NaN is left to whom it concerns."""
    low, high = np.minimum.reduce(a, None, initial=0), np.maximum.reduce(a, None, initial=1)
    if low < -ROUNDING or high > 1 + ROUNDING:
        raise ValueError(
            f"predictions must be probabilities, in [0, 1], received {np.min(a)} … {np.max(a)}; of "
            f"logits take loss={logits}, or end the model with nn.Softmax() or nn.Sigmoid()"
        )
    return a


def _argument(prediction: Any, activation: Primitive) -> Any:
    """What went into the activation that the prediction was recorded to come out of, or None."""
    if isinstance(prediction, Box) and prediction.record is not None:
        _, op, args, _, settings = prediction.record
        if op is activation.op and settings.get("axis", -1) in (-1, prediction.value.ndim - 1):
            return args[0]
    return None


LOSSES: dict[str, Function] = {
    "binary_crossentropy": binary_crossentropy,
    "categorical_crossentropy": categorical_crossentropy,
    "sparse_categorical_crossentropy": categorical_crossentropy,
    "mae": mean_absolute_error,
    "mean_absolute_error": mean_absolute_error,
    "mean_squared_error": mean_squared_error,
    "mse": mean_squared_error,
}

# Above which prediction a single output means "yes".
THRESHOLDS: dict[Any, float] = {
    losses.binary_cross_entropy_with_logits: 0.0,
    losses.binary_cross_entropy: 0.5,
    losses.mse_loss: 0.5,
    binary_crossentropy: 0.5,
    mean_squared_error: 0.5,
    mean_absolute_error: 0.5,
}
BINARY = (
    losses.binary_cross_entropy_with_logits, losses.binary_cross_entropy, binary_crossentropy,
)  # fmt: skip


def as_loss(loss: Any) -> Function:
    """The function that a loss's name stands for; a function as it is, refused if it is none."""
    if isinstance(loss, str):
        if loss not in LOSSES:
            raise ValueError(
                f"loss {loss!r} is not known; known are {', '.join(map(repr, LOSSES))}, and any "
                "function of (prediction, target), such as tg.cross_entropy of logits"
            )
        return LOSSES[loss]
    return _checked(loss, "loss")


def takes_probabilities(loss: Function) -> bool:
    """Whether the loss looks for the logits in what was recorded."""
    return _plain(loss) in (categorical_crossentropy, binary_crossentropy)


def unreduced(loss: Function) -> Function:
    """The loss as a function that takes reduction="none".

    Raises:  ValueError if it has none, or is set to give something else than the mean
    """
    function = _plain(loss)
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


def beside(target: Array, prediction: Any) -> Array:
    """The target in the shape in which it stands beside the prediction: a column for a column,
    and class indices without the axis that they do not need."""
    shape = prediction.shape
    if len(shape) > 1 and target.shape != shape:
        if shape[-1] == 1 and target.shape == shape[:-1]:
            return target[..., None]
        if target.shape == (*shape[:-1], 1) and target.dtype.kind in "iu":
            return target[..., 0]
    return target


def _checked(function: Any, what: str) -> Function:
    if inspect.isclass(function) or not callable(function):
        raise TypeError(
            f"a {what} is a function of (prediction, target) or a name, received {function!r:.60}"
        )
    try:
        first = next(iter(inspect.signature(function).parameters), "")
    except (TypeError, ValueError):  # some of C's functions do not tell
        first = ""
    if first == "y_true":
        raise TypeError(
            f"a {what} is called with (prediction, target), but {name_of(function)} starts with "
            "y_true: write lambda prediction, target: function(target, prediction)"
        )
    return function  # type: ignore[no-any-return]


def name_of(function: Any) -> str:
    """The name that a function's values get in the History."""
    inner = function.func if isinstance(function, partial) else function
    return str(getattr(inner, "__name__", type(inner).__name__))


# --- metrics --------------------------------------------------------------------------------------


def binary_accuracy(prediction: Any, target: Any, threshold: float = 0.5) -> Array:
    """For each sample the share of its outputs that are on the right side of the threshold.

    Shapes:  prediction and target (m,) or (m, k), targets 0 and 1  →  (m,)
    Raises:  ValueError if the shapes differ
    Source:  keras.metrics.BinaryAccuracy. The threshold of logits is 0, which metrics=["accuracy"]
             takes by itself where the loss takes logits
    Example:
        >>> binary_accuracy(np.array([[0.9], [0.2]]), np.array([[1], [1]]))
        array([1., 0.])
    """
    if np.shape(prediction) != np.shape(target):
        raise ValueError(
            f"binary_accuracy: predictions {np.shape(prediction)} and targets {np.shape(target)} "
            "must have the same shape"
        )
    return _per_sample((np.asarray(prediction) > threshold) == target)


def categorical_accuracy(prediction: Any, target: Any) -> Array:
    """For each sample whether its largest output is that of the target's class.

    Shapes:  prediction (m, k), target (m,) class indices or (m, k) one-hot rows  →  (m,)
    Raises:  ValueError if the shapes do not fit
    Source:  keras.metrics.CategoricalAccuracy, SparseCategoricalAccuracy
    Example:
        >>> categorical_accuracy(np.array([[0.1, 0.9], [0.7, 0.3]]), np.array([1, 1]))
        array([1., 0.])
    """
    p = np.asarray(prediction)
    return _per_sample(p.argmax(axis=-1) == _classes(p, target))


def top_k_accuracy(prediction: Any, target: Any, k: int = 5) -> Array:
    """For each sample whether fewer than k outputs are larger than that of the target's class.

    For another k: `metrics={"top_3": partial(top_k_accuracy, k=3)}`.

    Shapes:  prediction (m, n), target (m,) class indices or (m, n) one-hot rows  →  (m,)
    Raises:  ValueError if the shapes do not fit or k is no positive integer
    Source:  keras.metrics.TopKCategoricalAccuracy, SparseTopKCategoricalAccuracy
    Example:
        >>> top_k_accuracy(np.array([[0.5, 0.3, 0.2], [0.5, 0.3, 0.2]]), np.array([1, 2]), k=2)
        array([1., 0.])
    """
    if not isinstance(k, (int, np.integer)) or k < 1:
        raise ValueError(f"k must be a positive integer, received {k!r}")
    p = np.asarray(prediction)
    own = np.take_along_axis(p, _classes(p, target)[..., None], axis=-1)
    return _per_sample(((p > own).sum(axis=-1) < k) & np.isfinite(own[..., 0]))


def _classes(prediction: Array, target: Any) -> Array:
    """The class of each row of targets, given by its index or as the largest of its row."""
    t = np.asarray(target)
    if prediction.ndim > 1 and t.shape == prediction.shape:
        return np.asarray(t.argmax(axis=-1))
    if prediction.ndim < 2 or t.shape != prediction.shape[:-1]:
        raise ValueError(
            f"for predictions {prediction.shape}, targets are class indices or rows of the same "
            f"shape, received {t.shape}"
        )
    return t.astype(np.intp, copy=False)


def _per_sample(right: Array) -> Array:
    if right.ndim == 1:
        return right.astype(np.float64)
    return np.asarray(right.reshape(len(right), -1).mean(axis=1))


METRICS: dict[str, Function] = {
    "binary_accuracy": binary_accuracy,
    "categorical_accuracy": categorical_accuracy,
    "mae": mean_absolute_error,
    "mean_absolute_error": mean_absolute_error,
    "mean_squared_error": mean_squared_error,
    "mse": mean_squared_error,
    "sparse_categorical_accuracy": categorical_accuracy,
    "sparse_top_k_categorical_accuracy": top_k_accuracy,
    "top_k_categorical_accuracy": top_k_accuracy,
}


def as_metrics(metrics: Any, loss: Function) -> dict[str, Function]:
    """The metrics by the names that their values get, in the order given.

    "accuracy" is told by loss and shapes what it counts, as in Keras, with one difference: a
    single output is compared with 0 where the loss takes logits, not with ½.
    """
    if isinstance(metrics, (str, bytes)) or callable(metrics):
        raise TypeError(f"metrics is a list, such as ['accuracy'], received {metrics!r:.60}")
    given = metrics.items() if isinstance(metrics, Mapping) else ((None, m) for m in metrics or ())
    found: dict[str, Function] = {}
    for name, metric in given:
        if not isinstance(metric, str):
            function = _checked(metric, "metric")
        elif metric in ("accuracy", "acc"):
            function = partial(_accuracy, loss)
        elif metric == "binary_accuracy":
            function = partial(binary_accuracy, threshold=THRESHOLDS.get(_plain(loss), 0.5))
        elif metric in METRICS:
            function = METRICS[metric]
        else:
            raise ValueError(
                f"metric {metric!r} is not known; known are 'accuracy', "
                f"{', '.join(map(repr, METRICS))}, and any function of (prediction, target)"
            )
        name = str(name or (metric if isinstance(metric, str) else name_of(metric)))
        if name == "loss" or name in found:
            raise ValueError(
                f"two columns of the History would be called {name!r}; give names: "
                "metrics={'name': metric}"
            )
        found[name] = function
    return found


def _accuracy(loss: Function, prediction: Array, target: Array) -> Array:
    """What Keras means by "accuracy", according to the loss and the shapes."""
    if prediction.ndim == 1 or prediction.shape[-1] == 1:
        if (threshold := THRESHOLDS.get(_plain(loss))) is None:
            raise ValueError(
                f"'accuracy' of a single output: whether {name_of(loss)} takes logits or "
                "probabilities is not known; give metrics={'accuracy': "
                "partial(tg.metrics.binary_accuracy, threshold=0.5)}, or 0 for logits"
            )
        return binary_accuracy(prediction, target, threshold)
    if _plain(loss) in BINARY:
        raise ValueError(
            f"'accuracy' of {prediction.shape[-1]} outputs beside the binary loss "
            f"{name_of(loss)}: write 'binary_accuracy' (each output by itself) or "
            "'categorical_accuracy' (the largest, which is what Keras means here)"
        )
    return categorical_accuracy(prediction, target)


def _plain(loss: Any) -> Any:
    """The function in a partial one, or in a loss that is a module."""
    return loss.func if isinstance(loss, partial) else getattr(loss, "_loss", loss)


def is_ours(metric: Function) -> bool:
    """Whether it is a function of this module, which keeps nothing and looks at nothing else.

    Example:
        >>> is_ours(partial(top_k_accuracy, k=3)), is_ours(tg.mse_loss)
        (True, False)
    """
    return getattr(_plain(metric), "__module__", None) == __name__


def total(metric: Function, prediction: Array, target: Array) -> float:
    """The metric of a batch, added up over its samples."""
    values = np.asarray(metric(prediction, target))
    m = len(prediction)
    if values.dtype.kind not in "fiub" or values.ndim > 1 or values.size not in (1, m):
        raise TypeError(
            f"metric {name_of(metric)} must give a number, or one for each of the {m} samples, "
            f"received {describe(values)}"
        )
    return float(values.sum()) * (m / values.size)


def direction(key: str) -> str:
    """Whether a quantity of the History is to become small ("min") or large ("max").

    Raises:  ValueError for a name that does not tell
    """
    name = key.removeprefix("val_")
    if name in LOSSES or name == "loss":
        return "min"
    if name == "acc" or name.endswith("accuracy"):
        return "max"
    raise ValueError(f"whether {key!r} is to become small or large is not known; give mode='min' "
                     "or mode='max'")  # fmt: skip
