"""Tasks for the comparison with Keras: the chapter's networks, or a module from your own file.

A file defines these names: a `Sequential`, or a function that returns one, under the given name;
`data()` returning (x, y, x_val, y_val), unless it is the data of Fashion-MNIST; and optionally
`lr`, `batch_size` and `loss` (a name that Keras and `tg.fit` know).
"""

from __future__ import annotations

import runpy
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from models.datasets import Split, breast_cancer, digits, fashion_mnist, find_fashion_mnist
from tinygrad_edu import init, nn

from .cases import Array

CHAPTER = ("S2", "S4", "S5", "S6")


@dataclass(frozen=True)
class Task:
    """A network, its data, and how it is trained; one network for both sides."""

    name: str
    model: nn.Sequential
    loss: str
    x: Array
    y: Array
    x_val: Array
    y_val: Array
    data: str
    lr: float
    batch_size: int
    epochs: int
    l2: float = 0.0  # times ΣW², as keras.regularizers.L2
    shuffle: bool = True
    chapter: float | None = None  # validation accuracy in the chapter
    note: str = ""

    @property
    def steps(self) -> int:
        """Batches in an epoch; the last is what is left."""
        return -(-len(self.x) // self.batch_size)

    def __str__(self) -> str:
        modules = ", ".join(
            f"{m.n_in}–{m.n_out}" if isinstance(m, nn.Linear) else type(m).__name__
            for m in self.model
        )
        penalty = f", L2 {self.l2:.3g}" if self.l2 else ""
        dtype = next(self.model.parameters()).dtype
        return (
            f"{self.name}: {modules}; {self.data}, {len(self.x)} samples; SGD {self.lr}, batch "
            f"{self.batch_size} ({self.steps} steps an epoch){penalty}, {dtype}"
        )


def task(name: str, *, dtype: str = "float32", data: str = "auto") -> Task:
    """Return the named network of the chapter, or the module in a file: FILE.py:NAME.

    Raises:  ValueError for another name, FileNotFoundError for a file that is not there
    """
    if name in ("S2", "S4"):
        return _two_classes(name, dtype)
    if name in ("S5", "S6"):
        return _pictures(name, dtype, data)
    path, _, member = name.rpartition(":")
    if not path:
        raise ValueError(f"--model is one of {', '.join(CHAPTER)} or FILE.py:NAME, received {name}")
    return _of_a_file(Path(path), member, dtype, data)


def _two_classes(name: str, dtype: str) -> Task:
    split = breast_cancer(dtype=dtype)
    rng = np.random.RandomState(42)
    weights = init.ones if name == "S2" else init.normal
    batch = len(split.x_train) if name == "S2" else 32
    return Task(
        name,
        nn.Sequential(
            nn.Linear(30, 10, init=weights, rng=rng, dtype=dtype),
            nn.Sigmoid(),
            nn.Linear(10, 1, init=weights, rng=rng, dtype=dtype),
            nn.Sigmoid(),
        ),
        "binary_crossentropy",
        split.x_train,
        split.y_train.reshape(-1, 1),
        split.x_val,
        split.y_val.reshape(-1, 1),
        split.name,
        lr=0.1,
        batch_size=batch,
        epochs=500,
        l2=0.01 / 2 / batch,
        shuffle=name == "S4",
        chapter=0.978021978021978,
        note=""
        if name == "S2"
        else "The penalty is divided by the size of a whole batch, as a Keras layer has it; the "
        "chapter divides that of the last batch by its own size.",
    )


def _split(dtype: str, data: str) -> Split:
    found = data == "fashion" or (data == "auto" and find_fashion_mnist() is not None)
    return fashion_mnist(dtype=dtype) if found else digits(dtype=dtype)


def _pictures(name: str, dtype: str, data: str) -> Task:
    split = _split(dtype, data)
    weights: Callable[..., Any] = init.normal
    rng = np.random.RandomState(42)
    if name == "S6":
        weights = partial(_glorot_uniform_of_keras, seeds=iter(range(42, 50)))
    large = split.x_train.shape[1] == 784
    return Task(
        name,
        nn.Sequential(
            nn.Linear(split.x_train.shape[1], 100, init=weights, rng=rng, dtype=dtype),
            nn.Sigmoid(),
            nn.Linear(100, 10, init=weights, rng=rng, dtype=dtype),
            nn.Softmax(),
        ),
        "categorical_crossentropy",
        split.x_train,
        split.y_train,
        split.x_val,
        split.y_val,
        split.name,
        lr=0.01 if name == "S6" else 0.1,
        batch_size=32 if name == "S6" or not large else 256,
        epochs=40,
        chapter={"S5": 0.81475, "S6": 0.8629}[name] if large else None,
        note="Weights from Keras' own GlorotUniform." if name == "S6" else "",
    )


def _glorot_uniform_of_keras(shape: tuple[int, ...], rng: Any, seeds: Any) -> Array:
    import keras

    drawn = keras.initializers.GlorotUniform(seed=next(seeds))(shape, dtype="float32")
    return np.asarray(keras.ops.convert_to_numpy(drawn))


def _of_a_file(path: Path, member: str, dtype: str, data: str) -> Task:
    names = runpy.run_path(str(path), run_name=path.stem)
    if member not in names:
        raise ValueError(f"{path} has no {member!r}")
    model = names[member]
    if not isinstance(model, nn.Module) and callable(model):
        model = model()
    if not isinstance(model, nn.Sequential):
        raise ValueError(f"{member} of {path} must be a Sequential, is {type(model).__name__}")
    for tensor in [*model.parameters(), *model.buffers()]:
        if tensor.dtype.kind == "f" and tensor.dtype != dtype:
            raise ValueError(f"{member} of {path} is {tensor.dtype}: give --dtype {tensor.dtype}")
    if "data" in names:
        x, y, x_val, y_val = (np.asarray(array) for array in names["data"]())
        x, x_val = x.astype(dtype), x_val.astype(dtype)
        source = f"data of {path.name}"
    else:
        split = _split(dtype, data)
        x, y, x_val, y_val = split.x_train, split.y_train, split.x_val, split.y_val
        source = split.name
    losses = {nn.Softmax: "categorical_crossentropy", nn.Sigmoid: "binary_crossentropy"}
    return Task(
        member,
        model,
        names.get("loss", losses.get(type(model[-1]), "mse")),
        x,
        y,
        x_val,
        y_val,
        source,
        lr=names.get("lr", 0.01),
        batch_size=names.get("batch_size", 32),
        epochs=10,
    )


def shortened(task: Task, epochs: int | None) -> Task:
    """Return the task with another number of epochs, if one is given, and then without the
    chapter's accuracy, which is that of its own number.
    """
    if epochs is None or epochs == task.epochs:
        return task
    return replace(task, epochs=epochs, chapter=None)
