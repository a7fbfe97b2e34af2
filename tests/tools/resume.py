"""A training that can be broken off.

    python -m tests.tools.resume FOLDER OPTIMIZER straight|killed|on

    straight   40 epochs
    killed     the same with a checkpoint after each epoch; in the 18th the process kills itself
    on         from the checkpoint to the 40th

Each prints a checksum of all that was trained, of the optimizer's memory and of the History.
"""

from __future__ import annotations

import hashlib
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import tinygrad_edu as tg
from tinygrad_edu import nn, optim

OPTIMIZERS: dict[str, Callable[[Any], Any]] = {
    "momentum": lambda parameters: optim.SGD(parameters, lr=0.1, momentum=0.9),
    "adam": lambda parameters: optim.Adam(parameters, lr=0.01),
}
EPOCHS, KILLED_AFTER = 40, 17


class KillIn(tg.callbacks.Callback):
    """The end of this process, at once, in the middle of an epoch."""

    def __init__(self, epoch: int) -> None:
        self.epoch, self.now = epoch, -1

    def on_epoch_begin(self, epoch: int, logs: dict[str, float]) -> None:
        """Note which epoch it is."""
        self.now = epoch

    def on_train_batch_end(self, batch: int, logs: dict[str, float]) -> None:
        """kill -9, in the second batch."""
        if (self.now, batch) == (self.epoch, 1):
            os.kill(os.getpid(), signal.SIGKILL)


def checksum(x: Any, digest: Any = None) -> str:
    """SHA-256 of all numbers in a state, bit for bit."""
    digest = digest or hashlib.sha256()
    if isinstance(x, dict):
        for key, part in x.items():
            digest.update(str(key).encode())
            checksum(part, digest)
    elif isinstance(x, (list, tuple)):
        for part in x:
            checksum(part, digest)
    else:
        array = np.asarray(x)
        digest.update(str(array.dtype).encode() + array.tobytes())
    return str(digest.hexdigest())


def main(folder: str, optimizer_name: str, mode: str) -> None:
    """Train, as told."""
    data = np.random.default_rng(1)
    x = data.normal(size=(90, 4))
    y = (x[:, 0] * x[:, 1] > 0).astype(int)
    tg.manual_seed(5)  # the library's own source, for what is given none: the dropout here
    rng = np.random.default_rng(2)
    model = nn.Sequential(
        nn.Linear(4, 8, rng=rng),
        nn.BatchNorm1d(8),
        nn.Tanh(),
        nn.Dropout(0.2),
        nn.Linear(8, 2, rng=rng),
        nn.Dropout(0.1, rng=9),
    )
    optimizer = OPTIMIZERS[optimizer_name](model.parameters())
    history = tg.History()
    path = Path(folder, "checkpoint.safetensors")
    callbacks: list[Any] = []
    if mode != "straight":
        callbacks.append(tg.callbacks.ModelCheckpoint(path, rng=rng))
    if mode == "killed":
        callbacks.append(KillIn(KILLED_AFTER))
    if mode == "on":
        rest = tg.load_checkpoint(path, model=model, optimizer=optimizer, history=history, rng=rng)
        assert rest == {"epoch": KILLED_AFTER}
        assert history.epoch[-1] == KILLED_AFTER - 1
    tg.fit(
        model,
        x,
        y,
        loss=tg.cross_entropy,
        optimizer=optimizer,
        epochs=EPOCHS,
        batch_size=16,
        rng=rng,
        history=history,
        callbacks=callbacks,
        metrics=["accuracy"],
        validation_split=0.2,
    )
    assert history.epoch == list(range(EPOCHS))
    print(checksum([model.state_dict(), optimizer.state_dict(), history.state_dict()]))


if __name__ == "__main__":
    main(*sys.argv[1:])
