"""Common mistakes from books, courses and papers: each is named and repaired.

Each row names a source: of the rule, of a warning of the mistake, or a question about it
(Cross Validated: stats.stackexchange.com/questions/N; the
community of DeepLearning.AI: community.deeplearning.ai/t/N).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_edu as tg
from tests.tools.networks import SYSTEMS
from tinygrad_edu.verifying.verification import verify


def quadratic(x: Any, B: Any) -> Any:
    return x @ B @ x


def bilinear(a: Any, X: Any, b: Any) -> Any:
    return a @ X @ b


def least_squares(A: Any, x: Any, s: Any) -> Any:
    r = A @ x - s
    return r @ r / 2


def ridge(X: Any, y: Any, w: Any, lam: Any) -> Any:
    r = X @ w - y
    return (r * r).sum() + lam * (w * w).sum()


def lasso(X: Any, y: Any, w: Any, lam: Any) -> Any:
    m = len(X)
    r = X @ w - y
    return (r * r).sum() / 2 / m + lam * np.abs(w).sum()


def trace(A: Any, X: Any, B: Any) -> Any:
    return np.trace(A @ X @ B)


def softmax_regression(X: Any, Y: Any, W: Any, b: Any, reg: Any) -> Any:
    m = len(X)
    P = tg.softmax(X @ W + b)
    return -(Y * np.log(P)).sum() / m + reg / 2 * (W * W).sum()


def logistic(x: Any, y: Any, w: Any, b: Any) -> Any:
    m = len(x)
    z = x @ w + b
    a = tg.sigmoid(z)
    return -(y * np.log(a) + (1 - y) * np.log(1 - a)).sum() / m


def rnn(x: Any, h: Any, W: Any, U: Any, b: Any, t: Any) -> Any:
    H = np.tanh(x @ W + h @ U + b)
    E = H - t
    return (E * E).sum() / 2


def columns(X: Any, Y: Any, W1: Any, b1: Any, W2: Any, b2: Any) -> Any:
    m = X.shape[1]
    Z1 = W1 @ X + b1
    A1 = np.maximum(Z1, 0)
    A2 = tg.sigmoid(W2 @ A1 + b2)
    return -(Y * np.log(A2) + (1 - Y) * np.log(1 - A2)).sum() / m


NETWORKS: dict[str, tuple[Any, dict[str, Any]]] = {
    **{system.name: (system.forward, system.inputs) for system in SYSTEMS},
    "quadratic": (quadratic, {"x": "n", "B": "n n"}),
    "bilinear": (bilinear, {"a": "m", "X": "m n", "b": "n"}),
    "least_squares": (least_squares, {"A": "m n", "x": "n", "s": "m"}),
    "ridge": (ridge, {"X": "m n", "y": "m", "w": "n", "lam": 0.3}),
    "lasso": (lasso, {"X": "m n", "y": "m", "w": "n", "lam": 0.3}),
    "trace": (trace, {"A": "m n", "X": "n p", "B": "p m"}),
    "softmax_regression": (
        softmax_regression,
        {"X": "m n", "Y": "m k onehot", "W": "n k", "b": "k", "reg": 0.2},
    ),
    "logistic": (logistic, {"x": "m n", "y": "m binary", "w": "n", "b": ""}),
    "rnn": (rnn, {"x": "m n", "h": "m p", "W": "n p", "U": "p p", "b": "p", "t": "m p real"}),
    "columns": (
        columns,
        {"X": "n m", "Y": "k m binary", "W1": "h n", "b1": "h 1", "W2": "k h", "b2": "k 1"},
    ),
}
SOFTMAX = "(P * (dP - np.sum(dP * P, axis=1, keepdims=True)))"

# (source, network, of what, what is written, what is wrong, what to write)
COMMON = [
    (
        "Petersen, Pedersen, The Matrix Cookbook (2012), (81)",
        "quadratic",
        "x",
        "2 * B @ x",
        "symmetry-assumed",
        "(B + B.T) @ x",
    ),
    (
        "Petersen, Pedersen, The Matrix Cookbook (2012), (81)",
        "quadratic",
        "x",
        "B @ x",
        "symmetry-assumed",
        "(B + B.T) @ x",
    ),
    (
        "Petersen, Pedersen, The Matrix Cookbook (2012), (70)",
        "bilinear",
        "X",
        "np.outer(b, a)",
        "transpose-missing",
        "np.outer(b, a).T",
    ),
    (
        "Petersen, Pedersen, The Matrix Cookbook (2012), (70)",
        "bilinear",
        "a",
        "X.T @ b",
        "transpose-extra",
        "X @ b",
    ),
    (
        "Petersen, Pedersen, The Matrix Cookbook (2012), (84)",
        "least_squares",
        "x",
        "A @ r",
        "transpose-missing",
        "A.T @ r",
    ),
    (
        "Petersen, Pedersen, The Matrix Cookbook (2012), (84)",
        "least_squares",
        "x",
        "2 * A.T @ r",
        "factor-extra",
        "A.T @ r",
    ),
    (
        "Petersen, Pedersen, The Matrix Cookbook (2012), (101)",
        "trace",
        "X",
        "A @ B",
        "operands-swapped+transpose-missing",
        "(B @ A).T",
    ),
    (
        "Petersen, Pedersen, The Matrix Cookbook (2012), (101)",
        "trace",
        "X",
        "B.T @ A.T",
        "operands-swapped",
        "A.T @ B.T",
    ),
    (
        "Parr, Howard, The matrix calculus you need (2018), 4",
        "least_squares",
        "s",
        "r",
        "sign",
        "-r",
    ),
    (
        "Hastie, Tibshirani, Friedman, ESL (2009), 3.4.1",
        "ridge",
        "w",
        "2 * X.T @ r",
        "penalty-missing",
        "2 * X.T @ r + 2 * lam * w",
    ),
    (
        "Hastie, Tibshirani, Friedman, ESL (2009), 3.4.1",
        "ridge",
        "w",
        "2 * X.T @ r + lam * w",
        "number-missing",
        "2 * X.T @ r + 2 * (lam * w)",
    ),
    (
        "Hastie, Tibshirani, Friedman, ESL (2009), 3.4.1",
        "ridge",
        "w",
        "X.T @ r + 2 * lam * w",
        "number-missing",
        "2 * (X.T @ r) + 2 * lam * w",
    ),
    (
        "Hastie, Tibshirani, Friedman, ESL (2009), 3.4.2",
        "lasso",
        "w",
        "X.T @ r / m + lam * np.abs(w)",
        "sign-of-weight",
        "X.T @ r / m + lam * np.sign(w)",
    ),
    (
        "Hastie, Tibshirani, Friedman, ESL (2009), 3.4.2",
        "lasso",
        "w",
        "X.T @ r / m + lam * w",
        "sign-of-weight",
        "X.T @ r / m + lam * np.sign(w)",
    ),
    (
        "Hastie, Tibshirani, Friedman, ESL (2009), 3.4.2",
        "lasso",
        "w",
        "X.T @ r / m + lam",
        "factor-missing",
        "X.T @ r / m + lam * np.sign(w)",
    ),
    (
        "Goodfellow, Bengio, Courville, Deep Learning (2016), 7.1.1",
        "dual",
        "W2",
        "A1.T @ (A2 - Y) / m",
        "penalty-missing",
        "A1.T @ (A2 - Y) / m + l2 * W2 / m",
    ),
    (
        "Goodfellow, Bengio, Courville, Deep Learning (2016), 7.1",
        "single",
        "b",
        "np.sum(A - Y, axis=0) / m + l2 * b / m",
        "penalty-of-bias",
        "np.sum(A - Y, axis=0) / m",
    ),
    (
        "Goodfellow, Bengio, Courville, Deep Learning (2016), 7.1.1",
        "dual",
        "W1",
        "X.T @ ((A2 - Y) @ W2.T * A1 * (1 - A1)) / m + l2 * W2 / m",
        "name-wrong",
        "X.T @ ((A2 - Y) @ W2.T * A1 * (1 - A1)) / m + l2 * W1 / m",
    ),
    (
        "Stanford CS231n notes, neural networks case study",
        "softmax_regression",
        "W",
        "X.T @ (P - Y) / m + 2 * reg * W",
        "factor-extra",
        "X.T @ (P - Y) / m + reg * W",
    ),
    (
        "Stanford CS231n notes, neural networks case study",
        "softmax_regression",
        "W",
        "X.T @ (P - Y) + reg * W",
        "divisor-missing",
        "X.T @ (P - Y) / m + reg * W",
    ),
    (
        "Stanford CS231n notes, neural networks case study",
        "softmax_regression",
        "W",
        "X.T @ P / m + reg * W",
        "term-missing",
        "X.T @ (P - Y) / m + reg * W",
    ),
    (
        "Stanford CS231n notes, neural networks case study",
        "softmax_regression",
        "b",
        "np.sum(P - Y) / m",
        "axis-missing",
        "np.sum(P - Y, axis=0) / m",
    ),
    (
        "Stanford CS231n notes, neural networks case study",
        "relu",
        "W1",
        "X.T @ np.maximum(0, (A2 - Y) @ W2.T) / m",
        "relu-of-gradient",
        "X.T @ ((A2 - Y) @ W2.T * (Z1 > 0)) / m",
    ),
    (
        "Stanford CS231n notes, neural networks case study",
        "relu",
        "W1",
        "X.T @ ((A2 - Y) @ W2.T) / m",
        "mask-missing",
        "X.T @ ((A2 - Y) @ W2.T * (Z1 > 0)) / m",
    ),
    (
        "Stanford CS231n notes, backpropagation",
        "relu",
        "W1",
        "X.T @ ((A2 - Y) @ W2.T * (Z1 < 0)) / m",
        "comparison",
        "X.T @ ((A2 - Y) @ W2.T * (Z1 > 0)) / m",
    ),
    (
        "Stanford CS231n notes, backpropagation",
        "relu",
        "W1",
        "X.T @ ((A2 - Y) @ W2.T * A1) / m",
        "slope-missing-inside",
        "X.T @ ((A2 - Y) @ W2.T * (Z1 > 0)) / m",
    ),
    (
        "Stanford CS231n notes, backpropagation",
        "relu",
        "W1",
        "X @ ((A2 - Y) @ W2.T * (Z1 > 0)) / m",
        "transpose-missing",
        "X.T @ ((A2 - Y) @ W2.T * (Z1 > 0)) / m",
    ),
    (
        "Stanford CS231n notes, backpropagation",
        "relu",
        "W1",
        "X.T @ ((A2 - Y) @ W2 * (Z1 > 0)) / m",
        "transpose-missing",
        "X.T @ ((A2 - Y) @ W2.T * (Z1 > 0)) / m",
    ),
    (
        "Stanford CS231n notes, backpropagation",
        "multi",
        "b2",
        "(A2 - Y) / m",
        "sum-missing",
        "np.sum((A2 - Y) / m, axis=0)",
    ),
    (
        "Karpathy, Yes you should understand backprop (2016)",
        "multi",
        "W1",
        "X.T @ ((A2 - Y) @ W2.T * Z1 * (1 - Z1)) / m",
        "slope-of-another-array",
        "X.T @ ((A2 - Y) @ W2.T * A1 * (1 - A1)) / m",
    ),
    (
        "Karpathy, Yes you should understand backprop (2016)",
        "multi",
        "W1",
        "X.T @ ((A2 - Y) @ W2.T * (1 - A1)) / m",
        "factor-missing",
        "X.T @ ((A2 - Y) @ W2.T * (1 - A1) * A1) / m",
    ),
    (
        "Karpathy, Yes you should understand backprop (2016)",
        "multi",
        "W1",
        "X.T @ ((A2 - Y) @ W2.T * A1 * (1 + A1)) / m",
        "plus-minus",
        "X.T @ ((A2 - Y) @ W2.T * A1 * (1 - A1)) / m",
    ),
    (
        "Nielsen, Neural Networks and Deep Learning (2015), ch. 2, (BP2)",
        "multi",
        "W1",
        "X.T @ ((A2 - Y) @ W2.T) / m",
        "slope-missing",
        "X.T @ ((A2 - Y) @ W2.T * A1 * (1 - A1)) / m",
    ),
    (
        "Nielsen, Neural Networks and Deep Learning (2015), ch. 2, (BP4)",
        "multi",
        "W2",
        "A1 @ (A2 - Y) / m",
        "transpose-missing",
        "A1.T @ (A2 - Y) / m",
    ),
    (
        "Nielsen, Neural Networks and Deep Learning (2015), ch. 2, (BP4)",
        "multi",
        "W2",
        "Z1.T @ (A2 - Y) / m",
        "name-wrong",
        "A1.T @ (A2 - Y) / m",
    ),
    (
        "Nielsen, Neural Networks and Deep Learning (2015), ch. 2, (BP1)",
        "sigmoid_mse",
        "W",
        "X.T @ E / m",
        "slope-missing",
        "X.T @ (E * A * (1 - A)) / m",
    ),
    (
        "Nielsen, Neural Networks and Deep Learning (2015), ch. 3, cross-entropy",
        "logistic",
        "w",
        "x.T @ ((a - y) * a * (1 - a)) / m",
        "factor-extra",
        "x.T @ (a - y) / m",
    ),
    (
        "Nielsen, Neural Networks and Deep Learning (2015), ch. 3, cross-entropy",
        "logistic",
        "w",
        "x.T @ (y - a) / m",
        "difference-swapped",
        "x.T @ (a - y) / m",
    ),
    (
        "Ng, CS229 notes, part II",
        "logistic",
        "b",
        "np.sum(a - y)",
        "divisor-missing",
        "np.sum(a - y) / m",
    ),
    (
        "Ng, CS229 notes, part II",
        "logistic",
        "w",
        "x.T @ (z - y) / m",
        "name-wrong",
        "x.T @ (a - y) / m",
    ),
    (
        "Bishop, PRML (2006), (5.56)",
        "tanh",
        "W1",
        "2 * X.T @ ((A2 - Y) @ W2.T * A1 * (1 - A1)) / m",
        "slope-of-sigmoid",
        "2 * X.T @ ((A2 - Y) @ W2.T * (1 - A1**2)) / m",
    ),
    (
        "Bishop, PRML (2006), (5.60)",
        "tanh",
        "W1",
        "2 * X.T @ ((A2 - Y) @ W2.T * (1 - A1)**2) / m",
        "brackets",
        "2 * X.T @ ((A2 - Y) @ W2.T * (1 - A1**2)) / m",
    ),
    (
        "Bishop, PRML (2006), 5.3.2",
        "tanh",
        "W1",
        "2 * X.T @ ((A2 - Y) @ W2.T * (1 - A1)) / m",
        "power-missing",
        "2 * X.T @ ((A2 - Y) @ W2.T * (1 - A1**2)) / m",
    ),
    (
        "Bishop, PRML (2006), 5.3.2",
        "tanh",
        "W2",
        "A1.T @ (A2 - Y) / m",
        "number-missing",
        "2 * (A1.T @ (A2 - Y) / m)",
    ),
    (
        "Bishop, PRML (2006), (4.109)",
        "softmax_regression",
        "W",
        "X.T @ ((P - Y) * P * (1 - P)) / m + reg * W",
        "factor-extra",
        "X.T @ (P - Y) / m + reg * W",
    ),
    (
        "Bishop, PRML (2006), 5.3.1",
        "multi",
        "W1",
        "X.T @ ((A2 - Y) @ W2.T * A2 * (1 - A2)) / m",
        "slope-of-another-array",
        "X.T @ ((A2 - Y) @ W2.T * A1 * (1 - A1)) / m",
    ),
    (
        "Bishop, PRML (2006), 5.3.1",
        "tanh",
        "W1",
        "2 * X.T @ ((A2 - Y) @ W2.T * (A1 > 0)) / m",
        "mask-of-relu",
        "2 * X.T @ ((A2 - Y) @ W2.T * (1 - A1**2)) / m",
    ),
    (
        "Goodfellow, Bengio, Courville, Deep Learning (2016), 6.5.4",
        "multi",
        "W1",
        "X.T @ ((A2 - Y) @ W2.T * (1 - A1**2)) / m",
        "slope-of-tanh",
        "X.T @ ((A2 - Y) @ W2.T * A1 * (1 - A1)) / m",
    ),
    (
        "Cross Validated, question 79454: a gradient check fails",
        "attention",
        "Q",
        "dP * P * (1 - P) @ K / np.sqrt(d)",
        "softmax-diagonal",
        "P * (dP - np.sum(dP * P, axis=1, keepdims=True)) @ K / np.sqrt(d)",
    ),
    (
        "Bendersky, The softmax function and its derivative (2016)",
        "attention",
        "Q",
        "(dP - P * np.sum(dP, axis=1, keepdims=True)) @ K / np.sqrt(d)",
        "log-softmax-rule",
        "P * (dP - np.sum(dP * P, axis=1, keepdims=True)) @ K / np.sqrt(d)",
    ),
    (
        "Bendersky, The softmax function and its derivative (2016)",
        "attention",
        "Q",
        "P * (dP - np.sum(dP * P, axis=1)) @ K / np.sqrt(d)",
        "keepdims",
        "P * (dP - np.sum(dP * P, axis=1, keepdims=True)) @ K / np.sqrt(d)",
    ),
    (
        "Vaswani et al. (2017), 3.2.1",
        "attention",
        "Q",
        "P * (dP - np.sum(dP * P, axis=1, keepdims=True)) @ K / d",
        "root-missing",
        "P * (dP - np.sum(dP * P, axis=1, keepdims=True)) @ K / np.sqrt(d)",
    ),
    (
        "Vaswani et al. (2017), 3.2.1",
        "attention",
        "Q",
        "P * (dP - np.sum(dP * P, axis=1, keepdims=True)) @ K",
        "divisor-missing",
        "P * (dP - np.sum(dP * P, axis=1, keepdims=True)) @ K / np.sqrt(d)",
    ),
    (
        "Vaswani et al. (2017), 3.2.1",
        "attention",
        "K",
        f"{SOFTMAX} @ Q / np.sqrt(d)",
        "transpose-missing",
        f"{SOFTMAX}.T @ Q / np.sqrt(d)",
    ),
    (
        "Vaswani et al. (2017), 3.2.1",
        "attention",
        "V",
        "P @ dO",
        "transpose-missing",
        "P.T @ dO",
    ),
    (
        "Ioffe, Szegedy (2015), 3",
        "normalised",
        "X",
        "dH / s",
        "normalisation-term-missing",
        "(dH - np.mean(dH, axis=0) - H * np.mean(dH * H, axis=0)) / s",
    ),
    (
        "Ioffe, Szegedy (2015), 3",
        "normalised",
        "X",
        "(dH - np.mean(dH, axis=0)) / s",
        "normalisation-term-missing",
        "(dH - np.mean(dH, axis=0) - H * np.mean(dH * H, axis=0)) / s",
    ),
    (
        "Ioffe, Szegedy (2015), 3",
        "normalised",
        "X",
        "(dH - H * np.mean(dH * H, axis=0)) / s",
        "normalisation-term-missing",
        "(dH - H * np.mean(dH * H, axis=0) - np.mean(dH, axis=0)) / s",
    ),
    (
        "Ioffe, Szegedy (2015), 3",
        "normalised",
        "gamma",
        "np.sum(E * X, axis=0)",
        "name-wrong",
        "np.sum(E * H, axis=0)",
    ),
    (
        "Srivastava et al., Dropout (2014), 4",
        "dropout",
        "W1",
        "X.T @ (E @ W2.T * (1 - A1**2)) / m",
        "dropout-mask-missing",
        "X.T @ (E @ W2.T * (1 - A1**2) * (D / keep)) / m",
    ),
    (
        "Srivastava et al., Dropout (2014), 4",
        "dropout",
        "W1",
        "X.T @ (E @ W2.T * D * (1 - A1**2)) / m",
        "divisor-missing",
        "X.T @ (E @ W2.T * D * (1 - A1**2)) / m / keep",
    ),
    (
        "Srivastava et al., Dropout (2014), 4",
        "dropout",
        "W2",
        "A1.T @ E / m",
        "name-wrong",
        "H.T @ E / m",
    ),
    (
        "Hochreiter, Schmidhuber (1997); Graves (2012)",
        "lstm",
        "Wg",
        "x.T @ (E * o * (1 - tc**2) * i * g * (1 - g))",
        "slope-of-sigmoid",
        "x.T @ (E * o * (1 - tc**2) * i * (1 - g**2))",
    ),
    (
        "Hochreiter, Schmidhuber (1997); Graves (2012)",
        "lstm",
        "Wo",
        "x.T @ (E * tc * (1 - o**2))",
        "slope-of-tanh",
        "x.T @ (E * tc * o * (1 - o))",
    ),
    (
        "Hochreiter, Schmidhuber (1997); Graves (2012)",
        "lstm",
        "c",
        "E * o * f",
        "slope-missing",
        "E * o * f * (1 - tc**2)",
    ),
    (
        "Hochreiter, Schmidhuber (1997); Graves (2012)",
        "lstm",
        "Wf",
        "x.T @ (E * o * (1 - tc**2) * g * f * (1 - f))",
        "name-wrong",
        "x.T @ (E * o * (1 - tc**2) * c * f * (1 - f))",
    ),
    (
        "Goodfellow, Bengio, Courville, Deep Learning (2016), 10.2.2",
        "rnn",
        "U",
        "h.T @ E",
        "slope-missing",
        "h.T @ (E * (1 - H**2))",
    ),
    (
        "Goodfellow, Bengio, Courville, Deep Learning (2016), 10.2.2",
        "rnn",
        "W",
        "x.T @ (E * (1 - H))",
        "power-missing",
        "x.T @ (E * (1 - H**2))",
    ),
    (
        "Ng, deeplearning.ai, Neural Networks and Deep Learning, week 3",
        "columns",
        "b1",
        "np.sum(W2.T @ (A2 - Y) * (Z1 > 0)) / m",
        "axis-missing",
        "np.sum(W2.T @ (A2 - Y) * (Z1 > 0), axis=1, keepdims=True) / m",
    ),
    (
        "Ng, deeplearning.ai, Neural Networks and Deep Learning, week 3",
        "columns",
        "W2",
        "A1.T @ (A2 - Y) / m",
        "operands-swapped",
        "(A2 - Y) @ A1.T / m",
    ),
    (
        "Ng, deeplearning.ai, Neural Networks and Deep Learning, week 3",
        "columns",
        "W1",
        "W2.T @ (A2 - Y) * (Z1 > 0) @ X / m",
        "transpose-missing",
        "W2.T @ (A2 - Y) * (Z1 > 0) @ X.T / m",
    ),
    (
        "Ng, deeplearning.ai, Neural Networks and Deep Learning, week 3",
        "columns",
        "b2",
        "np.sum(A2 - Y, axis=0, keepdims=True) / m",
        "axis-wrong",
        "np.sum(A2 - Y, axis=1, keepdims=True) / m",
    ),
    (
        "Ng, deeplearning.ai, Neural Networks and Deep Learning, week 3",
        "columns",
        "W2",
        "(A2 - Y) @ A1.T",
        "divisor-missing",
        "(A2 - Y) @ A1.T / m",
    ),
    (
        "Ng, deeplearning.ai, Neural Networks and Deep Learning, week 4",
        "columns",
        "W2",
        "(A2 - Y) @ A1.T / Y.size",
        "size-of-all",
        "(A2 - Y) @ A1.T / m",
    ),
    (
        "Ng, deeplearning.ai, Neural Networks and Deep Learning, week 4",
        "columns",
        "W2",
        "(A2 - Y) @ A1.T / m**2",
        "divisor-extra",
        "(A2 - Y) @ A1.T / m",
    ),
    (
        "DeepLearning.AI community, topic 152009: operands could not be broadcast",
        "tanh_columns",
        "W2",
        "(A2 - Y) * A1.T / m",
        "operator",
        "(A2 - Y) @ A1.T / m",
    ),
    (
        "DeepLearning.AI community, topic 152009: operands could not be broadcast",
        "tanh_columns",
        "W1",
        "W2.T * (A2 - Y) * (1 - A1**2) @ X.T / m",
        "operator",
        "W2.T @ (A2 - Y) * (1 - A1**2) @ X.T / m",
    ),
    (
        "DeepLearning.AI community, topic 402919: wrong values for dW1",
        "tanh_columns",
        "W1",
        "W2.T @ (A2 - Y) @ (1 - A1**2) @ X.T / m",
        "operator",
        "W2.T @ (A2 - Y) * (1 - A1**2) @ X.T / m",
    ),
    (
        "DeepLearning.AI community, topic 63071: wrong values for dW1",
        "tanh_columns",
        "W1",
        "(W2.T @ (A2 - Y) * (1 - A1**2) / m) @ X.T / m",
        "divisor-extra",
        "(W2.T @ (A2 - Y) * (1 - A1**2) / m) @ X.T",
    ),
    (
        "DeepLearning.AI community, topic 85937: wrong values for dW1",
        "tanh_columns",
        "W1",
        "W2.T @ (A2 - Y) * (1 - A1**2).T @ X.T / m",
        "transpose-extra",
        "W2.T @ (A2 - Y) * (1 - A1**2) @ X.T / m",
    ),
]


def test_there_are_enough_of_them_from_many_sources() -> None:
    assert len({row[1:4] for row in COMMON}) == len(COMMON) >= 60
    assert len({row[0].partition(",")[0] for row in COMMON}) >= 12


@pytest.mark.parametrize(
    ("source", "network", "target", "claim", "kinds", "after"),
    COMMON,
    ids=[f"{row[1]}-{row[4]}-{i}" for i, row in enumerate(COMMON)],
)
def test_a_common_mistake_is_named_and_repaired(
    source: str, network: str, target: str, claim: str, kinds: str, after: str
) -> None:
    forward, inputs = NETWORKS[network]
    verdict = verify(forward, {target: claim}, inputs=inputs)[target]
    assert not verdict.right
    assert "+".join(verdict.kinds) == kinds, source
    assert verdict.after == after
    assert verdict.reason


@pytest.mark.parametrize("row", COMMON[::8], ids=[row[3] for row in COMMON[::8]])
def test_what_is_proposed_is_right(row: tuple[str, ...]) -> None:
    forward, inputs = NETWORKS[row[1]]
    assert verify(forward, {row[2]: row[5]}, inputs=inputs).right
