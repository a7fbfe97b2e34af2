"""Train from a cold start, in a process of its own: `python -m benchmarks.cold FOLDER PROGRAM`.

PROGRAM is Keras or tinygrad_edu, for one epoch of the arrays and the network in FOLDER; or one of
those in `cold_training`. Prints the seconds of the imports and of the training, the peak of the
memory in bytes, and what the program has to tell.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from re import match
from time import perf_counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from importlib.metadata import Distribution

    from .tasks import Task

SIDES = {
    "Keras": ["keras", "tensorflow"],
    "tinygrad_edu": ["tinygrad_edu", "numpy"],
}


def main(folder: Path, program: str) -> None:
    """Train; print time and memory."""
    start = perf_counter()
    try:
        train = _program(program, folder)
    except ModuleNotFoundError as error:
        print(json.dumps({"lacks": error.name}))
        return
    imported = perf_counter()
    told = train(folder, network(folder)) or {}
    ended = perf_counter()
    took = {"import": imported - start, "epoch": ended - imported, "memory": peak()}
    print(json.dumps(took | told))


def network(folder: Path) -> dict[str, Any]:
    """Return the settings of the network to be trained."""
    file = folder / "network.json"
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.exists() else {}


def _program(name: str, folder: Path) -> Callable[[Path, dict[str, Any]], Any]:
    """Import what the program needs; return its training function."""
    if "layers" in network(folder):
        return {"Keras": _keras, "tinygrad_edu": _ours}[name]()
    from . import cold_training

    if name == cold_training.DATA:
        return cold_training.load_by_scikit_learn()
    return cold_training.PROGRAMS[name]()


def measured(folder: Path, program: str, environment: dict[str, str]) -> dict[str, float]:
    """Run a program in its own process; return what it reports and the seconds that it took."""
    start = perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.cold", str(folder), program],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        stderr=subprocess.DEVNULL,
        env=os.environ | environment,
    )
    total = perf_counter() - start
    return {**json.loads(done.stdout.splitlines()[-1]), "process": total}


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
            model,
            x,
            y,
            loss=network["loss"],
            metrics=["accuracy"],
            verbose=0,
            optimizer=optim.SGD(model.parameters(), lr=network["lr"]),
            batch_size=network["batch_size"],
        )

    return train


def peak() -> int:
    """Return the peak memory of this process. Linux's getrusage would include the peak of the
    parent before the fork.
    """
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        import resource

        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024


def cold_starts(task: Task, rounds: int) -> dict[str, dict[str, list[float]]] | None:
    """Return the seconds that each side takes from a cold start, for each round; None for a network
    that is more than Linear layers and their activations."""
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
        "layers": layers,
        "lr": task.lr,
        "loss": task.loss,
        "batch_size": task.batch_size,
    }
    found: dict[str, dict[str, list[float]]] = {side: {} for side in SIDES}
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder, "x.npy"), task.x)
        np.save(Path(folder, "y.npy"), task.y)
        Path(folder, "network.json").write_text(json.dumps(network), encoding="utf-8")
        for _ in range(rounds):
            for side, values in found.items():
                for key, value in measured(Path(folder), side, {}).items():
                    values.setdefault(key, []).append(value)
    return found


def installed_size(side: str) -> int:
    """Return the bytes on the disk of the packages of one side and their dependencies."""
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
    from importlib.metadata import PackageNotFoundError, distribution  # not in what is timed

    for candidate in (name, f"{name}-cpu"):
        try:
            return distribution(candidate)
        except PackageNotFoundError:
            pass
    return None


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    main(Path(sys.argv[1]), sys.argv[2])
