"""One epoch from a cold start, in a process of its own: `python -m benchmarks.cold FOLDER SIDE`.

FOLDER holds x.npy, y.npy and network.json; SIDE is keras or tinygrad_edu. Prints the seconds of the
imports and of the first epoch, and the peak of the memory in bytes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from re import match
from time import perf_counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .tasks import Task

SIDES = {
    "Keras": ["keras", "tensorflow"],
    "tinygrad_edu": ["tinygrad_edu", "numpy"],
}


def main(folder: Path, side: str) -> None:
    """Train one epoch and print what it took."""
    network = json.loads((folder / "network.json").read_text(encoding="utf-8"))
    start = perf_counter()
    train = {"Keras": _keras, "tinygrad_edu": _ours}[side]()
    imported = perf_counter()
    train(folder, network)
    ended = perf_counter()
    print(json.dumps({"import": imported - start, "epoch": ended - imported, "memory": _peak()}))


def _keras() -> Callable[[Path, dict[str, Any]], None]:
    import keras
    import numpy as np
    import tensorflow

    assert tensorflow.__version__  # its start is a part of what is timed

    def train(folder: Path, network: dict[str, Any]) -> None:
        stack: list[Any] = [keras.Input((network["layers"][0][1],))]
        for kind, *sizes in network["layers"]:
            if kind == "Linear":
                stack.append(keras.layers.Dense(sizes[1]))
            else:
                stack[-1].activation = keras.activations.get(kind.lower())
        model = keras.Sequential(stack)
        model.compile(keras.optimizers.SGD(network["lr"]), network["loss"], metrics=["accuracy"])
        x, y = np.load(folder / "x.npy"), np.load(folder / "y.npy")
        model.fit(x, y, batch_size=network["batch_size"], verbose=0)

    return train


def _ours() -> Callable[[Path, dict[str, Any]], None]:
    import numpy as np

    import tinygrad_edu as tg
    from tinygrad_edu import nn, optim

    def train(folder: Path, network: dict[str, Any]) -> None:
        x, y = np.load(folder / "x.npy"), np.load(folder / "y.npy")
        model = nn.Sequential(
            *(
                nn.Linear(*sizes, dtype=x.dtype) if kind == "Linear" else getattr(nn, kind)()
                for kind, *sizes in network["layers"]
            )
        )
        tg.fit(
            model, x, y, loss=network["loss"], metrics=["accuracy"], verbose=0,
            optimizer=optim.SGD(model.parameters(), lr=network["lr"]),
            batch_size=network["batch_size"],
        )  # fmt: skip

    return train


def _peak() -> int:
    """The most memory that this process has had. Linux's getrusage would also count its parent's,
    as it was when the process began."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


def cold_starts(task: Task, rounds: int) -> dict[str, dict[str, list[float]]] | None:
    """What each side takes from a cold start, round by round; None for a network that is more than
    Linear layers and their activations."""
    import numpy as np

    from tinygrad_edu import nn

    layers: list[list[Any]] = []
    for module in task.model:
        if isinstance(module, nn.Linear):
            layers.append(["Linear", module.n_in, module.n_out])
        elif isinstance(module, (nn.Sigmoid, nn.Tanh, nn.ReLU, nn.Softmax)) and layers:
            layers.append([type(module).__name__])
        else:
            return None
    network = {
        "layers": layers, "lr": task.lr, "loss": task.loss, "batch_size": task.batch_size,
    }  # fmt: skip
    found: dict[str, dict[str, list[float]]] = {side: {} for side in SIDES}
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder, "x.npy"), task.x)
        np.save(Path(folder, "y.npy"), task.y)
        Path(folder, "network.json").write_text(json.dumps(network), encoding="utf-8")
        for _ in range(rounds):
            for side, measured in found.items():
                start = perf_counter()
                done = subprocess.run(
                    [sys.executable, "-m", "benchmarks.cold", folder, side],
                    check=True, stdout=subprocess.PIPE, text=True, stderr=subprocess.DEVNULL,
                )  # fmt: skip
                total = perf_counter() - start
                for key, value in json.loads(done.stdout.splitlines()[-1]).items():
                    measured.setdefault(key, []).append(value)
                measured.setdefault("process", []).append(total)
    return found


def installed_size(side: str) -> int:
    """Bytes on the disk of a side's packages and all that they need."""
    seen: dict[str, int] = {}
    waiting = list(SIDES[side])
    while waiting:
        name = waiting.pop().lower().replace("_", "-")
        if name in seen:
            continue
        found = _distribution(name)
        seen[name] = 0
        if name == "tinygrad-edu":  # which may be a folder on the path, and needs NumPy alone
            root = Path(__file__).parents[1] / "tinygrad_edu"
            seen[name] = sum(path.stat().st_size for path in root.rglob("*.py"))
        elif found is not None:
            files = (Path(str(found.locate_file(file))) for file in found.files or ())
            seen[name] = sum(path.stat().st_size for path in files if path.is_file())
            for needed in found.requires or ():
                if "extra ==" not in needed and (name_of := match(r"[\w.-]+", needed)):
                    waiting.append(name_of[0])
    return sum(seen.values())


def _distribution(name: str) -> Distribution | None:
    for candidate in (name, f"{name}-cpu"):
        try:
            return distribution(candidate)
        except PackageNotFoundError:
            pass
    return None


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    main(Path(sys.argv[1]), sys.argv[2])
