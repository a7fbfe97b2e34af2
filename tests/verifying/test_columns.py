"""Samples in columns: X is (n, m), a layer is W @ X + b, the classes are the rows of Y."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_edu as tg
from tinygrad_edu.verifying.inputs import Kind, read_specs
from tinygrad_edu.verifying.problems import axes_of_classes
from tinygrad_edu.verifying.sampling import Sampler


def single(X: Any, Y: Any, W: Any, b: Any) -> Any:
    m = X.shape[1]
    Z = W @ X + b
    A = tg.sigmoid(Z)
    return -(Y * np.log(A) + (1 - Y) * np.log(1 - A)).sum() / m


def classes(X: Any, Y: Any, W: Any, b: Any) -> Any:
    m = X.shape[1]
    Z = W @ X + b
    A = tg.softmax(Z, axis=0)
    return -(Y * np.log(A)).sum() / m


def by_hand(X: Any, Y: Any, W: Any, b: Any) -> Any:
    Z = W @ X + b
    E = np.exp(Z - np.max(Z, axis=0))
    A = E / np.sum(E, axis=0)
    return -np.mean(np.sum(Y * np.log(A), axis=0))


def log_sum_exp(X: Any, Y: Any, W: Any) -> Any:
    m = X.shape[1]
    Z = W @ X
    return (np.log(np.exp(Z).sum(axis=0)) - (Y * Z).sum(axis=0)).sum() / m


def logsumexp(X: Any, Y: Any, W: Any) -> Any:
    Z = W @ X
    return (tg.logsumexp(Z, axis=0) - (Y * Z).sum(axis=0)).mean()


def transposed(X: Any, Y: Any, W: Any) -> Any:
    Z = W @ X
    return tg.cross_entropy(Z.T, Y.T)


def two_layers(X: Any, Y: Any, W1: Any, b1: Any, W2: Any, b2: Any) -> Any:
    m = X.shape[1]
    Z1 = W1 @ X + b1
    A1 = np.tanh(Z1)
    Z2 = W2 @ A1 + b2
    A2 = tg.softmax(Z2, axis=0)
    return -np.sum(Y * np.log(A2)) / m


def relu_layers(X: Any, Y: Any, W1: Any, b1: Any, W2: Any, b2: Any) -> Any:
    m = X.shape[1]
    Z1 = W1 @ X + b1
    A1 = tg.relu(Z1)
    A2 = W2 @ A1 + b2
    return np.sum((A2 - Y) ** 2) / (2 * m)


def penalised(X: Any, Y: Any, W1: Any, W2: Any, lam: Any) -> Any:
    m = X.shape[1]
    A1 = tg.sigmoid(W1 @ X)
    A2 = tg.softmax(W2 @ A1, axis=0)
    penalty = lam / (2 * m) * (np.sum(W1 * W1) + np.sum(W2 * W2))
    return -np.sum(Y * np.log(A2)) / m + penalty


def one_column(x: Any, y: Any, W: Any, b: Any) -> Any:
    p = tg.softmax(W @ x + b, axis=0)
    return -(y * np.log(p)).sum()


def one_vector(x: Any, y: Any, W: Any, b: Any) -> Any:
    p = tg.softmax(W @ x + b)
    return -(y * np.log(p)).sum()


def divergence(X: Any, P: Any, W: Any) -> Any:
    Q = tg.softmax(W @ X, axis=0)
    return np.sum(P * (np.log(P) - np.log(Q))) / X.shape[1]


BIAS = {"X": "n m", "W": "k n", "b": "k 1"}
SINGLE = {**BIAS, "Y": "k m binary"}
ONEHOT = {**BIAS, "Y": "k m onehot"}
SAID = {**BIAS, "Y": "k m onehot(axis=0)"}
OPEN = {**BIAS, "Y": "k m"}
NO_BIAS = {"X": "n m", "Y": "k m onehot", "W": "k n"}
TWO = {"X": "n m", "Y": "k m onehot", "W1": "h n", "b1": "h 1", "W2": "k h", "b2": "k 1"}
REAL = {**TWO, "Y": "k m real"}
PENALISED = {"X": "n m", "Y": "k m onehot", "W1": "h n", "W2": "k h", "lam": 0.1}
COLUMN = {"x": "n 1", "y": "k 1 onehot", "W": "k n", "b": "k 1"}
VECTOR = {"x": "n", "y": "k onehot", "W": "k n", "b": "k"}
SOFT = {"X": "n m", "P": "k m probability", "W": "k n"}
BACK = "W2.T @ (A2 - Y) * (1 - A1**2)"
RELU = "W2.T @ (A2 - Y) * (Z1 > 0)"
BACK_SIGMOID = "W2.T @ (A2 - Y) * A1 * (1 - A1)"

RIGHT: list[tuple[Any, dict[str, Any], str, str]] = [
    (single, SINGLE, "W", "(A - Y) @ X.T / m"),
    (single, SINGLE, "b", "np.sum(A - Y, axis=1, keepdims=True) / m"),
    (single, SINGLE, "Z", "(A - Y) / m"),
    (single, {**SINGLE, "Y": "1 m", "W": "1 n", "b": "1 1"}, "W", "np.dot(A - Y, X.T) / m"),
    (single, {**SINGLE, "Y": "1 m", "W": "1 n", "b": "1 1"}, "b", "np.sum(A - Y) / m"),
    (classes, ONEHOT, "Z", "(A - Y) / m"),
    (classes, ONEHOT, "W", "(A - Y) @ X.T / m"),
    (classes, ONEHOT, "W", "(A − Y)Xᵀ/m"),
    (classes, ONEHOT, "b", "np.mean(A - Y, axis=1, keepdims=True)"),
    (classes, ONEHOT, "b", "(A - Y) @ np.ones((m, 1)) / m"),
    (classes, ONEHOT, "A", "-Y / A / m"),
    (classes, ONEHOT, "W", "sum(np.outer(A[:, i] - Y[:, i], X[:, i]) for i in range(m)) / m"),
    (classes, ONEHOT, "W", "np.einsum('km,nm->kn', A - Y, X) / m"),
    (classes, ONEHOT, "Z", "(A * np.sum(Y, axis=0) - Y) / m"),
    (classes, SAID, "Z", "(A - Y) / m"),
    (classes, SAID, "W", "-(Y - A) @ X.T / m"),
    (classes, OPEN, "Z", "(A - Y) / m"),
    (classes, OPEN, "W", "(A @ X.T - Y @ X.T) / m"),
    (classes, {**BIAS, "Y": "k m probability"}, "W", "(A - Y) @ X.T / m"),
    (by_hand, ONEHOT, "W", "(A - Y) @ X.T / m"),
    (by_hand, ONEHOT, "b", "np.sum(A - Y, axis=1, keepdims=True) / m"),
    (by_hand, OPEN, "Z", "(A - Y) / m"),
    (log_sum_exp, NO_BIAS, "W", "(np.exp(Z) / np.exp(Z).sum(axis=0) - Y) @ X.T / m"),
    (log_sum_exp, NO_BIAS, "Z", "(softmax(Z, axis=0) - Y) / m"),
    (logsumexp, NO_BIAS, "W", "(softmax(Z, axis=0) - Y) @ X.T / X.shape[1]"),
    (transposed, NO_BIAS, "W", "(softmax(Z.T).T - Y) @ X.T / X.shape[1]"),
    (transposed, {**NO_BIAS, "Y": "k m"}, "Z", "(softmax(Z, axis=0) - Y) / X.shape[1]"),
    (two_layers, TWO, "W2", "(A2 - Y) @ A1.T / m"),
    (two_layers, TWO, "b2", "np.sum(A2 - Y, axis=1, keepdims=True) / m"),
    (two_layers, TWO, "A1", "W2.T @ (A2 - Y) / m"),
    (two_layers, TWO, "Z1", f"{BACK} / m"),
    (two_layers, TWO, "W1", f"({BACK}) @ X.T / m"),
    (two_layers, TWO, "b1", f"np.mean({BACK}, axis=1, keepdims=True)"),
    (two_layers, TWO, "W1", "(W2ᵀ(A2 − Y) ⊙ (1 − A1²))Xᵀ/m"),
    (relu_layers, REAL, "W2", "(A2 - Y) @ A1.T / m"),
    (relu_layers, REAL, "W1", f"({RELU}) @ X.T / m"),
    (relu_layers, REAL, "b1", f"np.sum({RELU}, axis=1, keepdims=True) / m"),
    (penalised, PENALISED, "W2", "((A2 - Y) @ A1.T + lam * W2) / m"),
    (penalised, PENALISED, "W1", f"({BACK_SIGMOID}) @ X.T / m + lam / m * W1"),
    (one_column, COLUMN, "W", "(p - y) @ x.T"),
    (one_column, COLUMN, "W", "(p − y)xᵀ"),
    (one_column, COLUMN, "b", "p - y"),
    (one_column, {**COLUMN, "y": "k 1"}, "b", "p - y"),
    (one_vector, VECTOR, "W", "np.outer(p - y, x)"),
    (one_vector, {**VECTOR, "y": "k"}, "b", "p - y"),
    (divergence, SOFT, "W", "(Q - P) @ X.T / X.shape[1]"),
]


def test_there_are_enough_of_them() -> None:
    assert len(RIGHT) >= 40
    assert len({(f, str(i), t, text) for f, i, t, text in RIGHT}) == len(RIGHT)


@pytest.mark.parametrize(
    ("forward", "inputs", "target", "claim"),
    [pytest.param(*row, id=f"{row[0].__name__} {row[2]}: {row[3]}") for row in RIGHT],
)
def test_right_derivations_with_samples_in_columns(
    forward: Any, inputs: Any, target: str, claim: str
) -> None:
    report = tg.verify(forward, {target: claim}, inputs=inputs, repair=False)
    assert report.right, report.text()


@pytest.mark.parametrize(
    ("forward", "inputs", "target", "claim"),
    [
        (classes, ONEHOT, "Z", "(A - Y) / k"),
        (classes, ONEHOT, "W", "X @ (A - Y).T / m"),
        (classes, OPEN, "b", "np.sum(A - Y, axis=0, keepdims=True) / m"),
        (two_layers, TWO, "b1", f"np.sum({BACK}) / m"),
        (one_column, COLUMN, "W", "(y - p) @ x.T"),
        (divergence, SOFT, "W", "(Q - P) @ X.T"),
    ],
)
def test_wrong_ones_are_not(forward: Any, inputs: Any, target: str, claim: str) -> None:
    assert not tg.verify(forward, {target: claim}, inputs=inputs, repair=False).right


# --- the axis -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("forward", "inputs", "name", "axis"),
    [
        (classes, ONEHOT, "Y", 0),
        (by_hand, ONEHOT, "Y", 0),
        (log_sum_exp, NO_BIAS, "Y", 0),
        (logsumexp, NO_BIAS, "Y", 0),
        (transposed, NO_BIAS, "Y", 0),
        (one_column, COLUMN, "y", 0),
        (divergence, SOFT, "P", 0),
        (single, {**SINGLE, "Y": "k m onehot"}, "Y", None),
    ],
)
def test_the_axis_of_the_classes_is_where_forward_normalises(
    forward: Any, inputs: Any, name: str, axis: int | None
) -> None:
    assert axes_of_classes(forward, read_specs(inputs), [name]).get(name) == axis


def test_rows_stay_rows() -> None:
    def forward(X: Any, Y: Any, W: Any) -> Any:
        A = tg.softmax(X @ W)
        return -(Y * np.log(A)).sum() / len(X)

    for kind in ("onehot", "probability", ""):
        inputs = {"X": "m n", "Y": f"m k {kind}", "W": "n k"}
        assert tg.verify(forward, {"W": "X.T @ (A - Y) / m"}, inputs=inputs).right
        assert not tg.verify(forward, {"W": "X.T @ (A - Y) / k"}, inputs=inputs).right


def test_where_forward_normalises_nothing_both_axes_are_tried() -> None:
    def forward(Y: Any, Z: Any) -> Any:
        return (Y * Z).sum() ** 2

    sampler = Sampler(forward, read_specs({"Y": "k m onehot", "Z": "k m"}))
    assert [c["Y"] for c in sampler.choices()] == [Kind("onehot", 1), Kind("onehot", 0)]
    said = Sampler(forward, read_specs({"Y": "k m onehot(axis=0)", "Z": "k m"}))
    assert list(said.choices()) == [{}]


def test_the_report_says_which_vectors_are_one_hot() -> None:
    report = tg.verify(classes, {"Z": "(A - Y) / m"}, inputs=ONEHOT)
    assert any("the columns of Y are one-hot" in note for note in report.notes)
    assert not any(
        "one-hot" in note for note in tg.verify(classes, {"Z": "(A - Y) / m"}, inputs=SAID).notes
    )
    soft = tg.verify(divergence, {"W": "(Q - P) @ X.T / X.shape[1]"}, inputs=SOFT)
    assert any("the columns of P add up to 1" in note for note in soft.notes)
    vector = tg.verify(one_vector, {"b": "p - y"}, inputs={**VECTOR, "y": "k"})
    assert any("y is one-hot" in note for note in vector.notes)
    korean = tg.verify(classes, {"Z": "(A - Y) / m"}, inputs=ONEHOT, lang="ko")
    assert any("Y의 각 열은 원-핫 벡터" in note for note in korean.notes)


@pytest.mark.parametrize("labels", [[0, 1, 2, 0, 1], [0, 1, 2, 0, 0]])
def test_example_arrays_are_looked_at_along_both_axes(labels: list[int]) -> None:
    rng = np.random.default_rng(0)
    inputs = {
        "X": rng.normal(size=(4, 5)),
        "Y": np.eye(3)[:, labels],
        "W": rng.normal(size=(3, 4)),
        "b": rng.normal(size=(3, 1)),
    }
    assert tg.verify(classes, {"W": "(A - Y) @ X.T / m"}, inputs=inputs).right
    assert not tg.verify(classes, {"W": "(A - Y) @ X.T / k"}, inputs=inputs).right


@pytest.mark.parametrize("dtype", [float, int])
def test_an_example_of_one_sample(dtype: Any) -> None:
    rng = np.random.default_rng(0)
    x, y, W, b = rng.normal(size=4), np.array([0, 1, 0], dtype), rng.normal(size=(3, 4)), np.ones(3)
    vectors = {"x": x, "y": y, "W": W, "b": b}
    assert tg.verify(one_vector, {"W": "np.outer(p - y, x)"}, inputs=vectors).right
    columns = {"x": x[:, None], "y": y[:, None], "W": W, "b": b[:, None]}
    assert tg.verify(one_column, {"W": "(p - y) @ x.T"}, inputs=columns).right
    permutation = {"X": rng.normal(size=(4, 3)), "Y": np.eye(3), "W": W, "b": b[:, None]}
    assert tg.verify(classes, {"W": "(A - Y) @ X.T / m"}, inputs=permutation).right
