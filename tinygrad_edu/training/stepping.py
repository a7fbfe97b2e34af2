"""Steps: forward pass, loss, backward pass and update for one batch, eager or captured."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from math import nan
from typing import Any

import numpy as np

from ..anomaly import first_nonfinite
from ..arrays import Array, describe
from ..capture_gate import CannotCapture, StaleStep, all_finite
from ..capturing.compiled import CompiledStep
from ..capturing.runs import Run
from ..engine import Box
from ..nn import Module
from ..tensor import Tensor
from .history import History
from .keras_losses import LossOrMetric
from .library import OwnParts
from .loop import NonFiniteLoss, finite
from .measures import Measures, check_loss, loss_of, number
from .samples import Samples, dtype_of, is_input

TrainStep = Callable[..., tuple[Any, Any]]
COMPILE = (True, False, "auto", "numba")
WAY_OUT = "fit(compile=False) runs the model and the loss in Python at every step"


def train_step(
    model: Module,
    loss: LossOrMetric,
    optimizer: Any,
    penalty: Callable[[Module], Any] | None = None,
) -> TrainStep:
    """Return a function of (x, y) or (x, y, weights of the samples) that makes one training step.

    It returns the loss and the prediction before the step, as tensors. If the loss is not finite it
    raises NonFiniteLoss and changes no weight.

    Example:
        >>> model = tg.nn.Linear(1, 1, init=tg.init.ones)
        >>> step = train_step(model, tg.mse_loss, tg.optim.SGD(model.parameters(), lr=0.1))
        >>> x = np.ones((4, 1))
        >>> [round(step(x, 0 * x)[0].item(), 6) for _ in range(2)]
        [1.0, 0.36]
    """

    def step(x: Array, y: Array, weights: Array | None = None) -> tuple[Any, Any]:
        prediction = model(x)
        try:
            value = loss_of(loss, prediction, y, weights)
        except ValueError as error:  # some losses refuse predictions that are NaN
            if isinstance(prediction, Box) and not finite(prediction.value):
                raise NonFiniteLoss(nan, cause(prediction, model)) from error
            raise
        if penalty is not None:
            value = value + penalty(model)
        check_loss(value)
        if not isinstance(value, Tensor):
            raise TypeError(
                f"the loss must be a tensor, computed from the prediction, received "
                f"{describe(value)}; do not call numpy(), item() or float() in between"
            )
        if not all_finite(value):
            raise NonFiniteLoss(number(value), cause(value, model))
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        return value, prediction

    return step


class Stepper:
    """The steps of a training, epoch by epoch: eager, or captured where `compile` says so.

    step      a function of the arrays of a batch, such as `train_step` returns
    compile   True, False, "auto" or "numba", as `fit` takes it
    parts     everything that the step runs: with "auto" each must be this package's own, which is
              checked again before each epoch. Such a step is run eagerly if it cannot be captured,
              and is not compared with its function. With `compile=True` it is the caller who knows
              that the step keeps the contract, and `CannotCapture` is raised
    too_few   True if there are too few steps for "auto" to be faster
    callbacks_between
              True if callbacks run between two steps: each is then a call of its own
    user_metrics
              True if a metric is not the package's own: it may keep what it is given

    `history.compiled` is True, or the reason why the steps are eager; `history.native` is the same
    for machine code.

    Raises:  ValueError for another `compile`
    """

    def __init__(
        self,
        step: Callable[..., Any],
        history: History,
        *,
        compile: bool | str,
        parts: Sequence[Any],
        too_few: bool = False,
        callbacks_between: bool = True,
        user_metrics: bool = False,
    ) -> None:
        if compile not in COMPILE:
            raise ValueError(f"compile is True, False, 'auto' or 'numba', received {compile!r}")
        self._step, self._history = step, history
        self._callbacks_between, self._user_metrics = callbacks_between, user_metrics
        self._parts = OwnParts(parts) if compile == "auto" else None
        self._captured = CompiledStep(
            step,
            check=False if compile == "auto" else None,
            backend="numba" if compile == "numba" else "numpy",
        )
        history.native = False
        history.compiled = "there are too few steps" if too_few and self._parts else bool(compile)
        self._look()

    @property
    def is_captured(self) -> bool:
        """True while the steps are captured."""
        return self._history.compiled is True

    def _look(self) -> None:
        """Switch to eager steps if a part is not the package's own any more."""
        if self.is_captured and self._parts is not None:
            self._history.compiled = self._parts.foreign() or True

    def over(
        self, samples: Samples, model: Module, measures: Measures, batch_size: int, rng: Any
    ) -> Generator[list[float], None, None]:
        """Make the steps of an epoch; yield for each the number of samples and the sums of loss and
        metrics.
        """
        dtype = dtype_of(model)
        whole = is_input(samples.x, dtype)  # batches are rows of x itself
        sources = (samples.x if whole else None, *samples.arrays[1:])
        with self.epoch(sources) as step:
            # A captured step keeps no batch. What a metric may keep is copied.
            keep = self._callbacks_between or not self.is_captured
            for x, *y in samples.batches(dtype, batch_size, rng=rng, keep=keep):
                loss, prediction = step(x, *y)
                m, predicted, target = len(x), prediction.value, y[0]
                if self._user_metrics and not keep:
                    predicted, target = predicted.copy(), target.copy()
                yield [m, *measures.sums(m, float(loss.value), predicted, target)]

    @contextmanager
    def epoch(self, sources: Sequence[Any]) -> Iterator[Callable[..., Any]]:
        """Yield the step for the batches of an epoch, which are rows of the sources (see `Run`)."""
        self._look()
        if not self.is_captured:
            yield self._step
            return
        with (
            nullcontext(self._captured)
            if self._callbacks_between
            else Run(self._captured, sources, shared=self._user_metrics) as run
        ):
            yield lambda *batch: self._one(run, batch)

    def _one(self, run: Callable[..., Any], batch: Sequence[Array]) -> Any:
        """Make a step of a captured epoch, or an eager one after capturing was given up."""
        if not self.is_captured:
            return self._step(*map(np.copy, batch))  # it may keep them, and they are written over
        try:
            result = run(*batch)
        except StaleStep as reason:
            reason.add_note(WAY_OUT)
            raise
        except CannotCapture as reason:  # raised while tracing, which has moved nothing
            if self._parts is None:
                reason.add_note(WAY_OUT)
                raise
            self._history.compiled = str(reason)
        else:
            self._note_native()
            return result
        return self._one(run, batch)

    def _note_native(self) -> None:
        """Set `history.native`: True if all batch sizes run as machine code, or the reason why
        not.
        """
        if told := self._captured.native:
            self._history.native = next((x for x in told if x is not True), True)


def cause(loss: Any, model: Module) -> str:
    """Return a sentence on the first number that is not finite: of an operation or a parameter."""
    if not isinstance(loss, Box) or loss.record is None:
        return "it was not computed from a parameter"
    found = first_nonfinite(loss)
    if found is None:
        return "all that was recorded is finite"
    if not found.op:
        for name, parameter in model.named_parameters():
            if parameter.value is found.value:
                return nonfinite_parameter(name)
    return str(found)


def nonfinite_parameter(name: str) -> str:
    """Return the sentence on a parameter that is not finite."""
    return f"parameter {name} is not finite since the last step, which has been undone"
