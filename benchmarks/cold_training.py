"""`python -m benchmarks cold`: the time from starting Python to the chapter's trained mini-batch
network.

Every contestant is a separate process, started in turn with the others. It imports its packages,
reads the arrays from a file, trains 30–10–1 with sigmoids for 500 epochs of batches of 32, records
the losses of training and validation after each epoch, and reports its validation accuracy, which
must be the chapter's. The data come from a file because importing scikit-learn, which has them,
takes longer than all the rest; that is the same for all, and measured separately.
"""

from __future__ import annotations

import os
import statistics
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .cold import measured
from .report import duration, keep, ratio, table

SCORE = 0.978021978021978  # the chapter's, after 500 epochs
BY_HAND = "NumPy by hand"
LIMITS = {"tinygrad_edu": 1.1}  # what the whole process may take, by hand being 1
Settings = dict[str, Any]
Train = Callable[[Path, Settings], Settings]


def by_hand() -> Train:
    """Train with the chapter's formulas in NumPy, from `models/reference.py`."""
    import numpy as np

    from models.reference import MinibatchNetwork

    def train(folder: Path, settings: Settings) -> Settings:
        return _network(MinibatchNetwork, np, folder, settings)

    return train


def ours() -> Train:
    """Train with `models/networks.py`, whose steps are captured."""
    import numpy as np

    from models.networks import MinibatchNetwork

    def train(folder: Path, settings: Settings) -> Settings:
        return _network(MinibatchNetwork, np, folder, settings)

    return train


def _network(kind: Any, np: Any, folder: Path, settings: Settings) -> Settings:
    data = np.load(folder / "data.npz")
    network = kind(batch_size=32, l2=0.01)
    network.fit(data["x"], data["y"], settings["epochs"], data["x_val"], data["y_val"])
    return {
        "score": float(network.score(data["x_val"], data["y_val"])),
        "loss": network.losses[-1],
        "val_loss": network.val_losses[-1],
    }


def on_numba() -> Train:
    """Train with a loop of `tg.compile(…, backend="numba")` and its `epoch`."""
    import numpy as np

    import tinygrad_edu as tg

    def train(folder: Path, settings: Settings) -> Settings:
        x, y, x_val, y_val, parameters, order = _start(np, folder)
        W1, b1, W2, b2 = (tg.Parameter(p) for p in parameters)
        sgd = tg.optim.SGD([W1, b1, W2, b2], lr=0.1)

        def loss_of(x: Any, y: Any) -> Any:
            z = tg.sigmoid(x @ W1 + b1) @ W2 + b2
            data = tg.binary_cross_entropy_with_logits(z, y, reduction="sum")
            return (data + 0.005 * ((W1**2).sum() + (W2**2).sum())) / len(x)

        @tg.compile(backend="numba")
        def step(x: Any, y: Any) -> Any:
            loss = loss_of(x, y)
            sgd.zero_grad()
            loss.backward()
            sgd.step()
            return loss

        validate = tg.compile(loss_of, backend="numba")
        whole = len(x) - len(x) % 32
        for _ in range(settings["epochs"]):
            rows = order.permutation(len(x))
            total = 32 * step.epoch(x, y, order=rows[:whole].reshape(-1, 32)).sum()
            total += (len(x) - whole) * step.epoch(x, y, order=rows[None, whole:])[0]
            val_loss = validate.epoch(x_val, y_val, order=np.arange(len(x_val))[None])[0]
        with tg.no_grad():
            z = (tg.sigmoid(x_val @ W1 + b1) @ W2 + b2).numpy()
        return _told(np, z, y_val, total / len(x), val_loss)

    return train


def jax() -> Train:
    """Train with an epoch as one compiled `lax.scan`."""
    import numpy as np
    from jax import config, jit, lax, nn, value_and_grad
    from jax import numpy as jnp

    config.update("jax_enable_x64", True)
    if cache := os.environ.get("BENCHMARK_JAX_CACHE"):
        config.update("jax_compilation_cache_dir", cache)
        config.update("jax_persistent_cache_min_compile_time_secs", 0)
        config.update("jax_persistent_cache_min_entry_size_bytes", -1)

    def train(folder: Path, settings: Settings) -> Settings:
        x, y, x_val, y_val, start, order = _start(np, folder)
        X, Y, X_val, Y_val = map(jnp.asarray, (x, y, x_val, y_val))
        whole = len(x) - len(x) % 32

        def loss_of(weights: Any, x: Any, y: Any) -> Any:
            W1, b1, W2, b2 = weights
            z = nn.sigmoid(x @ W1 + b1) @ W2 + b2
            penalty = 0.005 * (jnp.sum(W1**2) + jnp.sum(W2**2))
            return (jnp.sum(jnp.logaddexp(z, 0) - y * z) + penalty) / len(x)

        def step(weights: Any, rows: Any) -> Any:
            loss, gradients = value_and_grad(loss_of)(weights, X[rows], Y[rows])
            moved = [w - 0.1 * g for w, g in zip(weights, gradients, strict=True)]
            return moved, loss * len(rows)

        @jit
        def epoch(weights: Any, rows: Any) -> Any:
            weights, losses = lax.scan(step, weights, rows[:whole].reshape(-1, 32))
            weights, last = step(weights, rows[whole:])
            return weights, losses.sum() + last, loss_of(weights, X_val, Y_val)

        weights = [jnp.asarray(w) for w in start]
        for _ in range(settings["epochs"]):
            weights, total, val_loss = epoch(weights, order.permutation(len(x)))
            total, val_loss = float(total), float(val_loss)
        W1, b1, W2, b2 = map(np.asarray, weights)
        z = 1 / (1 + np.exp(-(x_val @ W1 + b1))) @ W2 + b2
        return _told(np, z, y_val, total / len(x), val_loss)

    return train


def pytorch() -> Train:
    """Train with the usual eager loop."""
    import numpy as np
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits

    def train(folder: Path, settings: Settings) -> Settings:
        x, y, x_val, y_val, start, order = _start(np, folder)
        X, Y, X_val, Y_val = map(torch.from_numpy, (x, y, x_val, y_val))
        weights = [torch.nn.Parameter(torch.from_numpy(w)) for w in start]
        W1, b1, W2, b2 = weights
        sgd = torch.optim.SGD(weights, lr=0.1)

        def loss_of(x: Any, y: Any) -> Any:
            z = torch.sigmoid(x @ W1 + b1) @ W2 + b2
            data = binary_cross_entropy_with_logits(z, y, reduction="sum")
            return (data + 0.005 * ((W1**2).sum() + (W2**2).sum())) / len(x)

        for _ in range(settings["epochs"]):
            rows, total = order.permutation(len(x)), 0.0
            for at in range(0, len(x), 32):
                batch = torch.from_numpy(rows[at : at + 32])
                loss = loss_of(X[batch], Y[batch])
                sgd.zero_grad()
                loss.backward()
                sgd.step()
                total += loss.item() * len(batch)
            with torch.no_grad():
                val_loss = loss_of(X_val, Y_val).item()
        with torch.no_grad():
            z = (torch.sigmoid(X_val @ W1 + b1) @ W2 + b2).numpy()
        return _told(np, z, y_val, total / len(x), val_loss)

    return train


def _start(np: Any, folder: Path) -> tuple[Any, ...]:
    """Return the data, the initial weights and the generator of the permutations, as in the
    chapter.
    """
    data = np.load(folder / "data.npz")
    rng = np.random.RandomState(42)
    weights = [rng.normal(0, 1, (30, 10)), np.zeros(10), rng.normal(0, 1, (10, 1)), np.zeros(1)]
    y, y_val = (data[name].reshape(-1, 1) for name in ("y", "y_val"))
    return data["x"], y, data["x_val"], y_val, weights, np.random.RandomState(42)


def _told(np: Any, z: Any, y: Any, loss: float, val_loss: float) -> Settings:
    return {
        "score": float(np.mean((z > 0) == (y > 0.5))),
        "loss": float(loss),
        "val_loss": float(val_loss),
    }


PROGRAMS: dict[str, Callable[[], Train]] = {
    BY_HAND: by_hand,
    "tinygrad_edu": ours,
    "tinygrad_edu, Numba, nothing cached": on_numba,
    "tinygrad_edu, Numba, cached": on_numba,
    "PyTorch, eager": pytorch,
    "JAX, lax.scan": jax,
    "JAX, lax.scan, its cache": jax,
}
DATA = "the data by scikit-learn"


def race(rounds: int, epochs: int) -> tuple[dict[str, dict[str, list[float]]], dict[str, str]]:
    """Run processes of all programs in turn; return the results by round, and which were left out
    and why.

    Raises:  AssertionError if a program's score or last validation loss differs from by_hand's
    """
    import numpy as np

    from models.datasets import breast_cancer

    found: dict[str, dict[str, list[float]]] = {}
    left_out: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as place:
        folder, data = Path(place), breast_cancer()
        np.savez(
            folder / "data.npz", x=data.x_train, y=data.y_train, x_val=data.x_val, y_val=data.y_val
        )
        (folder / "network.json").write_text(f'{{"epochs": {epochs}}}', encoding="utf-8")
        for i in range(-1, rounds):  # the first round fills what is cached, and is not counted
            for name in PROGRAMS:
                cold = name.endswith("nothing cached")  # which takes long: three times are enough
                if name in left_out or (cold and not 0 <= i < 3):
                    continue
                fresh = tempfile.mkdtemp(dir=folder)
                warm = name.endswith(" cached") and not cold
                environment = {"XDG_CACHE_HOME": str(folder / "native") if warm else fresh}
                if name.endswith("its cache"):
                    environment["BENCHMARK_JAX_CACHE"] = str(folder / "jax")
                told = measured(folder, name, environment)
                if "lacks" in told:
                    left_out[name] = f"{told['lacks']} is not installed"
                elif i >= 0:
                    for key, value in told.items():
                        found.setdefault(name, {}).setdefault(key, []).append(value)
    for name, values in found.items():
        for key in ("score", "val_loss"):
            np.testing.assert_allclose(values[key], found[BY_HAND][key][0], rtol=1e-6, err_msg=name)
    if epochs == 500:
        np.testing.assert_allclose(found[BY_HAND]["score"], SCORE, rtol=1e-12)
    return found, left_out


def run(rounds: int, epochs: int, facts: dict[str, Any], command: str, write: bool) -> int:
    """Run the race, print the table, and save it on request."""
    found, left_out = race(rounds, epochs)
    score = found[BY_HAND]["score"][0]
    data_seconds = statistics.median(measured(Path(), DATA, {})["import"] for _ in range(3))
    text = [
        table(
            ["", "whole process", "ratio to by hand", "import", "training", "memory", "limit"],
            [_row(name, told, found[BY_HAND]) for name, told in found.items()],
        ),
        _beside_jax(found),
        f"Medians of {rounds} processes each, in turns; the ratio is that of a round. {epochs} "
        f"epochs; all end with the same validation loss and the score {score:.6f}. "
        "The memory is the peak of the process. The data lie in a file: scikit-learn, from which "
        f"they are, takes {duration(data_seconds)} to import and prepare them, the same for all.",
        *(f"Left out: {name} ({why})." for name, why in left_out.items()),
    ]
    data = {"processes": found, "left out": left_out, "scikit-learn": data_seconds}
    keep(
        "cold",
        "From a cold process to a trained network",
        "\n\n".join(filter(None, text)),
        data,
        facts,
        command,
        write=write,
    )
    return 0


def _ratios(told: Mapping[str, list[float]], other: Mapping[str, list[float]]) -> float:
    pairs = zip(told["process"], other["process"], strict=False)
    return statistics.median(a / b for a, b in pairs)


def _row(name: str, told: dict[str, list[float]], hand: dict[str, list[float]]) -> list[str]:
    median = {key: statistics.median(values) for key, values in told.items()}
    return [
        name,
        duration(median["process"]),
        ratio(_ratios(told, hand)),
        duration(median["import"]),
        duration(median["epoch"]),
        f"{median['memory'] / 2**20:.0f} MiB",
        f"{LIMITS[name]:g}" if name in LIMITS else "",
    ]


def _beside_jax(found: Mapping[str, dict[str, list[float]]]) -> str:
    jax, numba = found.get("JAX, lax.scan"), found.get("tinygrad_edu, Numba, cached")
    if jax is None or numba is None:
        return ""
    return (
        f"On Numba with what is cached: {ratio(_ratios(numba, jax))} of JAX's process (limit 0.5)."
    )


def load_by_scikit_learn() -> Train:
    """Load the data as `models` does, without training."""
    from models.datasets import breast_cancer

    breast_cancer()
    return lambda folder, settings: {}
