"""`fit`, `evaluate` and `predict`, with Keras' names and Keras' arithmetic.

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
from .measures import Measures, checked_output
from .metrics import is_builtin
from .progress import progress_bar
from .samples import Samples, as_input, as_rows, converted, dtype_of
from .stepping import Stepper, nonfinite_parameter, train_step

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
                       new one with Keras' defaults: "sgd" (lr=0.01), "adam" or "adamw" (0.001,
                       weight_decay=0.004); to continue a history, pass the optimizer itself
    epochs             the number of the last epoch: those before `initial_epoch` are not run again
    validation_data    (x, y) or (x, y, sample_weight), measured after each epoch
    validation_split   or the fraction of the samples, taken from the end before shuffling
    metrics            names or functions of (prediction, target): "accuracy", "top_k_categorical_
                       accuracy" …; as a dict, with names of your own (see `tg.metrics`)
    penalty            a function of the model, added to the loss of each batch
    sample_weight      a factor for the loss of each sample, or class_weight: {class: factor}
    shuffle, rng       shuffle the samples in each epoch, with `rng`: a Generator, a RandomState or
                       a seed
    callbacks          see `tg.callbacks`
    verbose            0: nothing, 1: a bar, 2: a line for each epoch; "auto": 1 on a terminal,
                       else 0
    history            continue this one, from the epoch after its last
    compile            True: capture the step (see `tg.compile`), False: do not. "auto": capture it
                       where that is faster and every module, loss, metric, penalty and optimizer,
                       and every callback between batches, is of tinygrad_edu and unpatched; this is
                       checked again before each epoch. With True your own code must keep the
                       contract of `tg.compile`. "numba": the same as machine code, which takes some
                       seconds the first time. `history.compiled` and `history.native` are True, or
                       the reason why not
    threads            for the matrix products: a number; None: the default of NumPy's BLAS; "auto":
                       by the size of the products and the load of the machine, so that the last
                       digits may differ with the same seed (see `tg.threads`). `history.threads` is
                       the number

    Loss and metrics of an epoch are means over its samples, each measured at its step, while the
    weights change. The last batch may be smaller. The validation follows the epoch, in `eval`
    mode. The data are neither changed nor copied as a whole: each batch is cast to the dtype of the
    parameters (integers of 32 and 64 bits, which may be indices, are not). To keep images as bytes
    in memory, pass `x=tg.data.Pixels(images)`.

    With the same `history`, `optimizer` and `rng` (a generator in the same state, no seed) training
    in two parts is the same, bit for bit, as in one.

    Ctrl-C ends the training after the current step and returns the History so far, with
    `interrupted` set. A second one raises KeyboardInterrupt; the weights are then those of the last
    whole step.

    Returns: a `History`
    Raises:  NonFiniteLoss (a FloatingPointError) if a loss is NaN or infinite, ValueError and
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
    data = x, y, sample_weight
    samples, validation = _samples(data, class_weight, validation_data, validation_split)
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
    too_few = len(samples) * (epochs - first) < 100 * batch_size
    stepper = _stepper(model, measures, optimizer, history, given, compile, too_few)
    samples = samples.for_model(model)
    if epochs > first:  # gradients of an earlier training would only take memory
        optimizer.zero_grad()
    batches = -(-len(samples) // batch_size)
    parameters = [*model.named_parameters()]
    params = {"epochs": epochs, "steps": batches, "optimizer": optimizer, "history": history}
    with _prepared(given, model, params, verbose) as prepared:
        return train(
            model,
            lambda: stepper.over(samples, model, measures, batch_size, random),
            batches=batches,
            logs=measures.means,
            validate=lambda: _validated(parameters, model, measures, validation, val_size, given),
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
    x = converted(as_rows(x, "x"), dtype)
    with mode(model, False), no_grad():
        parts = [
            checked_output(model(as_input(part, dtype)), len(part))
            for (part,) in minibatches(x, batch_size=batch_size)
        ]
    return np.concatenate(parts)


# --- the arguments of fit -------------------------------------------------------------------------


def _samples(
    data: Any, class_weight: Any, validation_data: Any, validation_split: float
) -> tuple[Samples, Samples | None]:
    """Return the samples for training, and those for validation or None."""
    samples, validation = Samples.of(data), None
    if validation_data is not None:
        if validation_split:
            raise ValueError("give validation_data or validation_split, not both")
        validation = Samples.of(validation_data, "validation ")
    elif validation_split:
        samples, validation = samples.split(validation_split)
    if validation is not None and validation.x.shape[1:] != samples.x.shape[1:]:
        raise ValueError(
            f"x {samples.x.shape} and validation x {validation.x.shape} are of other kinds"
        )
    if class_weight is not None:
        samples = samples.with_class_weights(class_weight)
    return samples, validation


def _begun(history: Any, initial_epoch: int | None) -> tuple[History, int]:
    """Return the history to continue, and the number of the first epoch."""
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
    """Return the value as an integer of at least 0 or 1."""
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
    """Return the optimizer, a new one for a name. Raise ValueError if it updates no parameter of
    the model.
    """
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
    too_few: bool,
) -> Stepper:
    """Return the steps of a training with these parts."""
    between = [hook for name in BETWEEN_STEPS for hook in hooks(callbacks, name)]
    metrics = [*measures.metrics.values()]
    return Stepper(
        train_step(model, measures.loss, optimizer, measures.penalty),
        history,
        compile=compile,
        parts=[model, measures.loss, *metrics, measures.penalty, optimizer, *between],
        too_few=too_few,
        callbacks_between=bool(between),
        user_metrics=not all(map(is_builtin, metrics)),
    )


@contextmanager
def _prepared(
    callbacks: Sequence[Callback], model: Module, params: dict[str, Any], verbose: int | str
) -> Iterator[list[Callback]]:
    """Yield the callbacks with the progress bar; set model and parameters on all of them."""
    with progress_bar(verbose) as bar:
        prepared = [*callbacks, *bar]
        for callback in prepared:
            callback.model = model
            callback.params = {**params, "verbose": verbose}
        yield prepared


def _validated(
    parameters: Iterable[tuple[str, Any]],
    model: Module,
    measures: Measures,
    validation: Samples | None,
    batch_size: int,
    callbacks: Iterable[Callback],
) -> Logs:
    """Return the measures of the validation samples, {} without any."""
    for name, parameter in parameters:
        if not finite(parameter.value):  # the loss of the next batch would not be either
            raise NonFiniteLoss(nan, nonfinite_parameter(name))
    if validation is None:
        return {}
    for hook in hooks(callbacks, "on_test_begin"):
        hook({})
    values = measures.over(model, validation, batch_size)
    for hook in hooks(callbacks, "on_test_end"):
        hook(values)
    return values
