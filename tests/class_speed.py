"""How soon a class of 150 has its first row and its last: the command, on a folder made for it.

    python -m tests.class_speed                  150 submissions
    python -m tests.class_speed --submissions 20 --sandbox off

The task is a network of two layers. A third of the submissions is right, a third are claims with a
mistake planted by `tests.mistakes`, a third are programs with a line that is wrong.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.mistakes import SYSTEMS, planted

TASK = """
shapes = {"X": "m n", "Y": "m k onehot", "W1": "n h", "b1": "h", "W2": "h k", "b2": "k"}
wrt = ["W1", "b1", "W2", "b2"]

def forward(X, Y, W1, b1, W2, b2):
    m = len(X)
    Z1 = X @ W1 + b1
    A1 = tg.sigmoid(Z1)
    Z2 = A1 @ W2 + b2
    A2 = tg.softmax(Z2)
    return -(Y * np.log(A2)).sum() / m
"""
PROGRAM = """
class MultiClassNetwork:
    def backprop(self, X, Y):
        m = len(X)
        err = self.A2 - Y
        w2_grad = np.dot(self.A1.T, err) / m
        b2_grad = np.sum(err, axis=0) / m
        err_to_hidden = np.dot(err, self.W2.T) * self.A1 * (1 - self.A1)
        w1_grad = np.dot(X.T, err_to_hidden) / m
        b1_grad = np.sum(err_to_hidden, axis=0) / m
        return {"W1": w1_grad, "b1": b1_grad, "W2": w2_grad, "b2": b2_grad}
"""
SLIPS = [
    ("np.sum(err, axis=0)", "np.sum(err)"),
    ("self.A1.T, err", "self.A1, err"),
    (" * self.A1 * (1 - self.A1)", ""),
    ("self.A2 - Y", "Y - self.A2"),
    ("np.dot(X.T, err_to_hidden) / m", "np.dot(X.T, err_to_hidden)"),
    ("(1 - self.A1)", "(1 - self.A1**2)"),
    ("np.dot(err, self.W2.T)", "np.dot(err, self.W2)"),
    ("axis=0) / m\n        return", "axis=1) / m\n        return"),
]


def submissions(n: int) -> list[str]:
    """Return the texts of n submissions."""
    system = next(s for s in SYSTEMS if s.name == "multi")
    right = {name: system.right[name] for name in ("W1", "b1", "W2", "b2")}
    wrong = [m for m in planted(system) if m.target in right]
    texts = []
    for i in range(n):
        if i % 3 == 0:
            texts.append(PROGRAM if i % 2 else f"claims = {right!r}\n")
        elif i % 3 == 1:
            mistake = wrong[7 * i % len(wrong)]
            texts.append(f"claims = { {**right, mistake.target: mistake.text}!r}\n")
        else:
            old, new = SLIPS[i // 3 % len(SLIPS)]
            assert old in PROGRAM
            texts.append(PROGRAM.replace(old, new))
    return texts


def main() -> int:
    """Run the command on such a folder; print when the first row and the last were there."""
    parser = argparse.ArgumentParser(description="Time the check of a class.")
    parser.add_argument("--submissions", type=int, default=150)
    parser.add_argument("--sandbox", default="auto")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        (root / "class").mkdir()
        (root / "task.py").write_text(TASK)
        for i, text in enumerate(submissions(options.submissions)):
            (root / "class" / f"student{i:03}.py").write_text(text)
        command = [
            *(sys.executable, "-m", "tinygrad_edu", "verify", str(root / "class")),
            *("--task", str(root / "task.py"), "--format", "table"),
            *("--sandbox", options.sandbox, "--jobs", str(options.jobs)),
        ]
        start, before = time.perf_counter(), os.times()
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, encoding="utf-8")
        assert process.stdout is not None
        lines: list[tuple[float, str]] = []
        for line in process.stdout:
            lines.append((time.perf_counter() - start, line))
        process.wait()
    after = os.times()
    last = [line for _, line in lines[options.submissions :]]
    print("".join(last), end="")
    print(f"first row after {lines[0][0]:.1f} s, last after {lines[-1][0]:.1f} s")
    used = after.children_user + after.children_system
    used -= before.children_user + before.children_system
    print(f"processor time of all processes {used:.1f} s; load {os.getloadavg()[0]:.1f}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
