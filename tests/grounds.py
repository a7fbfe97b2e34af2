"""Claims that are hard to judge: wrong where it hardly shows, and right although rounding shows.

    python -m tests.grounds              each right claim with 20 seeds, each wrong one with 3
    python -m tests.grounds --seeds 3    … with fewer

A wrong claim here differs from the gradient only in an entry that is small beside others, only
beyond a threshold, only where scales are unlike, or from the fourth digit on. A right claim has
entries of unlike scales, or sums whose terms cancel.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import tinygrad_edu as tg

SCALES = np.array([1e6, 1.0, 1e-3])


@dataclass(frozen=True)
class Case:
    """A loss, what its inputs look like, and claims about one gradient."""

    forward: Callable[..., Any]
    inputs: dict[str, Any]
    target: str
    right: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()


def area(w: Any) -> Any:
    a = w * SCALES
    return (a * a).sum() / 2


def weighted(X: Any, Y: Any, W: Any, s: Any) -> Any:
    E = X @ W - Y
    return (E * E * s).sum() / 2


def two_terms(w: Any, v: Any) -> Any:
    return 1e8 * (w * w).sum() + (w * v).sum()


def three_terms(a: Any, b: Any, c: Any) -> Any:
    s = a + b + c
    return (s * s).sum() / 2


def huber(r: Any) -> Any:
    size = np.abs(r)
    return np.where(size <= 3, r * r / 2, 3 * size - 4.5).sum()


def huber_regression(X: Any, y: Any, w: Any) -> Any:
    r = X @ w - y
    size = np.abs(r)
    return np.where(size <= 3, r * r / 2, 3 * size - 4.5).sum() / len(X)


def clipped(w: Any) -> Any:
    c = np.clip(w, -4, 4)
    return (c * c).sum()


def distant(a: Any, b: Any) -> Any:
    d = ((a - b) ** 2).sum()
    return np.maximum(d - 100, 0)


def near(a: Any, b: Any) -> Any:
    d = ((a - b) ** 2).sum()
    return np.maximum(1e-3 - d, 0)


def hinge(X: Any, y: Any, w: Any) -> Any:
    margin = 30 - y * (X @ w)
    return np.maximum(margin, 0).sum()


def relu6(Z: Any) -> Any:
    A = np.minimum(np.maximum(Z, 0), 6)
    return (A * A).sum() / 2


def step(x: Any) -> Any:
    return ((x > 5) * (x - 5) ** 2 + x * x).sum()


def leaky(Z: Any) -> Any:
    A = np.where(Z > -3, Z, 0.1 * Z - 2.7)
    return (A * A).sum() / 2


def branch(x: Any) -> Any:
    n = (x * x).sum()
    return n if n < 400 else 40 * n**0.5 - 400


def centred(x: Any) -> Any:
    d = x - x.mean()
    return (d * d).sum() / 2


def centred_far(x: Any) -> Any:
    z = x + 1e4
    d = z - z.mean()
    return (d * d).sum() / 2


def standardised(X: Any, G: Any) -> Any:
    D = X - X.mean(axis=0)
    s = np.sqrt((D * D).mean(axis=0))
    N = D / s
    return (N * G).sum()


def before_normalisation(X: Any, b: Any, G: Any) -> Any:
    Z = X + b
    D = Z - Z.mean(axis=0)
    return (D / np.sqrt((D * D).mean(axis=0) + 1e-5) * G).sum()


def softmax_loss(X: Any, Y: Any, W: Any) -> Any:
    A = tg.softmax(X @ W)
    return -(Y * np.log(A)).sum() / len(X)


def sigmoid_loss(X: Any, Y: Any, W: Any, b: Any) -> Any:
    A = tg.sigmoid(X @ W + b)
    return -(Y * np.log(A) + (1 - Y) * np.log(1 - A)).sum() / len(X)


def relu_network(X: Any, Y: Any, W: Any, V: Any) -> Any:
    Z = X @ W
    A = tg.relu(Z)
    E = A @ V - Y
    return (E * E).sum() / 2


def attention(S: Any, V: Any, G: Any) -> Any:
    P = tg.softmax(S)
    return ((P @ V) * G).sum()


def gelu(x: Any) -> Any:
    t = np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))
    return (x * (1 + t) / 2).sum()


def normal(x: Any, mu: Any, sigma: Any) -> Any:
    z = (x - mu) / sigma
    return (z * z).sum() / 2 + len(x) * np.log(sigma)


def ridge(X: Any, y: Any, w: Any, lam: Any) -> Any:
    e = X @ w - y
    return (e * e).sum() / 2 + lam / 2 * (w * w).sum()


def tiny_penalty(X: Any, y: Any, w: Any) -> Any:
    e = X @ w - y
    return (e * e).sum() / 2 + 5e-7 * (w * w).sum()


XW = {"X": "m n", "y": "m real", "w": "n"}
ROWS = {"X": "m n", "Y": "m k onehot", "W": "n k"}
BINARY = {"X": "m n", "Y": "m k binary", "W": "n k", "b": "k"}
NETWORK = {"X": "m n", "Y": "m k real", "W": "n h", "V": "h k"}
SIGMOID = "np.sum(A - Y, axis=0) / m"
E = "(X @ W - Y)"
C = 0.7978845608028654
GELU = "(1 + t) / 2 + x / 2 * (1 - t**2) * {c} * (1 + 3 * {a} * x**2)"

CASES = [
    Case(
        area,
        {"w": "3"},
        "w",
        right=(
            "w * SCALES**2",
            "w * np.array([1e12, 1, 1e-6])",
            "a * np.array([1e6, 1, 1e-3])",
            "np.stack([1e12 * w[0], w[1], w[2] / 1e6])",
            "(a + a) * np.array([1e6, 1, 1e-3]) / 2",
        ),
        wrong=(
            "w * np.array([1e12, 5, -7])",
            "w * np.array([1e12, 1, 0])",
            "w * np.array([1e12, 1.001, 1e-6])",
            "w * np.array([1e12, 1, 1.0007e-6])",
            "w * np.array([1e12, 1, 1])",
            "a * np.array([1e6, 1, 1])",
        ),
    ),
    Case(
        weighted,
        {"X": "m n", "Y": "m 3 real", "W": "n 3", "s": "3 positive"},
        "W",
        right=(
            f"X.T @ ({E} * s)",
            "X.T @ (X @ W * s) - X.T @ (Y * s)",
            f"np.stack([X.T @ {E}[:, j] * s[j] for j in range(3)], axis=1)",
            "(X.T @ X @ W - X.T @ Y) * s",
        ),
        wrong=(f"X.T @ ({E} * np.where(s > 0.1, s, 2 * s))", f"X.T @ ({E} * np.maximum(s, 0.05))"),
    ),
    Case(
        two_terms,
        {"w": "n", "v": "n"},
        "w",
        right=("2e8 * w + v", "v + 2e8 * w"),
        wrong=("2e8 * w", "2e8 * w - v", "2e8 * w + 1.01 * v", "2e8 * w + v.sum()"),
    ),
    Case(
        three_terms,
        {"a": "n", "b": "n", "c": "n"},
        "a",
        right=("a + b + c", "c + b + a", "s"),
        wrong=("a + b", "np.where(np.abs(c) < 0.01, a + b, s)", "s + 1e-4 * c"),
    ),
    Case(
        huber,
        {"r": "n"},
        "r",
        right=(
            "np.clip(r, -3, 3)",
            "np.where(np.abs(r) <= 3, r, 3 * np.sign(r))",
            "np.maximum(-3, np.minimum(r, 3))",
        ),
        wrong=(
            "r",
            "np.where(np.abs(r) <= 3, r, 3)",
            "np.where(r <= 3, r, 3)",
            "np.clip(r, -3.5, 3.5)",
            "np.where(np.abs(r) <= 3, r, np.sign(r))",
        ),
    ),
    Case(
        huber_regression,
        XW,
        "w",
        right=("X.T @ np.clip(r, -3, 3) / m", "np.mean(X * np.clip(r, -3, 3)[:, None], axis=0)"),
        wrong=(
            "X.T @ r / m",
            "X.T @ np.where(np.abs(r) <= 3, r, 3) / m",
            "X.T @ (r * (np.abs(r) <= 3)) / m",
        ),
    ),
    Case(
        clipped,
        {"w": "n"},
        "w",
        right=("2 * w * (np.abs(w) < 4)", "np.where(np.abs(w) < 4, 2 * w, 0)", "2 * c * (c == w)"),
        wrong=("2 * w", "2 * c", "2 * w * (w < 4)", "2 * w * (np.abs(w) < 5)"),
    ),
    Case(
        distant,
        {"a": "n", "b": "n"},
        "a",
        right=("2 * (a - b) * (d > 100)",),
        wrong=("0 * a", "2 * (a - b)", "2 * (a - b) * (d > 10)"),
    ),
    Case(near, {"a": "n", "b": "n"}, "a", right=("2 * (b - a) * (d < 1e-3)",), wrong=("0 * a",)),
    Case(
        hinge,
        {"X": "m n", "y": "m real", "w": "n"},
        "w",
        right=("-X.T @ (y * (margin > 0))",),
        wrong=("-X.T @ y",),
    ),
    Case(
        relu6,
        {"Z": "m n"},
        "Z",
        right=("Z * (Z > 0) * (Z < 6)", "A * (A < 6)"),
        wrong=("A", "Z * (Z > 0)", "Z * (Z < 6)"),
    ),
    Case(
        step,
        {"x": "n"},
        "x",
        right=("2 * x + 2 * (x - 5) * (x > 5)",),
        wrong=("2 * x", "2 * x + (x - 5) * (x > 5)", "2 * x + 2 * (x - 5) * (np.abs(x) > 5)"),
    ),
    Case(
        leaky,
        {"Z": "m n"},
        "Z",
        right=("A * np.where(Z > -3, 1, 0.1)",),
        wrong=("Z", "A", "A * np.where(Z > -3, 1, 0.01)"),
    ),
    Case(
        branch,
        {"x": "n"},
        "x",
        right=("np.where(n < 400, 2 * x, 40 * x / np.sqrt(n))",),
        wrong=("2 * x",),
    ),
    Case(
        centred,
        {"x": "n"},
        "x",
        right=("x - np.mean(x)", "d - np.mean(d)", "d", "(n * x - np.sum(x)) / n"),
        wrong=("x", "d + 1e-3 * np.mean(x)"),
    ),
    Case(
        centred_far,
        {"x": "n"},
        "x",
        right=("d", "z - np.mean(z)", "x - np.mean(x)", "(n * z - np.sum(z)) / n"),
        wrong=("1.0003 * d",),
    ),
    Case(
        standardised,
        {"X": "m n", "G": "m n"},
        "X",
        right=(
            "(G - np.mean(G, axis=0) - N * np.mean(N * G, axis=0)) / s",
            "(m * G - np.sum(G, axis=0) - N * np.sum(N * G, axis=0)) / (m * s)",
        ),
        wrong=("(G - np.mean(G, axis=0)) / s", "G / s"),
    ),
    Case(
        before_normalisation,
        {"X": "m n", "b": "n", "G": "m n"},
        "b",
        right=("0 * b", "np.zeros(n)"),
        wrong=("np.sum(G, axis=0)", "1e-3 * b"),
    ),
    Case(
        softmax_loss,
        ROWS,
        "W",
        right=(
            "X.T @ (A - Y) / m",
            "X.T @ A / m - X.T @ Y / m",
            "(X.T @ A - X.T @ Y) / m",
            "-X.T @ (Y - A) / m",
        ),
        wrong=("X.T @ (A - Y) / m + 1e-4 * W", "X.T @ (1.0004 * A - Y) / m"),
    ),
    Case(
        sigmoid_loss,
        BINARY,
        "b",
        right=(
            SIGMOID,
            "(np.sum(A, axis=0) - np.sum(Y, axis=0)) / m",
            "np.mean(A * (1 - Y) - (1 - A) * Y, axis=0)",
            "np.sum((-Y / A + (1 - Y) / (1 - A)) * A * (1 - A), axis=0) / m",
        ),
        wrong=("np.sum(A - Y, axis=0) / (m + 0.001)",),
    ),
    Case(
        relu_network,
        NETWORK,
        "W",
        right=(
            "X.T @ (E @ V.T * (Z > 0))",
            "X.T @ (E @ V.T) - X.T @ (E @ V.T * (Z <= 0))",
            "X.T @ ((A @ V) @ V.T * (Z > 0)) - X.T @ (Y @ V.T * (Z > 0))",
        ),
        wrong=("X.T @ (E @ V.T * (Z > -0.01))",),
    ),
    Case(
        attention,
        {"S": "m n", "V": "n d", "G": "m d"},
        "S",
        right=(
            "P * (G @ V.T - np.sum(P * (G @ V.T), axis=1, keepdims=True))",
            "P * (G @ V.T) - P * np.sum(G * (P @ V), axis=1, keepdims=True)",
        ),
        wrong=("P * (G @ V.T - 1.0002 * np.sum(P * (G @ V.T), axis=1, keepdims=True))",),
    ),
    Case(
        gelu,
        {"x": "n"},
        "x",
        right=(GELU.format(c=C, a=0.044715), GELU.format(c="np.sqrt(2 / np.pi)", a=0.044715)),
        wrong=(GELU.format(c=0.7979, a=0.044715), GELU.format(c=C, a=0.0447)),
    ),
    Case(
        normal,
        {"x": "n", "mu": "", "sigma": ""},
        "sigma",
        right=("n / sigma - np.sum((x - mu)**2) / sigma**3", "(n - np.sum(z**2)) / sigma"),
        wrong=("n / sigma - np.sum(x * (x - mu)) / sigma**3",),
    ),
    Case(
        ridge,
        {**XW, "lam": "positive"},
        "w",
        right=(
            "X.T @ e + lam * w",
            "X.T @ X @ w - X.T @ y + lam * w",
            "(X.T @ X + lam * np.eye(n)) @ w - X.T @ y",
        ),
        wrong=("X.T @ e + 1.0003 * lam * w",),
    ),
    Case(
        tiny_penalty,
        XW,
        "w",
        right=("X.T @ e + 1e-6 * w",),
        wrong=("X.T @ e", "X.T @ e + 1e-6", "X.T @ e + 5e-7 * w"),
    ),
]
RIGHT = [(case, text) for case in CASES for text in case.right]
WRONG = [(case, text) for case in CASES for text in case.wrong]


def judged(case: Case, text: str, seed: int) -> tg.Report:
    """Return the report on one claim."""
    claim = text.replace("SCALES", "np.array([1e6, 1, 1e-3])")
    return tg.verify(
        case.forward, {case.target: claim}, inputs=case.inputs, repair=False, seed=seed
    )


def main() -> int:
    """Judge every claim with every seed, and print what was misjudged."""
    parser = argparse.ArgumentParser(prog="python -m tests.grounds")
    parser.add_argument("--seeds", type=int, default=20)
    seeds = parser.parse_args().seeds
    failures = 0
    for name, claims, is_right, n in (
        ("right", RIGHT, True, seeds),
        ("wrong", WRONG, False, min(seeds, 3)),
    ):
        missed = [
            (case.forward.__name__, text, seed)
            for case, text in claims
            for seed in range(n)
            if judged(case, text, seed).right is not is_right
        ]
        for forward, text, seed in missed:
            print(f"{name}, misjudged: {forward}: {text} (seed {seed})")
        print(f"{len(claims)} {name} claims, {n} seeds each: {len(missed)} misjudged")
        failures += len(missed)
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(main())
