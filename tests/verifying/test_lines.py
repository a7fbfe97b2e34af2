"""Derivations in lines, each of which uses gradients that the lines above it name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_edu as tg
from tinygrad_edu.verifying.verification import verify


def rows(X: Any, Y: Any, W1: Any, b1: Any, W2: Any, b2: Any) -> Any:
    m = len(X)
    Z1 = X @ W1 + b1
    A1 = np.tanh(Z1)
    Z2 = A1 @ W2 + b2
    A2 = tg.sigmoid(Z2)
    return -(Y * np.log(A2) + (1 - Y) * np.log(1 - A2)).sum() / m


def columns(X: Any, Y: Any, W1: Any, b1: Any, W2: Any, b2: Any) -> Any:
    m = X.shape[1]
    Z1 = W1 @ X + b1
    A1 = np.tanh(Z1)
    Z2 = W2 @ A1 + b2
    A2 = tg.sigmoid(Z2)
    return -(Y * np.log(A2) + (1 - Y) * np.log(1 - A2)).sum() / m


ROWS = {"X": "m n", "Y": "m k binary", "W1": "n h", "b1": "h", "W2": "h k", "b2": "k"}
COLUMNS = {"X": "n m", "Y": "k m binary", "W1": "h n", "b1": "h 1", "W2": "k h", "b2": "k 1"}
IN_ROWS = """
dZ2 = (A2 - Y)/m
dW2 = A1.T @ dZ2
db2 = dZ2.sum(axis=0)
dZ1 = dZ2 @ W2.T * (1 - A1**2)
dW1 = X.T @ dZ1
db1 = dZ1.sum(axis=0)
"""
IN_COLUMNS = """
dZ2 = (A2 - Y)/m
dW2 = dZ2 @ A1.T
db2 = dZ2.sum(axis=1, keepdims=True)
dZ1 = W2.T @ dZ2 * (1 - A1**2)
dW1 = dZ1 @ X.T
db1 = dZ1.sum(axis=1, keepdims=True)
"""
SLIDES = """
dZ2 = (A2 − Y)/m
dW2 = A1ᵀdZ2
dZ1 = dZ2W2ᵀ ⊙ (1 − A1²)
dW1 = XᵀdZ1
"""


@pytest.mark.parametrize(
    ("forward", "inputs", "text", "right", "wrong"),
    [
        (rows, ROWS, IN_ROWS, "(1 - A1**2)", "(1 - A1)"),
        (rows, ROWS, IN_ROWS, "dZ2 @ W2.T", "dZ2 @ W2"),
        (rows, ROWS, IN_ROWS, "X.T @ dZ1", "X @ dZ1"),
        (rows, ROWS, IN_ROWS.replace("dZ", "∂L/∂Z"), "(1 - A1**2)", "(1 + A1**2)"),
        (columns, COLUMNS, IN_COLUMNS, "(1 - A1**2)", "(1 - A1)"),
        (columns, COLUMNS, IN_COLUMNS, "W2.T @ dZ2", "W2 @ dZ2"),
        (columns, COLUMNS, IN_COLUMNS, "dZ1.sum(axis=1,", "dZ1.sum(axis=0,"),
        (rows, ROWS, SLIDES, "W2ᵀ", "W2"),
    ],
)
def test_a_mistake_in_one_line_is_mended_there(
    forward: Any, inputs: Any, text: str, right: str, wrong: str
) -> None:
    assert verify(forward, text, inputs=inputs).right
    report = verify(forward, text.replace(right, wrong), inputs=inputs)
    first = report.first_wrong
    assert first is not None and right in first.after.replace("−", "-"), report.text()
    mended = text.replace(right, wrong).replace(first.before, first.after)
    assert verify(forward, mended, inputs=inputs).right
    assert not any("no repair was found" in line for v in report.verdicts for line in v.remarks)
