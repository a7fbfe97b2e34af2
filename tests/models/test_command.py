"""`python -m models` as its user meets it, in a second process where that matters."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from models import __main__ as command
from models import networks
from models.datasets import FASHION_MNIST_FILES

ROOT = Path(__file__).parents[2]


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "models", *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )


def png_files(folder: Path) -> list[str]:
    for path in folder.iterdir():
        assert path.read_bytes().startswith(b"\x89PNG"), path
    return sorted(path.name for path in folder.iterdir())


def test_everything_quickly_in_a_process_of_its_own(tmp_path: Path) -> None:
    """All networks on data that needs no network; quiet, since this is no terminal."""
    done = run("--quick", "--data", "digits", "--pictures", str(tmp_path / "new" / "pictures"))
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    for system in ("S1", "S2", "S3", "S4", "S5"):
        assert f"\n{system} " in done.stdout
    assert "0.978022" in done.stdout  # the chapter's score stands beside ours
    assert "\x1b" not in done.stdout  # neither colour nor a moving bar
    names = png_files(tmp_path / "new" / "pictures")
    assert len(names) == 14
    for name in names:
        assert name in done.stdout
    for what in ("S1-SingleLayer-weights", "S5-MultiClassNetwork-batch32-samples"):
        assert f"{what}.png" in names


def test_one_network_with_settings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = "minibatch --epochs 3 --batch-size 64 --units 4 --l1 0.1 --l2 0 --learning-rate 0.5"
    assert command.main([*options.split(), "--pictures", str(tmp_path)]) == 0
    row = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("S4 "))
    assert row.split()[4:6] == ["64", "3"]
    assert png_files(tmp_path) == [
        "S4-MinibatchNetwork-batch64-accuracy.png",
        "S4-MinibatchNetwork-batch64-loss.png",
    ]


def test_no_pictures_and_no_epochs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert command.main(["single", "--epochs", "0", "--no-pictures"]) == 0
    assert "\nS1 SingleLayer" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []
    assert command.main(["multiclass", "--data", "digits", "--epochs", "0"]) == 0
    assert png_files(tmp_path / "pictures") == ["S5-MultiClassNetwork-batch32-samples.png"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["triple"], "invalid choice: 'triple'"),
        (["single", "--epochs", "-1"], "expected an integer of at least 0, got '-1'"),
        (["dual", "--units", "two"], "expected an integer of at least 1, got 'two'"),
        (["dual", "--learning-rate", "nan"], "expected a number of at least 0, got 'nan'"),
        (["single", "--units", "3"], "single has no --units"),
        (["--epochs", "3"], "name it"),
        (["dual", "--download"], "for multiclass"),
        (["multiclass", "--data", "digits", "--download"], "not for --data digits"),
    ],
)
def test_wrong_options_are_refused_with_code_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        command.main(arguments)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_missing_data_and_a_bad_folder_end_with_code_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(["multiclass", "--folder", str(tmp_path), "--no-pictures"]) == 1
    assert str(tmp_path) in capsys.readouterr().err
    for file in FASHION_MNIST_FILES:
        (tmp_path / file.name).write_bytes(b"no archive")
    assert command.main(["multiclass", "--folder", str(tmp_path), "--no-pictures"]) == 1
    assert FASHION_MNIST_FILES[0].name in capsys.readouterr().err
    (tmp_path / "file").touch()
    assert command.main(["single", "--pictures", str(tmp_path / "file")]) == 1
    assert "file" in capsys.readouterr().err


def test_without_fashion_mnist_it_takes_the_digits_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "find_fashion_mnist", lambda: None)
    assert command.main(["multiclass", "--epochs", "1", "--no-pictures"]) == 0
    out = capsys.readouterr().out
    assert "was not found" in out
    assert "MultiClassNetwork digits" in out


def test_help_names_every_network_and_setting() -> None:
    text = run("--help").stdout
    for name in command.NAMES:
        assert name in text
    for setting in command.SETTINGS:
        assert f"--{setting.replace('_', '-')}" in text


def test_interrupted_it_shows_what_is_finished(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fit = networks.SingleLayer.fit

    def interrupted_in_S2(network: Any, *arguments: Any, **settings: Any) -> Any:
        if isinstance(network, networks.DualLayer):
            raise KeyboardInterrupt
        return fit(network, *arguments, **settings)

    monkeypatch.setattr(networks.SingleLayer, "fit", interrupted_in_S2)
    assert command.main(["--quick", "--data", "digits", "--no-pictures"]) == 130
    out = capsys.readouterr().out
    assert "interrupted; 1 of 6 networks were trained" in out
    assert "S1 SingleLayer" in out
