"""fit against the same arithmetic written out in NumPy; interruptions in real processes."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import subprocess
import sys
import textwrap
import threading
import tracemalloc
from collections.abc import Generator, Iterator
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_edu as tg
from tinygrad_edu import nn, optim
from tinygrad_edu.training import keras_losses, metrics, samples
from tinygrad_edu.training.callbacks import Callback, EarlyStopping, LambdaCallback
from tinygrad_edu.training.fitting import fit
from tinygrad_edu.training.history import History
from tinygrad_edu.training.loop import NonFiniteLoss, train
from tinygrad_edu.training.stepping import Stepper, train_step

Array = np.ndarray[Any, np.dtype[Any]]


class Problem:
    """Random data of k classes and a network without a hidden layer."""

    def __init__(self, m: int = 23, n: int = 3, k: int = 3, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.x: Any = rng.normal(size=(m, n))
        self.y: Any = rng.integers(0, k, m)
        self.x_val, self.y_val = rng.normal(size=(m // 2 + 1, n)), rng.integers(0, k, m // 2 + 1)
        self.W, self.b, self.k = rng.normal(size=(n, k)), rng.normal(size=k), k

    def model(self, *after: nn.Module, dtype: Any = np.float64) -> Any:
        linear: Any = nn.Linear(*self.W.shape, dtype=dtype)
        linear.weight.data, linear.bias.data = self.W.astype(dtype), self.b.astype(dtype)
        return nn.Sequential(linear, *after)

    def fit(self, model: Any = None, **settings: Any) -> tuple[Any, tg.History]:
        model = self.model() if model is None else model
        given = {"loss": tg.cross_entropy, "epochs": 2, "batch_size": 5, "rng": 0, **settings}
        given.setdefault("optimizer", optim.SGD(model.parameters(), lr=0.1))
        return model, tg.fit(model, self.x, self.y, **given)


def by_hand(
    p: Problem,
    *,
    epochs: int,
    batch_size: int,
    lr: float,
    momentum: float,
    l2: float,
    rng: np.random.Generator | None,
    weights: Array | None = None,
) -> tuple[dict[str, list[float]], Array, Array]:
    """Softmax regression with momentum, as Keras counts: in NumPy alone."""
    W, b = p.W, p.b
    vW, vb = np.zeros_like(W), np.zeros_like(b)
    w = np.ones(len(p.x)) if weights is None else weights
    history: dict[str, list[float]] = {}

    def forward(x: Array, y: Array) -> tuple[Array, Array, Array]:
        z = x @ W + b
        a = np.exp(z - z.max(axis=1, keepdims=True))
        a /= a.sum(axis=1, keepdims=True)
        return a, -np.log(a[np.arange(len(y)), y]), z.argmax(axis=1) == y

    for _ in range(epochs):
        order = np.arange(len(p.x)) if rng is None else rng.permutation(len(p.x))
        loss, right = 0.0, 0
        for start in range(0, len(p.x), batch_size):
            batch = order[start : start + batch_size]
            x, y, m = p.x[batch], p.y[batch], len(batch)
            a, each, hits = forward(x, y)
            loss += ((w[batch] * each).sum() / m + l2 * (W**2).sum()) * m
            right += hits.sum()
            E = (a - np.eye(p.k)[y]) * w[batch, None] / m
            vW = momentum * vW + x.T @ E + 2 * l2 * W
            vb = momentum * vb + E.sum(axis=0)
            W, b = W - lr * vW, b - lr * vb
        _, each, hits = forward(p.x_val, p.y_val)
        for key, value in {
            "loss": loss / len(p.x),
            "accuracy": right / len(p.x),
            "val_loss": each.mean() + l2 * (W**2).sum(),
            "val_accuracy": hits.mean(),
        }.items():
            history.setdefault(key, []).append(value)
    return history, W, b


def assert_same_history(ours: tg.History, theirs: dict[str, list[float]], rtol: float) -> None:
    assert list(ours.history) == list(theirs)
    for key, values in theirs.items():
        np.testing.assert_allclose(ours.history[key], values, rtol=rtol, err_msg=key)


@given(
    m=st.integers(1, 30),
    batch_size=st.integers(1, 35),
    val_batch=st.integers(1, 20),
    epochs=st.integers(0, 3),
    momentum=st.sampled_from([0.0, 0.9]),
    l2=st.sampled_from([0.0, 0.01]),
    shuffle=st.booleans(),
    weighted=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_history_and_weights_equal_the_loop_written_out(
    m: int,
    batch_size: int,
    val_batch: int,
    epochs: int,
    momentum: float,
    l2: float,
    shuffle: bool,
    weighted: bool,
    seed: int,
) -> None:
    p = Problem(m, seed=seed)
    weights = np.random.default_rng(seed).random(m) if weighted else None
    rng = np.random.default_rng(seed)
    expected, W, b = by_hand(
        p,
        epochs=epochs,
        batch_size=batch_size,
        lr=0.3,
        momentum=momentum,
        l2=l2,
        rng=rng if shuffle else None,
        weights=weights,
    )
    model = p.model()
    _, history = p.fit(
        model,
        epochs=epochs,
        batch_size=batch_size,
        validation_data=(p.x_val, p.y_val),
        validation_batch_size=val_batch,
        metrics=["accuracy"],
        optimizer=optim.SGD(model.parameters(), lr=0.3, momentum=momentum),
        penalty=(lambda model: l2 * (model[0].weight ** 2).sum()) if l2 else None,
        sample_weight=weights,
        shuffle=shuffle,
        rng=np.random.default_rng(seed),
    )
    assert_same_history(history, expected, 1e-9)
    assert history.epoch == list(range(epochs))
    np.testing.assert_allclose(model[0].weight.data, W, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(model[0].bias.data, b, rtol=1e-9, atol=1e-12)
    given: dict[str, Any] = {
        "loss": tg.cross_entropy,
        "metrics": ["accuracy"],
    }
    if epochs and not l2:
        found = tg.evaluate(model, p.x_val, p.y_val, batch_size=val_batch, **given)
        assert found == [history.history["val_loss"][-1], history.history["val_accuracy"][-1]]


def test_the_loop_written_out_tells_wrong_arithmetic_apart() -> None:
    p = Problem()
    settings: dict[str, Any] = {
        "epochs": 2,
        "batch_size": 5,
        "lr": 0.3,
        "momentum": 0.0,
        "l2": 0.0,
        "rng": None,
    }
    right, _, _ = by_hand(p, **settings)
    model = p.model()
    _, history = p.fit(
        model,
        shuffle=False,
        metrics=["accuracy"],
        validation_data=(p.x_val, p.y_val),
        optimizer=optim.SGD(model.parameters(), lr=0.3),
    )
    assert_same_history(history, right, 1e-9)
    for changed in ({"batch_size": 6}, {"l2": 1e-4}, {"momentum": 0.1}):
        wrong, _, _ = by_hand(p, **settings | changed)
        with pytest.raises(AssertionError):
            assert_same_history(history, wrong, 1e-9)


# --- losses and metrics by name -------------------------------------------------------------------


@pytest.mark.parametrize("form", ["indices", "column", "rows"])
def test_keras_names_take_probabilities_and_lose_no_digit(form: str) -> None:
    p = Problem()
    given: dict[str, Any] = {"metrics": ["accuracy"], "validation_split": 0.3}
    logits, expected = p.fit(**given)
    sparse = "categorical" if form == "rows" else "sparse_categorical"
    p.y = {"indices": p.y, "column": p.y[:, None], "rows": tg.one_hot(p.y)}[form]
    model, history = p.fit(p.model(nn.Softmax()), loss=f"{sparse}_crossentropy", **given)
    assert_same_history(history, expected.history, 1e-12)
    np.testing.assert_allclose(model[0].weight.data, logits[0].weight.data, rtol=1e-12)


@pytest.mark.parametrize("column", [True, False])
def test_binary_targets_as_a_column_and_without_its_axis(column: bool) -> None:
    p = Problem(k=1)
    p.y = (p.x[:, 0] > 0).astype(np.float32)
    y = p.y[:, None]
    given: dict[str, Any] = {"metrics": ["accuracy"], "validation_split": 0.3, "epochs": 4}
    if column:
        p.y = y
    _, expected = p.fit(loss=tg.binary_cross_entropy_with_logits, **given)
    _, history = p.fit(p.model(nn.Sigmoid()), loss="binary_crossentropy", **given)
    assert_same_history(history, expected.history, 1e-12)
    # The threshold belongs to the loss: 0 for logits, ½ for probabilities.
    model, _ = p.fit(loss=tg.binary_cross_entropy_with_logits, **given)
    z = tg.predict(model, p.x)
    accuracy = tg.evaluate(
        model, p.x, p.y, loss=tg.binary_cross_entropy_with_logits, metrics=["accuracy"]
    )[1]
    assert accuracy == np.mean((z > 0) == y) != np.mean((z > 0.5) == y)


def test_a_saturated_sample_is_measured_from_its_logits_too() -> None:
    for dtype, z in ((np.float32, 60.0), (np.float64, 600.0)):
        linear = nn.Linear(1, 1, init=tg.init.ones, dtype=dtype)
        x = np.array([[z]])
        model = nn.Sequential(linear, nn.Sigmoid())
        assert tg.evaluate(model, x, np.zeros(1), loss="binary_crossentropy") == z
        two = nn.Linear(1, 2, init=tg.init.ones, dtype=dtype)
        two.weight.data = np.array([[1, 0]], dtype)
        model = nn.Sequential(two, nn.Softmax())
        assert tg.evaluate(model, x, np.ones(1, int), loss="categorical_crossentropy") == z


def test_losses_that_are_modules_and_layers_that_know_the_mode() -> None:
    p = Problem()
    given: dict[str, Any] = {"metrics": ["accuracy"], "validation_split": 0.3}
    assert p.fit(**given)[1].history == p.fit(loss=nn.CrossEntropyLoss(), **given)[1].history
    weighted = p.fit(loss=nn.CrossEntropyLoss(), class_weight={0: 2.0})[1]
    assert weighted.history == p.fit(class_weight={0: 2.0})[1].history
    metric = metrics.as_metrics(["accuracy"], nn.BCEWithLogitsLoss())["accuracy"]
    assert metric(np.array([[0.2], [-0.2]]), np.array([[1], [1]])).tolist() == [1.0, 0.0]
    model, history = p.fit(
        p.model(nn.BatchNorm1d(3), nn.Dropout(0.5, rng=0)), batch_size=4, **given
    )
    held = (p.x[16:], p.y[16:])  # measured without dropout, with the running means
    again = tg.evaluate(model, *held, loss=tg.cross_entropy, batch_size=2)
    assert history.history["val_loss"][-1] == pytest.approx(again)


def test_a_schedule_of_learning_rates_is_a_callback() -> None:
    p = Problem()
    model = p.model()
    adam = optim.Adam(model.parameters(), lr=0.1)
    schedule = optim.lr_scheduler.ExponentialLR(adam, gamma=0.5)
    rates: list[float] = []
    note = [lambda epoch, logs: rates.append(adam.lr), lambda epoch, logs: schedule.step()]
    p.fit(model, optimizer=adam, epochs=3, callbacks=note)
    assert rates == [0.1, 0.05, 0.025]


def test_regression_by_name() -> None:
    p = Problem(k=1)
    p.y = p.x.sum(axis=1)
    model, history = p.fit(loss="mse", metrics=["mae", "mse"], epochs=3, batch_size=100)
    assert list(history.history) == ["loss", "mae", "mse"]
    assert history.history["mse"] == history.history["loss"]
    loss, mae = tg.evaluate(model, p.x, p.y, loss="mse", metrics=["mae"])
    error = tg.predict(model, p.x)[:, 0] - p.y
    assert loss == pytest.approx(np.mean(error**2)) and mae == pytest.approx(abs(error).mean())


# --- what goes in ---------------------------------------------------------------------------------


@given(m=st.integers(2, 60), share=st.floats(0.01, 0.99))
def test_the_split_takes_the_last_share_before_shuffling(m: int, share: float) -> None:
    p = Problem(m)
    at = int(np.floor(m * (1.0 - share)))
    if at in (0, m):
        with pytest.raises(ValueError, match="leaves"):
            p.fit(validation_split=share)
        return
    _, split = p.fit(validation_split=share, epochs=1)
    held, p.x, p.y = (p.x[at:], p.y[at:]), p.x[:at], p.y[:at]
    _, whole = p.fit(validation_data=held, epochs=1)
    assert split.history == whole.history


def test_data_in_all_forms_and_unchanged() -> None:
    p = Problem()
    x = np.random.default_rng(0).integers(0, 255, p.x.shape).astype(np.uint8)
    x.setflags(write=False)
    seen = []

    def look(prediction: Any, target: Any) -> Any:
        seen.append(prediction.dtype)
        return tg.cross_entropy(prediction, target)

    histories = []
    for data in (
        x,
        x.astype(np.float64),
        x.astype(np.float32),
        (x * 1.0).tolist(),
        tg.Tensor(x * 1.0),
    ):
        p.x = data
        model, history = p.fit(p.model(dtype=np.float32), loss=look)
        histories.append(history.history)
        assert model[0].weight.dtype == np.float32
    assert all(history == histories[0] for history in histories)
    assert set(seen) == {np.dtype(np.float32)}


@pytest.mark.parametrize("compile", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_images_of_bytes_train_to_the_same_bits(compile: bool, dtype: str) -> None:
    images = np.random.default_rng(0).integers(0, 256, (50, 12), dtype=np.uint8)
    labels = images[:, 0] % 3
    left = []
    for x in (tg.data.Pixels(images), np.divide(images, 255, dtype=dtype)):
        model = nn.Linear(12, 3, dtype=dtype, rng=0)
        settings: dict[str, Any] = {"loss": tg.cross_entropy, "metrics": ["accuracy"]}
        history = tg.fit(
            model,
            x,
            labels,
            optimizer=optim.SGD(model.parameters(), lr=0.5),
            epochs=3,
            rng=1,
            validation_split=0.3,
            batch_size=8,
            compile=compile,
            **settings,
        )
        left.append(
            [
                *history.history.values(),
                tg.evaluate(model, x, labels, **settings),
                model.weight.data,
                tg.predict(model, x, batch_size=7),
            ]
        )
    for bytes_, numbers in zip(*left, strict=True):
        np.testing.assert_array_equal(bytes_, numbers)
    with pytest.raises(ValueError, match="at least one sample"):
        tg.predict(model, tg.data.Pixels(images[:0]))


def test_batches_that_a_layer_keeps_are_not_written_over() -> None:
    class Keeps(nn.Module):
        def __init__(self) -> None:
            self.seen: list[Any] = []

        def forward(self, x: Any) -> Any:
            self.seen.append(x)
            return x

    keeps = Keeps()
    model = nn.Sequential(keeps, nn.Linear(2, 1, rng=0))
    x = np.arange(40.0).reshape(20, 2) / 40
    tg.fit(
        model,
        x,
        x[:, :1],
        loss="mse",
        batch_size=4,
        rng=0,
        compile=False,
        optimizer=optim.SGD(model.parameters(), lr=0.01),
    )
    order = np.random.default_rng(0).permutation(20)
    np.testing.assert_array_equal(np.concatenate(keeps.seen), x[order])


@pytest.mark.parametrize("compile", [True, False])
def test_targets_that_a_metric_keeps_are_not_written_over(compile: bool) -> None:
    seen = []

    def keeps(prediction: Any, target: Any) -> Any:
        seen.append(target)
        return target[:, 0]

    model = nn.Linear(2, 1, rng=0)
    x = np.arange(40.0).reshape(20, 2) / 40
    tg.fit(
        model,
        x,
        x[:, :1],
        loss="mse",
        batch_size=4,
        rng=0,
        compile=compile,
        metrics=[keeps],
        optimizer=optim.SGD(model.parameters(), lr=0.01),
    )
    order = np.random.default_rng(0).permutation(20)
    np.testing.assert_array_equal(np.concatenate(seen), x[order, :1])


@pytest.mark.parametrize("compile", [True, False])
def test_an_epoch_makes_two_batches_and_no_more(
    monkeypatch: pytest.MonkeyPatch, compile: bool
) -> None:
    places = []
    cut = tg.data.minibatches

    def watched(*arrays: Any, **settings: Any) -> Iterator[Any]:
        for batch in cut(*arrays, **settings):
            places.append(batch[0].ctypes.data)
            yield batch

    monkeypatch.setattr(samples, "minibatches", watched)
    model = nn.Linear(2, 1, rng=0)
    tg.fit(
        model,
        np.ones((40, 2)),
        np.ones((40, 1)),
        loss="mse",
        batch_size=4,
        rng=0,
        compile=compile,
        optimizer=optim.SGD(model.parameters(), lr=0.01),
    )
    assert len(places) == 10
    assert len(set(places)) <= 3  # another one while the step is captured


def test_frames_of_pandas() -> None:
    pandas = pytest.importorskip("pandas")
    p = Problem()
    _, expected = p.fit()
    p.x, p.y = pandas.DataFrame(p.x, columns=list("abc")), pandas.Series(p.y, index=range(100, 123))
    assert p.fit()[1].history == expected.history


def test_whole_numbers_that_may_be_indices_stay_what_they_are() -> None:
    class Table(nn.Module):
        def __init__(self) -> None:
            self.rows = nn.Parameter(np.zeros((5, 2)))

        def forward(self, x: Any) -> Any:
            return self.rows[x]

    model, x = Table(), np.array([0, 3, 3, 1])
    sgd = optim.SGD(model.parameters(), lr=1.0)
    tg.fit(model, x, np.array([0, 1, 1, 0]), loss=tg.cross_entropy, optimizer=sgd, epochs=9)
    assert tg.predict(model, x).argmax(axis=1).tolist() == [0, 1, 1, 0]


def test_class_weights_are_weights_of_samples() -> None:
    p = Problem()
    factors = np.where(p.y == 1, 3.0, 1.0)
    _, expected = p.fit(sample_weight=factors)
    assert p.fit(class_weight={1: 3.0})[1].history == expected.history
    p.y = tg.one_hot(p.y)
    assert p.fit(class_weight={1: 3.0, 0: 1})[1].history == expected.history
    with pytest.raises(ValueError, match=r"weights for \[7\]"):
        p.fit(class_weight={7: 1.0})
    with pytest.raises(ValueError, match="not both"):
        p.fit(class_weight={1: 1.0}, sample_weight=factors)
    with pytest.raises(ValueError, match="reduction='none'; custom"):

        def custom(prediction: Any, target: Any) -> Any:
            return tg.cross_entropy(prediction, target)

        p.fit(loss=custom, sample_weight=factors)
    for summed in (nn.CrossEntropyLoss("sum"), partial(tg.cross_entropy, reduction="sum")):
        with pytest.raises(ValueError, match="is set to reduction='sum'"):
            p.fit(loss=summed, sample_weight=factors)


def test_weights_of_validation_samples() -> None:
    p = Problem()
    w = np.zeros(len(p.x_val))
    w[:3] = 2.0
    model, history = p.fit(validation_data=(p.x_val, p.y_val, w), epochs=1)
    first = tg.evaluate(model, p.x_val[:3], p.y_val[:3], loss=tg.cross_entropy)
    assert history.history["val_loss"][0] == pytest.approx(first * 3 * 2 / len(w))
    assert tg.evaluate(
        model, p.x_val, p.y_val, loss=nn_like_loss, sample_weight=w
    ) == pytest.approx(history.history["val_loss"][0])


nn_like_loss = partial(tg.cross_entropy, reduction="mean")


BAD: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"x": np.zeros((4, 3))}, ValueError, r"x has 4 samples and y 23: \(4, 3\) and \(23,\)"),
    ({"x": np.zeros((0, 3)), "y": []}, ValueError, r"at least one sample, received shape \(0, 3\)"),
    ({"x": iter([])}, TypeError, "one array with a row for each sample.*minibatches"),
    ({"x": {"a": 1}}, TypeError, "received dict"),
    ({"y": None}, TypeError, "y must be one array.*NoneType"),
    ({"x": [["a"]]}, TypeError, "^x: expected real numbers"),
    ({"y": ["cat", "dog"]}, TypeError, "^y: expected real numbers .* return_inverse=True"),
    ({"epochs": -1}, ValueError, "epochs must be .* received -1"),
    ({"epochs": 1.5}, ValueError, "epochs must be .* received 1.5"),
    ({"batch_size": 0}, ValueError, "batch_size must be a positive integer"),
    ({"batch_size": None}, ValueError, "batch_size must be a positive integer"),
    ({"validation_batch_size": 0}, ValueError, "batch_size must be a positive integer"),
    ({"validation_split": 1.0}, ValueError, "between 0 and 1"),
    ({"validation_split": 0.5, "validation_data": (1, 2)}, ValueError, "not both"),
    ({"validation_data": np.zeros((3, 3))}, ValueError, r"must be \(x, y\)"),
    ({"validation_data": ([[1.0]], [1, 2])}, ValueError, "validation x has 1 samples"),
    ({"sample_weight": [1.0]}, ValueError, "sample_weight 1"),
    ({"sample_weight": np.ones((23, 2))}, ValueError, r"must be \(m,\)"),
    ({"loss": "hinge"}, ValueError, "'hinge' is not known; known are 'binary_crossentropy'"),
    ({"loss": nn.Softmax}, TypeError, "a loss is a function"),
    ({"loss": lambda y_true, y_pred: y_pred}, TypeError, "starts with y_true"),
    ({"loss": lambda p, t: p}, ValueError, "must be one number.*reduction='mean'"),
    (
        {"loss": lambda p, t: (p.numpy() ** 2).mean()},
        TypeError,
        "must be a tensor.*not call numpy",
    ),
    ({"optimizer": "rprop"}, TypeError, "tg.optim.SGD.*'sgd', 'adam', 'adamw'; received 'rprop'"),
    ({"optimizer": optim.SGD}, TypeError, "tg.optim.SGD"),
    (
        {"optimizer": optim.SGD([tg.Tensor(1.0, requires_grad=True)], lr=0.1)},
        ValueError,
        "none of the model's 2 parameters",
    ),
    ({"metrics": "accuracy"}, TypeError, "metrics is a list"),
    ({"metrics": ["auc"]}, ValueError, "'auc' is not known; known are 'accuracy'"),
    ({"metrics": ["accuracy", "accuracy"]}, ValueError, "two columns"),
    ({"metrics": {"loss": "accuracy"}}, ValueError, "two columns"),
    ({"metrics": [lambda y_true, y_pred: 0]}, TypeError, "starts with y_true"),
    ({"metrics": [lambda p, t: p]}, TypeError, "one for each of the 5 samples"),
    ({"verbose": 3}, ValueError, "verbose must be"),
    ({"rng": np.random}, TypeError, "rng must be"),
    ({"model": lambda x: x}, TypeError, "must be a tg.nn.Module"),
    ({"history": {}}, TypeError, "must be a tg.History, received dict"),
    ({"initial_epoch": -1}, ValueError, "at least 0, received -1"),
    (
        {"validation_data": (np.ones((2, 4)), [0, 1])},
        ValueError,
        r"x \(23, 3\) and validation x \(2, 4\)",
    ),
    ({"class_weight": "balanced"}, TypeError, "class_weight is a dict.*'balanced'"),
    ({"class_weight": [1.0, 2.0]}, TypeError, "class_weight is a dict"),
    ({"callbacks": print}, TypeError, "callbacks is a list"),
    ({"callbacks": [Callback]}, TypeError, "a callback is a function"),
    ({"callbacks": [3]}, TypeError, "a callback is a function"),
    ({"steps_per_epoch": 3}, TypeError, "steps_per_epoch"),
    ({"validation_freq": 3}, TypeError, "validation_freq"),
]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("sgd", partial(optim.SGD, lr=0.01)),
        ("adam", partial(optim.Adam, lr=0.001)),
        ("AdamW", partial(optim.AdamW, lr=0.001, weight_decay=0.004)),
    ],
)
def test_keras_names_of_optimizers(name: str, kind: Any) -> None:
    x, y = np.random.default_rng(0).normal(size=(20, 3)), np.arange(20) % 2
    models = [nn.Linear(3, 2, rng=0) for _ in range(2)]
    for model, optimizer in zip(models, (name, kind(models[1].parameters())), strict=True):
        tg.fit(model, x, y, loss=tg.cross_entropy, optimizer=optimizer, epochs=3, rng=0)
    for one, other in zip(*(model.parameters() for model in models), strict=True):
        np.testing.assert_array_equal(one.data, other.data)


def test_a_name_does_not_go_on_with_a_history() -> None:
    x, y = np.random.default_rng(0).normal(size=(20, 3)), np.arange(20) % 2
    model = nn.Linear(3, 2, rng=0)
    history = tg.History()  # an empty one may be given
    tg.fit(model, x, y, loss=tg.cross_entropy, optimizer="adam", epochs=2, history=history)
    before = model.state_dict()
    with pytest.raises(ValueError, match=r"'adam' would begin from nothing.*2 epochs; give"):
        tg.fit(model, x, y, loss=tg.cross_entropy, optimizer="adam", epochs=4, history=history)
    np.testing.assert_equal(model.state_dict(), before)
    assert history.epoch == [0, 1]


@pytest.mark.parametrize(("wrong", "kind", "message"), BAD)
def test_what_does_not_fit_is_refused_and_the_model_kept(
    wrong: dict[str, Any], kind: type[Exception], message: str
) -> None:
    p = Problem()
    model = p.model()
    before, modes = model.state_dict(), [module.training for module in model.modules()]
    given: dict[str, Any] = {
        "x": p.x,
        "y": p.y,
        "loss": tg.cross_entropy,
        "batch_size": 5,
        "optimizer": optim.SGD(model.parameters(), lr=0.1),
    }
    with pytest.raises(kind, match=message):
        tg.fit(**{"model": model, **given, **wrong})
    np.testing.assert_equal(model.state_dict(), before)
    assert [module.training for module in model.modules()] == modes
    assert "stop_training" not in vars(model)


def test_zero_epochs_give_an_empty_history() -> None:
    p = Problem()
    model, history = p.fit(epochs=0, callbacks=None, metrics=None)  # as Keras' defaults are
    assert (history.history, history.epoch) == ({}, [])
    np.testing.assert_array_equal(model[0].weight.data, p.W)


# --- determinism and resuming ---------------------------------------------------------------------


def test_the_same_seed_gives_the_same_run_and_the_global_state_is_left_alone() -> None:
    p = Problem()
    np.random.seed(7)
    first, second, other = p.fit(rng=3)[1], p.fit(rng=3)[1], p.fit(rng=4)[1]
    assert first.history == second.history != other.history
    expected = np.random.RandomState(7).rand()
    assert np.random.rand() == expected


@given(cut=st.integers(0, 5), seed=st.integers(0, 2**32 - 1), legacy=st.booleans())
def test_training_in_two_parts_is_training_in_one_bit_for_bit(
    cut: int, seed: int, legacy: bool
) -> None:
    p = Problem(seed=seed)
    given: dict[str, Any] = {"metrics": ["accuracy"], "validation_split": 0.3}

    def source() -> Any:
        return np.random.RandomState(seed) if legacy else np.random.default_rng(seed)

    def start() -> tuple[Any, optim.SGD]:
        model = p.model()
        return model, optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True)

    model, sgd = start()
    _, straight = p.fit(model, optimizer=sgd, epochs=5, rng=source(), **given)

    again, sgd = start()
    rng = source()
    _, history = p.fit(again, optimizer=sgd, epochs=cut, rng=rng, **given)
    state, kept = again.state_dict(), json.loads(json.dumps(history.state_dict()))
    random = rng.get_state(legacy=False) if legacy else rng.bit_generator.state
    # In another process: all is made anew and brought to its state.
    again = p.model()
    again.load_state_dict(state)
    sgd.parameters = list(again.parameters())
    history = tg.History()
    history.load_state_dict(kept)
    rng = source()
    if legacy:
        rng.set_state(random)
    else:
        rng.bit_generator.state = random
    _, resumed = p.fit(again, optimizer=sgd, epochs=5, rng=rng, history=history, **given)
    assert resumed is history
    assert (resumed.history, resumed.epoch) == (straight.history, straight.epoch)
    np.testing.assert_equal(again.state_dict(), model.state_dict())


def test_where_to_go_on_can_be_said_and_is_checked() -> None:
    p = Problem()
    _, history = p.fit(epochs=4, initial_epoch=2)
    assert history.epoch == [2, 3]
    with pytest.raises(ValueError, match="initial_epoch is 3, but the history goes to epoch 3"):
        p.fit(epochs=9, initial_epoch=3, history=history)
    assert p.fit(epochs=5, history=history)[1].epoch == [2, 3, 4]


# --- modes and failures ---------------------------------------------------------------------------


class Spy(nn.Module):
    """Passes on what it gets and notes in which mode."""

    def __init__(self) -> None:
        self.modes: list[bool] = []

    def forward(self, x: Any) -> Any:
        self.modes.append(self.training)
        return x


@pytest.mark.parametrize("mode", [True, False])
def test_modes_are_set_and_given_back(mode: bool) -> None:
    p, spy = Problem(10), Spy()
    model = p.model(spy)
    model[0].training, spy.training = not mode, mode
    p.fit(model, epochs=1, validation_data=(p.x_val, p.y_val))
    assert spy.modes == [True] * 2 + [False] * 2
    assert (model.training, model[0].training, spy.training) == (True, not mode, mode)
    spy.modes.clear()
    tg.predict(model, p.x)
    tg.evaluate(model, p.x, p.y, loss=tg.cross_entropy)
    assert spy.modes == [False, False]
    assert (model[0].training, spy.training) == (not mode, mode)


@pytest.mark.parametrize(
    "hook",
    [
        "on_train_begin",
        "on_epoch_begin",
        "on_train_batch_end",
        "on_test_end",
        "on_epoch_end",
        "on_train_end",
    ],
)
def test_a_callback_that_fails_leaves_everything_usable(hook: str) -> None:
    p = Problem()
    model = p.model(Spy())
    model.eval()

    def fail(*arguments: Any) -> None:
        raise RuntimeError("on purpose")

    history = tg.History()
    with pytest.raises(RuntimeError, match="on purpose"):
        p.fit(
            model, callbacks=[LambdaCallback(**{hook: fail})], history=history, validation_split=0.3
        )
    assert not any(module.training for module in model.modules())
    assert "stop_training" not in vars(model)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert len(history.epoch) == {"on_epoch_end": 1, "on_train_end": 2}.get(hook, 0)
    before = len(history.epoch)
    assert len(p.fit(model, epochs=3, history=history)[1].epoch) == 3 >= before


def test_an_error_in_a_step_leaves_the_weights_of_before_it() -> None:
    p = Problem()
    model = p.model()
    noted: list[Array] = []

    class Halfway(optim.SGD):
        def step(self) -> None:
            noted.append(model[0].weight.data)
            super().step()
            if len(noted) == 3:
                raise RuntimeError("half of the parameters have moved")

    with pytest.raises(RuntimeError, match="half"):
        p.fit(model, optimizer=Halfway(model.parameters(), lr=0.1))
    np.testing.assert_array_equal(model[0].weight.data, noted[-1])


def test_it_trains_in_a_thread() -> None:
    p = Problem()
    expected = p.fit()[1].history
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(p.fit()[1].history))
    thread.start()
    thread.join()
    assert found == [expected]


def test_the_loop_takes_any_step() -> None:
    model = nn.Linear(1, 1, init=tg.init.ones)
    seen: list[tuple[float, ...]] = []

    def steps() -> Generator[tuple[float, int], None, None]:
        for arrays in tg.data.minibatches(np.arange(5.0), np.ones(5), np.ones(5), batch_size=2):
            seen.append(tuple(float(a.sum()) for a in arrays))
            yield seen[-1][0], len(arrays[0])

    history = train(
        model,
        steps,
        batches=3,
        logs=lambda sums: {"mean": sums[0] / sums[1]},
        validate=lambda: {"mean": 7.0},
        epochs=range(2),
    )
    assert history.history == {"mean": [2.0, 2.0], "val_mean": [7.0, 7.0]}
    assert seen == [(1, 2, 2), (5, 2, 2), (4, 1, 1)] * 2


# --- predict and evaluate -------------------------------------------------------------------------


@given(m=st.integers(1, 30), batch_size=st.integers(1, 40))
def test_predict_and_evaluate_do_not_depend_on_the_batches(m: int, batch_size: int) -> None:
    p = Problem(m)
    model = p.model()
    before = model.state_dict()
    found = tg.predict(model, p.x, batch_size=batch_size)
    assert type(found) is np.ndarray
    np.testing.assert_allclose(found, p.x @ p.W + p.b, rtol=1e-12)
    given: dict[str, Any] = {"loss": tg.cross_entropy, "metrics": ["accuracy"]}
    values = tg.evaluate(model, p.x, p.y, batch_size=batch_size, **given)
    whole = tg.evaluate(model, p.x, p.y, batch_size=m, **given, return_dict=True)
    assert list(whole) == ["loss", "accuracy"]
    np.testing.assert_allclose(values, list(whole.values()), rtol=1e-12)
    only = tg.evaluate(model, p.x, p.y, loss=tg.cross_entropy)
    assert type(only) is float and only == pytest.approx(values[0])
    np.testing.assert_equal(model.state_dict(), before)
    assert model[0].weight.grad is None


def test_evaluate_adds_the_penalty() -> None:
    p = Problem()
    model = p.model()
    plain = tg.evaluate(model, p.x, p.y, loss=tg.cross_entropy)
    more = tg.evaluate(model, p.x, p.y, loss=tg.cross_entropy, penalty=lambda m: 2.5)
    assert more == pytest.approx(plain + 2.5)


def test_nothing_is_recorded() -> None:
    recorded: list[bool] = []

    class Look(nn.Module):
        def forward(self, x: Any) -> Any:
            recorded.append(x.requires_grad)
            return x

    p = Problem()
    model = p.model(Look())
    tg.predict(model, p.x)
    tg.evaluate(model, p.x, p.y, loss=tg.cross_entropy)
    assert recorded == [False, False]


def test_a_model_that_gives_something_else_is_refused() -> None:
    class Mean(nn.Module):
        def forward(self, x: Any) -> Any:
            return x.mean()

    with pytest.raises(ValueError, match=r"for 3 samples the model must give an array of 3 rows"):
        tg.predict(Mean(), np.ones((3, 2)))
    with pytest.raises(ValueError, match="at least one sample"):
        tg.predict(Mean(), [])


# --- NaN ------------------------------------------------------------------------------------------


def test_a_loss_that_is_not_finite_is_named_and_the_weights_kept() -> None:
    class Logarithm(nn.Module):
        def forward(self, x: Any) -> Any:
            return tg.log(x)

    model: Any = nn.Sequential(nn.Linear(1, 1, init=tg.init.ones), Logarithm())
    x = np.array([[1.0], [2.0], [3.0], [-4.0], [5.0]])
    noted: list[Array] = []
    sgd = optim.SGD(model.parameters(), lr=1e-3)
    note = LambdaCallback(on_train_batch_begin=lambda i, logs: noted.append(model[0].weight.data))
    with np.errstate(invalid="ignore"), pytest.raises(NonFiniteLoss) as caught:
        tg.fit(
            model,
            x,
            x * 0,
            loss="mse",
            optimizer=sgd,
            epochs=3,
            batch_size=2,
            shuffle=False,
            callbacks=[note],
        )
    error = caught.value
    assert isinstance(error, FloatingPointError)
    assert (error.epoch, error.batch, error.history and error.history.epoch) == (0, 1, [])
    assert "the loss is nan in epoch 0, batch 1" in str(error)
    assert "log gave nan at [1, 0], 1 of 2 entries" in str(error)
    np.testing.assert_array_equal(model[0].weight.data, noted[-1])
    assert model[0].weight.data[0, 0] != 1.0
    # It goes on with data that are right.
    tg.fit(model, abs(x), x * 0, loss="mse", optimizer=sgd)


@pytest.mark.parametrize("batch_size", [2, 6])
def test_a_gradient_that_is_not_finite_is_undone_too(batch_size: int) -> None:
    # |z| as √z² has the slope 0/0 at 0: the loss is finite, the step brings NaN in.
    def distance(z: Any, t: Any) -> Any:
        return tg.sqrt((z - t) ** 2).mean()

    model = nn.Linear(1, 1, init=tg.init.ones)
    x = np.array([[1.0], [2.0], [3.0], [4.0], [5.0], [6.0]])
    y = x - np.array([[1], [1], [0], [1], [1], [1]])
    noted: list[Array] = []
    note = LambdaCallback(on_train_batch_begin=lambda i, logs: noted.append(model.weight.data))
    sgd = optim.SGD(model.parameters(), lr=0.0)
    with np.errstate(all="ignore"), pytest.raises(NonFiniteLoss, match="weight") as caught:
        tg.fit(
            model,
            x,
            y,
            loss=distance,
            optimizer=sgd,
            epochs=2,
            batch_size=batch_size,
            shuffle=False,
            callbacks=[note],
        )
    assert "has been undone" in str(caught.value)
    np.testing.assert_array_equal(model.weight.data, np.ones((1, 1)))
    assert caught.value.history is not None and caught.value.history.epoch == []


def test_data_with_a_nan_are_named() -> None:
    p = Problem()
    p.x[7, 1] = np.nan
    with pytest.raises(NonFiniteLoss, match=r"batch 1.*\n\(5, 3\) float64 holds nan at \[2, 1\]"):
        p.fit(shuffle=False)


def test_a_loss_that_refuses_nan_is_told_from_wrong_targets() -> None:
    p = Problem(k=1)
    p.y = np.ones(23)
    model = p.model(nn.Sigmoid())
    p.x[0, 0] = np.nan
    with pytest.raises(NonFiniteLoss, match="holds nan"):
        p.fit(model, loss=tg.binary_cross_entropy, shuffle=False)
    p.x[0, 0], p.y = 0.0, p.y * 2
    with pytest.raises(ValueError, match=r"targets must be in \[0, 1\]"):
        p.fit(model, loss=tg.binary_cross_entropy)


def test_a_step_moves_nothing_where_the_loss_is_not_finite() -> None:
    p = Problem()
    model = p.model()
    step = train_step(model, tg.cross_entropy, optim.SGD(model.parameters(), lr=0.1))
    loss, prediction = step(p.x, p.y)
    np.testing.assert_allclose(prediction.value, p.x @ p.W + p.b)
    before = model.state_dict()
    with pytest.raises(NonFiniteLoss):
        step(p.x * np.nan, p.y)
    np.testing.assert_equal(model.state_dict(), before)
    assert step(p.x, p.y)[0].item() < loss.item()


def test_running_means_are_of_before_the_step_too() -> None:
    p = Problem(25)
    p.x[15:] = np.nan
    model = p.model(nn.BatchNorm1d(3))
    states: list[Any] = []
    note = LambdaCallback(on_train_batch_end=lambda i, logs: states.append(model.state_dict()))
    with pytest.raises(NonFiniteLoss, match="in epoch 0, batch 3"):
        p.fit(model, shuffle=False, callbacks=[note])
    assert len(states) == 3
    np.testing.assert_equal(model.state_dict(), states[-1])


# --- Ctrl-C, in a second process ------------------------------------------------------------------

sends_signals = pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT can be sent there")
PROGRAM = """
    import json, sys
    import numpy as np
    import tinygrad_edu as tg

    def pause(word):
        print(word, flush=True)
        sys.stdin.readline()  # a signal is dealt with, and the reading goes on

    model = tg.nn.Linear(2, 2, init=tg.init.ones)
    sgd = tg.optim.SGD(model.parameters(), lr=0.1)
    x, y = np.arange(20.0).reshape(10, 2), np.arange(10) % 2
    after, ends = [], []

    def note(batch, logs):
        after.append(model.weight.data.tolist())

    class Stop(tg.callbacks.Callback):
        on_train_batch_end = staticmethod(note)
        def on_train_end(self, logs):
            ends.append(logs)

    def loss(prediction, target):
        if len(after) == 13:  # in epoch 2, batch 3
            pause("in a step")
            if TWICE:
                pause("still in it")
        return tg.cross_entropy(prediction, target)

    def tell(**more):
        print(json.dumps({"weights": model.weight.data.tolist(), "after": after, "ends": ends,
                          "modes": [m.training for m in model.modules()], **more}), flush=True)

    try:
        history = tg.fit(model, x, y, loss=loss, optimizer=sgd, epochs=9, batch_size=2,
                         callbacks=[Stop()], shuffle=False)
    except KeyboardInterrupt:
        tell(raised=True)
    else:
        tell(history=history.history, epoch=history.epoch, interrupted=history.interrupted)
"""


def interrupted(
    times: int, program: str = PROGRAM, compiled: bool = False, batch: int = 2
) -> tuple[dict[str, Any], str]:
    """Return what a program prints after so many SIGINTs within one step."""
    program = textwrap.dedent(program).replace("TWICE", str(times == 2))
    program = program.replace("COMPILE", str(compiled)).replace("BATCH", str(batch))
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdin and child.stdout and child.stderr
        assert child.stdout.readline() == "in a step\n"
        child.send_signal(signal.SIGINT)
        child.stdin.write("\n")
        child.stdin.flush()
        if times == 2:
            assert child.stdout.readline() == "still in it\n"
            child.send_signal(signal.SIGINT)
            with contextlib.suppress(BrokenPipeError):  # a program that goes on is to end too
                child.stdin.write("\n")
                child.stdin.flush()
        told = json.loads(child.stdout.readline())
        with contextlib.suppress(BrokenPipeError):
            child.stdin.close()
        return told, child.stderr.read()


# No callback runs between the steps here, so that captured ones are run one after the other; what
# stops in the middle of a step is an operation, which is called as it is.
ALONE = """
    import json, sys
    import numpy as np
    import tinygrad_edu as tg

    model = tg.nn.Linear(2, 2, init=tg.init.ones)
    sgd = tg.optim.SGD(model.parameters(), lr=0.1)
    x, y = np.arange(20.0).reshape(10, 2) / 20, np.arange(10) % 2
    count, before = np.zeros(1, int), np.zeros((99, 2, 2))

    def pause(word):
        print(word, flush=True)
        sys.stdin.readline()

    @tg.primitive(lambda g, y, x: g)
    def looks(x, /):
        if count[0] and np.array_equal(before[count[0] - 1], model.weight.value):
            return x + 0.0  # the same step again: it is traced twice, and compared
        before[count] = model.weight.value
        count[0] += 1
        if count[0] == 14:  # in epoch 2, batch 3
            pause("in a step")
            if TWICE:
                pause("still in it")
        return x + 0.0

    def loss(prediction, target):
        return tg.cross_entropy(looks(prediction), target)

    def tell(**more):
        print(json.dumps({"weights": model.weight.data.tolist(), "before": before.tolist(),
                          "count": count.tolist(), **more}), flush=True)

    history = tg.History()
    try:
        tg.fit(model, x, y, loss=loss, optimizer=sgd, epochs=9, batch_size=BATCH, shuffle=False,
               metrics=["accuracy"], compile=COMPILE, history=history)
    except KeyboardInterrupt:
        tell(raised=True)
    else:
        tell(history=history.history, epoch=history.epoch, interrupted=history.interrupted)
    assert history.compiled is COMPILE, history.compiled
"""


@sends_signals
def test_ctrl_c_ends_after_the_step_at_hand() -> None:
    told, errors = interrupted(1)
    assert told["interrupted"] is True
    assert told["epoch"] == [0, 1] and len(told["history"]["loss"]) == 2
    assert len(told["after"]) == 14  # the step at hand was finished, no other begun
    assert told["weights"] == told["after"][-1]
    assert told["ends"] == [{"loss": told["history"]["loss"][-1]}]
    assert told["modes"] == [True]
    assert "interrupted in epoch 2, before batch 4" in errors


@pytest.mark.parametrize("restore", [False, True])
def test_the_message_tells_where_the_weights_are_from(
    restore: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    # The "best" epoch is the first, whose weights are not the last ones.
    stop = EarlyStopping("loss", patience=9, mode="max", restore_best_weights=restore)

    def press(epoch: int, logs: Any) -> None:
        if epoch == 1:
            signal.raise_signal(signal.SIGINT)

    _, history = Problem().fit(epochs=3, callbacks=[stop, press])
    assert history.interrupted
    expected = "a callback has put back" if restore else "of the last whole step"
    assert f"after epoch 1 (counted from 0); the weights are those {expected}\n" in (
        capsys.readouterr().err
    )


def test_ctrl_c_between_two_epochs() -> None:
    program = """
    import signal
    import numpy as np
    import tinygrad_edu as tg

    model = tg.nn.Linear(1, 1)
    sgd = tg.optim.SGD(model.parameters(), lr=0.1)
    def press(epoch, logs):
        if epoch == 1:
            signal.raise_signal(signal.SIGINT)
    history = tg.fit(model, np.ones((4, 1)), np.ones(4), loss="mse", optimizer=sgd, epochs=9,
                     callbacks=[press])
    print(history.epoch, history.interrupted)
    print(tg.fit(model, np.ones((4, 1)), np.ones(4), loss="mse", optimizer=sgd).interrupted)
    signal.signal(signal.SIGINT, lambda *a: print("somebody else's"))
    tg.fit(model, np.ones((4, 1)), np.ones(4), loss="mse", optimizer=sgd, epochs=3,
           callbacks=[press])
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[0, 1] True\nFalse\nsomebody else's\n"
    assert "interrupted after epoch 1" in done.stderr


@sends_signals
def test_a_second_ctrl_c_raises_with_the_weights_of_the_last_whole_step() -> None:
    told, _ = interrupted(2)
    assert told["raised"] is True
    assert len(told["after"]) == 13
    assert told["weights"] == told["after"][-1]


@sends_signals
@pytest.mark.parametrize("batch", [2, 3])  # 3: the last of an epoch is a smaller one
@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_in_steps_that_are_run_one_after_the_other(times: int, batch: int) -> None:
    told, errors = interrupted(times, ALONE, compiled=True, batch=batch)
    expected, _ = interrupted(times, ALONE, compiled=False, batch=batch)
    if times == 2:
        assert told["raised"] is True
        assert told["weights"] == told["before"][13]
    else:
        assert told["interrupted"] is True
        assert told["count"] == [14]  # the step at hand was finished, no other begun
        assert told["weights"] != told["before"][13] != told["before"][12]
        assert f"interrupted in epoch {13 // (10 // batch + 10 % batch)}" in errors
    assert told == expected


def test_nan_in_a_second_process_names_epoch_batch_and_operation() -> None:
    program = """
    import numpy as np
    import tinygrad_edu as tg

    model = tg.nn.Linear(1, 1, init=tg.init.ones)
    sgd = tg.optim.SGD(model.parameters(), lr=1e120)
    x = np.ones((4, 1))
    with np.errstate(over="ignore"):
        tg.fit(model, x, x + 1, loss="mse", optimizer=sgd, epochs=9, batch_size=2)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True
    )
    assert done.returncode == 1
    *_, message = done.stderr.partition("NonFiniteLoss: ")
    assert message.startswith("the loss is inf in epoch 1, batch 0 (counted from 0)")
    assert "mse_loss gave inf" in message


def test_names_of_losses_are_those_that_stand_in_the_documentation() -> None:
    for name in keras_losses.LOSSES:
        assert callable(keras_losses.as_loss(name))


@pytest.mark.parametrize("nan_at", [None, 15])
def test_captured_steps_train_to_the_same_bits(nan_at: int | None) -> None:
    """Also the weights left where a number is not finite, and a last batch that is less."""
    states, histories = [], []
    for compiled in (True, False):
        p = Problem(25)
        if nan_at is not None:
            p.x[nan_at:] = np.nan
        model = p.model(nn.BatchNorm1d(3))
        history = History()
        with pytest.raises(NonFiniteLoss) if nan_at else nullcontext():
            p.fit(model, shuffle=False, epochs=3, history=history, compile=compiled)
        assert history.compiled is compiled
        states.append(model.state_dict())
        histories.append(history.history)
    np.testing.assert_equal(*states)
    assert histories[0] == histories[1]


@pytest.mark.parametrize("looked_at", ["no", "a callback", "a metric"])
@pytest.mark.parametrize("x_dtype", ["float64", "float32"])
def test_who_looks_on_between_steps_sees_what_there_is_and_changes_nothing(
    looked_at: str, x_dtype: str
) -> None:
    """Weights that are kept between two steps stay what they were; the History has the same bits
    however the steps are run."""
    p = Problem(25)
    p.x = p.x.astype(x_dtype)
    seen: list[tuple[Array, Array]] = []

    def settings(model: Any) -> dict[str, Any]:
        def note(*arguments: Any) -> float:
            seen.append((model[0].weight.data, model[0].weight.data.copy()))
            return 0.0

        measured = {"accuracy": "accuracy", "top": partial(metrics.top_k_accuracy, k=2)}
        given: dict[str, Any] = {
            "metrics": measured,
            "sample_weight": np.linspace(0, 1, 25),
            "validation_split": 0.1,
            "penalty": lambda model: 0.01 * (model[0].weight ** 2).sum(),
            "epochs": 3,
            "optimizer": optim.SGD(model.parameters(), lr=0.1, momentum=0.9),
        }
        if looked_at == "a callback":
            given["callbacks"] = [LambdaCallback(on_train_batch_end=note)]
        elif looked_at == "a metric":
            measured["noted"] = note
        return given

    histories, states = [], []
    for compiled in (True, False):
        model = p.model()
        _, history = p.fit(model, compile=compiled, **settings(model))
        assert history.compiled is compiled
        histories.append(history.history)
        states.append(model.state_dict())
    assert histories[0] == histories[1]
    np.testing.assert_equal(*states)
    for kept, was in seen:
        np.testing.assert_array_equal(kept, was)
    if looked_at != "no":
        assert len({kept.tobytes() for kept, _ in seen}) == 15


def test_what_cannot_be_captured_is_trained_as_it_is_and_said() -> None:
    """A hook is Python code, and the model is the library's own."""
    x = np.ones((400, 2))
    weights = []
    for compiled in ("auto", False, True):
        model = nn.Linear(2, 1, rng=0)
        model.weight.register_hook(lambda g: g * 2)
        sgd = optim.SGD(model.parameters(), lr=0.01)
        settings: Any = {"loss": tg.mse_loss, "optimizer": sgd, "epochs": 30, "compile": compiled}
        if compiled is True:
            with pytest.raises(tg.CannotCapture, match="hook"):
                fit(model, x, x[:, :1], **settings)
        else:
            history = fit(model, x, x[:, :1], **settings)
            weights.append(model.weight.data)
        if compiled == "auto":
            assert "a hook is registered" in str(history.compiled)
    np.testing.assert_array_equal(weights[0], weights[1])


def test_code_of_the_users_is_trained_eagerly_and_said() -> None:
    def loss(prediction: Any, y: Any) -> Any:
        value = tg.mse_loss(prediction, y)
        return value if value.item() > 0 else value * 2

    x = np.ones((400, 2))
    for compiled in ("auto", True):
        model = nn.Linear(2, 1, rng=0)
        sgd = optim.SGD(model.parameters(), lr=0.01)
        settings: Any = {"loss": loss, "optimizer": sgd, "epochs": 30, "compile": compiled}
        with pytest.raises(tg.CannotCapture, match="item") if compiled is True else nullcontext():
            history = fit(model, x, x[:, :1], **settings)
    assert str(history.compiled).endswith("loss is not a function of tinygrad_edu")


def test_fit_on_numba_agrees_with_numpy_and_stops_where_it_does() -> None:
    pytest.importorskip("numba")
    states, histories = [], []
    for compiled in ("numba", False):
        p = Problem(25)
        model, history = p.model(), History()
        p.fit(model, epochs=3, history=history, compile=compiled)
        assert history.native is (compiled == "numba")
        states.append(model.state_dict())
        histories.append(history.history["loss"])
    for own, expected in zip(states[0].values(), states[1].values(), strict=True):
        np.testing.assert_allclose(own, expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(histories[0], histories[1], rtol=1e-9)
    p = Problem(25)
    p.x[15:] = np.nan
    with pytest.raises(NonFiniteLoss):
        p.fit(p.model(), shuffle=False, epochs=1, compile="numba")
    model = p.model(nn.BatchNorm1d(3))
    p = Problem(25)
    _, history = p.fit(model, epochs=1, compile="numba")
    assert history.compiled is True
    assert history.native is True or "no loop" in str(history.native)
    with pytest.raises(ValueError, match="'auto' or 'numba', received 'jit'"):
        p.fit(model, compile="jit")


@pytest.mark.parametrize("compiled", [True, False])
def test_a_loss_that_is_not_finite_in_the_first_batch_stops_the_training(compiled: bool) -> None:
    p = Problem(25)
    p.x[:] = np.inf
    model = p.model()
    before = model.state_dict()
    with pytest.raises(NonFiniteLoss, match="epoch 0, batch 0"), np.errstate(invalid="ignore"):
        p.fit(model, compile=compiled)
    np.testing.assert_equal(model.state_dict(), before)


def test_a_captured_training_takes_no_more_memory_than_a_recorded_one() -> None:
    """Nor does a second one of the same model. What takes memory is 784–100–10 on batches of 256,
    with a smaller one at the end, for which a program of its own is made."""
    rng = np.random.default_rng(0)
    x, labels = rng.random((1100, 784), np.float32), rng.integers(0, 10, 1100)
    y = np.eye(10, dtype=np.float32)[labels]
    peaks: dict[Any, list[int]] = {}
    for compiled in ("auto", False, "auto", False, True):  # the first two import what they use
        tracemalloc.start()
        model = nn.Sequential(
            nn.Linear(784, 100, dtype="float32", rng=0),
            nn.Sigmoid(),
            nn.Linear(100, 10, dtype="float32", rng=1),
        )
        sgd = optim.SGD(model.parameters(), lr=0.1)
        peaks[compiled] = []
        for _ in range(3):
            tracemalloc.reset_peak()
            tg.fit(
                model,
                x,
                y,
                loss=tg.cross_entropy,
                optimizer=sgd,
                batch_size=256,
                rng=0,
                compile=compiled,
                epochs=2 if compiled != "auto" else 20,
            )
            peaks[compiled].append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert max(peaks["auto"]) < 1.02 * max(peaks[False])
    assert max(peaks["auto"]) < 1.05 * min(peaks["auto"])
    weights = sum(p.data.nbytes for p in model.parameters())
    # A comparison with the function has the weights and gradients of both at a time.
    assert max(peaks[True]) < max(peaks[False]) + 4 * weights


def test_an_error_in_a_step_says_where_and_a_stale_one_the_way_out(
    tmp_path: Path,
) -> None:
    file = tmp_path / "factor"
    file.write_text("1")

    class Scaled(nn.Module):
        def __init__(self) -> None:
            self.linear = nn.Linear(3, 1, rng=0)

        def forward(self, x: Any) -> Any:
            return self.linear(x) * float(file.read_text())

    class Change(tg.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any) -> None:
            if epoch == 1:
                file.write_text("2")

    x = np.ones((1024, 3))
    model = Scaled()
    with pytest.raises(tg.StaleStep) as found:
        tg.fit(
            model,
            x,
            x[:, :1],
            loss="mse",
            optimizer=optim.SGD(model.parameters(), lr=0.01),
            epochs=9,
            batch_size=4,
            compile=True,
            callbacks=[Change()],
        )
    assert found.value.__notes__[0].startswith("fit(compile=False) ")
    assert re.fullmatch(r"in epoch [2-5], batch \d+ \(counted from 0\)", found.value.__notes__[1])
    two = nn.Linear(3, 2)
    sgd = optim.SGD(two.parameters(), lr=0.01)
    with pytest.raises(ValueError, match="class indices") as other:
        fit(two, x, [5, 0] * 512, loss=tg.cross_entropy, optimizer=sgd, shuffle=False)
    assert other.value.__notes__[-1] == "in epoch 0, batch 0 (counted from 0)"


@pytest.mark.parametrize("compile", [True, False])
def test_the_loss_counts_the_rows_of_x_however_many_the_model_gives(compile: bool) -> None:
    class Pairs(nn.Module):
        def __init__(self) -> None:
            self.linear = nn.Linear(3, 4, rng=0)

        def forward(self, x: Any) -> Any:
            return self.linear(x).reshape(-1, 2)  # two rows for a sample

    model = Pairs()
    x = np.random.default_rng(0).normal(size=(10, 3))
    sgd = optim.SGD(model.parameters(), lr=0.0)
    history = fit(
        model,
        x,
        np.zeros(10),
        loss=lambda prediction, y: (prediction**2).mean(),
        optimizer=sgd,
        batch_size=4,
        compile=compile,
        shuffle=False,
    )
    with tg.no_grad():
        expected = (model(x).data ** 2).mean()
    assert history.history["loss"][0] == pytest.approx(expected, rel=1e-12)


def test_an_eager_step_after_a_refusal_raises_without_the_refusal() -> None:
    history = History()

    def step(x: Any) -> Any:
        if float(x.sum()) > 0:  # cannot be captured
            raise ZeroDivisionError("of the step")
        return x

    stepper = Stepper(step, history, compile="auto", parts=[])
    with stepper.epoch((None,)) as one, pytest.raises(ZeroDivisionError) as found:
        one(np.ones(3))
    assert history.compiled is not True
    assert found.value.__context__ is None


def test_targets_that_are_bytes_are_split_as_bytes() -> None:
    images = np.random.default_rng(0).integers(0, 256, (20, 6), dtype=np.uint8)
    given = samples.Samples.of((tg.data.Pixels(images), tg.data.Pixels(images)))
    for part, rows in zip(given.split(0.25), (images[:15], images[15:]), strict=True):
        targets: Any = part.y
        assert isinstance(targets, tg.data.Pixels)
        np.testing.assert_array_equal(np.asarray(targets), rows / 255)
    left = []
    for target in (tg.data.Pixels(images), images / 255):
        model = nn.Linear(6, 6, rng=0)
        history = fit(
            model, images / 255, target, loss="mse", optimizer="sgd", validation_split=0.25, rng=0
        )
        left.append([*history.history.values(), model.weight.data])
    for a, b in zip(*left, strict=True):
        np.testing.assert_array_equal(a, b)


def test_samples_are_equal_only_to_themselves() -> None:
    one, other = (samples.Samples.of((np.ones((3, 2)), np.ones(3))) for _ in range(2))
    assert one == one
    assert one != other
    assert len({one, other}) == 2


def weights_in(model: Any) -> list[Array]:
    return [parameter.value for parameter in model.parameters()]


def halved(model: Any) -> None:
    for parameter in model.parameters():
        parameter.data = parameter.data * 0.5


def gradients_in(model: Any) -> list[Array]:
    return [parameter.grad for parameter in model.parameters()]


# What a metric of one's own may do between two steps: with the model, a list of what it keeps, the
# prediction and the target.
METRICS: dict[str, Any] = {
    "keeps predictions and targets": lambda model, kept, p, t: kept.extend((p, t)),
    "keeps weights": lambda model, kept, p, t: kept.extend(weights_in(model)),
    "keeps gradients": lambda model, kept, p, t: kept.extend(gradients_in(model)),
    "copies gradients": lambda model, kept, p, t: kept.extend(map(np.copy, gradients_in(model))),
    "replaces weights": lambda model, kept, p, t: halved(model),
    "calls the model": lambda model, kept, p, t: kept.append(model(np.ones((2, 3))).data),
    "drops gradients": lambda model, kept, p, t: model.zero_grad(),
    "overwrites what it gets": lambda model, kept, p, t: p.fill(0),
}


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("shuffle", [True, False])
def test_a_metric_sees_and_changes_what_it_does_in_an_eager_training(
    name: str, shuffle: bool
) -> None:
    left = []
    for compile in (True, False):
        p = Problem()
        kept: list[Any] = []
        model = p.model()
        _, history = p.fit(
            model,
            epochs=4,
            shuffle=shuffle,
            compile=compile,
            metrics={"mine": lambda p, t, m=model, k=kept: METRICS[name](m, k, p, t) or p.sum()},
        )
        left.append([*history.history.values(), *weights_in(model), *gradients_in(model), *kept])
    assert len(left[0]) == len(left[1])
    for captured, eager in zip(*left, strict=True):
        np.testing.assert_array_equal(captured, eager)
