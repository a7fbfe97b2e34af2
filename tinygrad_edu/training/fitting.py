"""Training: `fit`, `evaluate` and `predict`, with Keras' names and Keras' arithmetic.

`fit` reads its arguments once, and joins the parts of a training:

samples    inputs, targets and weights, cut into those for training and for validation
measures   loss, metrics and penalty
stepping   one step on one batch, eager or captured
loop       epochs, batches, callbacks, Ctrl-C
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from math import nan
from typing import Any

import numpy as np

from .. import optim
from ..arrays import Array
from ..data import minibatches
from ..init import Random, as_random
from ..nn import Module
from ..recording import no_grad
from .callbacks import Callback, as_callbacks, hooks
from .history import History
from .loop import Logs, NonFiniteLoss, finite, mode, train
from .measures import Measures, output
from .metrics import is_ours
from .progress import progress_bar
from .samples import Samples, as_input, converted, dtype_of, rows
from .stepping import Stepper, of_parameter, train_step

__all__ = ["evaluate", "fit", "predict"]

BETWEEN_STEPS = ("on_train_batch_begin", "on_train_batch_end")


def fit(
    model: Module,
    x: Any,
    y: Any,
    *,
    loss: Any,
    optimizer: Any,
    epochs: int = 1,
    batch_size: int = 32,
    validation_data: Any = None,
    validation_split: float = 0.0,
    validation_batch_size: int | None = None,
    metrics: Any = (),
    penalty: Callable[[Module], Any] | None = None,
    sample_weight: Any = None,
    class_weight: Mapping[int, float] | None = None,
    shuffle: bool = True,
    rng: Random | int | None = None,
    callbacks: Iterable[Any] | None = (),
    verbose: int | str = "auto",
    initial_epoch: int | None = None,
    history: History | None = None,
    compile: bool | str = "auto",
    threads: int | str | None = None,
) -> History:
    """Train a model as Keras' `compile` and `fit` do.

    loss               a function of (prediction, target), such as `tg.cross_entropy`, or a name:
                       "categorical_crossentropy", "sparse_categorical_crossentropy",
                       "binary_crossentropy" (these three take probabilities), "mse", "mae"
    optimizer          one that has the model's parameters, such as `tg.optim.SGD`, or the name of a
                       new one as Keras has it: "sgd" (lr=0.01), "adam" or "adamw" (0.001,
                       weight_decay=0.004); to go on with a history, the optimizer itself
    epochs             the number of the last epoch: those before `initial_epoch` are not run again
    validation_data    (x, y) or (x, y, sample_weight), measured after each epoch
    validation_split   or the share of the samples, taken from the end before they are shuffled
    metrics            names or functions of (prediction, target): "accuracy", "top_k_categorical_
                       accuracy" …; as a dict, with names of your own (see `tg.metrics`)
    penalty            a function of the model, added to the loss of each batch
    sample_weight      a factor for the loss of each sample, or class_weight: {class: factor}
    shuffle, rng       take the samples in a new order each epoch, drawn from `rng`: a Generator, a
                       RandomState or a seed
    callbacks          see `tg.callbacks`
    verbose            0: nothing, 1: a bar, 2: a line for each epoch; "auto": 1 on a terminal,
                       else 0
    history            go on with this one, from the epoch after its last
    compile            True: capture the step (see `tg.compile`), False: do not. "auto": capture it
                       where that is faster and every module, loss, metric, penalty and optimizer,
                       and every callback between batches, is of tinygrad_edu and unpatched; this is
                       looked at again before each epoch. True is your word that your own code keeps
                       the contract of `tg.compile`. "numba": the same as machine code, which takes
                       some seconds the first time. `history.compiled` and `history.native` say
                       True, or why not
    threads            for the matrix products: a number; None: those that NumPy's library takes;
                       "auto": by the size of the products and what the machine is doing, so that
                       the same seed may end in other last digits (see `tg.threads`).
                       `history.threads` says how many

    The loss and the metrics of an epoch are the means over its samples as they were met, while the
    weights moved; the last batch is what is left. The validation comes after the epoch, in `eval`
    mode. The data are not changed or copied as a whole: each batch is brought to the dtype of the
    parameters (whole numbers of 32 and 64 bits, which may be indices, stay as they are). Images of
    bytes stay bytes in memory: `x=tg.data.Pixels(images)`.

    With the same `history`, `optimizer` and `rng` (a generator in the same state, no seed) training
    in two parts is the same, bit for bit, as in one.

    Ctrl-C ends the training after the step at hand: the History so far comes back, with
    `interrupted` set. A second one raises KeyboardInterrupt, and the weights are those of the last
    whole step then too.

    Returns: a `History`
    Raises:  NonFiniteLoss (a FloatingPointError) where a loss is NaN or infinite, ValueError and
             TypeError for arguments that do not fit together
    Source:  keras.Model.fit, tests/training/test_fitting.py writes the arithmetic out in NumPy
    Example:
        >>> rng = np.random.default_rng(0)
        >>> x = rng.normal(size=(200, 2))
        >>> y = (x[:, 0] > x[:, 1]).astype(int)
        >>> model = tg.nn.Linear(2, 2, rng=rng)
        >>> sgd = tg.optim.SGD(model.parameters(), lr=0.5)
        >>> history = fit(model, x, y, loss=tg.cross_entropy, optimizer=sgd, epochs=5, rng=rng,
        ...               metrics=["accuracy"], validation_split=0.2)
        >>> list(history.history)
        ['loss', 'accuracy', 'val_loss', 'val_accuracy']
        >>> history.history["val_accuracy"][-1] > 0.9
        True
    """
    samples, held = _samples((x, y, sample_weight), class_weight, validation_data, validation_split)
    measures = Measures(loss, metrics, penalty)
    history, first = _begun(history, initial_epoch)
    optimizer = _optimizer(optimizer, model, history)
    epochs = _whole("epochs", epochs, 0)
    batch_size = _whole("batch_size", batch_size, 1)
    val_size = _whole(
        "batch_size", batch_size if validation_batch_size is None else validation_batch_size, 1
    )
    random = as_random(rng) if shuffle else None
    given = as_callbacks(callbacks)
    few = len(samples) * (epochs - first) < 100 * batch_size
    stepper = _stepper(model, measures, optimizer, history, given, compile, few)
    samples = samples.for_model(model)
    if epochs > first:  # gradients of an earlier training would only take memory
        optimizer.zero_grad()
    batches = -(-len(samples) // batch_size)
    params = {"epochs": epochs, "steps": batches, "optimizer": optimizer, "history": history}
    with _prepared(given, model, params, verbose) as prepared:
        return train(
            model,
            lambda: stepper.over(samples, model, measures, batch_size, random),
            batches=batches,
            logs=measures.means,
            validate=lambda: _validated(model, measures, held, val_size, given),
            epochs=range(first, epochs),
            callbacks=prepared,
            history=history,
            optimizer=optimizer,
            in_place=stepper.is_captured,
            threads=threads,
            rows=min(batch_size, len(samples)),
        )


def evaluate(
    model: Module,
    x: Any,
    y: Any,
    *,
    loss: Any,
    metrics: Any = (),
    penalty: Callable[[Module], Any] | None = None,
    sample_weight: Any = None,
    batch_size: int = 256,
    return_dict: bool = False,
) -> Any:
    """Return loss and metrics of a model on data, in `eval` mode; nothing is recorded or changed.

    The arguments are those of `fit`.

    Returns: the loss, or with metrics a list [loss, *metrics], or a dict of them
    Raises:  ValueError and TypeError for arguments that do not fit together
    Source:  keras.Model.evaluate
    Example:
        >>> model = tg.nn.Linear(1, 2, init=tg.init.zeros)
        >>> x, y = np.ones((4, 1)), np.array([0, 0, 0, 1])
        >>> values = evaluate(model, x, y, loss=tg.cross_entropy, metrics=["accuracy"])
        >>> [round(value, 6) for value in values]
        [0.693147, 0.75]
    """
    measures = Measures(loss, metrics, penalty)
    values = measures.over(model, Samples.of((x, y, sample_weight)), batch_size)
    if return_dict:
        return values
    return list(values.values()) if measures.metrics else values["loss"]


def predict(model: Module, x: Any, *, batch_size: int = 256) -> Array:
    """Return the model's output for each sample, in `eval` mode and without a record.

    Shapes:  (m, …) → (m, …)
    Raises:  ValueError for no samples
    Source:  keras.Model.predict
    Example:
        >>> predict(tg.nn.Linear(2, 1, init=tg.init.ones), np.ones((3, 2)))
        array([[2.],
               [2.],
               [2.]])
    """
    dtype = dtype_of(model)
    x = converted(rows(x, "x"), dtype)
    with mode(model, False), no_grad():
        parts = [
            output(model(as_input(part, dtype)), len(part))
            for (part,) in minibatches(x, batch_size=batch_size)
        ]
    return np.concatenate(parts)


# --- the arguments of fit -------------------------------------------------------------------------


def _samples(
    data: Any, class_weight: Any, validation_data: Any, validation_split: float
) -> tuple[Samples, Samples | None]:
    """Return the samples to train on, and those to validate with if there are any."""
    samples, held = Samples.of(data), None
    if validation_data is not None:
        if validation_split:
            raise ValueError("give validation_data or validation_split, not both")
        held = Samples.of(validation_data, "validation ")
    elif validation_split:
        samples, held = samples.split(validation_split)
    if held is not None and held.x.shape[1:] != samples.x.shape[1:]:
        raise ValueError(f"x {samples.x.shape} and validation x {held.x.shape} are of other kinds")
    if class_weight is not None:
        samples = samples.with_class_weights(class_weight)
    return samples, held


def _begun(history: Any, initial_epoch: int | None) -> tuple[History, int]:
    """Return the history to go on with, and the number of the first epoch."""
    if history is None:
        history = History()
    if not isinstance(history, History):
        raise TypeError(f"history must be a tg.History, received {type(history).__name__}")
    last = history.epoch[-1] if history.epoch else -1
    first = last + 1 if initial_epoch is None else initial_epoch
    if first < 0:
        raise ValueError(f"initial_epoch must be at least 0, received {first}")
    if first <= last:
        raise ValueError(f"initial_epoch is {first}, but the history goes to epoch {last}")
    return history, first


def _whole(name: str, value: Any, least: int) -> int:
    """Return the value as a whole number of at least 0 or 1."""
    if not isinstance(value, (int, np.integer)) or value < least:
        kind = "a positive integer" if least else "a whole number of at least 0"
        raise ValueError(f"{name} must be {kind}, received {value!r}")
    return int(value)


# The optimizers that Keras knows by name, with the settings that they have there.
OPTIMIZERS: dict[str, Callable[..., Any]] = {
    "sgd": partial(optim.SGD, lr=0.01),
    "adam": partial(optim.Adam, lr=0.001),
    "adamw": partial(optim.AdamW, lr=0.001, weight_decay=0.004),
}


def _optimizer(optimizer: Any, model: Module, history: History) -> Any:
    """Return the optimizer, a new one for a name; refuse one that moves no parameter."""
    if not isinstance(model, Module):
        raise TypeError(f"model must be a tg.nn.Module, received {model!r:.60}")
    if isinstance(optimizer, str) and history.epoch:
        raise ValueError(
            f"optimizer={optimizer!r} would begin from nothing, and the history has "
            f"{len(history.epoch)} epochs; give the optimizer itself, the one of those epochs"
        )
    if isinstance(optimizer, str) and optimizer.lower() in OPTIMIZERS:
        return OPTIMIZERS[optimizer.lower()](model.parameters())
    if isinstance(optimizer, (str, type)) or not hasattr(optimizer, "step"):
        raise TypeError(
            "optimizer must be one such as tg.optim.SGD(model.parameters(), lr=0.01), or a name, "
            f"{', '.join(map(repr, OPTIMIZERS))}; received {optimizer!r}"
        )
    own = {id(parameter) for parameter in model.parameters()}
    if not own & {id(parameter) for parameter in optimizer.parameters}:
        raise ValueError(
            f"the optimizer moves none of the model's {len(own)} parameters; make it from "
            "model.parameters()"
        )
    return optimizer


def _stepper(
    model: Module,
    measures: Measures,
    optimizer: Any,
    history: History,
    callbacks: Iterable[Callback],
    compile: bool | str,
    few: bool,
) -> Stepper:
    """Return the steps of a training with these parts."""
    between = [hook for name in BETWEEN_STEPS for hook in hooks(callbacks, name)]
    metrics = [*measures.metrics.values()]
    return Stepper(
        train_step(model, measures.loss, optimizer, measures.penalty),
        history,
        compile=compile,
        parts=[model, measures.loss, *metrics, measures.penalty, optimizer, *between],
        few=few,
        alone=not between and all(map(is_ours, metrics)),  # a metric sees each batch too
    )


@contextmanager
def _prepared(
    callbacks: Sequence[Callback], model: Module, params: dict[str, Any], verbose: int | str
) -> Iterator[list[Callback]]:
    """Give the callbacks with the progress bar; all of them know the model and the parameters."""
    with progress_bar(verbose) as bar:
        prepared = [*callbacks, *bar]
        for callback in prepared:
            callback.model = model
            callback.params = {**params, "verbose": verbose}
        yield prepared


def _validated(
    model: Module,
    measures: Measures,
    held: Samples | None,
    batch_size: int,
    callbacks: Iterable[Callback],
) -> Logs:
    """Return the measures of the validation samples; nothing if there are none."""
    for name, parameter in model.named_parameters():
        if not finite(parameter.value):  # the loss of the next batch would not be either
            raise NonFiniteLoss(nan, of_parameter(name))
    if held is None:
        return {}
    for hook in hooks(callbacks, "on_test_begin"):
        hook({})
    values = measures.over(model, held, batch_size)
    for hook in hooks(callbacks, "on_test_end"):
        hook(values)
    return values
