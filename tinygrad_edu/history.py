"""What training leaves: a number for each epoch and quantity, and the picture of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["History"]


class History:
    """Losses and metrics, epoch by epoch.

    history       {"loss": [...], "accuracy": [...], "val_loss": [...], "val_accuracy": [...]}
    epoch         the numbers of the epochs, the first is 0
    interrupted   whether Ctrl-C has ended the training

    A column that was begun later (a validation, say) is shorter: it belongs to the last epochs.

    Source:  keras.callbacks.History
    Example:
        >>> history = History()
        >>> history.append(0, {"loss": 0.5, "accuracy": 0.75})
        >>> history
        History(1 epoch: loss 0.5, accuracy 0.75)
        >>> history.history["loss"], history.epoch
        ([0.5], [0])
    """

    def __init__(self) -> None:
        self.history: dict[str, list[float]] = {}
        self.epoch: list[int] = []
        self.interrupted = False

    def append(self, epoch: int, logs: Mapping[str, float]) -> None:
        """Note an epoch."""
        self.epoch.append(epoch)
        self.add(logs)

    def add(self, logs: Mapping[str, float]) -> None:
        """Note more about the last epoch."""
        for key, value in logs.items():
            self.history.setdefault(key, []).append(value)

    def state_dict(self) -> dict[str, list[Any]]:
        """All of it as plain lists, for a checkpoint: "epoch" and the columns.

        Example:
            >>> history = History()
            >>> history.append(0, {"loss": 0.5})
            >>> history.state_dict()
            {'epoch': [0], 'loss': [0.5]}
        """
        return {"epoch": list(self.epoch), **{key: list(v) for key, v in self.history.items()}}

    def load_state_dict(self, state: Mapping[str, Iterable[Any]]) -> None:
        """Become what `state_dict` has told, so that `fit(..., history=…)` goes on from there.

        Raises:  KeyError if there is no "epoch", ValueError for a column longer than it
        """
        columns = {str(key): [float(v) for v in values] for key, values in state.items()}
        epoch = [int(number) for number in columns.pop("epoch")]
        for key, values in columns.items():
            if len(values) > len(epoch):
                raise ValueError(f"{key!r} has {len(values)} entries for {len(epoch)} epochs")
        self.history, self.epoch, self.interrupted = columns, epoch, False

    def __repr__(self) -> str:
        n = len(self.epoch)
        last = ", ".join(f"{key} {values[-1]:.4g}" for key, values in self.history.items())
        epochs = f"{n} epoch{'s' * (n != 1)}"
        ended = ", interrupted" * self.interrupted
        return f"History({epochs}{ended}{': ' * bool(last)}{last})"
