"""Inputs that are given as plain numbers: they have gradients where one is claimed."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import tinygrad_edu as tg
from tinygrad_edu.verifying.problems import CannotCheck
from tinygrad_edu.verifying.verification import verify

rng = np.random.default_rng(0)
ARRAYS = {"X": rng.normal(size=(5, 3)), "Y": rng.normal(size=(5, 1)), "W": rng.normal(size=(3, 1))}
LETTERS = {"X": "m n", "Y": "m 1", "W": "n 1"}


def forward(X: Any, Y: Any, W: Any, b: Any) -> Any:
    E = X @ W + b - Y
    return (E * E).sum() / 2 / len(X)


def backprop(X: Any, Y: Any, W: Any, b: Any) -> Any:
    err = (X @ W + b - Y) / len(X)
    return {"W": X.T @ err, "b": err.sum()}


class Storing:
    def backprop(self, X: Any) -> None:
        self.dW = X.T @ self.E / len(X)  # type: ignore[attr-defined]
        self.db = self.E.mean()  # type: ignore[attr-defined]


RIGHT: list[Any] = [
    {"b": "np.sum(E) / m"},
    {"b": "1ᵀE/m"},
    {"db": "np.mean(E)"},
    "dL/db = sum(E)/m",
    "∂L/∂W = XᵀE/m\n∂L/∂b = 1ᵀE/m",
    "∇b = np.mean(E)",
    r"\frac{\partial L}{\partial b} = \frac{1}{m} 1^\top E",
    backprop,
    Storing,
]


def named(claims: Any) -> str:
    return str(getattr(claims, "__name__", claims))


@pytest.mark.parametrize("inputs", [ARRAYS, LETTERS], ids=["arrays", "letters"])
@pytest.mark.parametrize("claims", RIGHT, ids=named)
@pytest.mark.parametrize("b", [0.5, 0.0, 1, -2.5])
def test_a_number_has_a_gradient_where_one_is_claimed(claims: Any, inputs: Any, b: Any) -> None:
    report = verify(forward, claims, inputs={**inputs, "b": b})
    assert report.right and report["b"].right


@pytest.mark.parametrize("b", [0.5, 1])
def test_a_wrong_claim_about_a_number_is_repaired(b: Any) -> None:
    verdict = verify(forward, {"b": "np.sum(E)"}, inputs={**LETTERS, "b": b})["b"]
    assert not verdict.right and verdict.after in ("np.sum(E) / m", "np.mean(E)")


def test_an_array_is_compared_with_the_number_as_given() -> None:
    E = ARRAYS["X"] @ ARRAYS["W"] + 0.5 - ARRAYS["Y"]
    assert verify(forward, {"b": E.mean()}, inputs={**ARRAYS, "b": 0.5}).right
    assert not verify(forward, {"b": E.mean() + 0.1}, inputs={**ARRAYS, "b": 0.5}).right


def test_a_number_that_nothing_is_claimed_about_stays_a_number() -> None:
    def penalised(X: Any, Y: Any, W: Any, lam: Any, p: Any) -> Any:
        assert isinstance(lam, float) and isinstance(p, int)
        E = X @ W - Y
        return (E**p).sum() / 2 + math.sqrt(lam) * (W * W).sum() / 2

    inputs = {**LETTERS, "lam": 0.1, "p": 2}
    claims = {"W": "X.T @ E + np.sqrt(lam) * W"}
    assert verify(penalised, claims, inputs=inputs).right
    with pytest.raises(CannotCheck, match="forward fails"):
        verify(penalised, {"lam": "W"}, inputs=inputs)


def test_explain_tells_of_rows_that_add_up_to_1_in_plain_sentences() -> None:
    z = tg.Tensor(rng.normal(size=(4, 3)), requires_grad=True)
    y = np.eye(3)[[0, 1, 2, 0]]

    def loss(z: Any, y: Any) -> Any:
        return -(y * np.log(tg.softmax(z))).sum()

    notes = " ".join(tg.explain(loss, z, y).notes)
    assert "each row of y adds up to 1 on these inputs; if that always holds, say so with" in notes
    assert "각 행을 더하면 1입니다" in " ".join(tg.explain(loss, z, y, lang="ko").notes)
    told = tg.explain(loss, z, y, facts="rows of y sum to 1")
    assert "adds up" not in " ".join(told.notes)
