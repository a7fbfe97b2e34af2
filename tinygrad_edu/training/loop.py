"""The training loop: epochs, batches, callbacks and Ctrl-C; after an error the weights are
restored.

The caller of `train` passes the steps of an epoch as a generator, as `fit` does (see
`stepping`).
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from operator import add
from types import FrameType
from typing import Any

import numpy as np

from ..nn import Module
from ..threads import blas_threads
from .callbacks import HOOKS, Callback, hooks
from .history import History

__all__ = ["NonFiniteLoss", "train"]

Logs = dict[str, float]


class NonFiniteLoss(FloatingPointError):
    """The loss of a batch is NaN or infinite; the weights were restored to the step before.

    epoch, batch   where it happened; the first are 0
    cause          a sentence on the first number that is not finite
    history        the History so far

    Example:
        >>> model = tg.nn.Linear(1, 1, init=tg.init.ones)
        >>> sgd = tg.optim.SGD(model.parameters(), lr=1e200)
        >>> x, y = np.ones((4, 1)), np.zeros(4)
        >>> try:
        ...     with np.errstate(over="ignore"):
        ...         tg.fit(model, x, y, loss="mse", optimizer=sgd, epochs=9)
        ... except NonFiniteLoss as error:
        ...     print(error)
        the loss is inf in epoch 1, batch 0 (counted from 0); the weights are those of before
        mse_loss gave inf
          received (4, 1) float64
          received (4, 1) float64
    """

    def __init__(self, loss: float, cause: str) -> None:
        super().__init__(loss, cause)
        self.loss, self.cause = loss, cause
        self.epoch = self.batch = -1
        self.history: History | None = None

    def __str__(self) -> str:
        return (
            f"the loss is {self.loss} in epoch {self.epoch}, batch {self.batch} (counted from 0); "
            f"the weights are those of before\n{self.cause}"
        )


def train(
    model: Any,
    steps: Callable[[], Generator[Sequence[float], None, None]],
    *,
    batches: int,
    logs: Callable[[Sequence[float]], Logs],
    validate: Callable[[], Logs] = dict,
    epochs: range,
    callbacks: Sequence[Callback] = (),
    history: History | None = None,
    in_place: bool = False,
    optimizer: Any = None,
    threads: int | str | None = None,
    rows: int = 1,
) -> History:
    """Train for several epochs.

    steps      called for each epoch; returns a generator that makes a step on one of the `batches`
               each time it is advanced, and yields sums over the batch
    logs       maps these sums, added up over the epoch, to the values for the History
    validate   called after each epoch; returns the values for the History with the prefix `val_`
    optimizer  its states are restored with the weights when a step fails
    in_place   steps may overwrite the arrays of weights, as captured ones do
    threads    for the matrix products (see `tg.threads`) of batches with `rows` rows

    Ctrl-C ends the training after the current step; a second one raises KeyboardInterrupt. After an
    error in a step the weights are those before it.

    Example:
        >>> w = tg.nn.Linear(1, 1, init=tg.init.ones)
        >>> def steps():
        ...     for (x,) in tg.data.minibatches(np.arange(5.0), batch_size=2):
        ...         w.weight.data = w.weight.data / 2
        ...         yield [float(x.sum()), len(x)]
        >>> logs = lambda sums: {"loss": sums[0] / sums[1]}
        >>> train(w, steps, batches=3, logs=logs, epochs=range(2)).history
        {'loss': [2.0, 2.0]}
    """
    history = History() if history is None else history
    history.interrupted = False
    weights = _Weights(model, optimizer, in_place)
    sizes = [tensor.value.size for tensor in weights.tensors if tensor.value.ndim > 1]
    largest = rows * max(sizes, default=0)
    with (
        blas_threads(threads, multiplications=largest) as history.threads,
        mode(model, True),
        _stoppable(model),
        _CtrlC() as ctrl_c,
    ):
        loop = _Loop(model, steps, batches, logs, validate, callbacks, history, weights, ctrl_c)
        where = loop.run(epochs)
    if where:
        kept = "a callback has put back" if weights.moved() else "of the last whole step"
        print(f"training was interrupted {where}; the weights are those {kept}", file=sys.stderr)
    return history


@dataclass
class _Loop:
    """The state of a training, with the arguments of `train`."""

    model: Any
    steps: Callable[[], Generator[Sequence[float], None, None]]
    batches: int
    logs: Callable[[Sequence[float]], Logs]
    validate: Callable[[], Logs]
    callbacks: Sequence[Callback]
    history: History
    weights: _Weights
    ctrl_c: _CtrlC
    batch: int = 0  # the one at hand

    def __post_init__(self) -> None:
        self.hooks = {name: hooks(self.callbacks, name) for name in HOOKS}

    def run(self, epochs: range) -> str:
        """Run the epochs; return where Ctrl-C ended them, or an empty text."""
        where = ""
        ended: Logs = {}
        self._call("on_train_begin")
        for epoch in epochs:
            self._call("on_epoch_begin", epoch)
            try:
                if (sums := self._epoch(epoch)) is None:
                    where = f"in epoch {epoch}, before batch {self.batch} (counted from 0)"
                    break
                ended = self.logs(sums)
                ended |= {f"val_{key}": value for key, value in self.validate().items()}
            except NonFiniteLoss as error:
                self.weights.undo()
                error.epoch, error.batch, error.history = epoch, self.batch, self.history
                raise
            self._note(epoch, ended)
            if self.ctrl_c.pressed:
                where = f"after epoch {epoch} (counted from 0)"
                break
            if self.model.stop_training:
                break
        self.history.interrupted = bool(where)
        self.weights.note()
        for hook in self.hooks["on_train_end"]:
            hook(ended)
        return where

    def _epoch(self, epoch: int) -> Sequence[float] | None:
        """Make the steps of an epoch; return their sums, or None after Ctrl-C."""
        sums: Sequence[float] = ()
        begin, end = self.hooks["on_train_batch_begin"], self.hooks["on_train_batch_end"]
        with closing(self.steps()) as steps:
            for batch in range(self.batches):
                self.batch = batch
                if self.ctrl_c.pressed:
                    return None
                for hook in begin:
                    hook(batch, {})
                self.weights.note()
                try:
                    counted = next(steps)
                except BaseException as error:
                    self.weights.undo()
                    if isinstance(error, Exception) and not isinstance(error, NonFiniteLoss):
                        error.add_note(f"in epoch {epoch}, batch {batch} (counted from 0)")
                    raise
                sums = [*map(add, sums, counted)] if sums else counted
                if end:
                    running = self.logs(sums)
                    for hook in end:
                        hook(batch, running)
                if self.model.stop_training:
                    break
        return sums

    def _note(self, epoch: int, ended: Logs) -> None:
        """Add an epoch to the History, with the entries that callbacks add to it."""
        self.history.append(epoch, ended)
        for hook in self.hooks["on_epoch_end"]:
            columns = len(ended)
            hook(epoch, ended)
            if len(ended) > columns:  # of this callback, and behind the others
                self.history.add(dict(list(ended.items())[columns:]))

    def _call(self, name: str, *args: Any) -> None:
        """Call the hooks of that name, each with its own copy of the logs."""
        for hook in self.hooks[name]:
            hook(*args, {})


class _Weights:
    """Parameters, buffers and optimizer states before the last step and before the one before.

    An eager step replaces arrays and writes into none, so references are enough. A captured step
    overwrites arrays (`copied`), so copies are kept; none during the first step, which is recorded
    and takes more memory than the others.
    """

    def __init__(self, model: Module, optimizer: Any, copied: bool) -> None:
        self.tensors = [*model.parameters(), *model.buffers()]
        self.optimizer = optimizer if hasattr(optimizer, "state") else None
        self.copied = False
        self.states = self.earlier_states = self._states()
        self.copied = copied
        self.before = [tensor.value for tensor in self.tensors]
        self.earlier = self.before
        self.steps = 0

    def note(self) -> None:
        self.steps += 1
        self.earlier, room = self.before, self.earlier
        self.before = [tensor.value for tensor in self.tensors]
        self.earlier_states, self.states = self.states, self._states()
        if self.copied and self.steps in (2, 3):
            self.before = [x.copy() for x in self.before]
        elif self.copied and self.steps > 3:  # these two take turns
            for copy, x in zip(room, self.before, strict=True):
                copy[...] = x  # half of what np.copyto takes to be called
            self.before = room

    def _states(self) -> dict[int, Any]:
        """Return the state of each parameter; a step replaces these objects."""
        if self.optimizer is None:
            return {}
        states: dict[int, Any] = dict(self.optimizer.state)
        if self.copied and any(states.values()):
            return {i: {k: np.array(x) for k, x in own.items()} for i, own in states.items()}
        return states

    def moved(self) -> bool:
        """Return True if the weights have changed since they were noted."""
        pairs = zip(self.tensors, self.before, strict=True)
        return not all(np.array_equal(t.value, v, equal_nan=True) for t, v in pairs)

    def undo(self) -> None:
        """Restore the weights before the last step, and those before one more step if that one made
        the NaN.
        """
        last = all(map(finite, self.before))
        values = self.before if last else self.earlier
        if self.optimizer is not None:
            self.optimizer.state = dict(self.states if last else self.earlier_states)
        for tensor, value in zip(self.tensors, values, strict=True):
            tensor.value = value.copy() if self.copied else value


def finite(x: Any) -> bool:
    """Return True if all entries are finite numbers.

    Example:
        >>> finite([1.0, 2.0]), finite([1.0, np.nan])
        (True, False)
    """
    return bool(np.isfinite(x).all())


class _CtrlC:
    """Note the first Ctrl-C, so that no KeyboardInterrupt is raised within a step.

    Only in the main thread, and only if no other handler is set.
    """

    def __init__(self) -> None:
        self.pressed = False

    def __enter__(self) -> _CtrlC:
        self.ours = (
            threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        )
        if self.ours:
            signal.signal(signal.SIGINT, self._press)
        return self

    def _press(self, number: int, frame: FrameType | None) -> None:
        if self.pressed:
            raise KeyboardInterrupt
        self.pressed = True

    def __exit__(self, *failure: object) -> None:
        if self.ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def mode(model: Module, training: bool) -> Iterator[None]:
    """Set all modules to `train()` or `eval()`; restore each at the end of the block.

    Example:
        >>> layer = tg.nn.Dropout(0.5)
        >>> with mode(layer, training=False):
        ...     print(layer.training)
        False
        >>> layer.training
        True
    """
    before = [(module, module.training) for module in model.modules()]
    model.train(training)
    try:
        yield
    finally:
        for module, was in before:
            module.training = was


@contextmanager
def _stoppable(model: Any) -> Iterator[None]:
    """Set `model.stop_training`, by which callbacks end the training, while the block runs."""
    model.stop_training = False
    try:
        yield
    finally:
        del model.stop_training
