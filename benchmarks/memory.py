"""`python -m benchmarks memory`: the peak memory of an epoch, without the data.

Every contestant trains 784–100–10 on batches of 256 of as many samples as Fashion-MNIST has, in a
separate process. Two figures are measured: the arrays and objects that Python allocates during the
training (by tracemalloc, to the byte; it does not see frameworks with their own allocators), and
the growth of the process (on Linux, where the peak can be reset before each epoch).
"""

from __future__ import annotations

import json
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from .cold import peak
from .report import keep, table

BATCH = 256
LIMIT = 10 * 2**20  # bytes over the data, for those whose arrays it is all about
LIMITED = {
    "tinygrad_edu, eager",
    "tinygrad_edu, captured",
    "tinygrad_edu, captured, bytes",
    "tinygrad_edu, Numba",
}
Epoch = Callable[[], Any]
# What a program gets: x and y of float32, or the images as bytes.
Program = Callable[[Any, Any], Epoch]


def by_hand(x: Any, y: Any) -> Epoch:
    """Train with the chapter's formulas, batches by `x[rows]`."""
    import numpy as np

    from .cases import NETWORKS

    W1, b1, W2, b2 = NETWORKS["multi"].weights()
    rng = np.random.default_rng(0)

    def epoch() -> None:
        order = rng.permutation(len(x))
        for start in range(0, len(x), BATCH):
            rows = order[start : start + BATCH]
            X, Y = x[rows], y[rows]
            A1 = 1 / (1 + np.exp(-(X @ W1 + b1)))
            A2 = np.exp(A1 @ W2 + b2)
            A2 /= A2.sum(axis=1, keepdims=True)
            E = (A2 - Y) / len(X)
            E1 = E @ W2.T * A1 * (1 - A1)
            for w, g in ((W1, X.T @ E1), (b1, E1.sum(0)), (W2, A1.T @ E), (b2, E.sum(0))):
                w -= np.float32(0.1) * g

    return epoch


def fit(x: Any, y: Any, *, compile: bool) -> Epoch:
    """Train with `tg.fit`, by recorded or captured steps."""
    import tinygrad_edu as tg

    train = tg.fit
    model, sgd = _model()
    return lambda: train(
        model,
        x,
        y,
        loss=tg.cross_entropy,
        optimizer=sgd,
        batch_size=BATCH,
        compile=compile,
        rng=0,
        verbose=0,
    )


def on_numba(x: Any, y: Any) -> Epoch:
    """Train with an epoch of a captured step in one call."""
    import numpy as np

    import tinygrad_edu as tg

    model, sgd = _model()
    rng = np.random.default_rng(0)

    @tg.compile(backend="numba")
    def step(x: Any, y: Any) -> Any:
        loss = tg.cross_entropy(model(x), y)
        sgd.zero_grad()
        loss.backward()
        sgd.step()
        return loss

    def epoch() -> None:
        order = rng.permutation(len(x))
        step.epoch(x, y, order=order[: len(x) // BATCH * BATCH].reshape(-1, BATCH))

    return epoch


def _model() -> tuple[Any, Any]:
    import tinygrad_edu as tg
    from tinygrad_edu import nn

    model = nn.Sequential(
        nn.Linear(784, 100, dtype="float32", rng=0),
        nn.Sigmoid(),
        nn.Linear(100, 10, dtype="float32", rng=1),
    )
    return model, tg.optim.SGD(model.parameters(), lr=0.1)


def pytorch(x: Any, y: Any) -> Epoch:
    """Train with the usual loop, batches by `x[rows]`."""
    import torch

    X, Y = torch.from_numpy(x), torch.from_numpy(y)
    model = torch.nn.Sequential(
        torch.nn.Linear(784, 100), torch.nn.Sigmoid(), torch.nn.Linear(100, 10)
    )
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)

    def epoch() -> None:
        for rows in torch.randperm(len(X)).split(BATCH):
            loss = torch.nn.functional.cross_entropy(model(X[rows]), Y[rows])
            sgd.zero_grad()
            loss.backward()
            sgd.step()

    return epoch


def keras(x: Any, y: Any) -> Epoch:
    """Train with Keras' `fit`."""
    import keras

    model = keras.Sequential(
        [keras.Input((784,)), keras.layers.Dense(100, "sigmoid"), keras.layers.Dense(10, "softmax")]
    )
    model.compile(keras.optimizers.SGD(0.1), "categorical_crossentropy")
    return lambda: model.fit(x, y, batch_size=BATCH, verbose=0)


BY_TRACE = {  # those whose memory is all NumPy's and Python's
    "NumPy by hand": by_hand,
    "tinygrad_edu, eager": lambda x, y: fit(x, y, compile=False),
    "tinygrad_edu, captured": lambda x, y: fit(x, y, compile=True),
    "tinygrad_edu, captured, bytes": lambda x, y: fit(x, y, compile=True),
    "tinygrad_edu, Numba": on_numba,
}
PROGRAMS: dict[str, Program] = BY_TRACE | {"PyTorch, eager": pytorch, "Keras, fit": keras}
# What has to be there, and is loaded before anything is measured; of Numba nothing else is.
IMPORTS = {"PyTorch, eager": "torch", "Keras, fit": "keras", "tinygrad_edu, Numba": "llvmlite"}


def main(name: str, samples: int, epochs: int, traced: bool) -> None:
    """Train, and print the bytes of the data and what each epoch took above them."""
    try:
        if name in IMPORTS:
            __import__(IMPORTS[name])
    except ModuleNotFoundError as error:
        print(json.dumps({"lacks": error.name}))
        return
    import numpy as np

    from tinygrad_edu.data import Pixels

    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (samples, 784), dtype=np.uint8)
    y = np.eye(10, dtype=np.float32)[rng.integers(0, 10, samples)]
    x: Any = Pixels(images, dtype=np.float32)
    if not name.endswith("bytes"):
        x, images = x[:], images[:0].copy()
    data = (x.images if isinstance(x, Pixels) else x).nbytes + y.nbytes
    if traced:
        tracemalloc.start()
    begun = _resident()
    train = PROGRAMS[name](x, y)
    over = []
    for _ in range(epochs):
        if traced:
            tracemalloc.reset_peak()
        _set_peak_back()
        train()
        over.append(tracemalloc.get_traced_memory()[1] if traced else peak() - begun)
    print(json.dumps({"data": data, "over": over}))


def _resident() -> int:
    """Return the bytes of memory that the process holds; 0 where the system does not tell."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))
    except (OSError, StopIteration):
        return 0


def _set_peak_back() -> None:
    with suppress(OSError):  # the peak is then that since the start
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def measured(name: str, samples: int, epochs: int, traced: bool) -> dict[str, Any]:
    """Run a contestant in a process of its own; return what it reports."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "benchmarks.memory",
            name,
            str(samples),
            str(epochs),
            "traced" if traced else "grown",
        ],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        stderr=subprocess.DEVNULL,
    )
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def run(epochs: int, samples: int, facts: dict[str, Any], command: str, write: bool) -> int:
    """Measure, print the table, and save it on request."""
    grown = {name: measured(name, samples, epochs, False) for name in PROGRAMS}
    left_out = {name: told["lacks"] for name, told in grown.items() if "lacks" in told}
    traced = {
        name: measured(name, samples, epochs, True) for name in BY_TRACE if name not in left_out
    }
    rows = []
    for name, told in grown.items():
        if name in left_out:
            continue
        made = traced.get(name)
        rows.append(
            [
                name,
                _megabytes(told["data"]),
                ", ".join(map(_megabytes, made["over"])) if made else "",
                _megabytes(LIMIT) if name in LIMITED else "",
                ", ".join(map(_megabytes, told["over"])),
            ]
        )
    text = [
        table(["", "data", "arrays over it", "limit", "growth of the process"], rows),
        f"Of {epochs} epochs one after the other, the peak of each. The growth counts what is "
        "loaded on first use too. It is above the process as it was with the data and the imports, "
        "before there was a model. Numba's compiler is a process of its own.",
        *(f"Left out: {name} ({why} is not installed)." for name, why in left_out.items()),
    ]
    data = {"grown": grown, "traced": traced, "left out": left_out}
    keep(
        "memory",
        "Memory of an epoch over the data",
        "\n\n".join(text),
        data,
        facts,
        command,
        write=write,
    )
    return 0


def _megabytes(size: int) -> str:
    return f"{size / 2**20:.1f} MiB"


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "traced")
