"""Training: `fit`, `evaluate` and `predict`, with Keras' names and Keras' arithmetic.

What `fit` puts into the loop (see `loop`): a step of a model, a loss and an optimizer, captured
where that pays, and what it counts.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from math import floor, nan
from typing import Any

import numpy as np

from .. import ops, optim
from ..anomaly import first_nonfinite
from ..arrays import Array, as_array, describe
from ..capture_gate import CannotCapture, StaleStep, all_finite
from ..capturing.compiled import CompiledStep
from ..capturing.runs import Run
from ..data import Pixels, minibatches
from ..engine import Box
from ..init import Random, as_random
from ..nn import Module
from ..recording import no_grad
from ..tensor import Tensor
from .callbacks import as_callbacks, hooks
from .history import History
from .library import OwnParts
from .loop import NonFiniteLoss, finite, mode, train
from .metrics import (
    Function,
    as_loss,
    as_metrics,
    beside,
    is_ours,
    takes_probabilities,
    total,
    unreduced,
)
from .progress import progress_bar

__all__ = ["evaluate", "fit", "predict"]

TrainStep = Callable[..., tuple[Any, Any]]
Logs = dict[str, float]
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
    data = _data((x, y, sample_weight), "")
    function, found = _measures(loss, metrics)
    if isinstance(optimizer, str) and isinstance(history, History) and history.epoch:
        raise ValueError(
            f"optimizer={optimizer!r} would begin from nothing, and the history has "
            f"{len(history.epoch)} epochs; give the optimizer itself, the one of those epochs"
        )
    optimizer = _optimizer(optimizer, model)
    if not isinstance(epochs, (int, np.integer)) or epochs < 0:
        raise ValueError(f"epochs must be a whole number of at least 0, received {epochs!r}")
    val_size = batch_size if validation_batch_size is None else validation_batch_size
    for size in (batch_size, val_size):
        if not isinstance(size, (int, np.integer)) or size < 1:
            raise ValueError(f"batch_size must be a positive integer, received {size!r}")
    held: tuple[Array, ...] = ()
    if validation_data is not None:
        if validation_split:
            raise ValueError("give validation_data or validation_split, not both")
        held = _data(validation_data, "validation ")
    elif validation_split:
        data, held = _split(data, validation_split)
    if held and held[0].shape[1:] != data[0].shape[1:]:
        raise ValueError(f"x {data[0].shape} and validation x {held[0].shape} are of other kinds")
    if class_weight is not None:
        data = _with_class_weights(data, class_weight)
    if history is not None and not isinstance(history, History):
        raise TypeError(f"history must be a tg.History, received {type(history).__name__}")
    if initial_epoch is None:
        initial_epoch = history.epoch[-1] + 1 if history is not None and history.epoch else 0
    if initial_epoch < 0:
        raise ValueError(f"initial_epoch must be at least 0, received {initial_epoch}")
    if history is not None and history.epoch and initial_epoch <= history.epoch[-1]:
        raise ValueError(
            f"initial_epoch is {initial_epoch}, but the history goes to epoch {history.epoch[-1]}"
        )
    random = as_random(rng) if shuffle else None
    history = History() if history is None else history
    few = len(data[0]) * (epochs - initial_epoch) < 100 * batch_size
    if compile not in (True, False, "auto", "numba"):
        raise ValueError(f"compile is True, False, 'auto' or 'numba', received {compile!r}")
    history.compiled = "there are too few steps" if few and compile == "auto" else bool(compile)
    history.native = False
    take = train_step(model, function, optimizer, penalty)
    given = as_callbacks(callbacks)
    between = [hook for name in BETWEEN_STEPS for hook in hooks(given, name)]
    alone = not between and all(map(is_ours, found.values()))  # a metric sees each batch too
    parts = OwnParts([model, function, *found.values(), penalty, optimizer, *between])
    taking = captured(
        take,
        history,
        alone=alone,
        backend="numba" if compile == "numba" else "numpy",
        foreign=parts.foreign if compile == "auto" else None,
    )
    if history.compiled is True and compile == "auto":
        history.compiled = parts.foreign() or True
    names = ["loss", *found]
    dtype = _dtype(model)
    data = _converted(data[0], dtype), *data[1:]
    sources = (data[0] if _is_input(data[0], dtype) else None, *data[1:])

    def steps() -> Generator[list[float], None, None]:
        keep = not (alone and history.compiled is True)  # what is captured keeps no batch
        with taking(sources) as take:
            for x, *y in minibatches(*data, batch_size=batch_size, rng=random, keep=keep):
                m = len(x)
                value, prediction = take(_as_input(x, dtype), *y)
                yield [m, float(value.value) * m, *_totals(found, prediction.value, y[0])]

    def logs(sums: Sequence[float]) -> Logs:
        return {name: value / sums[0] for name, value in zip(names, sums[1:], strict=True)}

    def validate() -> Logs:
        for name, parameter in model.named_parameters():
            if not finite(parameter.value):  # the loss of the next batch would not be either
                raise NonFiniteLoss(nan, _brought_in(name))
        if not held:
            return {}
        for hook in hooks(given, "on_test_begin"):
            hook({})
        values = _measure(model, held, function, found, penalty, val_size)
        for hook in hooks(given, "on_test_end"):
            hook(values)
        return values

    batches = -(-len(data[0]) // batch_size)
    if epochs > initial_epoch:  # gradients of an earlier training would only take memory
        optimizer.zero_grad()
    with progress_bar(verbose) as bar:
        given += bar
        for callback in given:
            callback.model = model
            callback.params = {
                "epochs": epochs, "steps": batches, "verbose": verbose, "optimizer": optimizer,
                "history": history,
            }  # fmt: skip
        return train(
            model,
            steps,
            batches=batches,
            logs=logs,
            validate=validate,
            epochs=epochs,
            initial_epoch=initial_epoch,
            callbacks=given,
            history=history,
            optimizer=optimizer,
            in_place=history.compiled is True,
            threads=threads,
            rows=min(batch_size, len(data[0])),
        )


def train_step(
    model: Module, loss: Function, optimizer: Any, penalty: Callable[[Module], Any] | None = None
) -> TrainStep:
    """One step on one batch, as a function of (x, y) or (x, y, weights of the samples): it returns
    the loss and the prediction before the step, as tensors.

    Where the loss is no finite number it raises NonFiniteLoss and moves no weight.

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
            value = _loss(loss, prediction, y, weights)
        except ValueError as error:  # some losses refuse predictions that are NaN
            if isinstance(prediction, Box) and not finite(prediction.value):
                raise NonFiniteLoss(nan, _cause(prediction, model)) from error
            raise
        if penalty is not None:
            value = value + penalty(model)
        _check_loss(value)
        if not isinstance(value, Tensor):
            raise TypeError(
                f"the loss must be a tensor, computed from the prediction, received "
                f"{describe(value)}; no numpy(), item() or float() on the way"
            )
        if not all_finite(value):
            raise NonFiniteLoss(_number(value), _cause(value, model))
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        return value, prediction

    return step


WAY_OUT = "fit(compile=False) runs the model and the loss in Python at every step"


def captured(
    take: Callable[..., Any],
    history: History,
    alone: bool,
    backend: str = "numpy",
    foreign: Callable[[], str | None] | None = None,
) -> Callable[[Sequence[Any]], AbstractContextManager[Callable[..., Any]]]:
    """The step as a captured one, for the batches of an epoch: `with taking(sources) as step`.

    sources   the arrays of whose rows the batches are made (see `Run`)
    alone     no other code runs between two steps, or keeps a result of one
    foreign   called before each epoch: why the step must not be captured, or None. A step that it
              allows, and that cannot be captured, is run eagerly; `history.compiled` says why. It
              is not compared with its function. Without it, the caller vouches for the step, and
              `CannotCapture` is raised
    """
    compiled = CompiledStep(take, check=None if foreign is None else False, backend=backend)

    @contextmanager
    def taking(sources: Sequence[Any]) -> Iterator[Callable[..., Any]]:
        if history.compiled is True and foreign is not None:
            history.compiled = foreign() or True
        if history.compiled is not True:
            yield take
            return
        with Run(compiled, sources) if alone else nullcontext(compiled) as run:

            def step(*batch: Array) -> Any:
                if history.compiled is True:
                    try:
                        result = run(*batch)
                    except StaleStep as reason:
                        reason.add_note(WAY_OUT)
                        raise
                    except CannotCapture as reason:  # raised while tracing, which has moved nothing
                        if foreign is None:
                            reason.add_note(WAY_OUT)
                            raise
                        history.compiled = str(reason)
                    else:
                        if compiled.native:  # for each size of a batch: True, or why it cannot be
                            history.native = next(
                                (x for x in compiled.native if x is not True), True
                            )
                        return result
                return take(*map(np.copy, batch))  # it may keep them, and they are written over

            yield step

    return taking


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
    """Loss and metrics of a model on data, in `eval` mode; nothing is recorded or changed.

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
    function, found = _measures(loss, metrics)
    data = _data((x, y, sample_weight), "")
    values = _measure(model, data, function, found, penalty, batch_size)
    if return_dict:
        return values
    return list(values.values()) if found else values["loss"]


def predict(model: Module, x: Any, *, batch_size: int = 256) -> Array:
    """The model's output for each sample, in `eval` mode, batch by batch; nothing is recorded.

    Shapes:  (m, …) → (m, …)
    Raises:  ValueError for no samples
    Source:  keras.Model.predict
    Example:
        >>> predict(tg.nn.Linear(2, 1, init=tg.init.ones), np.ones((3, 2)))
        array([[2.],
               [2.],
               [2.]])
    """
    dtype = _dtype(model)
    x = _converted(_samples(x, "x"), dtype)
    with mode(model, False), no_grad():
        parts = [
            _output(model(_as_input(part, dtype)), len(part))
            for (part,) in minibatches(x, batch_size=batch_size)
        ]
    return np.concatenate(parts)


# --- what they share ------------------------------------------------------------------------------


def _measure(
    model: Module,
    data: tuple[Array, ...],
    loss: Function,
    metrics: dict[str, Function],
    penalty: Callable[[Module], Any] | None,
    batch_size: int,
) -> Logs:
    """The means of loss and metrics over all samples, in eval mode."""
    dtype = _dtype(model)
    data = _converted(data[0], dtype), *data[1:]
    sums = np.zeros(1 + len(metrics))
    # A loss of probabilities looks for the logits in the record of the last operation.
    recording = nullcontext() if takes_probabilities(loss) else no_grad()
    with mode(model, False):
        for x, y, *weights in minibatches(*data, batch_size=batch_size):
            with recording:
                prediction = model(_as_input(x, dtype))
            with no_grad():
                number = _number(_loss(loss, prediction, y, *weights))
            output = _output(prediction, len(x))
            sums += [number * len(x), *_totals(metrics, output, y)]
        means = sums / len(data[0])
        if penalty is not None:
            with no_grad():
                means[0] += _number(penalty(model))
    return dict(zip(["loss", *metrics], means.tolist(), strict=True))


def _loss(loss: Function, prediction: Any, y: Array, weights: Array | None = None) -> Any:
    """The loss of a batch; with weights Σ wᵢ lᵢ / m, as Keras has it."""
    y = beside(y, prediction)
    if weights is None:
        return loss(prediction, y)
    each = unreduced(loss)(prediction, y, reduction="none")
    each = ops.mean(ops.reshape(each, (len(y), -1)), axis=1)
    return ops.sum(each * weights.astype(each.dtype)) / len(y)


def _check_loss(loss: Any) -> None:
    if np.size(loss.value if isinstance(loss, Box) else loss) != 1:
        raise ValueError(
            f"the loss of a batch must be one number, received {describe(loss)}; "
            "take reduction='mean'"
        )


def _number(loss: Any) -> float:
    """A loss as Python's number, refused if it is none."""
    _check_loss(loss)
    return float(loss.value if isinstance(loss, Box) else loss)


def _measures(loss: Any, metrics: Any) -> tuple[Function, dict[str, Function]]:
    function = as_loss(loss)
    return function, as_metrics(metrics, function)


def _totals(metrics: dict[str, Function], prediction: Array, y: Array) -> list[float]:
    if not metrics:
        return []
    y = beside(y, prediction)
    return [total(metric, prediction, y) for metric in metrics.values()]


def _output(prediction: Any, m: int) -> Array:
    array = prediction.value if isinstance(prediction, Box) else prediction
    if not isinstance(array, np.ndarray) or array.ndim == 0 or len(array) != m:
        raise ValueError(
            f"for {m} samples the model must give an array of {m} rows, gave {describe(prediction)}"
        )
    return array


def _samples(data: Any, name: str) -> Any:
    """The data as an array of at least one sample; the same memory where it is one already."""
    if isinstance(data, Pixels) and len(data):
        return data
    if isinstance(data, (dict, set, Iterator)) or (data is None):
        raise TypeError(
            f"{name} must be one array with a row for each sample, received "
            f"{type(data).__name__}; for anything else write the loop with minibatches"
        )
    try:
        array = data.value if isinstance(data, Box) else as_array(data)
    except (TypeError, ValueError) as error:
        raise type(error)(
            f"{name}: {error}; of labels that are text np.unique(labels, return_inverse=True)[1] "
            "are the class indices"
        ) from error
    if array.ndim == 0 or len(array) == 0:
        raise ValueError(f"{name} must have at least one sample, received shape {array.shape}")
    return array


def _data(data: Any, prefix: str) -> tuple[Array, ...]:
    """x and y, and the weights where there are any: arrays of one length."""
    if not isinstance(data, (tuple, list)) or len(data) not in (2, 3):
        raise ValueError(
            f"{prefix}data must be (x, y) or (x, y, sample_weight), received {type(data).__name__}"
        )
    names = [f"{prefix}{name}" for name in ("x", "y", "sample_weight")]
    given = list(data) if len(data) == 2 or data[2] is not None else data[:2]
    arrays = [_samples(part, name) for part, name in zip(given, names, strict=False)]
    for array, name in zip(arrays[1:], names[1:], strict=False):
        if len(array) != len(arrays[0]):
            raise ValueError(
                f"{names[0]} has {len(arrays[0])} samples and {name} {len(array)}: "
                f"{arrays[0].shape} and {array.shape}"
            )
    if len(arrays) == 3 and arrays[2].ndim > 1:
        raise ValueError(f"{names[2]} must be (m,), received {arrays[2].shape}")
    return tuple(arrays)


def _split(data: tuple[Any, ...], share: float) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """What is trained on, and the last share of the samples, cut where Keras cuts."""
    if not 0 < share < 1:
        raise ValueError(f"validation_split must be between 0 and 1, received {share!r}")
    m = len(data[0])
    at = floor(m * (1.0 - share))
    if at in (0, m):
        raise ValueError(
            f"validation_split={share!r} of {m} samples leaves {at} to train on and {m - at} to "
            "validate"
        )

    def between(start: int, stop: int) -> tuple[Any, ...]:
        return tuple(
            part.between(start, stop) if isinstance(part, Pixels) else part[start:stop]
            for part in data
        )

    return between(0, at), between(at, m)


def _with_class_weights(data: tuple[Array, ...], weights: Mapping[int, float]) -> tuple[Array, ...]:
    """The data with a weight for each sample by its class; 1 for a class that has none."""
    if len(data) == 3:
        raise ValueError("give sample_weight or class_weight, not both")
    if not isinstance(weights, Mapping):
        raise TypeError(f"class_weight is a dict {{class: factor}}, received {weights!r:.60}")
    x, y = data
    classes = y.argmax(axis=1) if y.ndim == 2 and y.shape[1] > 1 else y.reshape(len(y), -1)[:, 0]
    if unknown := sorted(set(weights) - set(classes.tolist())):
        raise ValueError(f"class_weight has weights for {unknown}, which are no classes of y")
    factors = np.ones(len(x))
    for kind, factor in weights.items():
        factors[classes == kind] = factor
    return x, y, factors


def _dtype(model: Module) -> Any:
    """The dtype of the first parameter; None where there is none."""
    return next((p.value.dtype for p in model.parameters()), None)


def _converted(x: Any, dtype: Any) -> Any:
    """The samples; images of bytes become numbers of the model's dtype at once."""
    return x.astype(dtype) if isinstance(x, Pixels) and dtype is not None else x


def _as_input(x: Array, dtype: Any) -> Array:
    """A batch in the model's dtype; wide whole numbers, which may be indices, as they are."""
    return x if _is_input(x, dtype) else x.astype(dtype)


def _is_input(x: Any, dtype: Any) -> bool:
    """Whether its rows are what the model gets."""
    if dtype is None or x.dtype == dtype:
        return isinstance(x, np.ndarray)
    return x.dtype.kind in "iu" and x.itemsize > 2


# The optimizers that Keras knows by name, with the settings that they have there.
OPTIMIZERS: dict[str, Callable[..., Any]] = {
    "sgd": partial(optim.SGD, lr=0.01),
    "adam": partial(optim.Adam, lr=0.001),
    "adamw": partial(optim.AdamW, lr=0.001, weight_decay=0.004),
}


def _optimizer(optimizer: Any, model: Module) -> Any:
    """The optimizer, which must move parameters of the model; a new one for a name."""
    if not isinstance(model, Module):
        raise TypeError(f"model must be a tg.nn.Module, received {model!r:.60}")
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


def _cause(loss: Any, model: Module) -> str:
    """The first operation that gave a number that is not finite, or what was so before."""
    if not isinstance(loss, Box) or loss.record is None:
        return "it was not computed from a parameter"
    found = first_nonfinite(loss)
    if found is None:
        return "all that was recorded is finite"
    if not found.op:
        for name, parameter in model.named_parameters():
            if parameter.value is found.value:
                return _brought_in(name)
    return str(found)


def _brought_in(name: str) -> str:
    return f"parameter {name} is not finite since the last step, which has been undone"
