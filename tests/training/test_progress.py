"""The progress of a training: on a terminal, in a pipe, and without Rich."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import textwrap
from typing import Any

import numpy as np
import pytest

import tinygrad_edu as tg
from tinygrad_edu import nn, optim
from tinygrad_edu.training import progress
from tinygrad_edu.training.callbacks import LambdaCallback

X = np.ones((10, 1))


def fit(**settings: Any) -> tg.History:
    model = nn.Linear(1, 2, init=tg.init.ones)
    return tg.fit(
        model,
        X,
        np.zeros(10, int),
        loss=tg.cross_entropy,
        metrics=["accuracy"],
        epochs=2,
        optimizer=optim.SGD(model.parameters(), lr=0.1),
        batch_size=4,
        **settings,
    )


@pytest.mark.parametrize(("verbose", "lines"), [("auto", 0), (0, 0), (1, 2), (2, 2)])
def test_where_there_is_no_terminal(
    capsys: pytest.CaptureFixture[str], verbose: int | str, lines: int
) -> None:
    history = fit(verbose=verbose, validation_split=0.2)
    out = capsys.readouterr().out
    assert len(out.splitlines()) == lines
    assert "\x1b" not in out and "\r" not in out
    for epoch, line in enumerate(out.splitlines()):
        head, took, *values = line.split(" - ")
        assert head == f"Epoch {epoch + 1}/2"
        assert took[0].isdigit()
        shown = {key: float(value) for key, value in (part.split(": ") for part in values)}
        assert list(shown) == ["loss", "accuracy", "val_loss", "val_accuracy"]
        for key, value in shown.items():
            assert value == pytest.approx(history.history[key][epoch], abs=5e-5)


def test_in_a_notebook_there_are_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = type("OutStream", (io.StringIO,), {"__module__": "ipykernel.iostream"})()
    monkeypatch.setattr(sys, "stdout", stream)
    fit()
    assert len(stream.getvalue().splitlines()) == 2


def test_numbers_as_keras_writes_them() -> None:
    assert progress._values({"a": 0.5, "b": 1.23456e-5, "c": 0.0, "d": 123.0}) == [
        "a: 0.5000",
        "b: 1.2346e-05",
        "c: 0.0000",
        "d: 123.0000",
    ]
    assert [progress._seconds(t) for t in (3e-5, 0.02, 7.4, 61.0)] == [
        "30µs",
        "20ms",
        "7s",
        "1m01s",
    ]


def test_without_rich_there_are_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "rich.console", None)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    fit(verbose=1)
    assert [line[:9] for line in capsys.readouterr().out.splitlines()] == ["Epoch 1/2", "Epoch 2/2"]


def test_the_bar_moves_and_leaves_a_line() -> None:
    console = pytest.importorskip("rich.console")
    file = io.StringIO()
    bar = progress.Bar(
        console.Console(file=file, force_terminal=True, width=120, color_system=None)
    )
    seen: list[str] = []

    def look(batch: int, logs: dict[str, float]) -> None:
        bar.progress.refresh()
        seen.append(file.getvalue().rpartition("\r")[2])

    fit(callbacks=[bar, LambdaCallback(on_train_batch_end=look)], verbose=0)
    assert "1/3" in seen[0] and "3/3" in seen[2] and "loss: " in seen[2] and "━" in seen[2]
    assert bar.progress is None
    kept = [line for line in file.getvalue().splitlines() if "/step" in line]
    assert len(kept) == 2
    assert "Epoch 2/2 " in kept[1] and "accuracy: " in kept[1]


@pytest.mark.parametrize("width", [80, 40, 20])
def test_on_a_narrow_terminal_a_number_stays_with_its_name(width: int) -> None:
    console = pytest.importorskip("rich.console")
    file = io.StringIO()
    fit(callbacks=[progress.Bar(console.Console(file=file, width=width))], verbose=0)
    lines = file.getvalue().splitlines()
    assert sum("Epoch" in line for line in lines) == 2
    assert sum("accuracy: 1.0000" in line for line in lines) == 2
    assert max(map(len, lines)) <= max(width, 26)


def test_the_bar_gives_the_line_back_where_a_training_fails() -> None:
    script = """
    import sys
    import numpy as np
    import tinygrad_edu as tg

    model = tg.nn.Linear(1, 1)
    def fail(batch, logs):
        if batch == 1:
            raise RuntimeError("on purpose")
    try:
        tg.fit(model, np.ones((4, 1)), np.ones(4), loss="mse", batch_size=2,
               optimizer=tg.optim.SGD(model.parameters(), lr=0.1),
               callbacks=[tg.callbacks.LambdaCallback(on_train_batch_end=fail)])
    except RuntimeError:
        print("after it", flush=True)
    """
    out = on_a_terminal(script)
    assert "Epoch 1/1" in out
    assert out.count("\x1b[?25l") == out.count("\x1b[?25h") == 1  # the cursor is hidden, and back
    assert "after it" in out.rpartition("\x1b[?25h")[2]


def test_on_a_terminal_the_bar_is_shown_by_itself() -> None:
    script = """
    import numpy as np
    import tinygrad_edu as tg

    model = tg.nn.Linear(1, 1)
    tg.fit(model, np.ones((4, 1)), np.ones(4), loss="mse", batch_size=2, epochs=2,
           optimizer=tg.optim.SGD(model.parameters(), lr=0.1), validation_split=0.5)
    """
    out = on_a_terminal(script)
    assert "━" in out
    kept = [line for line in out.splitlines() if "/step" in line]
    assert ["Epoch 1/2 " in kept[0], "Epoch 2/2 " in kept[1]] == [True, True]
    assert all("val_loss: " in line for line in kept)


def on_a_terminal(script: str) -> str:
    """Return what a program writes to a terminal."""
    pytest.importorskip("rich")
    pty = pytest.importorskip("pty")  # a Unix system
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120", "PYTHONIOENCODING": "utf-8"}
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)],
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        env=environment,
    )
    os.close(theirs)
    written = b""
    try:
        while part := os.read(ours, 65536):
            written += part
    except OSError:  # Linux's error when the other end is closed
        pass
    os.close(ours)
    assert child.wait() == 0, written.decode()
    return written.decode()


def test_verbose_must_be_one_of_keras() -> None:
    with pytest.raises(ValueError, match="verbose must be 0, 1, 2 or 'auto'"):
        fit(verbose="yes")
