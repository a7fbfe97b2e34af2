"""The History: what is noted, kept and drawn."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from tinygrad_edu import History


def noted(epochs: int = 3) -> History:
    history = History()
    for epoch in range(epochs):
        history.append(
            epoch,
            {"loss": 1 / (epoch + 1), "accuracy": 0.5, "val_loss": 2.0, "val_accuracy": 0.25},
        )
    return history


def test_a_state_brings_it_back_and_is_its_own() -> None:
    history, again = noted(), History()
    again.append(7, {"other": 1.0})
    again.interrupted = True
    state = history.state_dict()
    again.load_state_dict(state)
    assert (again.history, again.epoch) == (history.history, history.epoch)
    assert not again.interrupted
    again.append(3, {"loss": 0.0})
    assert len(history.epoch) == len(state["epoch"]) == 3


def test_a_value_stands_at_the_place_of_its_epoch() -> None:
    history = History()
    for epoch, logs in enumerate([{"a": 0.0}, {"a": 1.0, "late": 1.0}, {"late": 2.0}]):
        history.append(epoch, logs)
    assert history.history["a"] == [0.0, 1.0]
    np.testing.assert_array_equal(history.history["late"], [np.nan, 1.0, 2.0])
    again = History()
    again.load_state_dict(history.state_dict())
    again.append(3, {"a": 3.0})
    np.testing.assert_array_equal(again.history["a"], [0.0, 1.0, np.nan, 3.0])


def test_a_column_that_ended_early_is_drawn_over_its_own_epochs() -> None:
    pytest.importorskip("matplotlib")
    history = noted(2)
    history.append(2, {"loss": 0.1})
    _, val = history.plot().axes[0].get_lines()
    np.testing.assert_array_equal(val.get_xdata(), [1, 2])


def test_states_that_cannot_be_one_are_refused_and_nothing_is_changed() -> None:
    history = noted()
    with pytest.raises(KeyError, match="epoch"):
        history.load_state_dict({"loss": [1.0]})
    with pytest.raises(ValueError, match="'loss' has 2 entries for 1 epochs"):
        history.load_state_dict({"epoch": [0], "loss": [1.0, 2.0]})
    assert history.state_dict() == noted().state_dict()


def test_in_print() -> None:
    assert repr(History()) == "History(0 epochs)"
    history = noted(2)
    history.interrupted = True
    assert repr(history) == (
        "History(2 epochs, interrupted: loss 0.5, accuracy 0.5, val_loss 2, val_accuracy 0.25)"
    )


def test_the_picture_has_a_panel_for_each_quantity(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    history = noted()
    history.add({"val_late": 4.0})
    figure = history.plot(tmp_path / "training.png", title="S6 on Fashion-MNIST")
    assert (tmp_path / "training.png").read_bytes().startswith(b"\x89PNG")
    assert figure._repr_png_().startswith(b"\x89PNG")  # as a notebook shows it
    assert figure.get_suptitle() == "S6 on Fashion-MNIST"
    assert [axes.get_ylabel() for axes in figure.axes] == ["loss", "accuracy", "late"]
    for axes in figure.axes:
        assert axes.get_xlabel() == "epoch"
    loss, late = figure.axes[0], figure.axes[2]
    train, val = loss.get_lines()
    np.testing.assert_array_equal(train.get_xdata(), [1, 2, 3])
    np.testing.assert_array_equal(train.get_ydata(), history.history["loss"])
    np.testing.assert_array_equal(val.get_ydata(), history.history["val_loss"])
    assert train.get_linestyle() != val.get_linestyle()  # told apart in grey
    assert [text.get_text() for text in loss.get_legend().get_texts()] == ["training", "validation"]
    np.testing.assert_array_equal(late.get_lines()[0].get_ydata(), [np.nan, np.nan, 4.0])


def test_what_cannot_be_drawn_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    assert [axes.get_ylabel() for axes in noted().plot(keys=["accuracy"]).axes] == ["accuracy"]
    with pytest.raises(KeyError, match="no 'mae'; it has loss, accuracy, val_loss"):
        noted().plot(keys=["mae"])
    with pytest.raises(ValueError, match="no epoch to plot"):
        History().plot()
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"pip install 'tinygrad_edu\[training\]'"):
        noted().plot()


def test_a_notebook_shows_the_last_epochs() -> None:
    history = History()
    for k in range(12):
        history.append(k, {"loss": 1 / (k + 1), **({"a<b": 0.5} if k < 11 else {})})
    shown = history._repr_html_()
    assert shown.count("<tr>") == 11
    assert "<td>epoch</td><td>loss</td><td>a&lt;b</td>" in shown
    assert "<td>2</td><td>0.3333</td><td>0.5</td>" in shown
    assert "<td>11</td><td>0.08333</td><td></td>" in shown
    assert "<td>1</td><td>0.5</td>" not in shown
