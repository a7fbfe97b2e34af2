"""Both sides of `python -m benchmarks keras`: a task trained by Keras and by us, and compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.util import find_spec
from time import perf_counter
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import tinygrad_edu as tg
from tinygrad_edu import optim
from tinygrad_edu.training.callbacks import Callback
from tinygrad_edu.training.keras_losses import as_loss

from .cases import Array
from .tasks import Task
from .timing import Timing, compare

SEED = 42
ACCURACY = ["accuracy"]


def keras_twin(task: Task) -> Any:
    """Return the task's network in Keras, compiled, with its weights."""
    twin = tg.to_keras(task.model, input_shape=task.x.shape[1:])
    if task.l2:
        for layer in twin.layers:
            if isinstance(layer, keras.layers.Dense):
                layer.kernel.regularizer = keras.regularizers.L2(task.l2)
    twin.compile(keras.optimizers.SGD(task.lr), task.loss, metrics=ACCURACY)
    return twin


def our_settings(task: Task) -> tuple[Any, dict[str, Any]]:
    """Return a copy of the task's network, and the arguments for `tg.fit`."""
    model = deepcopy(task.model)

    def penalty(model: Any) -> Any:
        return task.l2 * sum((W**2).sum() for W in model.parameters() if W.ndim == 2)

    return model, {
        "loss": task.loss,
        "optimizer": optim.SGD(model.parameters(), lr=task.lr),
        "metrics": ACCURACY,
        "penalty": penalty if task.l2 else None,
        "batch_size": task.batch_size,
        "verbose": 0,
    }


# --- mathematics and accuracy ---------------------------------------------------------------------


@dataclass
class Comparison:
    """How far apart the two were, after some of the steps and after each epoch."""

    steps: list[int] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)  # largest difference after those steps
    epochs: list[dict[str, float]] = field(default_factory=list)  # weights, loss, accuracy, …
    ours: dict[str, list[float]] = field(default_factory=dict)  # the curves
    keras: dict[str, list[float]] = field(default_factory=dict)


def marks(last: int) -> Iterator[int]:
    """Return the step numbers 1, 2, 5, 10, 20, 50, …"""
    size = 1
    while size <= last:
        yield from (n for n in (size, 2 * size, 5 * size) if n <= last)
        size *= 10


class _OurWeights(Callback):
    """Copies of the weights after the steps that are wanted."""

    def __init__(self, wanted: set[int]) -> None:
        self.wanted, self.step = wanted, 0
        self.seen: dict[int, list[Array]] = {}

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.step += 1
        if self.step in self.wanted:
            self.seen[self.step] = _weights(self.model)


class _KerasWeights(keras.callbacks.Callback):
    """The same of Keras."""

    def __init__(self, wanted: set[int]) -> None:
        super().__init__()
        self.wanted, self.step = wanted, 0
        self.seen: dict[int, list[Array]] = {}

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.step += 1
        if self.step in self.wanted:
            self.seen[self.step] = [np.array(w) for w in self.model.get_weights()]


def mathematics(task: Task, progress: Callable[[str], None]) -> Comparison:
    """Train both on the same batches, in an order drawn anew for each epoch."""
    twin, (model, settings) = keras_twin(task), our_settings(task)
    rng = np.random.default_rng(SEED)
    wanted = {*marks(task.steps * task.epochs)}
    wanted |= {task.steps * (epoch + 1) for epoch in range(task.epochs)}
    theirs, ours = _KerasWeights(wanted), _OurWeights(wanted)
    found, history = Comparison(), tg.History()
    held: dict[str, Any] = {"validation_data": (task.x_val, task.y_val), "shuffle": False}
    for epoch in range(task.epochs):
        order = rng.permutation(len(task.x)) if task.shuffle else slice(None)
        x, y = task.x[order], task.y[order]
        logs = twin.fit(
            x, y, batch_size=task.batch_size, verbose=0, callbacks=[theirs], **held
        ).history
        tg.fit(model, x, y, epochs=epoch + 1, history=history, callbacks=[ours], **settings, **held)
        for step in sorted(ours.seen):
            pairs = zip(ours.seen.pop(step), theirs.seen.pop(step), strict=True)
            found.steps.append(step)
            found.weights.append(max(float(np.abs(own - other).max()) for own, other in pairs))
        differences = {"weights": found.weights[-1]}
        for key, values in history.history.items():
            found.keras.setdefault(key, []).extend(map(float, logs[key]))
            differences[key] = abs(values[-1] - found.keras[key][-1])
        found.epochs.append(differences)
        progress(f"epoch {epoch + 1} of {task.epochs}: weights differ by {found.weights[-1]:.1e}")
    found.ours = history.history
    return found


# --- speed ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Way:
    """One way to train a task: an epoch, and the weights as they are."""

    epoch: Callable[[], Any]
    weights: Callable[[], list[Array]]


def keras_fit(task: Task) -> Way:
    """Train with `fit`, without its progress bar."""
    twin = keras_twin(task)
    settings = {"batch_size": task.batch_size, "shuffle": task.shuffle, "verbose": 0}
    return Way(lambda: twin.fit(task.x, task.y, **settings), twin.get_weights)


def keras_train_on_batch(task: Task) -> Way:
    """Train with a call of `train_on_batch` for each batch."""
    twin, rng = keras_twin(task), np.random.default_rng(SEED)

    def epoch() -> None:
        for x, y in tg.data.minibatches(
            task.x, task.y, batch_size=task.batch_size, rng=rng if task.shuffle else None
        ):
            twin.train_on_batch(x, y)

    return Way(epoch, twin.get_weights)


def tensorflow_function(task: Task) -> Way:
    """Train with a whole epoch as one compiled `tf.function`: loss and update, no metrics."""
    twin, rng = keras_twin(task), np.random.default_rng(SEED)
    x, y = tf.constant(task.x), tf.constant(task.y)
    m = len(task.x)
    loss_of, optimizer, variables = twin.loss, twin.optimizer, twin.trainable_variables
    loss_of = keras.losses.get(loss_of)
    optimizer.build(variables)

    @tf.function
    def compiled(order: Any) -> Any:
        loss = tf.constant(0, x.dtype)
        for start in tf.range(0, m, task.batch_size):
            rows = order[start : start + task.batch_size]
            with tf.GradientTape() as tape:
                prediction = twin(tf.gather(x, rows), training=True)
                loss = tf.reduce_mean(loss_of(tf.gather(y, rows), prediction))
                if twin.losses:
                    loss += tf.add_n(twin.losses)
            optimizer.apply(tape.gradient(loss, variables), variables)
        return loss

    def epoch() -> float:
        return float(compiled(rng.permutation(m) if task.shuffle else np.arange(m)))

    return Way(epoch, twin.get_weights)


def our_fit(task: Task) -> Way:
    """Train with `tg.fit`, with the same metrics as Keras' `fit`; it captures its steps if that is
    faster.
    """
    model, settings = our_settings(task)
    settings |= {"shuffle": task.shuffle, "rng": np.random.default_rng(SEED)}
    return Way(lambda: tg.fit(model, task.x, task.y, **settings), partial(_weights, model))


def our_loop(task: Task, backend: str | None = None) -> Way:
    """Train with a loop of loss, backward and step; no metrics. With a backend the step is
    captured, and an epoch of whole batches is one call.
    """
    model, settings = our_settings(task)
    rng = np.random.default_rng(SEED) if task.shuffle else None
    optimizer, penalty = settings["optimizer"], settings["penalty"]
    loss_of = as_loss(task.loss)

    def step(x: Array, y: Array) -> Any:
        loss = loss_of(model(x), y)
        if penalty is not None:
            loss = loss + penalty(model)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    def epoch() -> None:
        for x, y in tg.data.minibatches(task.x, task.y, batch_size=task.batch_size, rng=rng):
            step(x, y)

    if backend is None:
        return Way(epoch, partial(_weights, model))
    captured = tg.compile(step, backend=backend)
    m, whole = len(task.x), len(task.x) - len(task.x) % task.batch_size

    def captured_epoch() -> None:
        order = np.arange(m) if rng is None else rng.permutation(m)
        captured.epoch(task.x, task.y, order=order[:whole].reshape(-1, task.batch_size))
        if whole < m:
            captured(task.x[order[whole:]], task.y[order[whole:]])

    return Way(captured_epoch, partial(_weights, model))


def _weights(model: Any) -> list[Array]:
    return [np.array(p.data) for p in model.parameters()]


# What is timed, the yardstick first.
WAYS: dict[str, Callable[[Task], Way]] = {
    "Keras, fit": keras_fit,
    "Keras, train_on_batch": keras_train_on_batch,
    "TensorFlow, tf.function": tensorflow_function,
    "tinygrad_edu, fit": our_fit,
    "tinygrad_edu, loop": our_loop,
    "tinygrad_edu, captured": partial(our_loop, backend="numpy"),
}
if find_spec("numba") is not None:
    WAYS["tinygrad_edu, Numba"] = partial(our_loop, backend="numba")


def check(task: Task) -> None:
    """Check that an epoch of some batches, in their order, gives the same weights each way.

    Raises:  AssertionError if one does something else
    """
    m = 3 * task.batch_size + 1  # a last batch that is smaller
    short = replace(task, x=task.x[:m], y=task.y[:m], shuffle=False)
    trained = {name: way(short) for name, way in WAYS.items()}
    for way in trained.values():
        way.epoch()
    expected, *_ = trained.values()
    for name, way in trained.items():
        for own, weight in zip(way.weights(), expected.weights(), strict=True):
            np.testing.assert_allclose(own, weight, rtol=0, atol=1e-6, err_msg=name)


def speed(
    task: Task, rounds: int, progress: Callable[[str], None]
) -> tuple[dict[str, float], dict[str, Timing]]:
    """Return the seconds of the first epoch of each way, which includes building and compiling, and
    the timings of the epochs after it, in interleaved rounds.
    """
    check(task)
    first, epochs = {}, {}
    for name, way in WAYS.items():
        start = perf_counter()
        epochs[name] = way(task).epoch
        epochs[name]()
        first[name] = perf_counter() - start
        progress(f"first epoch of {name}: {first[name]:.2f} s")
    progress(f"{rounds} rounds of all")
    return first, compare(epochs, rounds=rounds, slice_seconds=0)
