"""The comparison with Keras: it runs, sees what differs, and says what it cannot do."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow")
pytest.importorskip("keras")

from benchmarks import cold, pictures, tasks, twins
from benchmarks.timing import Timing
from tests.tools.keras_runs import floatx
from tests.tools.long import long

ROOT = Path(__file__).parents[2]
OWN = """
import numpy as np
from tinygrad_edu import nn

lr, batch_size, loss = 0.2, 16, "mse"
network = lambda: nn.Sequential(nn.Linear(3, 4, rng=0), nn.Tanh(), nn.Linear(4, 2, rng=1))


def data():
    x = np.random.default_rng(0).normal(size=(50, 3))
    return x[:40], x[:40, :2], x[40:], x[40:, :2]
"""


def silent(text: str) -> None:
    pass


@pytest.mark.parametrize("name", tasks.CHAPTER)
def test_the_chapters_networks_train_alike(name: str) -> None:
    with floatx("float64"):
        task = tasks.shortened(tasks.task(name, dtype="float64", data="digits"), 2)
        task = replace(task, x=task.x[:100], y=task.y[:100])
        found = twins.mathematics(task, silent)
        assert len(found.epochs) == 2
        assert list(found.ours) == ["loss", "accuracy", "val_loss", "val_accuracy"]
        # Keras rounds the penalty's factor to float32 on the way to float64.
        bound = 1e-7 if task.l2 else 1e-12
        assert max(max(epoch.values()) for epoch in found.epochs) < bound
        assert found.steps[-1] == 2 * task.steps


def test_another_training_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    with floatx("float64"):
        task = tasks.shortened(tasks.task("S6", dtype="float64", data="digits"), 1)
        settings = twins.our_settings

        def faster(task: tasks.Task) -> tuple[Any, dict[str, Any]]:
            return settings(replace(task, lr=task.lr * (1 + 1e-6)))

        monkeypatch.setattr(twins, "our_settings", faster)
        assert twins.mathematics(task, silent).weights[-1] > 1e-9


def test_all_ways_that_are_timed_give_the_same_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    task = tasks.task("S6", data="digits")
    twins.check(task)

    def faster(task: tasks.Task) -> twins.Way:
        return twins.our_fit(replace(task, lr=task.lr * 1.01))

    monkeypatch.setitem(twins.WAYS, "faster", faster)
    with pytest.raises(AssertionError, match="faster"):
        twins.check(task)


def test_a_network_of_ones_own_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN)
    with floatx("float64"):
        task = tasks.task(f"{tmp_path / 'own.py'}:network", dtype="float64")
        assert (task.lr, task.batch_size, task.loss, task.x.shape) == (0.2, 16, "mse", (40, 3))
        with pytest.raises(ValueError, match="give --dtype float64"):
            tasks.task(f"{tmp_path / 'own.py'}:network", dtype="float32")
        with pytest.raises(ValueError, match="has no 'other'"):
            tasks.task(f"{tmp_path / 'own.py'}:other", dtype="float64")
        with pytest.raises(ValueError, match="must be a Sequential, is str"):
            tasks.task(f"{tmp_path / 'own.py'}:loss", dtype="float64")


def test_the_installed_size_is_of_every_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(cold.SIDES, "alone", ("tinygrad_edu",))
    walked = (Path(at, file) for at, _, files in os.walk(ROOT / "tinygrad_edu") for file in files)
    expected = sum(path.stat().st_size for path in walked if path.suffix == ".py")
    assert cold.installed_size("alone") == expected


@long
def test_a_cold_start_is_measured_in_a_process_of_its_own() -> None:
    task = tasks.task("S2", data="digits")
    found = cold.cold_starts(task, 1)
    assert found is not None
    assert found.keys() == {"Keras", "tinygrad_edu"}
    light, heavy = found["tinygrad_edu"], found["Keras"]
    assert light["memory"][0] < heavy["memory"][0]
    assert light["process"][0] > light["import"][0] + light["epoch"][0]
    assert cold.installed_size("tinygrad_edu") < cold.installed_size("Keras")


def test_marks_are_1_2_5_10() -> None:
    assert list(twins.marks(120)) == [1, 2, 5, 10, 20, 50, 100]


def test_pictures_are_drawn(tmp_path: Path) -> None:
    curve = {key: [1.0, 0.5] for key in ("loss", "val_loss", "accuracy", "val_accuracy")}
    timings = {"Keras, fit": Timing(2, 1, 1, 1), "tinygrad_edu, fit": Timing(1, 0.5, 0.4, 0.6)}
    drawn = [
        pictures.curves("t", curve, curve, "mse", 0.9, tmp_path / "a.png"),
        pictures.difference("t", [1, 2, 5], [0.0, 1e-9, 1e-8], "float32", tmp_path / "b.png"),
        pictures.difference("t", [1, 2], [0.0, 0.0], "float64", tmp_path / "c.png"),
        pictures.times("t", timings, dict.fromkeys(timings, 1.0), tmp_path / "d.png"),
    ]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in drawn)


def command(*arguments: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments],
        capture_output=True,
        text=True,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
    )


@long
def test_the_command(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN)
    done = command(
        "keras",
        "--model",
        "own.py:network",
        "--dtype",
        "float64",
        "--epochs",
        "2",
        "--rounds",
        "1",
        folder=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    for word in ("Mathematics", "Accuracy after 2", "Speed", "Weight", "tinygrad_edu", "float64"):
        assert word in done.stdout
    assert np.all([len(line) <= 80 for line in done.stdout.splitlines()])


def test_wrong_options_are_named(tmp_path: Path) -> None:
    done = command("keras", "--model", "S9", folder=tmp_path)
    assert done.returncode == 2
    assert "S2, S4, S5, S6 or FILE.py:NAME" in done.stderr
