"""Losses and metrics against their definitions."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_edu as tg
from tinygrad_edu.training import metrics

Array = np.ndarray[Any, np.dtype[Any]]


@given(m=st.integers(1, 9), k=st.integers(2, 7), top=st.integers(1, 8), seed=st.integers(0, 2**32))
def test_accuracies_are_shares_of_samples(m: int, k: int, top: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    p, y = rng.permuted(np.tile(np.arange(k * 1.0), (m, 1)), axis=1), rng.integers(0, k, m)
    order = [sorted(range(k), key=row.__getitem__, reverse=True) for row in p]
    for target in (y, np.eye(k)[y]):
        found = metrics.categorical_accuracy(p, target)
        assert found.tolist() == [c == best[0] for best, c in zip(order, y, strict=True)]
        found = metrics.top_k_accuracy(p, target, top)
        assert found.tolist() == [c in best[:top] for best, c in zip(order, y, strict=True)]
    bits = rng.integers(0, 2, (m, k))
    found = metrics.binary_accuracy(p, bits, threshold=1.5)
    np.testing.assert_allclose(found, ((p > 1.5) == bits).mean(axis=1))


def test_top_k_counts_ties_as_found_and_nan_as_not() -> None:
    p = np.array([[1.0, 1.0, 0.0], [np.nan, 1.0, 0.0]])
    assert metrics.top_k_accuracy(p, np.array([1, 0]), k=1).tolist() == [1.0, 0.0]


@given(m=st.integers(1, 6), k=st.integers(2, 5), seed=st.integers(0, 2**32 - 1))
def test_probabilities_that_come_from_elsewhere(m: int, k: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    a = 0.9 * rng.random((m, k)) + 0.1
    y, bits = rng.integers(0, k, m), rng.integers(0, 2, (m, k))
    share = a / a.sum(axis=1, keepdims=True)
    expected = -np.log(share[np.arange(m), y]).mean()
    for target in (y, np.eye(k)[y]):
        assert metrics.categorical_crossentropy(a, target) == pytest.approx(expected)
        variable = tg.Tensor(a, requires_grad=True)
        loss = metrics.categorical_crossentropy(variable, target)
        assert loss.item() == pytest.approx(expected)
        loss.backward()
        slope = (1 / a.sum(axis=1, keepdims=True) - np.eye(k)[y] / a) / m
        np.testing.assert_allclose(np.asarray(variable.grad), slope, rtol=1e-9, atol=1e-12)
    p = a / 2
    expected = -(bits * np.log(p) + (1 - bits) * np.log(1 - p)).mean()
    assert float(metrics.binary_crossentropy(p, bits)) == pytest.approx(expected)
    assert float(metrics.mean_absolute_error(p, bits)) == pytest.approx(abs(p - bits).mean())


def test_impossible_probabilities_have_a_finite_loss_as_in_keras() -> None:
    # keras.losses with epsilon() = 1e-7
    a, y = np.array([[0.0, 1.0]]), np.array([[1.0, 0.0]])
    assert float(metrics.categorical_crossentropy(a, y)) == pytest.approx(-np.log(1e-7))
    assert float(metrics.binary_crossentropy(a, y)) == pytest.approx(-np.log(1e-7))


@pytest.mark.parametrize("compile", [True, False])
def test_logits_where_probabilities_are_meant_are_refused(compile: bool) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20, 3)), rng.integers(0, 2, 20)
    logits = tg.nn.Linear(3, 2, rng=rng)
    for loss, target, way in (
        ("categorical_crossentropy", np.eye(2)[y], "tg.cross_entropy"),
        ("sparse_categorical_crossentropy", y, "tg.cross_entropy"),
        ("binary_crossentropy", np.eye(2)[y], "tg.binary_cross_entropy_with_logits"),
    ):
        with pytest.raises(ValueError, match=rf"in \[0, 1\], received -.* loss={way}"):
            tg.fit(logits, x, target, loss=loss, optimizer="sgd", compile=compile)
        with pytest.raises(ValueError, match="of logits take"):
            tg.evaluate(logits, x, target, loss=loss)

    nan = np.full((20, 2), np.nan)  # what training says of it itself
    assert np.isnan(float(metrics.categorical_crossentropy(nan, y)))

    class Shares(tg.nn.Module):  # probabilities that come out of no softmax
        def __init__(self) -> None:
            super().__init__()
            self.logits = tg.nn.Linear(3, 2, rng=0)

        def forward(self, x: Any) -> Any:
            e = tg.exp(self.logits(x))
            return e / e.sum(axis=1, keepdims=True)

    history = tg.fit(
        Shares(),
        x,
        y,
        loss="sparse_categorical_crossentropy",
        optimizer="sgd",
        compile=compile,
        epochs=2,
    )
    assert history.compiled is compile
    assert history.history["loss"][1] < history.history["loss"][0]


def test_reductions_of_the_losses() -> None:
    a, y = np.array([[0.25, 0.75], [0.5, 0.5]]), np.array([0, 1])
    each = metrics.categorical_crossentropy(a, y, "none")
    np.testing.assert_allclose(each, [np.log(4), np.log(2)])
    assert float(metrics.categorical_crossentropy(a, y, "sum")) == pytest.approx(np.log(8))
    with pytest.raises(ValueError, match="reduction must be"):
        metrics.mean_absolute_error(a, a, "max")


@pytest.mark.parametrize(
    "call",
    [
        lambda p: metrics.categorical_crossentropy(p, np.zeros((2, 3))),
        lambda p: metrics.mean_absolute_error(p, np.zeros(2)),
        lambda p: metrics.binary_accuracy(p, np.zeros(2)),
        lambda p: metrics.categorical_accuracy(p, np.zeros((2, 3))),
        lambda p: metrics.categorical_accuracy(p[:, 0], np.zeros(2)),
    ],
)
def test_shapes_that_do_not_fit_are_refused(call: Any) -> None:
    with pytest.raises(ValueError, match=r"\(2,? ?2?\)"):
        call(np.full((2, 2), 0.5))


def test_accuracy_that_could_mean_two_things_is_refused() -> None:
    one, two = np.zeros((3, 1)), np.zeros((3, 2))

    def ask(loss: Any, p: Array) -> Any:
        return metrics.as_metrics(["accuracy"], loss)["accuracy"](p, p)

    with pytest.raises(ValueError, match="logits or probabilities is not known"):
        ask(lambda p, t: p, one)
    with pytest.raises(ValueError, match=r"'binary_accuracy' .* or 'categorical_accuracy'"):
        ask(tg.binary_cross_entropy_with_logits, two)
    assert ask(partial(tg.binary_cross_entropy_with_logits, reduction="mean"), one).all()


def test_names_of_metrics() -> None:
    def f1(prediction: Array, target: Array) -> float:
        return 0.5

    given = ["accuracy", f1, partial(f1)]
    with pytest.raises(ValueError, match="two columns of the History would be called 'f1'"):
        metrics.as_metrics(given, tg.cross_entropy)
    named = metrics.as_metrics({"a": "accuracy", "b": f1}, tg.cross_entropy)
    assert list(named) == ["a", "b"]
    assert metrics.sum_over_samples(named["b"], np.zeros((4, 2)), np.zeros(4)) == 2.0
