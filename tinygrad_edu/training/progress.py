"""Progress of a training: a bar or a line for each epoch, as in Keras.

On a terminal a line is updated during each epoch: batches done, a bar, the remaining time, loss and
metrics so far. After the epoch it shows the elapsed time and the validation. Rich, an extra, draws
it. `Lines` prints one line an epoch, for logs and pipes.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any

from .callbacks import Callback, Logs

__all__ = ["Bar", "Lines"]

OFTEN = 0.05  # seconds from one update of the numbers to the next


class Lines(Callback):
    """Print one line for each epoch on standard output.

    Example:
        >>> lines = Lines()
        >>> lines.params = {"epochs": 3}
        >>> lines.on_epoch_begin(1, {})
        >>> lines.on_epoch_end(1, {"loss": 0.5, "accuracy": 0.75})  # doctest: +ELLIPSIS
        Epoch 2/3 - ... - loss: 0.5000 - accuracy: 0.7500
    """

    def on_epoch_begin(self, epoch: int, logs: Logs) -> None:
        """Note the time."""
        self.start = perf_counter()

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Print the line."""
        parts = [self._epoch(epoch), _seconds(perf_counter() - self.start), *_values(logs)]
        print(" - ".join(parts), flush=True)

    def _epoch(self, epoch: int) -> str:
        total = str(self.params["epochs"])
        return f"Epoch {epoch + 1:>{len(total)}}/{total}"


class Bar(Lines):
    """Show a line that is updated, on a console of Rich.

    Example:
        >>> import io
        >>> from rich.console import Console
        >>> bar = Bar(Console(file=io.StringIO(), width=100))
        >>> bar.params = {"epochs": 1, "steps": 2}
        >>> bar.on_epoch_begin(0, {})
        >>> bar.on_train_batch_end(0, {"loss": 0.5})
        >>> bar.on_epoch_end(0, {"loss": 0.25})
        >>> bar.console.file.getvalue()  # doctest: +ELLIPSIS
        'Epoch 1/1 .../step - loss: 0.2500\\n'
    """

    def __init__(self, console: Any = None) -> None:
        from rich.console import Console

        self.console = console or Console()
        self.progress: Any = None

    def on_epoch_begin(self, epoch: int, logs: Logs) -> None:
        """Draw the line."""
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
        from rich.progress import TimeRemainingColumn as TimeLeft

        super().on_epoch_begin(epoch, logs)
        self.shown = 0.0
        self.progress = Progress(
            TextColumn("{task.description}"),
            MofNCompleteColumn(),
            BarColumn(bar_width=24),
            TimeLeft(compact=True),
            TextColumn("{task.fields[values]}"),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        self.progress.start()
        self.task = self.progress.add_task(
            self._epoch(epoch), total=self.params["steps"], values=""
        )

    def on_train_batch_end(self, batch: int, logs: Logs) -> None:
        """Update the line."""
        now = perf_counter()
        if now - self.shown >= OFTEN or batch + 1 == self.params["steps"]:
            self.shown = now
            values = " - ".join(_values(logs))
            self.progress.update(self.task, completed=batch + 1, values=values)

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Print the final line of the epoch."""
        self.close()
        seconds = perf_counter() - self.start
        each = f"{_seconds(seconds)} {_seconds(seconds / self.params['steps'])}/step"
        lines = [f"{self._epoch(epoch)} {each}"]
        for part in _values(logs):  # a number stays with its name
            if len(lines[-1]) + len(part) + 3 <= self.console.width:
                lines[-1] += f" - {part}"
            else:
                lines.append(f"    {part}")
        self.console.print("\n".join(lines), highlight=False, soft_wrap=True)

    def close(self) -> None:
        """Release the terminal line, also when an epoch was interrupted."""
        if self.progress is not None:
            self.progress.stop()
            self.progress = None


def _values(logs: Logs) -> list[str]:
    """Return loss and metrics as Keras prints them: four places, small numbers with an exponent."""
    return [
        f"{key}: {value:.4f}" if abs(value) > 1e-3 or value == 0 else f"{key}: {value:.4e}"
        for key, value in logs.items()
    ]


def _seconds(t: float) -> str:
    """Return a duration as text, in a suitable unit."""
    if t >= 60:
        return f"{int(t) // 60}m{int(t) % 60:02d}s"
    if t >= 1:
        return f"{t:.0f}s"
    return f"{t * 1e3:.0f}ms" if t >= 1e-3 else f"{t * 1e6:.0f}µs"


@contextmanager
def progress_bar(verbose: int | str) -> Iterator[list[Callback]]:
    """Yield the callbacks that show a training; close them at the end of the block.

    verbose   0: nothing, 1: a bar (lines where there is no terminal), 2: lines, "auto": a bar on
              a terminal, lines in a notebook, nothing elsewhere; without Rich lines in place of a
              bar

    Example:
        >>> with progress_bar(2) as shown:
        ...     [type(callback).__name__ for callback in shown]
        ['Lines']
    """
    if verbose not in (0, 1, 2, "auto"):
        raise ValueError(f"verbose must be 0, 1, 2 or 'auto', received {verbose!r}")
    terminal = sys.stdout is not None and sys.stdout.isatty()
    notebook = type(sys.stdout).__module__.startswith("ipykernel")
    if verbose == 0 or (verbose == "auto" and not (terminal or notebook)):
        yield []
        return
    try:
        bar = Bar() if verbose != 2 and terminal else None
    except ImportError:
        bar = None
    try:
        yield [bar or Lines()]
    finally:
        if bar is not None:
            bar.close()
