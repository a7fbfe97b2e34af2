"""What is timed: an operation, a training step of the chapter's networks, the import.

Every contestant of a step starts from the same weights and sees the same batch; before anything is
timed, ten steps of each must give the same weights.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import tinygrad_edu as tg
from tinygrad_edu import nn, optim

Array = np.ndarray[Any, np.dtype[Any]]
LR = 0.1


@dataclass(frozen=True)
class Network:
    """Sizes of a two-layer network of the chapter, with sigmoid units in the middle."""

    name: str
    n: int
    units: int
    k: int  # 1: sigmoid and binary cross-entropy; more: softmax and cross-entropy
    batch: int
    dtype: str = "float32"
    limit: float | None = None  # what the ratio of the eager step to plain NumPy may be

    def __str__(self) -> str:
        return f"{self.n}–{self.units}–{self.k}, batch {self.batch}, {self.dtype}"

    def weights(self) -> list[Array]:
        """W1, b1, W2, b2 to start from, new arrays each time."""
        rng = np.random.default_rng(42)
        shapes = [(self.n, self.units), (self.units,), (self.units, self.k), (self.k,)]
        return [rng.normal(0, 0.1, shape).astype(self.dtype) for shape in shapes]

    def samples(self) -> tuple[Array, Array]:
        """One batch: X, and Y as a column of 0 and 1 or as one-hot rows."""
        rng = np.random.default_rng(0)
        X: Array = rng.random((self.batch, self.n)).astype(self.dtype)
        labels = rng.integers(0, max(2, self.k), self.batch)
        Y = labels.reshape(-1, 1) if self.k == 1 else np.eye(self.k)[labels]
        return X, np.asarray(Y, self.dtype)


NETWORKS = [
    Network("mini", 30, 10, 1, 32, limit=3.0),
    Network("dual", 30, 10, 1, 364),
    Network("keras", 784, 100, 10, 32),
    Network("multi", 784, 100, 10, 256, limit=1.3),
]
Step = Callable[[], Any]


def by_hand(network: Network, *, slides: bool) -> tuple[Step, list[Array]]:
    """A step in NumPy with the formulas D5–D8: as short as it can be said, or as on the slides,
    which clip before every exponential and logarithm."""
    X, Y = network.samples()
    weights = W1, b1, W2, b2 = network.weights()
    m = len(X)

    def sigmoid(z: Array) -> Array:
        return 1 / (1 + np.exp(-np.clip(z, -100, None) if slides else -z))

    def softmax(z: Array) -> Array:
        e: Array = np.exp(np.clip(z, -100, None) if slides else z - z.max(axis=1, keepdims=True))
        return np.asarray(e / e.sum(axis=1).reshape(-1, 1))

    def step() -> float:
        nonlocal W1, b1, W2, b2
        A1 = sigmoid(X @ W1 + b1)
        Z2 = A1 @ W2 + b2
        A2 = sigmoid(Z2) if network.k == 1 else softmax(Z2)
        P = np.clip(A2, 1e-10, 1 - 1e-10) if slides else A2
        loss = Y * np.log(P) if network.k > 1 else Y * np.log(P) + (1 - Y) * np.log(1 - P)
        E = A2 - Y
        W2_grad, b2_grad = A1.T @ E / m, E.sum(axis=0) / m
        E1 = E @ W2.T * A1 * (1 - A1)
        W1_grad, b1_grad = X.T @ E1 / m, E1.sum(axis=0) / m
        W1 -= LR * W1_grad
        b1 -= LR * b1_grad
        W2 -= LR * W2_grad
        b2 -= LR * b2_grad
        return float(-loss.sum() / m)

    return step, weights


def eager(network: Network) -> tuple[Step, list[Any]]:
    """The same step, recorded: forward, backward and SGD."""
    X, Y = network.samples()
    model = nn.Sequential(
        nn.Linear(network.n, network.units, dtype=network.dtype, rng=0),
        nn.Sigmoid(),
        nn.Linear(network.units, network.k, dtype=network.dtype, rng=0),
    )
    for parameter, value in zip(model.parameters(), network.weights(), strict=True):
        parameter.data = value
    optimizer = optim.SGD(model.parameters(), lr=LR)
    criterion = tg.binary_cross_entropy_with_logits if network.k == 1 else tg.cross_entropy

    def step() -> float:
        loss = criterion(model(X), Y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return float(loss.item())

    return step, list(model.parameters())


def step_contestants(network: Network) -> dict[str, Step]:
    """The contestants of one network, seen to compute the same thing."""
    made = {
        "plain NumPy": by_hand(network, slides=False),
        "NumPy as on the slides": by_hand(network, slides=True),
        "tinygrad_edu, eager": eager(network),
    }
    losses = {name: [step() for _ in range(10)] for name, (step, _) in made.items()}
    expected = made["plain NumPy"][1]
    for name, (_, weights) in made.items():
        np.testing.assert_allclose(losses[name], losses["plain NumPy"], rtol=1e-4, err_msg=name)
        for ours, theirs in zip(weights, expected, strict=True):
            value = ours.data if isinstance(ours, tg.Tensor) else ours
            np.testing.assert_allclose(value, theirs, rtol=1e-4, atol=1e-6, err_msg=name)
    return {name: step for name, (step, _) in made.items()}


def add_contestants(shape: tuple[int, int] = (8, 8)) -> dict[str, Step]:
    """One addition: NumPy's, and recorded."""
    rng = np.random.default_rng(0)
    a, b = rng.random(shape), rng.random(shape)
    s, t = tg.Tensor(a, requires_grad=True), tg.Tensor(b, requires_grad=True)
    return {
        "np.add": lambda: np.add(a, b),
        "recorded add": lambda: tg.add(s, t),
        "recorded a + b": lambda: s + t,
    }


def import_contestants() -> dict[str, Step]:
    """A whole process that imports, from start to end."""

    def importing(module: str) -> Step:
        command = [sys.executable, "-c", f"import {module}"]
        # Both with compiled modules at hand, as installed packages have them.
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        return lambda: subprocess.run(command, check=True, env=environment)

    return {"import numpy": importing("numpy"), "import tinygrad_edu": importing("tinygrad_edu")}
