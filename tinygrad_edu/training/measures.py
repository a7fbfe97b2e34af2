"""`Measures`: loss, metrics and penalty of a training, for a batch and for all samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np

from .. import ops
from ..arrays import Array, describe
from ..engine import Box
from ..nn import Module
from ..recording import no_grad
from .keras_losses import (
    LossOrMetric,
    as_loss,
    match_target_shape,
    per_sample_loss,
    takes_probabilities,
)
from .loop import Logs, mode
from .metrics import as_metrics, sum_over_samples
from .samples import Samples, dtype_of


class Measures:
    """The loss, the metrics and the penalty, read from the arguments of `fit` and `evaluate`.

    Example:
        >>> measures = Measures("mse", ["mae"])
        >>> model = tg.nn.Linear(1, 1, init=tg.init.zeros)
        >>> measures.over(model, Samples.of((np.ones((2, 1)), [[1.0], [3.0]])), batch_size=2)
        {'loss': 5.0, 'mae': 2.0}
    """

    def __init__(
        self, loss: Any, metrics: Any, penalty: Callable[[Module], Any] | None = None
    ) -> None:
        self.loss, self.penalty = as_loss(loss), penalty
        self.metrics = as_metrics(metrics, self.loss)
        self.names = ["loss", *self.metrics]

    def over(self, model: Module, samples: Samples, batch_size: int) -> Logs:
        """Return the means over all samples, in eval mode and without a record."""
        sums = np.zeros(len(self.names))
        # A loss of probabilities looks for the logits in the record of the last operation.
        recording = nullcontext() if takes_probabilities(self.loss) else no_grad()
        with mode(model, False):
            given = samples.for_model(model)
            for x, y, *weights in given.batches(dtype_of(model), batch_size):
                with recording:
                    prediction = model(x)
                with no_grad():
                    loss = number(loss_of(self.loss, prediction, y, *weights))
                sums += self.sums(len(x), loss, checked_output(prediction, len(x)), y)
            means = sums / len(samples)
            if self.penalty is not None:
                with no_grad():
                    means[0] += number(self.penalty(model))
        return dict(zip(self.names, means.tolist(), strict=True))

    def sums(self, m: int, loss: float, prediction: Array, y: Array) -> list[float]:
        """Return loss and metrics of a batch, each added up over its m samples."""
        if not self.metrics:
            return [loss * m]
        y = match_target_shape(y, prediction)
        return [
            loss * m,
            *(sum_over_samples(metric, prediction, y) for metric in self.metrics.values()),
        ]

    def means(self, counted: Sequence[float]) -> Logs:
        """Return the means by name from the number of samples and the `sums` over them."""
        m, *sums = counted
        return {name: value / m for name, value in zip(self.names, sums, strict=True)}


def loss_of(loss: LossOrMetric, prediction: Any, y: Array, weights: Array | None = None) -> Any:
    """Return the loss of a batch; with weights Σ wᵢ lᵢ / m, as in Keras."""
    y = match_target_shape(y, prediction)
    if weights is None:
        return loss(prediction, y)
    each = per_sample_loss(loss)(prediction, y, reduction="none")
    each = ops.mean(ops.reshape(each, (len(y), -1)), axis=1)
    return ops.sum(each * weights.astype(each.dtype)) / len(y)


def check_loss(loss: Any) -> None:
    """Raise a ValueError if the loss is not one number."""
    if np.size(loss.value if isinstance(loss, Box) else loss) != 1:
        raise ValueError(
            f"the loss of a batch must be one number, received {describe(loss)}; "
            "take reduction='mean'"
        )


def number(loss: Any) -> float:
    """Return a loss as a Python float.

    Raises:  ValueError if it is not one number
    """
    check_loss(loss)
    return float(loss.value if isinstance(loss, Box) else loss)


def checked_output(prediction: Any, m: int) -> Array:
    """Return the model's output for m samples as an array.

    Raises:  ValueError if it has not m rows
    """
    array = prediction.value if isinstance(prediction, Box) else prediction
    if not isinstance(array, np.ndarray) or array.ndim == 0 or len(array) != m:
        raise ValueError(
            f"for {m} samples the model must give an array of {m} rows, gave {describe(prediction)}"
        )
    return array
