"""Training runs that Keras and we must agree on, and a recording of what Keras made of them.

`python -m tests.tools.keras_runs` trains them with Keras and writes keras_runs.npz: losses and
metrics of all epochs, and the weights at the end. With the recording, parity is tested where Keras
is not installed; where it is, the runs are made again and the recording is held to them too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import tinygrad_edu as tg
from models.datasets import digits
from tinygrad_edu import nn, optim

RECORDING = Path(__file__).with_name("keras_runs.npz")
Array = np.ndarray[Any, np.dtype[Any]]


class Run(NamedTuple):
    """The results: {"loss": [...], …} and W1, b1, W2, b2."""

    history: dict[str, list[float]]
    weights: list[Array]


@dataclass(frozen=True)
class Case:
    """A two-layer network on some of the digits; 200 samples make a last batch of 8."""

    name: str
    loss: str = "categorical_crossentropy"
    sgd: dict[str, Any] = field(default_factory=lambda: {"lr": 0.1})
    hidden: str = "sigmoid"
    l2: float = 0.0  # of the kernels, as keras.regularizers.L2 has it
    batch_size: int = 32
    epochs: int = 3
    dtype: str = "float64"

    @property
    def outputs(self) -> int:
        return 1 if self.loss == "binary_crossentropy" else 10

    def data(self) -> tuple[Array, Array, Array, Array]:
        """x, y and the validation's x, y."""
        split = digits(dtype=self.dtype)

        def targets(one_hot: Array, labels: Array) -> Array:
            if self.loss == "binary_crossentropy":
                return (labels % 2).astype(self.dtype).reshape(-1, 1)
            return labels if self.loss.startswith("sparse") else one_hot

        y = targets(split.y_train, split.labels_train)
        y_val = targets(split.y_val, split.labels_val)
        return split.x_train[:200], y[:200], split.x_val[:70], y_val[:70]

    def weights(self) -> list[Array]:
        """Those to start from."""
        rng = np.random.default_rng(42)
        shapes = [(64, 16), (16,), (16, self.outputs), (self.outputs,)]
        return [rng.normal(0, 0.3, shape).astype(self.dtype) for shape in shapes]


# Momentum and penalty are numbers that float32 has exactly: Keras rounds them to it on the way to
# float64, which 0.9 and 0.01 would show in the eighth digit.
CASES = [
    Case("sgd"),
    Case("momentum", sgd={"lr": 0.1, "momentum": 0.875}),
    Case("nesterov", sgd={"lr": 0.1, "momentum": 0.875, "nesterov": True}),
    Case("l2", l2=2**-7),
    Case("binary", loss="binary_crossentropy"),
    Case("sparse", loss="sparse_categorical_crossentropy", hidden="tanh"),
    Case("mse", loss="mse", hidden="relu"),
    Case("one batch", batch_size=500),
    Case("float32", dtype="float32"),
]


@contextmanager
def floatx(dtype: str) -> Iterator[None]:
    """Keras in this dtype: the learning rate, the metrics and new layers."""
    import keras

    before, policy = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx(dtype)
    keras.config.set_dtype_policy(dtype)
    try:
        yield
    finally:
        keras.config.set_floatx(before)
        keras.config.set_dtype_policy(policy)


def keras_model(case: Case) -> Any:
    """The network of a case in Keras, compiled, with the weights to start from."""
    import keras

    settings = dict(case.sgd)
    penalty = keras.regularizers.L2(case.l2) if case.l2 else None
    last = "sigmoid" if case.outputs == 1 else "softmax"
    model = keras.Sequential(
        [
            keras.Input((64,)),
            keras.layers.Dense(16, case.hidden, kernel_regularizer=penalty),
            keras.layers.Dense(case.outputs, last, kernel_regularizer=penalty),
        ]
    )
    model.set_weights(case.weights())
    optimizer = keras.optimizers.SGD(settings.pop("lr"), **settings)
    model.compile(optimizer, case.loss, metrics=["accuracy"])
    return model


def with_keras(case: Case) -> Run:
    """The run in Keras."""
    with floatx(case.dtype):
        model = keras_model(case)
        x, y, *validation = case.data()
        history = model.fit(
            x,
            y,
            batch_size=case.batch_size,
            epochs=case.epochs,
            shuffle=False,
            verbose=0,
            validation_data=tuple(validation),
        )
        return Run(history.history, model.get_weights())


def with_us(case: Case) -> Run:
    """The same with us."""
    W1, b1, W2, b2 = case.weights()
    hidden = {"sigmoid": nn.Sigmoid, "relu": nn.ReLU, "tanh": nn.Tanh}[case.hidden]
    model = nn.Sequential(
        nn.Linear(64, 16, dtype=case.dtype),
        hidden(),
        nn.Linear(16, case.outputs, dtype=case.dtype),
        nn.Sigmoid() if case.outputs == 1 else nn.Softmax(),
    )
    for parameter, value in zip(model.parameters(), [W1, b1, W2, b2], strict=True):
        parameter.data = value

    def penalty(model: nn.Module) -> Any:
        kernels = [p for p in model.parameters() if p.ndim == 2]
        return case.l2 * sum((W**2).sum() for W in kernels)

    x, y, *validation = case.data()
    history = tg.fit(
        model,
        x,
        y,
        loss=case.loss,
        optimizer=optim.SGD(model.parameters(), **case.sgd),
        metrics=["accuracy"],
        batch_size=case.batch_size,
        epochs=case.epochs,
        shuffle=False,
        validation_data=validation,
        penalty=penalty if case.l2 else None,
        verbose=0,
    )
    return Run(history.history, [np.array(p.data) for p in model.parameters()])


def recorded() -> dict[str, Run]:
    """Return the recorded results of Keras for the cases."""
    with np.load(RECORDING) as file:
        histories = json.loads(str(file["histories"]))
        return {
            case.name: Run(histories[case.name], [file[f"{case.name}/{i}"] for i in range(4)])
            for case in CASES
        }


def record() -> None:
    """Train all cases with Keras and write them down."""
    import keras
    import tensorflow

    runs = {case.name: with_keras(case) for case in CASES}
    versions = f"keras {keras.__version__}, tensorflow {tensorflow.__version__}"
    arrays: dict[str, Any] = {
        f"{name}/{i}": w for name, run in runs.items() for i, w in enumerate(run.weights)
    }
    arrays["histories"] = json.dumps({name: run.history for name, run in runs.items()})
    np.savez_compressed(RECORDING, versions=versions, **arrays)
    print(f"{RECORDING.name}: {len(runs)} runs of {versions}, {RECORDING.stat().st_size} bytes")


if __name__ == "__main__":
    record()
