"""python -m tinygrad_edu verify: files, folders, and submissions that misbehave."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

import tinygrad_edu as tg
from tinygrad_edu.__main__ import main
from tinygrad_edu.verifying.sources import literals, read_source
from tinygrad_edu.verifying.submissions import check_file

FORWARD = """
shapes = {"X": "m n", "Y": "m k onehot", "W": "n k", "b": "k"}

def forward(X, Y, W, b):
    A = tg.softmax(X @ W + b)
    return -(Y * np.log(A)).sum() / len(X)
"""
RIGHT = 'claims = {"W": "X.T @ (A - Y) / m", "b": "np.sum(A - Y, axis=0) / m"}\n'
WRONG = 'claims = {"W": "X.T @ (A - Y) / m", "b": "np.sum(A - Y) / m"}\n'
BACKPROP = """
def backprop(X, Y, A):
    m = len(X)
    err = A - Y
    W_grad = np.dot(X.T, err) / m
    b_grad = np.sum(err{}) / m
    return W_grad, b_grad
"""


def write(folder: Path, name: str, text: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"tinygrad_edu {tg.__version__}\n"


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        (FORWARD + RIGHT, 0, "all 2 claims are right"),
        (FORWARD + WRONG, 1, "np.sum(A - Y, axis=0) / m"),
        (FORWARD + BACKPROP.format(", axis=0"), 0, "all 2 claims are right"),
        (FORWARD + BACKPROP.format(""), 1, "b_grad = np.sum(err, axis=0) / m"),
        (FORWARD, 2, "neither `claims` nor `backprop`"),
        (RIGHT, 2, "has no function `forward`; if it stands in another file, say so with --task"),
        ("", 2, "the file is empty"),
        ("def forward(:", 2, "line 1: the Python is wrong"),
        (FORWARD + RIGHT + "1 / 0", 2, "ZeroDivisionError"),
        (b"\xff\xfe\x00", 2, "not text in UTF-8"),
    ],
)
def test_exit_codes_and_what_is_said(
    text: str | bytes, code: int, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, "ada.py", text)
    assert main(["verify", str(path)]) == code
    printed = capsys.readouterr().out
    assert said in printed
    assert "\x1b[" not in printed


def test_a_file_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "nowhere.py"]) == 2
    assert "no such file" in capsys.readouterr().out


def test_korean_and_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, "ada.py", FORWARD + WRONG)
    assert main(["verify", str(path), "--lang", "ko", "--format", "json"]) == 1
    (row,) = json.loads(capsys.readouterr().out)
    assert row["result"] == "wrong"
    assert "원소" in row["diagnosis"]
    assert row["report"]["claims"][0]["counterexample"]["sizes"] == {"m": 1, "n": 1, "k": 2}


def test_the_chapters_class_is_checked_as_it_stands(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = """
class MultiClassNetwork:
    def forpass(self, x):
        return x

    def backprop(self, x, err):
        m = len(x)
        w2_grad = np.dot(self.a1.T, err) / m
        b2_grad = np.sum(err) / m
        err_to_hidden = np.dot(err, self.w2.T) * self.a1 * (1 - self.a1)
        w1_grad = np.dot(x.T, err_to_hidden) / m
        b1_grad = np.sum(err_to_hidden, axis=0) / m
        return w1_grad, b1_grad, w2_grad, b2_grad
"""
    task = write(
        tmp_path,
        "task.py",
        """
shapes = {"x": "m n", "y": "m k", "w1": "n h", "b1": "h", "w2": "h k", "b2": "k"}

def forward(x, y, w1, b1, w2, b2):
    a1 = tg.sigmoid(np.dot(x, w1) + b1)
    a = tg.softmax(np.dot(a1, w2) + b2)
    err = a - y
    return np.sum(-y * np.log(a)) / len(x)
""",
    )
    path = write(tmp_path, "ada.py", text)
    assert main(["verify", str(path), "--task", str(task)]) == 1
    printed = capsys.readouterr().out
    assert "1 of 4 claims is wrong" in printed
    assert "b2_grad = np.sum(err) / m (in line 9)" in printed
    assert "b2_grad = np.sum(err, axis=0) / m" in printed
    assert "only where" not in printed  # behind a softmax of one class any claim is right


def test_literals_are_read_and_not_run() -> None:
    text = '"""Ada"""\n' + RIGHT
    found = literals(read_source("ada.py", text.encode()).tree)
    assert found is not None and found["claims"]["W"] == "X.T @ (A - Y) / m"
    assert literals(read_source("eve.py", (RIGHT + "print()").encode()).tree) is None


# What a class hands in: a name, the file, and what its row says.
CLASS: dict[str, tuple[str, str]] = {
    "right": (RIGHT, "right"),
    "axis": (WRONG, "wrong"),
    "backprop": (BACKPROP.format(", axis=0"), "right"),
    "slip": (BACKPROP.format(""), "wrong"),
    "sign": (RIGHT.replace("A - Y", "Y - A"), "wrong"),
    "division": (RIGHT.replace(" / m", ""), "wrong"),
    "transpose": (RIGHT.replace("X.T", "X"), "wrong"),
    "slides": ('claims = {"W": "Xᵀ(A − Y)/m", "b": "1ᵀ(A − Y)/m"}', "right"),
    "name": (RIGHT.replace("A", "Q"), "wrong"),
    "attack": ('claims = {"W": "__import__(\'os\').abort()", "b": "A"}', "wrong"),
    "power": ('claims = {"W": "9**9**9", "b": "np.ones((10**9,))"}', "wrong"),
    "arguments": ("def backprop(X, unknown):\n    return {'W': X}", "cannot be checked"),
    "endless": ("while True:\n    pass", "cannot be checked"),
    "endless_backprop": ("def backprop(X):\n    while True:\n        pass", "cannot be checked"),
    "sleeper": ("import time\ntime.sleep(1000)", "cannot be checked"),
    "memory": ("x = [0]\nwhile True:\n    x = x + x", "cannot be checked"),
    "big_array": ("x = np.ones((10**6, 10**5))", "cannot be checked"),
    "syntax": ("def backprop(:\n", "cannot be checked"),
    "empty": ("", "cannot be checked"),
    "spaces": ("  \n\n", "cannot be checked"),
    "exit": ("import sys\nsys.exit(0)", "cannot be checked"),
    "hard_exit": ("import os\nos._exit(0)", "cannot be checked"),
    "killer": ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "cannot be checked"),
    "no_np": ("np = None\n" + BACKPROP.format(""), "cannot be checked"),
    "broken_np": ("np.sum = np.exp = np.dot = None\n" + RIGHT, "right"),  # its own np only
    "printer": ("print('x' * 10**7)\n" + RIGHT, "right"),
    "error": ("raise ValueError('no')", "cannot be checked"),
    "recursion": ("def f():\n    f()\nf()", "cannot be checked"),
    "nothing": ("x = 1", "cannot be checked"),
    "bytes": ("\0\0", "cannot be checked"),
}


def test_a_class_of_thirty_with_all_that_can_go_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert len(CLASS) == 30
    task = write(tmp_path, "task.py", FORWARD)
    folder = tmp_path / "class"
    folder.mkdir()
    for name, (text, _) in CLASS.items():
        write(folder, f"{name}.py", text)
    limits = ["--seconds", "5", "--memory", "1500", "--jobs", "3"]
    assert main(["verify", str(folder), "--task", str(task), *limits]) == 2
    rows = {
        row["file"]: row
        for row in csv.DictReader(io.StringIO(capsys.readouterr().out.lstrip("\ufeff")))
    }
    assert sorted(rows) == sorted(f"{name}.py" for name in CLASS)
    found = {name: rows[f"{name}.py"]["result"] for name in CLASS}
    assert found == {name: result for name, (_, result) in CLASS.items()}
    assert all(row["diagnosis"] for row in rows.values() if row["result"] != "right")
    assert "more than 5 seconds" in rows["endless.py"]["diagnosis"]
    assert "axis=0" in rows["axis.py"]["change"]
    assert "sys.exit" in rows["exit.py"]["diagnosis"]
    assert rows["sign.py"]["claims"] == "2"


def test_a_submission_cannot_leave_a_process_behind(tmp_path: Path) -> None:
    text = "import os, time\nif os.fork() == 0:\n    time.sleep(1000)\n"
    outcome = check_file(write(tmp_path, "forker.py", text + FORWARD + RIGHT), seconds=3.0)
    assert outcome.code in (0, 2)


def test_a_cell_is_no_formula(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "class"
    folder.mkdir()
    write(folder, "=1+1.py", FORWARD + RIGHT)
    assert main(["verify", str(folder), "--format", "csv"]) == 0
    assert "\n'=1+1.py,right" in capsys.readouterr().out


def test_a_gradient_that_the_task_asks_for_has_to_be_claimed(tmp_path: Path) -> None:
    task = write(tmp_path, "task.py", FORWARD + 'wrt = ["W", "b"]\n')
    half = write(tmp_path, "half.py", 'claims = {"W": "X.T @ (A - Y) / m"}\n')
    found = check_file(half, task)
    assert (found.code, found.row()["right"], found.row()["claims"]) == (1, 1, 2)
    assert found.row()["first mistake"] == "b" and "not claimed" in found.row()["diagnosis"]


def test_a_line_that_fails_is_the_first_mistake_of_its_function(tmp_path: Path) -> None:
    """The other lines are right, and no change of them is proposed."""
    task = write(tmp_path, "task.py", FORWARD)
    text = BACKPROP.format(", axis=0").replace("np.dot(X.T, err)", "np.dot(X, err)")
    found = check_file(write(tmp_path, "ada.py", text), task)
    row = found.row()
    assert row["first mistake"] == "W" and "np.dot(X.T, err)" in row["change"]
    b = next(claim for claim in found.report["claims"] if claim["name"] == "b")
    assert not b["after"] and "X has shape (5, 3), err has shape (5, 4)" in b["reason"]


def test_a_function_that_returns_nothing(tmp_path: Path) -> None:
    text = BACKPROP.format("").replace("return W_grad, b_grad", "pass")
    found = check_file(write(tmp_path, "ada.py", FORWARD + text))
    assert found.code == 2 and "backprop returns nothing" in found.reason
