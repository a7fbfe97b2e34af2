"""Metrics that measure a training, also under the names that Keras gives them.

A metric is a function of (prediction, target), in this order. It gets plain arrays and returns a
number for each sample, or one for the batch. The losses with Keras' names are metrics too.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from .. import losses
from ..arrays import Array, describe
from .keras_losses import (
    LOSSES,
    LossOrMetric,
    binary_crossentropy,
    categorical_crossentropy,
    checked_function,
    mean_absolute_error,
    mean_squared_error,
    name_of,
    unwrapped,
)

__all__ = [
    "binary_accuracy",
    "binary_crossentropy",
    "categorical_accuracy",
    "categorical_crossentropy",
    "mean_absolute_error",
    "mean_squared_error",
    "top_k_accuracy",
]

# The threshold above which a single output means class 1, by loss.
THRESHOLDS: dict[Any, float] = {
    losses.binary_cross_entropy_with_logits: 0.0,
    losses.binary_cross_entropy: 0.5,
    losses.mse_loss: 0.5,
    binary_crossentropy: 0.5,
    mean_squared_error: 0.5,
    mean_absolute_error: 0.5,
}
BINARY = (
    losses.binary_cross_entropy_with_logits,
    losses.binary_cross_entropy,
    binary_crossentropy,
)


def binary_accuracy(prediction: Any, target: Any, threshold: float = 0.5) -> Array:
    """Return for each sample the fraction of its outputs that are on the correct side of the
    threshold.

    Shapes:  prediction and target (m,) or (m, k), targets 0 and 1  →  (m,)
    Raises:  ValueError if the shapes differ
    Source:  keras.metrics.BinaryAccuracy. For logits the threshold is 0; metrics=["accuracy"] uses
             it if the loss takes logits
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
    """Return for each sample 1 if its largest output is that of the target's class, else 0.

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
    """Return for each sample 1 if fewer than k outputs are larger than that of its class, else 0.

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
    """Return the class of each row of targets, given by its index or as the largest of its row."""
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


METRICS: dict[str, LossOrMetric] = {
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


def as_metrics(metrics: Any, loss: LossOrMetric) -> dict[str, LossOrMetric]:
    """Return the metrics by the names of their columns in the History, in the order given.

    The meaning of "accuracy" depends on loss and shapes, as in Keras, with one difference: a single
    output is compared with 0, not with ½, if the loss takes logits.
    """
    if isinstance(metrics, (str, bytes)) or callable(metrics):
        raise TypeError(f"metrics is a list, such as ['accuracy'], received {metrics!r:.60}")
    given = metrics.items() if isinstance(metrics, Mapping) else ((None, m) for m in metrics or ())
    found: dict[str, LossOrMetric] = {}
    for name, metric in given:
        if not isinstance(metric, str):
            function = checked_function(metric, "metric")
        elif metric in ("accuracy", "acc"):
            function = partial(_accuracy, loss)
        elif metric == "binary_accuracy":
            function = partial(binary_accuracy, threshold=THRESHOLDS.get(unwrapped(loss), 0.5))
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


def _accuracy(loss: LossOrMetric, prediction: Array, target: Array) -> Array:
    """Return Keras' "accuracy", according to the loss and the shapes."""
    if prediction.ndim == 1 or prediction.shape[-1] == 1:
        if (threshold := THRESHOLDS.get(unwrapped(loss))) is None:
            raise ValueError(
                f"'accuracy' of a single output: whether {name_of(loss)} takes logits or "
                "probabilities is not known; give metrics={'accuracy': "
                "partial(tg.metrics.binary_accuracy, threshold=0.5)}, or 0 for logits"
            )
        return binary_accuracy(prediction, target, threshold)
    if unwrapped(loss) in BINARY:
        raise ValueError(
            f"'accuracy' of {prediction.shape[-1]} outputs beside the binary loss "
            f"{name_of(loss)}: write 'binary_accuracy' (each output by itself) or "
            "'categorical_accuracy' (the largest, which is what Keras means here)"
        )
    return categorical_accuracy(prediction, target)


def is_builtin(metric: LossOrMetric) -> bool:
    """Return True for a metric of this package, which has no state.

    Example:
        >>> is_builtin(partial(top_k_accuracy, k=3)), is_builtin(tg.mse_loss)
        (True, False)
    """
    return getattr(unwrapped(metric), "__module__", None) in (
        __name__,
        mean_squared_error.__module__,
    )


def sum_over_samples(metric: LossOrMetric, prediction: Array, target: Array) -> float:
    """Return the metric of a batch times the number of its samples: the sum over the samples."""
    values = np.asarray(metric(prediction, target))
    m = len(prediction)
    if values.dtype.kind not in "fiub" or values.ndim > 1 or values.size not in (1, m):
        raise TypeError(
            f"metric {name_of(metric)} must give a number, or one for each of the {m} samples, "
            f"received {describe(values)}"
        )
    return float(values.sum()) * (m / values.size)


def direction(key: str) -> str:
    """Return "min" for a column of the History that should become small, "max" for a large one.

    Raises:  ValueError for a name that does not tell
    """
    name = key.removeprefix("val_")
    if name in LOSSES or name == "loss":
        return "min"
    if name == "acc" or name.endswith("accuracy"):
        return "max"
    raise ValueError(
        f"whether {key!r} should become small or large is not known; give mode='min' or mode='max'"
    )
