"""Random losses as students write them: masks, indices, constants, batches, sizes.

Each is a text, so that its numbers stand in it as literals; `draw` gives the function and what it
is called with.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import tinygrad_edu as tg

CONSTANTS = [
    "np.sqrt(3)",
    "0.3",
    "1.5",
    "np.pi",
    "2 / 3",
    "1e-3",
    "np.sqrt(2 * np.pi)",
    "Z.shape[-1]",
    "1 / np.sqrt(Z.shape[-1])",
    "1 / len(X)",
    "0.05",
    "len(X)",
]
FILLERS = ["-1e9", "-np.inf", "0", "-1e4"]
STEPS = [
    "{c} * Z",
    "Z / ({c})",
    "tg.tanh(Z)",
    "Z - Z.mean(axis=-1, keepdims=True)",
    "tg.softmax(Z)",
    "np.where(Z > 0, Z, {c} * Z)",
    "np.maximum(Z, {c})",
    "np.exp(-Z * Z)",
    "np.clip(Z, -1, 1)",
    "tg.softmax(np.where(Z > -1, Z, {f}))",
    "Z * (Z > 0)",
    "tg.log_softmax(Z)",
]
ATTENTION = [
    "tg.softmax(Z @ np.swapaxes(Z, -1, -2) / np.sqrt(Z.shape[-1])) @ Z",
    "tg.softmax(np.where(SEEN, Z @ np.swapaxes(Z, -1, -2), {f})) @ Z",
    "np.tril(np.ones((Z.shape[-2], Z.shape[-2]))) @ Z",
]
ENDS = ["Z.sum()", "Z.mean()", "(Z * Z).mean()", "np.sqrt((Z * Z).sum() + {c})", "Z.max()"]
ENDS_OF_ROWS = [
    "-np.log(tg.softmax(Z)[np.arange(len(X)), y]).mean()",
    "-tg.log_softmax(Z)[np.arange(len(X)), y].sum() / len(X)",
    "tg.cross_entropy(Z, y)",
    "(Z[chosen] ** 2).sum()",
    "Z[chosen].mean()",
    "Z[rows].sum() * {c}",
    "Z[:2].sum() + Z[-1, 0]",
    "(Z[Z > 0] ** 2).sum()",
    "tg.mse_loss(Z, T)",
    "((Z - T) ** 2).sum() / (2 * len(X))",
    "tg.binary_cross_entropy_with_logits(Z, (T > 0) * 1.0)",
    "np.maximum(0, {c} - Z[np.arange(len(X)), y]).sum()",
]


def draw(seed: int) -> tuple[Callable[..., Any], tuple[Any, ...], str]:
    """A loss, what it is called with (W, X and others), and its text."""
    rng = np.random.default_rng(seed)
    m, n, k, t = (int(x) for x in rng.integers(3, 7, 4))
    kind = ["rows", "batch", "tokens", "table"][rng.integers(4)]
    X: Any = rng.normal(size=(m, t, n) if kind == "batch" else (m, n))
    arguments: dict[str, Any] = {
        "W": tg.Tensor(rng.normal(size=(n, k)), requires_grad=True),
        "X": X,
        "y": rng.integers(0, k, m),
        "chosen": rng.random(m) > 0.4,
        "rows": rng.integers(0, m, 4),
        "T": rng.normal(size=(m, k)),
    }
    first = "X @ W"
    if kind in ("tokens", "table"):
        arguments["E"] = tg.Tensor(rng.normal(size=(9, n)), requires_grad=True)
        arguments["X"] = rng.integers(0, 9, (m, t) if kind == "tokens" else m)
        first = ["E[X] @ W", "tg.embedding(X, E) @ W"][rng.integers(2)]
    stacked = kind in ("batch", "tokens")

    def written(lines: list[str]) -> str:
        line = lines[rng.integers(len(lines))]
        c, f = CONSTANTS[rng.integers(len(CONSTANTS))], FILLERS[rng.integers(len(FILLERS))]
        return line.format(c=c, f=f)

    steps = [written(STEPS) for _ in range(rng.integers(0, 3))]
    if stacked and rng.random() < 0.7:
        steps.insert(0, written(ATTENTION))
    names: dict[str, Any] = {"np": np, "tg": tg, "SEEN": np.tril(np.ones((t, t), bool))}
    end = written(ENDS if stacked else ENDS + ENDS_OF_ROWS)
    body = [f"Z = {line}" for line in (first, *steps)]
    text = "\n    ".join([f"def loss({', '.join(arguments)}):", *body, f"return {end}"])
    exec(compile(text, f"written-{seed}.py", "exec"), names)
    return names["loss"], tuple(arguments.values()), text
