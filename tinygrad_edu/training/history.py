"""History: a number for each epoch and quantity of a training, and a plot of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from io import BytesIO
from math import nan
from typing import Any

from ..arrays import NameMissing

__all__ = ["History"]


class History:
    """Losses and metrics, epoch by epoch.

    history       {"loss": [...], "accuracy": [...], "val_loss": [...], "val_accuracy": [...]}
    epoch         the numbers of the epochs, the first is 0
    interrupted   True if Ctrl-C ended the training
    compiled      True: by captured steps (see `tg.compile`); False, or the reason why not
    native        True: as machine code, if requested; False, or the reason why not
    threads       the number of threads for matrix products if it was set (see `tg.threads`), or
                  None

    A value that an epoch does not have is NaN, for example before validation was turned on; a
    column that ended earlier is shorter.

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
        self.compiled: bool | str = False
        self.native: bool | str = False
        self.threads: int | None = None

    def append(self, epoch: int, logs: Mapping[str, float]) -> None:
        """Add an epoch."""
        self.epoch.append(epoch)
        self.add(logs)

    def add(self, logs: Mapping[str, float]) -> None:
        """Add values to the last epoch."""
        for key, value in logs.items():
            column = self.history.setdefault(key, [])
            column += [nan] * (len(self.epoch) - 1 - len(column))  # epochs that did not have it
            column.append(value)

    def state_dict(self) -> dict[str, list[Any]]:
        """Return everything as plain lists, for a checkpoint: "epoch" and the columns.

        Example:
            >>> history = History()
            >>> history.append(0, {"loss": 0.5})
            >>> history.state_dict()
            {'epoch': [0], 'loss': [0.5]}
        """
        return {"epoch": list(self.epoch), **{key: list(v) for key, v in self.history.items()}}

    def load_state_dict(self, state: Mapping[str, Iterable[Any]]) -> None:
        """Restore what `state_dict` returned, so that `fit(..., history=…)` continues from there.

        Raises:  KeyError if there is no "epoch", ValueError for a column longer than it
        """
        columns = {str(key): [float(v) for v in values] for key, values in state.items()}
        epoch = [int(number) for number in columns.pop("epoch")]
        for key, values in columns.items():
            if len(values) > len(epoch):
                raise ValueError(f"{key!r} has {len(values)} entries for {len(epoch)} epochs")
        self.history, self.epoch, self.interrupted = columns, epoch, False

    def plot(self, path: Any = None, *, title: str = "Training", keys: Iterable[str] = ()) -> Any:
        """Plot each quantity over the epochs in a panel of its own, for training and validation.

        path    a file to write, `.png` or another format of Matplotlib
        keys    the quantities, without `val_`; all by default

        Returns: the figure (`matplotlib.figure.Figure`), which a notebook displays
        Raises:  ImportError without Matplotlib (`pip install 'tinygrad_edu[training]'`), KeyError
                 for an unknown quantity, ValueError without any epoch
        Example:
            >>> history = History()
            >>> history.append(0, {"loss": 0.5, "val_loss": 0.6})
            >>> [axes.get_ylabel() for axes in history.plot().axes]
            ['loss']
        """
        try:
            from matplotlib.figure import Figure
            from matplotlib.ticker import MaxNLocator
        except ImportError as error:
            raise ImportError(
                "History.plot needs Matplotlib: pip install 'tinygrad_edu[training]'"
            ) from error
        if not self.epoch:
            raise ValueError("there is no epoch to plot yet")
        names = list(keys) or list(dict.fromkeys(key.removeprefix("val_") for key in self.history))
        for name in names:
            if name not in self.history and f"val_{name}" not in self.history:
                raise NameMissing(f"the History has no {name!r}; it has {', '.join(self.history)}")
        figure = Figure(figsize=(5.2 * len(names), 3.8), layout="constrained")
        figure.suptitle(title)
        panels = figure.subplots(1, len(names), squeeze=False)[0]
        for axes, name in zip(panels, names, strict=True):
            # Told apart in grey too: by lightness, by the line and by the marks.
            styles = {
                name: ("training", "C0", "-", "o"),
                f"val_{name}": ("validation", "C1", "--", "s"),
            }
            for key, (label, color, line, mark) in styles.items():
                if values := self.history.get(key):
                    few = mark if len(values) <= 20 else ""
                    at = [epoch + 1 for epoch in self.epoch[: len(values)]]
                    axes.plot(at, values, line, color=color, marker=few, markersize=4, label=label)
            axes.set(xlabel="epoch", ylabel=name)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
            axes.grid(alpha=0.3)
            axes.legend()

        def png() -> bytes:
            content = BytesIO()
            figure.savefig(content, dpi=100, format="png")
            return content.getvalue()

        figure._repr_png_ = png  # type: ignore[attr-defined]  # what a notebook asks for
        if path is not None:
            figure.savefig(path, dpi=150)
        return figure

    def _repr_html_(self) -> str:
        """Return the last epochs as an HTML table for notebooks."""
        rows = [["epoch", *self.history]]
        for k in range(max(0, len(self.epoch) - 10), len(self.epoch)):
            columns = self.history.values()
            values = (f"{column[k]:.4g}" if k < len(column) else "" for column in columns)
            rows.append([str(self.epoch[k]), *values])
        cells = ("".join(f"<td>{escape(text)}</td>" for text in row) for row in rows)
        return f"<table>{''.join(f'<tr>{row}</tr>' for row in cells)}</table>"

    def __repr__(self) -> str:
        n = len(self.epoch)
        last = ", ".join(f"{key} {values[-1]:.4g}" for key, values in self.history.items())
        epochs = f"{n} epoch{'s' * (n != 1)}"
        ended = ", interrupted" * self.interrupted
        return f"History({epochs}{ended}{': ' * bool(last)}{last})"
