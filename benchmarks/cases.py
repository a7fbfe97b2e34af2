"""The networks that are timed: their sizes, initial weights and batches.

They range from a single unit, where the calls dominate, to `wide`, where the matrix products do.
Weights and samples are drawn from fixed seeds, new arrays each time, so that every contestant
starts from the same numbers and sees the same batches.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Network:
    """Layers one after the other, trained by plain SGD.

    One output means a sigmoid with binary cross-entropy, several a softmax with cross-entropy.
    """

    name: str
    sizes: tuple[int, ...]  # the features, then the units of each layer
    batch: int
    steps: int  # batches in an epoch
    hidden: str = "sigmoid"  # or "relu"
    lr: float = 0.1
    dtype: str = "float32"

    def __str__(self) -> str:
        sizes = "–".join(map(str, self.sizes))
        if len(self.sizes) > 5:
            sizes = f"{len(self.sizes) - 1} × {self.sizes[1]}×{self.sizes[1]}"
        return f"{sizes}, {self.hidden}, batch {self.batch}, {self.dtype}"

    @property
    def k(self) -> int:
        """The number of outputs."""
        return self.sizes[-1]

    def weights(self) -> list[Array]:
        """Return the initial W1, b1, W2, b2, …, scaled so that no layer saturates."""
        rng = np.random.default_rng(42)
        gain = 2.0 if self.hidden == "relu" else 1.0
        weights: list[Array] = []
        for n_in, n_out in pairwise(self.sizes):
            weights += [rng.normal(0, (gain / n_in) ** 0.5, (n_in, n_out)), np.zeros(n_out)]
        return [w.astype(self.dtype) for w in weights]

    def batches(self) -> tuple[Array, Array]:
        """Return X (steps, batch, n) and Y (steps, batch, k): 0 and 1, or one-hot rows."""
        rng = np.random.default_rng(0)
        X = rng.random((self.steps, self.batch, self.sizes[0]), dtype=np.float32)
        labels = rng.integers(0, max(2, self.k), (self.steps, self.batch))
        Y = labels[..., None] if self.k == 1 else np.eye(self.k)[labels]
        return np.asarray(X, self.dtype), np.asarray(Y, self.dtype)


NETWORKS = {
    network.name: network
    for network in [
        Network("single", (30, 1), batch=364, steps=100),
        Network("dual", (30, 10, 1), batch=364, steps=100),
        Network("mini", (30, 10, 1), batch=32, steps=100),
        Network("multi", (784, 100, 10), batch=256, steps=16),
        Network("keras", (784, 100, 10), batch=32, steps=64),
        Network("wide", (784, 2048, 2048, 10), batch=256, steps=2, lr=0.01),
        Network("deep", (64,) * 101, batch=64, steps=4, hidden="relu", lr=1e-3),
    ]
}
