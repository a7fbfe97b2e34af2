"""Callbacks: hooks that `fit` calls, and common ones: early stopping, checkpoints, CSV logs.

A callback derives from `Callback` and overrides the hooks it needs, under Keras' names. A function
of (epoch, logs) is a callback too: it is called after each epoch. `logs` holds the epoch's values
for the History: loss, metrics, and the same with the prefix `val_`. An entry that a callback adds
to them at the end of an epoch becomes a column. `model.stop_training = True` ends the training.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ..arrays import Array, NameMissing
from ..files import FORMATS
from ..saving import save_checkpoint
from .metrics import direction

__all__ = ["CSVLogger", "Callback", "EarlyStopping", "LambdaCallback", "ModelCheckpoint"]

HOOKS = (
    "on_train_begin",
    "on_train_end",
    "on_epoch_begin",
    "on_epoch_end",
    "on_train_batch_begin",
    "on_train_batch_end",
    "on_test_begin",
    "on_test_end",
)
Logs = dict[str, float]


class Callback:
    """Base class with hooks that do nothing; override those you need.

    Before the first hook `fit` sets `model` and `params`, a dict of epochs, steps (batches in an
    epoch), verbose, optimizer and history.

    Source:  keras.callbacks.Callback
    Example:
        >>> class Halve(Callback):
        ...     def on_epoch_end(self, epoch, logs):
        ...         logs["lr"] = self.params["optimizer"].lr
        ...         self.params["optimizer"].lr /= 2
        >>> model = tg.nn.Linear(1, 1, init=tg.init.ones)
        >>> sgd = tg.optim.SGD(model.parameters(), lr=0.1)
        >>> x = np.ones((4, 1))
        >>> tg.fit(model, x, x, loss="mse", optimizer=sgd, epochs=3, callbacks=[Halve()]).history
        {'loss': [0.0, 0.0, 0.0], 'lr': [0.1, 0.05, 0.025]}
    """

    model: Any
    params: dict[str, Any]

    def on_train_begin(self, logs: Logs) -> None:
        """Called before the first epoch; logs are empty."""

    def on_train_end(self, logs: Logs) -> None:
        """Called after the last epoch, also after an interrupt, with the logs of the last whole
        epoch.
        """

    def on_epoch_begin(self, epoch: int, logs: Logs) -> None:
        """Called before an epoch (the first is 0); logs are empty."""

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Called after an epoch and its validation; the History holds its logs already."""

    def on_train_batch_begin(self, batch: int, logs: Logs) -> None:
        """Called before a batch (the first of an epoch is 0); logs are empty."""

    def on_train_batch_end(self, batch: int, logs: Logs) -> None:
        """Called after a batch; logs are the means over the epoch's samples so far."""

    def on_test_begin(self, logs: Logs) -> None:
        """Called before the validation of an epoch; logs are empty."""

    def on_test_end(self, logs: Logs) -> None:
        """Called after the validation; logs are its results, without the prefix `val_`."""


class LambdaCallback(Callback):
    """A callback made of functions, given by the hooks' names.

    Raises:  TypeError for a name that is no hook
    Source:  keras.callbacks.LambdaCallback
    Example:
        >>> callback = LambdaCallback(on_epoch_begin=lambda epoch, logs: print("epoch", epoch))
        >>> callback.on_epoch_begin(3, {})
        epoch 3
    """

    def __init__(self, **hooks: Callable[..., Any]) -> None:
        for name, function in hooks.items():
            if name not in HOOKS:
                raise TypeError(f"there is no hook {name!r}; there are {', '.join(HOOKS)}")
            setattr(self, name, function)


def as_callbacks(callbacks: Any) -> list[Callback]:
    """Return the callbacks given to `fit`; a function becomes one that is called after each
    epoch.
    """
    found: list[Callback] = []
    if callbacks is None:
        return found
    if isinstance(callbacks, Callback) or not isinstance(callbacks, Iterable):
        raise TypeError(f"callbacks is a list, received {callbacks!r:.60}")
    for callback in callbacks:
        if not isinstance(callback, Callback):
            if isinstance(callback, type) or not callable(callback):
                raise TypeError(
                    "a callback is a function of (epoch, logs) or an object that derives from "
                    f"tg.callbacks.Callback, received {callback!r:.60}"
                )
            callback = LambdaCallback(on_epoch_end=callback)
        for name in dir(callback):
            if name.startswith("on_") and name not in HOOKS:
                raise TypeError(
                    f"{type(callback).__name__} has {name!r}, which is no hook and would never be "
                    f"called; there are {', '.join(HOOKS)}"
                )
        found.append(callback)
    return found


def hooks(callbacks: Iterable[Callback], name: str) -> list[Callable[..., Any]]:
    """Return the hooks of that name that the callbacks define."""
    nothing = getattr(Callback, name)
    written = (getattr(callback, name) for callback in callbacks)
    return [hook for hook in written if getattr(hook, "__func__", None) is not nothing]


class _Best(Callback):
    """Tracks the best value of one column of the logs."""

    def __init__(self, monitor: str, mode: str, min_delta: float, best: float | None) -> None:
        if mode not in ("auto", "min", "max"):
            raise ValueError(f"mode must be 'auto', 'min' or 'max', received {mode!r}")
        if not min_delta >= 0:
            raise ValueError(f"min_delta must be at least 0, received {min_delta!r}")
        self.monitor = monitor
        self.mode = direction(monitor) if mode == "auto" else mode
        self.min_delta = min_delta
        self.best = best

    def value(self, logs: Logs) -> float:
        if self.monitor not in logs:
            raise NameMissing(
                f"{type(self).__name__} monitors {self.monitor!r}, but there are only "
                f"{', '.join(logs)}; give validation_data for a column that begins with val_"
            )
        return float(logs[self.monitor])

    def better(self, value: float, than: float | None) -> bool:
        """Return True if a value is better by more than min_delta; NaN is better than no value."""
        if than is None:
            return True
        if self.mode == "min":
            return value + self.min_delta < than
        return value - self.min_delta > than


class EarlyStopping(_Best):
    """End the training when a quantity has not improved for `patience` epochs.

    monitor                a column of the History
    min_delta              an improvement must be larger than this
    patience               epochs without improvement; 0 stops at the first
    mode                   "min", "max", or "auto": by the column's name
    baseline               only values better than this count as improvements
    restore_best_weights   when the training ends, also by Ctrl-C (but not by an error), go back to
                           the weights of the best epoch
    start_from_epoch       epochs before this one are not counted

    The count restarts with each training, also with a resumed one.

    Keeps:   best, best_epoch, stopped_epoch (0: was not stopped), wait
    Raises:  KeyError after the first epoch if the History has no such column, ValueError for a
             name that does not determine the mode
    Source:  keras.callbacks.EarlyStopping
    Example:
        >>> stop = EarlyStopping(monitor="loss", patience=2)
        >>> model = tg.nn.Linear(1, 1, init=tg.init.ones)
        >>> sgd = tg.optim.SGD(model.parameters(), lr=0.1)
        >>> x = np.ones((4, 1))
        >>> tg.fit(model, x, x, loss="mse", optimizer=sgd, epochs=9, callbacks=[stop]).epoch
        [0, 1, 2]
        >>> stop.stopped_epoch, stop.best_epoch, stop.best
        (2, 0, 0.0)
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0.0,
        patience: int = 0,
        *,
        mode: str = "auto",
        baseline: float | None = None,
        restore_best_weights: bool = False,
        start_from_epoch: int = 0,
    ) -> None:
        super().__init__(monitor, mode, min_delta, None)
        self.patience = patience
        self.baseline = baseline
        self.restore_best_weights = restore_best_weights
        self.start_from_epoch = start_from_epoch
        self.on_train_begin({})

    def on_train_begin(self, logs: Logs) -> None:
        """Reset the counts."""
        self.best = None
        self.wait = self.best_epoch = self.stopped_epoch = 0
        self.best_weights: dict[str, Array] | None = None

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Count the epoch, and stop the training after `patience` without improvement."""
        value = self.value(logs)
        if epoch < self.start_from_epoch:
            return
        self.wait += 1
        if self.better(value, self.best):
            self.best, self.best_epoch = value, epoch
            if self.restore_best_weights:
                self.best_weights = self.model.state_dict()
            if self.baseline is None or self.better(value, self.baseline):
                self.wait = 0
        elif self.wait >= self.patience and epoch > 0:
            self.stopped_epoch = epoch
            self.model.stop_training = True

    def on_train_end(self, logs: Logs) -> None:
        """Restore the best weights if `restore_best_weights`."""
        if self.best_weights is not None:
            self.model.load_state_dict(self.best_weights)


class CSVLogger(Callback):
    """Write the logs of each epoch as a row of a CSV file, at once.

    The columns are epoch and the keys of the first epoch's logs. With `append=True` rows are added
    to an existing file, which must have these columns.

    Raises:  ValueError if that file has other columns, OSError if the file cannot be written
    Source:  keras.callbacks.CSVLogger
    Example:
        >>> import tempfile, pathlib
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "log.csv"
        >>> log = CSVLogger(path)
        >>> log.on_train_begin({})
        >>> log.on_epoch_end(0, {"loss": 0.5, "accuracy": 0.75})
        >>> print(path.read_text(), end="")
        epoch,loss,accuracy
        0,0.5,0.75
    """

    def __init__(self, filename: Any, separator: str = ",", append: bool = False) -> None:
        self.filename, self.separator, self.append = Path(filename), separator, append

    def on_train_begin(self, logs: Logs) -> None:
        """Open the file, so that an error is raised before the training and not after it."""
        self.columns: list[str] = []
        if self.append and self.filename.exists():
            with self.filename.open(encoding="utf-8", newline="") as file:
                self.columns = next(csv.reader(file, delimiter=self.separator), [])
        with self.filename.open("a" if self.append else "w", encoding="utf-8"):
            pass

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Write a row."""
        with self.filename.open("a", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, delimiter=self.separator, lineterminator="\n")
            columns = ["epoch", *logs]
            if not self.columns:
                self.columns = columns
                writer.writerow(columns)
            if columns != self.columns:
                raise ValueError(
                    f"{self.filename} has the columns {self.columns}, the epoch gave {columns}; "
                    "give CSVLogger another file"
                )
            writer.writerow([epoch, *logs.values()])


# Parts of every checkpoint, and options that only Keras' callback has.
_NO_EXTRA = ("model", "optimizer", "epoch", "history", "verbose", "save_weights_only", "save_freq")


class ModelCheckpoint(_Best):
    """Save a checkpoint after each epoch, or after each that improves a quantity.

    filepath         a `.safetensors` or `.npz` file; its name may contain `{epoch}` (the first is
                     1) and the keys of the logs: "net-{epoch:02d}-{val_loss:.2f}.npz"
    monitor, mode    the column to compare, and how: see `EarlyStopping`
    save_best_only   save only if the value is better than before
    extra            other parts of the checkpoint by name, such as `rng=rng`

    A checkpoint holds the parts model, optimizer, history and the extra ones, and the number of the
    next epoch. It is written atomically; `tg.load_checkpoint` restores it.

    Keeps:   best, path of the last file
    Raises:  ValueError for an invalid file name, TypeError for an option that only Keras has,
             FileNotFoundError before the first epoch if the folder does not exist, KeyError for a
             missing column; and as `tinygrad_edu.save`
    Source:  keras.callbacks.ModelCheckpoint
    Example:
        >>> import tempfile, pathlib
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "best.npz"
        >>> model = tg.nn.Linear(1, 1, rng=0)
        >>> sgd = tg.optim.SGD(model.parameters(), lr=0.1)
        >>> x, best = np.ones((4, 1)), ModelCheckpoint(path, monitor="loss", save_best_only=True)
        >>> history = tg.fit(model, x, x, loss="mse", optimizer=sgd, epochs=2, callbacks=[best])
        >>> tg.load_checkpoint(path, model=model, history=history)["epoch"]
        2
    """

    def __init__(
        self,
        filepath: Any,
        monitor: str = "val_loss",
        save_best_only: bool = False,
        *,
        mode: str = "auto",
        initial_value_threshold: float | None = None,
        **extra: Any,
    ) -> None:
        if not save_best_only:
            mode = "min"  # not used
        super().__init__(monitor, mode, 0.0, initial_value_threshold)
        self.filepath, self.save_best_only, self.extra = str(filepath), save_best_only, extra
        self.path: Path | None = None
        if Path(self.filepath).suffix not in FORMATS:
            raise ValueError(f"{filepath} should end in {' or '.join(FORMATS)}")
        if unfit := [name for name in extra if name in _NO_EXTRA]:
            raise TypeError(
                f"ModelCheckpoint has no {', '.join(unfit)}; a checkpoint holds model, optimizer, "
                "epoch and history already (weights only: tg.save(path, model.state_dict()))"
            )

    def on_train_begin(self, logs: Logs) -> None:
        """Check that the folder exists, before the training starts.

        Raises:  FileNotFoundError, NotADirectoryError if it is not
        """
        folder = Path(self.filepath).parent
        if "{" not in str(folder) and not folder.is_dir():
            kind = NotADirectoryError if folder.exists() else FileNotFoundError
            raise kind(f"{self.filepath}: there is no folder {folder}; make it before fit()")

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Save a checkpoint unless `save_best_only` and the value is no better."""
        if self.save_best_only:
            value = self.value(logs)
            if not self.better(value, self.best):
                return
            self.best = value
        try:
            self.path = Path(self.filepath.format(epoch=epoch + 1, **logs))
        except KeyError as error:
            raise NameMissing(
                f"{self.filepath}: there is no {error}, but epoch, {', '.join(logs)}"
            ) from None
        parts = {"optimizer": self.params["optimizer"], "history": self.params["history"]}
        parts = {name: part for name, part in parts.items() if hasattr(part, "state_dict")}
        save_checkpoint(self.path, model=self.model, epoch=epoch + 1, **parts, **self.extra)
