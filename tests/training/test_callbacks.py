"""Hooks and their order, early stopping against its definition, checkpoints and CSV files."""

from __future__ import annotations

import csv
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_edu as tg
from tinygrad_edu import nn, optim
from tinygrad_edu.training.callbacks import (
    HOOKS,
    Callback,
    CSVLogger,
    EarlyStopping,
    LambdaCallback,
    ModelCheckpoint,
)

X = np.random.default_rng(0).normal(size=(10, 2))
Y = (X[:, 0] > 0).astype(int)


def fit(**settings: Any) -> tuple[Any, tg.History]:
    model = nn.Linear(2, 2, rng=0)
    given: dict[str, Any] = {
        "loss": tg.cross_entropy,
        "optimizer": optim.SGD(model.parameters(), lr=0.5),
        "epochs": 2,
        "batch_size": 4,
        "rng": 0,
        "validation_split": 0.2,
    }
    return model, tg.fit(model, X, Y, **given | settings)


class Notes(Callback):
    """Notes every hook with the keys of its logs."""

    def __init__(self) -> None:
        self.calls: list[Any] = []
        for name in HOOKS:
            setattr(
                self, name, lambda *a, name=name: self.calls.append((name[3:], *a[:-1], *a[-1]))
            )


def test_hooks_come_in_keras_order_with_its_logs() -> None:
    notes = Notes()
    model, history = fit(callbacks=[notes])
    epoch = [
        ("train_batch_begin", 0),
        ("train_batch_end", 0, "loss"),
        ("train_batch_begin", 1),
        ("train_batch_end", 1, "loss"),
        ("test_begin",),
        ("test_end", "loss"),
    ]
    keys = ("loss", "val_loss")
    assert notes.calls == [
        ("train_begin",),
        *(("epoch_begin", 0), *epoch, ("epoch_end", 0, *keys)),
        *(("epoch_begin", 1), *epoch, ("epoch_end", 1, *keys)),
        ("train_end", *keys),
    ]
    assert notes.model is model
    assert notes.params["history"] is history
    assert (notes.params["epochs"], notes.params["steps"]) == (2, 2)


def test_logs_of_a_batch_are_the_means_so_far() -> None:
    seen: list[float] = []
    _, history = fit(
        callbacks=[LambdaCallback(on_train_batch_end=lambda i, logs: seen.append(logs["loss"]))],
        epochs=1,
    )
    assert seen[-1] == history.history["loss"][0] != seen[0]


def test_a_plain_function_is_called_after_each_epoch_and_may_add_a_column() -> None:
    seen: list[Any] = []

    def note(epoch: int, logs: dict[str, float]) -> None:
        seen.append((epoch, logs["val_loss"]))
        logs["extra"] = 10.0 * epoch

    _, history = fit(callbacks=[note, lambda epoch, logs: seen.append(logs["extra"])])
    assert seen[1::2] == [0.0, 10.0]
    assert seen[::2] == list(enumerate(history.history["val_loss"]))
    assert history.history["extra"] == [0.0, 10.0]
    assert list(history.history) == ["loss", "val_loss", "extra"]


def test_stop_training_ends_it_after_the_batch_with_an_epoch_that_is_measured() -> None:
    class Stop(Callback):
        def on_train_batch_end(self, batch: int, logs: dict[str, float]) -> None:
            self.model.stop_training = True

    notes = Notes()
    _, history = fit(callbacks=[Stop(), notes], epochs=9)
    assert history.epoch == [0] and "val_loss" in history.history
    assert [call[0] for call in notes.calls].count("train_batch_end") == 1
    assert not history.interrupted


def test_a_hook_that_is_none_is_refused_before_training() -> None:
    class Late(Callback):
        def on_epoch_ends(self, epoch: int, logs: dict[str, float]) -> None: ...

    class Later(Late):
        pass

    model = nn.Linear(1, 1, rng=0)
    x = np.ones((4, 1))
    for callback in (Late(), Later()):
        with pytest.raises(TypeError, match=r"'on_epoch_ends', which is no hook .*on_epoch_end, "):
            tg.fit(model, x, x, loss="mse", optimizer="sgd", callbacks=[callback])


def test_lambda_callbacks_know_their_hooks() -> None:
    with pytest.raises(TypeError, match="there is no hook 'on_epoch'; there are on_train_begin"):
        LambdaCallback(on_epoch=print)


# --- early stopping -------------------------------------------------------------------------------


def run(stop: EarlyStopping, values: list[float]) -> int | None:
    """The epoch at which it stops, fed with these values."""
    stop.model = SimpleNamespace(stop_training=False)
    stop.on_train_begin({})
    for epoch, value in enumerate(values):
        stop.on_epoch_end(epoch, {stop.monitor: value})
        if stop.model.stop_training:
            return epoch
    return None


def defined(
    values: list[float], patience: int, min_delta: float, sign: int, baseline: float | None
) -> int | None:
    """The definition: `patience` epochs in a row without an improvement that counts."""
    best, since = None, 0
    for epoch, value in enumerate(sign * np.array(values)):
        improved = best is None or value + min_delta < best
        if improved:
            best = value
        if improved and (baseline is None or value + min_delta < sign * baseline):
            since = 0
        else:
            since += 1
            if not improved and since >= patience and epoch > 0:
                return epoch
    return None


@given(
    values=st.lists(st.integers(0, 6).map(float), min_size=1, max_size=12),
    patience=st.integers(0, 4),
    min_delta=st.sampled_from([0.0, 1.0, 1.5]),
    mode=st.sampled_from(["min", "max"]),
    baseline=st.none() | st.integers(0, 6).map(float),
)
def test_early_stopping_is_what_is_defined(
    values: list[float], patience: int, min_delta: float, mode: str, baseline: float | None
) -> None:
    stop = EarlyStopping("val_loss", min_delta, patience, mode=mode, baseline=baseline)
    sign = 1 if mode == "min" else -1
    expected = defined(values, patience, min_delta, sign, baseline)
    assert run(stop, values) == expected
    assert stop.stopped_epoch == (expected or 0)
    assert run(stop, values) == expected  # it begins anew each time


def test_the_mode_is_told_by_the_name() -> None:
    for key, mode in {
        "loss": "min",
        "val_loss": "min",
        "val_accuracy": "max",
        "val_acc": "max",
        "mse": "min",
        "val_top_k_categorical_accuracy": "max",
    }.items():
        assert EarlyStopping(key).mode == mode
    with pytest.raises(ValueError, match="whether 'val_f1' should become small or large"):
        EarlyStopping("val_f1")
    assert EarlyStopping("val_f1", mode="max").mode == "max"
    with pytest.raises(ValueError, match="mode must be"):
        EarlyStopping(mode="up")
    with pytest.raises(ValueError, match="min_delta must be at least 0"):
        EarlyStopping(min_delta=-1)


def test_early_epochs_are_passed_over() -> None:
    assert run(EarlyStopping("loss", start_from_epoch=3), [1, 2, 3, 4, 5, 6]) == 4


@pytest.mark.parametrize("restore", [True, False])
def test_the_best_weights_come_back(restore: bool) -> None:
    kept: list[Any] = []
    # Steps that are too long: the loss goes up again.
    model = nn.Linear(1, 1, init=tg.init.ones)
    sgd = optim.SGD(model.parameters(), lr=0.2)

    def longer(epoch: int, logs: dict[str, float]) -> None:
        kept.append(model.weight.data.copy())
        if epoch == 2:
            sgd.lr = 5.0

    stop = EarlyStopping("val_loss", patience=2, restore_best_weights=restore)
    x = np.ones((4, 1))
    history = tg.fit(
        model,
        x,
        3 * x,
        loss="mse",
        optimizer=sgd,
        epochs=30,
        validation_data=(x, 3 * x),
        callbacks=[longer, stop],
    )
    assert history.epoch[-1] == stop.stopped_epoch == stop.best_epoch + 2 == 4
    assert stop.best == min(history.history["val_loss"])
    np.testing.assert_array_equal(model.weight.data, kept[2 if restore else 4])


def test_a_column_that_is_not_there_is_named() -> None:
    for callback in (EarlyStopping("val_accuracy"), EarlyStopping("val_loss")):
        with pytest.raises(KeyError, match=f"monitors '{callback.monitor}', but there are only"):
            fit(callbacks=[callback], validation_split=0.0)


# --- checkpoints ----------------------------------------------------------------------------------


def test_the_best_is_kept_and_brought_back(tmp_path: Path) -> None:
    path = tmp_path / "best.npz"
    rng = np.random.default_rng(0)
    best = ModelCheckpoint(path, monitor="val_accuracy", save_best_only=True, rng=rng)
    weights: list[Any] = []
    states: list[Any] = []

    def note(epoch: int, logs: dict[str, float]) -> None:
        weights.append(model.weight.data)
        states.append(rng.bit_generator.state)
        logs_of.append(dict(logs))

    logs_of: list[dict[str, float]] = []
    model = nn.Linear(2, 2, rng=0)
    sgd = optim.SGD(model.parameters(), lr=3.0)
    history = tg.fit(
        model,
        X,
        Y,
        loss=tg.cross_entropy,
        optimizer=sgd,
        epochs=6,
        batch_size=2,
        rng=rng,
        validation_split=0.5,
        metrics=["accuracy"],
        callbacks=[note, best],
    )
    values = history.history["val_accuracy"]
    at = values.index(max(values))
    assert best.best == values[at]
    fresh, found = nn.Linear(2, 2, rng=1), tg.History()
    random = np.random.default_rng(9)
    rest = tg.load_checkpoint(path, model=fresh, history=found, rng=random)
    assert rest["epoch"] == at + 1
    assert found.epoch == list(range(at + 1))
    assert found.history == {key: column[: at + 1] for key, column in history.history.items()}
    np.testing.assert_array_equal(fresh.weight.data, weights[at])
    assert random.bit_generator.state == states[at]


def test_every_epoch_in_a_file_of_its_own(tmp_path: Path) -> None:
    each = ModelCheckpoint(tmp_path / "net-{epoch:02d}-{val_loss:.2f}.npz")
    _, history = fit(callbacks=[each])
    names = [f"net-{i:02d}-{v:.2f}.npz" for i, v in enumerate(history.history["val_loss"], 1)]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert each.path == tmp_path / names[-1]


def test_a_best_of_before_is_not_overwritten(tmp_path: Path) -> None:
    best = ModelCheckpoint(tmp_path / "a.npz", save_best_only=True, initial_value_threshold=0.0)
    fit(callbacks=[best])
    assert best.path is None and not any(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["net.h5", "net"])
def test_a_name_that_cannot_be_one_is_refused_before_the_work(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=r"should end in \.npz or \.safetensors"):
        ModelCheckpoint(tmp_path / name)


@pytest.mark.parametrize("name", ["no/net.npz", "no/net-{epoch}.npz", "file/net.npz"])
def test_a_folder_that_is_not_there_is_found_out_before_the_work(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    seen: list[Any] = []
    with pytest.raises((FileNotFoundError, NotADirectoryError), match="there is no folder"):
        fit(callbacks=[ModelCheckpoint(tmp_path / name), lambda *a: seen.append(a)])
    assert not seen


@pytest.mark.parametrize("option", ["save_weights_only", "verbose", "epoch", "model"])
def test_an_option_that_is_none_is_not_taken_for_a_part(option: str) -> None:
    with pytest.raises(TypeError, match=f"has no {option}; a checkpoint holds"):
        ModelCheckpoint("net.npz", **{option: True})  # type: ignore[arg-type]


def test_a_column_in_the_name_of_a_file_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="there is no 'val_auc', but epoch, loss, val_loss"):
        fit(callbacks=[ModelCheckpoint(tmp_path / "net-{val_auc}.npz")])


def test_a_checkpoint_holds_the_columns_of_the_callbacks_before_it(tmp_path: Path) -> None:
    def note(epoch: int, logs: dict[str, float]) -> None:
        logs["lr"] = 0.5

    path, kept = tmp_path / "net.npz", tg.History()
    _, history = fit(callbacks=[note, ModelCheckpoint(path)])
    tg.load_checkpoint(path, history=kept)
    assert kept.history == history.history


# --- CSV ------------------------------------------------------------------------------------------


def test_rows_of_a_csv_file(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    _, history = fit(callbacks=[CSVLogger(path)], metrics=["accuracy"])
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in rows] == [0, 1]
    for key, values in history.history.items():
        assert [float(row[key]) for row in rows] == values  # to the last digit
    fit(callbacks=[CSVLogger(path, append=True)], metrics=["accuracy"])
    assert len(path.read_text().splitlines()) == 5
    with pytest.raises(ValueError, match=r"log.csv has the columns \['epoch', 'loss', 'accuracy'"):
        fit(callbacks=[CSVLogger(path, append=True)])
    assert len(path.read_text().splitlines()) == 5
    fit(callbacks=[CSVLogger(path, separator=";")])
    assert path.read_text().splitlines()[0] == "epoch;loss;val_loss"


def test_a_file_that_cannot_be_written_is_found_out_before_the_work(tmp_path: Path) -> None:
    seen: list[Any] = []
    with pytest.raises(FileNotFoundError):
        fit(callbacks=[CSVLogger(tmp_path / "no" / "log.csv"), lambda *a: seen.append(a)])
    assert not seen


def test_each_callback_is_given_logs_of_its_own() -> None:
    seen: list[dict[str, float]] = []

    class Writes(Callback):
        def on_train_begin(self, logs: Any) -> None:
            logs["mine"] = 1.0

        def on_epoch_begin(self, epoch: int, logs: Any) -> None:
            logs["mine"] = 1.0

        def on_train_batch_begin(self, batch: int, logs: Any) -> None:
            logs["mine"] = 1.0

    class Reads(Callback):
        def on_train_begin(self, logs: Any) -> None:
            seen.append(dict(logs))

        def on_epoch_begin(self, epoch: int, logs: Any) -> None:
            seen.append(dict(logs))

        def on_train_batch_begin(self, batch: int, logs: Any) -> None:
            seen.append(dict(logs))

    callbacks = [Writes(), Reads()]
    _, history = fit(callbacks=callbacks)
    assert len(seen) == 1 + 2 + 4
    assert not any(seen)
    assert "mine" not in history.history
    assert len(callbacks) == 2  # the list of the caller
