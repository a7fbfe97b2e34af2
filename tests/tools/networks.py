"""Networks with their right gradients, and the mistakes that are specific to them.

`System` holds a network, the sizes of its inputs and its gradients; `slips` are likely mistakes
in a part of a right gradient, as (kind, right part, wrong part). The slips of algebra
that every formula allows are planted by `tests.mistakes`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import tinygrad_edu as tg

Slip = tuple[str, str, str]


@dataclass(frozen=True)
class System:
    """A network, the sizes of its inputs, its gradients, and what is often written instead."""

    name: str
    forward: Callable[..., Any]
    inputs: dict[str, Any]
    right: dict[str, str]
    slips: list[Slip] = field(default_factory=list)
    lines: dict[str, str] = field(default_factory=dict)  # the same as a program


# --- rows are samples -----------------------------------------------------------------------------


def single(X: Any, Y: Any, W: Any, b: Any, l1: float, l2: float) -> Any:
    m = len(X)
    A = tg.sigmoid(X @ W + b)
    penalty = l1 * np.abs(W).sum() + l2 / 2 * (W * W).sum()
    return (-(Y * np.log(A) + (1 - Y) * np.log(1 - A)).sum() + penalty) / m


def dual(X: Any, Y: Any, W1: Any, b1: Any, W2: Any, b2: Any, l2: float) -> Any:
    m = len(X)
    A1 = tg.sigmoid(X @ W1 + b1)
    A2 = tg.sigmoid(A1 @ W2 + b2)
    data = -(Y * np.log(A2) + (1 - Y) * np.log(1 - A2)).sum()
    return (data + l2 / 2 * ((W1 * W1).sum() + (W2 * W2).sum())) / m


def multi(X: Any, Y: Any, W1: Any, b1: Any, W2: Any, b2: Any) -> Any:
    m = len(X)
    Z1 = X @ W1 + b1
    A1 = tg.sigmoid(Z1)
    Z2 = A1 @ W2 + b2
    A2 = tg.softmax(Z2)
    return -(Y * np.log(A2)).sum() / m


def tanh_mse(X: Any, Y: Any, W1: Any, b1: Any, W2: Any, b2: Any) -> Any:
    m = len(X)
    A1 = np.tanh(X @ W1 + b1)
    A2 = A1 @ W2 + b2
    return ((A2 - Y) ** 2).sum() / m


def relu_mse(X: Any, Y: Any, W1: Any, b1: Any, W2: Any, b2: Any) -> Any:
    m = len(X)
    Z1 = X @ W1 + b1
    A1 = tg.relu(Z1)
    A2 = A1 @ W2 + b2
    return ((A2 - Y) ** 2).sum() / 2 / m


def relu_softmax(X: Any, Y: Any, W1: Any, b1: Any, W2: Any, b2: Any, lam: float) -> Any:
    m = len(X)
    Z1 = X @ W1 + b1
    A1 = np.maximum(Z1, 0)
    A2 = tg.softmax(A1 @ W2 + b2)
    data = -(Y * np.log(A2)).sum() / m
    return data + lam / 2 * ((W1 * W1).sum() + (W2 * W2).sum())


def sigmoid_mse(X: Any, Y: Any, W: Any, b: Any) -> Any:
    m = len(X)
    Z = X @ W + b
    A = tg.sigmoid(Z)
    E = A - Y
    return (E * E).sum() / 2 / m


def dropout(X: Any, Y: Any, D: Any, W1: Any, b1: Any, W2: Any, b2: Any, keep: float) -> Any:
    m = len(X)
    A1 = np.tanh(X @ W1 + b1)
    H = A1 * D / keep
    E = H @ W2 + b2 - Y
    return (E * E).sum() / 2 / m


def deep(X: Any, Y: Any, W1: Any, b1: Any, W2: Any, b2: Any, W3: Any, b3: Any) -> Any:
    m = len(X)
    Z1 = X @ W1 + b1
    A1 = np.maximum(Z1, 0)
    A2 = np.tanh(A1 @ W2 + b2)
    A3 = tg.softmax(A2 @ W3 + b3)
    return -(Y * np.log(A3)).sum() / m


def attention(Q: Any, K: Any, V: Any, T: Any) -> Any:
    d = Q.shape[1]
    P = tg.softmax(Q @ K.T / np.sqrt(d))
    O = P @ V  # noqa: E741
    dO = O - T
    dP = dO @ V.T  # noqa: F841 (a name for claims)
    return (dO * dO).sum() / 2


def normalised(X: Any, gamma: Any, beta: Any, T: Any) -> Any:
    m = len(X)
    mu = X.sum(axis=0) / m
    s = np.sqrt(((X - mu) ** 2).sum(axis=0) / m)
    H = (X - mu) / s
    E = gamma * H + beta - T
    dH = E * gamma  # noqa: F841 (a name for claims)
    return (E * E).sum() / 2


def lstm(
    x: Any, h: Any, c: Any, Wi: Any, Wf: Any, Wo: Any, Wg: Any, Ui: Any, Uf: Any, Ug: Any, T: Any
) -> Any:
    i = tg.sigmoid(x @ Wi + h @ Ui)
    f = tg.sigmoid(x @ Wf + h @ Uf)
    o = tg.sigmoid(x @ Wo)
    g = np.tanh(x @ Wg + h @ Ug)
    cn = f * c + i * g
    tc = np.tanh(cn)
    E = o * tc - T
    return (E * E).sum() / 2


# --- columns are samples --------------------------------------------------------------------------


def logistic_columns(X: Any, Y: Any, W: Any, b: Any) -> Any:
    m = X.shape[1]
    A = tg.sigmoid(W @ X + b)
    return -(Y * np.log(A) + (1 - Y) * np.log(1 - A)).sum() / m


def tanh_columns(X: Any, Y: Any, W1: Any, b1: Any, W2: Any, b2: Any) -> Any:
    m = X.shape[1]
    A1 = np.tanh(W1 @ X + b1)
    A2 = tg.sigmoid(W2 @ A1 + b2)
    return -(Y * np.log(A2) + (1 - Y) * np.log(1 - A2)).sum() / m


def softmax_columns(X: Any, Y: Any, W1: Any, b1: Any, W2: Any, b2: Any) -> Any:
    m = X.shape[1]
    Z1 = W1 @ X + b1
    A1 = np.maximum(Z1, 0)
    Z2 = W2 @ A1 + b2
    A2 = tg.softmax(Z2, axis=0)
    return -(Y * np.log(A2)).sum() / m


LAYERS = {"X": "m n", "W1": "n h", "b1": "h", "W2": "h k", "b2": "k"}
BACK = "((A2 - Y) @ W2.T * A1 * (1 - A1))"
ERROR = "(A2 - Y)"
TANH = "((A3 - Y) @ W3.T * (1 - A2**2))"
SOFTMAX = "(P * (dP - np.sum(dP * P, axis=1, keepdims=True)))"
COLUMNS = "(W2.T @ (A2 - Y) * (Z1 > 0))"
CELL = "(E * o * (1 - tc**2))"
SIGMOID_SLIPS = [
    ("slope of tanh", "A1 * (1 - A1)", "(1 - A1**2)"),
    ("mask of relu", "A1 * (1 - A1)", "(A1 > 0)"),
    ("slope dropped", " * A1 * (1 - A1)", ""),
    ("slope of the output", "A1 * (1 - A1)", "A2 * (1 - A2)"),
]
TANH_SLIPS = [
    ("slope of sigmoid", "(1 - A1**2)", "A1 * (1 - A1)"),
    ("mask of relu", "(1 - A1**2)", "(A1 > 0)"),
    ("activation for slope", "(1 - A1**2)", "A1"),
    ("square dropped", "(1 - A1**2)", "(1 - A1)"),
    ("slope dropped", " * (1 - A1**2)", ""),
]
RELU_SLIPS = [
    ("slope of sigmoid", "(Z1 > 0)", "A1 * (1 - A1)"),
    ("slope of tanh", "(Z1 > 0)", "(1 - A1**2)"),
    ("activation for slope", "(Z1 > 0)", "A1"),
    ("activation for slope", "(Z1 > 0)", "Z1"),
    ("slope dropped", " * (Z1 > 0)", ""),
    ("relu of gradient", "((A2 - Y) @ W2.T * (Z1 > 0))", "np.maximum((A2 - Y) @ W2.T, 0)"),
    ("relu of gradient", "((A2 - Y) @ W2.T * (Z1 > 0))", "np.maximum(0, (A2 - Y) @ W2.T)"),
]
SIZES = [
    ("size of all", "/ m", "/ Y.size"),
    ("m squared", "/ m", "/ m**2"),
    ("outputs in the divisor", "/ m", "/ (m * k)"),
]

SYSTEMS = [
    System(
        "single",
        single,
        {"X": "m n", "Y": "m k binary", "W": "n k", "b": "k", "l1": 0.3, "l2": 0.7},
        {
            "W": "X.T @ (A - Y) / m + (l1 * np.sign(W) + l2 * W) / m",
            "b": "np.sum(A - Y, axis=0) / m",
        },
        [
            ("abs for sign", "np.sign(W)", "np.abs(W)"),
            ("penalty dropped", " + (l1 * np.sign(W) + l2 * W) / m", ""),
            ("penalty itself", "l2 * W)", "l2 * W**2)"),
            ("penalty doubled", "l2 * W)", "2 * l2 * W)"),
            ("penalty halved", "l2 * W)", "l2 / 2 * W)"),
            (
                "penalty of bias",
                "np.sum(A - Y, axis=0) / m",
                "np.sum(A - Y, axis=0) / m + l2 * b / m",
            ),
            ("superfluous slope", "(A - Y)", "((A - Y) * A * (1 - A))"),
            ("m squared", "(A - Y) / m", "(A - Y) / m**2"),
            ("size of all", "(A - Y) / m", "(A - Y) / A.size"),
            ("outputs in the divisor", "(A - Y) / m", "(A - Y) / (m * k)"),
            ("mean of all", "np.sum(A - Y, axis=0) / m", "np.mean(A - Y)"),
        ],
    ),
    System(
        "dual",
        dual,
        {**LAYERS, "Y": "m k binary", "l2": 0.7},
        {
            "W2": "A1.T @ (A2 - Y) / m + l2 * W2 / m",
            "b2": "np.sum(A2 - Y, axis=0) / m",
            "W1": f"X.T @ {BACK} / m + l2 * W1 / m",
            "b1": f"np.sum({BACK}, axis=0) / m",
        },
        [
            *SIGMOID_SLIPS,
            ("penalty dropped", " + l2 * W2 / m", ""),
            ("penalty dropped", " + l2 * W1 / m", ""),
            ("penalty doubled", "l2 * W2", "2 * l2 * W2"),
            ("penalty of other weights", "l2 * W2", "l2 * W1"),
            ("penalty of other weights", "l2 * W1", "l2 * W2"),
            ("superfluous slope", "A1.T @ (A2 - Y)", "A1.T @ ((A2 - Y) * A2 * (1 - A2))"),
            (
                "penalty of bias",
                "np.sum(A2 - Y, axis=0) / m",
                "np.sum(A2 - Y, axis=0) / m + l2 * b2 / m",
            ),
        ],
    ),
    System(
        "multi",
        multi,
        {**LAYERS, "Y": "m k onehot"},
        {
            "Z2": "(A2 - Y) / m",
            "W2": "A1.T @ (A2 - Y) / m",
            "b2": "np.sum(A2 - Y, axis=0) / m",
            "W1": f"X.T @ {BACK} / m",
            "b1": f"np.sum({BACK}, axis=0) / m",
        },
        [
            *SIGMOID_SLIPS,
            *SIZES,
            ("slope of preactivation", "A1 * (1 - A1)", "Z1 * (1 - Z1)"),
            ("mask of relu", "A1 * (1 - A1)", "(Z1 > 0)"),
            ("superfluous slope", "A1.T @ (A2 - Y)", "A1.T @ ((A2 - Y) * A2 * (1 - A2))"),
            ("mean of all", "np.sum(A2 - Y, axis=0) / m", "np.mean(A2 - Y)"),
        ],
        {
            "E2": "(A2 - Y) / m",
            "W2_grad": "A1.T @ E2",
            "b2_grad": "np.sum(E2, axis=0)",
            "back": "E2 @ W2.T",
            "E1": "back * A1 * (1 - A1)",
            "W1_grad": "X.T @ E1",
            "b1_grad": "np.sum(E1, axis=0)",
        },
    ),
    System(
        "tanh",
        tanh_mse,
        {**LAYERS, "Y": "m k real"},
        {
            "W2": "2 * A1.T @ (A2 - Y) / m",
            "W1": "2 * X.T @ ((A2 - Y) @ W2.T * (1 - A1**2)) / m",
            "b1": "2 * np.sum((A2 - Y) @ W2.T * (1 - A1**2), axis=0) / m",
        },
        [
            *TANH_SLIPS,
            *SIZES,
            ("loss for error", "(A2 - Y)", "(A2 - Y)**2"),
            (
                "mean of all",
                "np.sum((A2 - Y) @ W2.T * (1 - A1**2), axis=0) / m",
                "np.mean((A2 - Y) @ W2.T * (1 - A1**2))",
            ),
        ],
        {
            "E2": "2 * (A2 - Y) / m",
            "W2_grad": "A1.T @ E2",
            "E1": "E2 @ W2.T * (1 - A1**2)",
            "W1_grad": "X.T @ E1",
            "b1_grad": "np.sum(E1, axis=0)",
        },
    ),
    System(
        "relu",
        relu_mse,
        {**LAYERS, "Y": "m k real"},
        {
            "W2": "A1.T @ (A2 - Y) / m",
            "W1": "X.T @ ((A2 - Y) @ W2.T * (Z1 > 0)) / m",
            "b1": "np.sum((A2 - Y) @ W2.T * (Z1 > 0), axis=0) / m",
        },
        [*RELU_SLIPS, *SIZES, ("loss for error", "(A2 - Y)", "(A2 - Y)**2")],
    ),
    System(
        "relu_softmax",
        relu_softmax,
        {**LAYERS, "Y": "m k onehot", "lam": 0.4},
        {
            "W2": "A1.T @ (A2 - Y) / m + lam * W2",
            "W1": "X.T @ ((A2 - Y) @ W2.T * (Z1 > 0)) / m + lam * W1",
            "b2": "np.sum(A2 - Y, axis=0) / m",
        },
        [
            *RELU_SLIPS,
            ("penalty dropped", " + lam * W2", ""),
            ("penalty dropped", " + lam * W1", ""),
            ("penalty doubled", "lam * W2", "2 * lam * W2"),
            ("penalty itself", "lam * W2", "lam * W2**2"),
            ("penalty of other weights", "lam * W1", "lam * W2"),
            (
                "penalty of bias",
                "np.sum(A2 - Y, axis=0) / m",
                "np.sum(A2 - Y, axis=0) / m + lam * b2",
            ),
            ("penalty halved", "lam * W1", "lam / 2 * W1"),
        ],
    ),
    System(
        "sigmoid_mse",
        sigmoid_mse,
        {"X": "m n", "Y": "m k real", "W": "n k", "b": "k"},
        {
            "W": "X.T @ (E * A * (1 - A)) / m",
            "b": "np.sum(E * A * (1 - A), axis=0) / m",
            "Z": "E * A * (1 - A) / m",
        },
        [
            ("slope dropped", " * A * (1 - A)", ""),
            ("slope of tanh", "A * (1 - A)", "(1 - A**2)"),
            ("slope of preactivation", "A * (1 - A)", "Z * (1 - Z)"),
            ("mask of relu", "A * (1 - A)", "(Z > 0)"),
            ("slope divided", "* A * (1 - A)", "/ (A * (1 - A))"),
        ],
    ),
    System(
        "dropout",
        dropout,
        {
            "X": "m n",
            "Y": "m k real",
            "D": "m h binary",
            "W1": "n h",
            "b1": "h",
            "W2": "h k",
            "b2": "k",
            "keep": 0.8,
        },
        {
            "W2": "H.T @ E / m",
            "W1": "X.T @ (E @ W2.T * D / keep * (1 - A1**2)) / m",
            "b1": "np.sum(E @ W2.T * D / keep * (1 - A1**2), axis=0) / m",
        },
        [
            ("dropout mask dropped", " * D / keep", " / keep"),
            ("dropout scale dropped", " * D / keep", " * D"),
            ("dropout forgotten", " * D / keep", ""),
            ("undropped activation", "H.T", "A1.T"),
            *TANH_SLIPS,
        ],
    ),
    System(
        "deep",
        deep,
        {
            "X": "m n",
            "Y": "m k onehot",
            "W1": "n h",
            "b1": "h",
            "W2": "h p",
            "b2": "p",
            "W3": "p k",
            "b3": "k",
        },
        {
            "W3": "A2.T @ (A3 - Y) / m",
            "W2": f"A1.T @ {TANH} / m",
            "b2": f"np.sum({TANH}, axis=0) / m",
            "W1": f"X.T @ ({TANH} @ W2.T * (Z1 > 0)) / m",
        },
        [
            ("slope of sigmoid", "(1 - A2**2)", "A2 * (1 - A2)"),
            ("mask of relu", "(1 - A2**2)", "(A2 > 0)"),
            ("slope dropped", " * (Z1 > 0)", ""),
            ("layer skipped", " @ W2.T * (Z1 > 0)", ""),
        ],
        {
            "D3": "(A3 - Y) / m",
            "W3_grad": "A2.T @ D3",
            "b3_grad": "D3.sum(axis=0)",
            "D2": "D3 @ W3.T * (1 - A2**2)",
            "W2_grad": "A1.T @ D2",
            "b2_grad": "D2.sum(axis=0)",
            "D1": "D2 @ W2.T * (Z1 > 0)",
            "W1_grad": "X.T @ D1",
        },
    ),
    System(
        "attention",
        attention,
        {"Q": "m d", "K": "n d", "V": "n p", "T": "m p real"},
        {
            "V": "P.T @ dO",
            "P": "dO @ V.T",
            "Q": f"{SOFTMAX} @ K / np.sqrt(d)",
            "K": f"{SOFTMAX}.T @ Q / np.sqrt(d)",
        },
        [
            ("softmax diagonal", SOFTMAX, "(dP * P * (1 - P))"),
            ("log-softmax rule", SOFTMAX, "(dP - P * np.sum(dP, axis=1, keepdims=True))"),
            ("sum without probabilities", "np.sum(dP * P, axis=1", "np.sum(dP, axis=1"),
            ("sum over classes dropped", SOFTMAX, "(P * dP)"),
            ("softmax skipped", SOFTMAX, "dP"),
            ("keepdims dropped", ", keepdims=True", ""),
            ("root dropped", "np.sqrt(d)", "d"),
            ("scale dropped", " / np.sqrt(d)", ""),
            ("scale in the numerator", "/ np.sqrt(d)", "* np.sqrt(d)"),
        ],
    ),
    System(
        "normalised",
        normalised,
        {"X": "m n", "gamma": "n", "beta": "n", "T": "m n real"},
        {
            "gamma": "np.sum(E * H, axis=0)",
            "beta": "np.sum(E, axis=0)",
            "X": "(dH - np.mean(dH, axis=0) - H * np.mean(dH * H, axis=0)) / s",
        },
        [
            ("batch norm's mean dropped", " - np.mean(dH, axis=0)", ""),
            ("batch norm's variance dropped", " - H * np.mean(dH * H, axis=0)", ""),
            (
                "batch norm as a constant",
                "(dH - np.mean(dH, axis=0) - H * np.mean(dH * H, axis=0)) / s",
                "dH / s",
            ),
            ("unscaled", " / s", ""),
            ("variance for deviation", "/ s", "/ s**2"),
            ("input for normalised", "np.sum(E * H", "np.sum(E * X"),
        ],
    ),
    System(
        "lstm",
        lstm,
        {
            "x": "m n",
            "h": "m p",
            "c": "m q",
            "Wi": "n q",
            "Wf": "n q",
            "Wo": "n q",
            "Wg": "n q",
            "Ui": "p q",
            "Uf": "p q",
            "Ug": "p q",
            "T": "m q real",
        },
        {
            "cn": "E * o * (1 - tc**2)",
            "c": f"{CELL} * f",
            "Wf": f"x.T @ ({CELL} * c * f * (1 - f))",
            "Wi": f"x.T @ ({CELL} * g * i * (1 - i))",
            "Wg": f"x.T @ ({CELL} * i * (1 - g**2))",
            "Uf": f"h.T @ ({CELL} * c * f * (1 - f))",
            "Wo": "x.T @ (E * tc * o * (1 - o))",
        },
        [
            ("slope of sigmoid", "(1 - g**2)", "g * (1 - g)"),
            ("slope of tanh", "f * (1 - f)", "(1 - f**2)"),
            ("slope of tanh", "o * (1 - o)", "(1 - o**2)"),
            ("slope of another gate", "i * (1 - i)", "f * (1 - f)"),
            ("slope of another gate", "f * (1 - f)", "o * (1 - o)"),
            ("slope dropped", " * (1 - tc**2)", ""),
            ("slope of cell", "(1 - tc**2)", "(1 - cn**2)"),
            ("square dropped", "(1 - tc**2)", "(1 - tc)"),
            ("another gate", "* c * f", "* g * f"),
            ("another gate", "* g * i", "* c * i"),
        ],
    ),
    System(
        "logistic_columns",
        logistic_columns,
        {"X": "n m", "Y": "k m binary", "W": "k n", "b": "k 1"},
        {
            "W": "(A - Y) @ X.T / m",
            "b": "np.sum(A - Y, axis=1, keepdims=True) / m",
        },
        [
            ("superfluous slope", "(A - Y)", "((A - Y) * A * (1 - A))"),
            ("size of all", "/ m", "/ Y.size"),
            ("m squared", "/ m", "/ m**2"),
            ("outputs in the divisor", "/ m", "/ (m * k)"),
            ("operands of rows", "(A - Y) @ X.T", "X.T @ (A - Y)"),
            ("keepdims dropped", ", keepdims=True", ""),
        ],
    ),
    System(
        "tanh_columns",
        tanh_columns,
        {"X": "n m", "Y": "k m binary", "W1": "h n", "b1": "h 1", "W2": "k h", "b2": "k 1"},
        {
            "W2": "(A2 - Y) @ A1.T / m",
            "b2": "np.sum(A2 - Y, axis=1, keepdims=True) / m",
            "W1": "(W2.T @ (A2 - Y) * (1 - A1**2)) @ X.T / m",
            "b1": "np.sum(W2.T @ (A2 - Y) * (1 - A1**2), axis=1, keepdims=True) / m",
        },
        [
            *TANH_SLIPS,
            ("operands of rows", "W2.T @ (A2 - Y)", "(A2 - Y) @ W2.T"),
            ("operands of rows", "(A2 - Y) @ A1.T", "A1.T @ (A2 - Y)"),
        ],
    ),
    System(
        "softmax_columns",
        softmax_columns,
        {"X": "n m", "Y": "k m onehot", "W1": "h n", "b1": "h 1", "W2": "k h", "b2": "k 1"},
        {
            "Z2": "(A2 - Y) / m",
            "W2": "(A2 - Y) @ A1.T / m",
            "b2": "np.sum(A2 - Y, axis=1, keepdims=True) / m",
            "W1": f"{COLUMNS} @ X.T / m",
            "b1": f"np.sum({COLUMNS}, axis=1, keepdims=True) / m",
        },
        [
            *SIZES,
            ("superfluous slope", "(A2 - Y) @ A1.T", "((A2 - Y) * A2 * (1 - A2)) @ A1.T"),
            ("slope of sigmoid", "(Z1 > 0)", "A1 * (1 - A1)"),
            ("slope of tanh", "(Z1 > 0)", "(1 - A1**2)"),
            ("activation for slope", "(Z1 > 0)", "A1"),
            ("slope dropped", " * (Z1 > 0)", ""),
            ("relu of gradient", COLUMNS, "np.maximum(W2.T @ (A2 - Y), 0)"),
            ("operands of rows", "W2.T @ (A2 - Y)", "(A2 - Y) @ W2.T"),
            ("operands of rows", "(A2 - Y) @ A1.T", "A1.T @ (A2 - Y)"),
            ("axis of rows", "axis=1, keepdims=True", "axis=0, keepdims=True"),
            ("keepdims dropped", ", keepdims=True", ""),
            ("mean of all", "np.sum(A2 - Y, axis=1, keepdims=True) / m", "np.mean(A2 - Y)"),
        ],
        {
            "E2": "(A2 - Y) / m",
            "W2_grad": "E2 @ A1.T",
            "b2_grad": "np.sum(E2, axis=1, keepdims=True)",
            "back": "W2.T @ E2",
            "E1": "back * (Z1 > 0)",
            "W1_grad": "E1 @ X.T",
            "b1_grad": "np.sum(E1, axis=1, keepdims=True)",
        },
    ),
]
