"""Submissions that cheat, misbehave, or are odd but honest, and what becomes of a class with them.

    python -m tests.hostile                  all of them, with the sandbox where it starts
    python -m tests.hostile --sandbox off    without those that would harm what is outside of it
    python -m tests.hostile --only NAME -v

They are in the text files beside this one. A forgery is a wrong derivation that does what it can to
be called right. It must not be; those that have a library differentiate are right, and marked. A
submission that misbehaves costs its own row and no other. An odd but honest one is right. And
nothing outside is touched: the files of others, the task, a file beside them, the library; and no
process is left behind.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tinygrad_edu.verifying.answers import Outcome
from tinygrad_edu.verifying.submissions import check_folder

TASK = """
shapes = {"X": "m n", "Y": "m k onehot", "W": "n k", "b": "k"}
wrt = ["W", "b"]

def forward(X, Y, W, b):
    A = tg.softmax(X @ W + b)
    return -(Y * np.log(A)).sum() / len(X)
"""
RIGHT_CLAIMS = 'claims = {"W": "X.T @ (A - Y) / m", "b": "np.sum(A - Y, axis=0) / m"}\n'
WRONG_CLAIMS = 'claims = {"W": "X.T @ (A - Y)", "b": "np.sum(A - Y) / m"}\n'
RIGHT = """
def backprop(X, Y, A):
    m = len(X)
    err = A - Y
    W_grad = np.dot(X.T, err) / m
    b_grad = np.sum(err, axis=0) / m
    return W_grad, b_grad
"""
WRONG = RIGHT.replace(", axis=0", "").replace("X.T, err) / m", "X.T, err)")
MARKER = "8765.4321"  # seconds that what is left behind would sleep: how it is found again
ROW = json.dumps({"code": 0, "report": {"right": True, "claims": [], "notes": []}, "marks": []})

# Parts that submissions of the text files share: @NAME@ there.
EVERY_DESCRIPTOR = """
import os
def send(data):
    for descriptor in range(3, 64):
        try:
            os.write(descriptor, data)
        except OSError:
            pass
"""
FRAMES = """
import sys, gc
def looked_up():
    frame = sys._getframe()
    while frame is not None:
        for value in frame.f_locals.values():
            gradients = getattr(value, "gradients", None)
            if isinstance(gradients, dict) and "W" in gradients:
                return gradients
        frame = frame.f_back
    for value in gc.get_objects():
        if isinstance(value, dict) and isinstance(value.get("gradients"), dict):
            return value["gradients"]
        if type(value).__name__ in ("Problem", "Truth"):
            return getattr(value, "gradients", None)
"""
EVERYWHERE = """
import os
def files(names):
    for root in ("/", "..", "/tmp", os.path.expanduser("~")):
        for folder, inside, found in os.walk(root):
            inside[:] = [d for d in inside if d not in ("proc", "sys", "usr", "dev", "lib")]
            for name in found:
                if name in names or not names and name.endswith(".py"):
                    yield os.path.join(folder, name)
"""
PARTS = {
    "SEND": EVERY_DESCRIPTOR,
    "FRAMES": FRAMES,
    "EVERYWHERE": EVERYWHERE,
    "ROW": repr(ROW.encode()),
    "ROWTEXT": repr(ROW),
    "MARKER": repr(MARKER),
    "TASK": TASK,
    "RIGHT": RIGHT,
    "WRONG": WRONG,
    "RIGHT_CLAIMS": RIGHT_CLAIMS,
    "WRONG_CLAIMS": WRONG_CLAIMS,
}


@dataclass(frozen=True)
class Entry:
    """A submission: its files, and whether it would harm what is outside of the sandbox."""

    name: str
    files: dict[str, bytes]
    harms: bool = False


def entry(name: str, source: str | bytes, harms: bool = False, ending: str = ".py") -> Entry:
    """Return a submission of one file."""
    data = source.encode() if isinstance(source, str) else source
    return Entry(name, {f"{name}{ending}": data}, harms)


def listed(file: str) -> list[Entry]:
    """Return the submissions of a text file, each below a line `#### name`."""
    text = (Path(__file__).parent / file).read_text(encoding="utf-8")
    found = []
    for section in text.split("\n#### ")[1:]:
        title, _, source = section.partition("\n")
        name = title.removesuffix(" (harms)")
        source = re.sub(r"@([A-Z_]+)@", lambda part: PARTS[part[1]], source)
        found.append(entry(name, source, harms=name != title))
    return found


def notebook(*cells: str | list[str]) -> bytes:
    """Return a notebook with these code cells, and a text cell in front."""
    made: list[object] = [{"cell_type": "markdown", "source": "# Homework", "metadata": {}}]
    for source in cells:
        made.append({"cell_type": "code", "source": source, "metadata": {}, "outputs": []})
    return json.dumps({"cells": made, "nbformat": 4, "nbformat_minor": 5}).encode()


DEEP = "[" * 100_000
KOREAN = "# 순전파와 역전파: 오차를 뒤로 보냅니다\n"
SLIDES = "∂L/∂W = Xᵀ(A − Y)/m\n∂L/∂b = 1ᵀ(A − Y)/m\n"
LINES = "E = (A − Y)/m\n∂L/∂W = XᵀE\n∂L/∂b = 1ᵀE\n"
MAGICS = ("%matplotlib inline\n!pip list\nnp.sum?", "%%time\n" + RIGHT, "%%html\n<b>hello</b>")

FORGERIES = listed("forgeries.txt")
DIFFERENTIATING = listed("differentiating.txt")
MISBEHAVING = [
    *listed("misbehaving.txt"),
    entry("nulls", b"\0\0\0"),
    entry("binary", bytes(range(256)) * 100),
    entry("nested_source", "claims = {'W': " + DEEP + "}"),
    entry("large", "# " + "x" * 1_100_000),
    entry("empty", ""),
    entry("deep_notebook", DEEP, ending=".ipynb"),
    entry("no_notebook", '{"cells": [{"source": 1}]}', ending=".ipynb"),
]
HONEST = [
    *listed("honest.txt"),
    entry("cp949", ("# -*- coding: cp949 -*-\n" + KOREAN + RIGHT).encode("cp949")),
    entry("euc_kr", ("# coding: euc-kr\n" + KOREAN + RIGHT_CLAIMS).encode("euc-kr")),
    entry("byte_order_mark", (KOREAN + RIGHT).encode("utf-8-sig")),
    entry("utf16", (KOREAN + RIGHT).encode("utf-16")),
    entry("windows_lines", RIGHT.replace("\n", "\r\n")),
    entry("old_mac_lines", RIGHT.replace("\n", "\r")),
    entry("notebook", notebook("import numpy as np", RIGHT), ending=".ipynb"),
    entry("notebook_magics", notebook(*MAGICS), ending=".ipynb"),
    entry("notebook_lines", notebook(RIGHT.splitlines(keepends=True)), ending=".ipynb"),
    entry("notebook_claims", notebook(RIGHT_CLAIMS), ending=".ipynb"),
    entry("text", SLIDES, ending=".txt"),
    entry("text_with_names", LINES, ending=".txt"),
    Entry("folder", {"folder/net.py": RIGHT.encode(), "folder/notes.txt": b"hello"}),
    Entry(
        "folder_with_module",
        {
            "folder_with_module/hw/main.py": b"from helper import mean\n"
            + RIGHT.replace("np.sum(err, axis=0) / m", "mean(err)").encode(),
            "folder_with_module/helper.py": b"def mean(x):\n    return x.mean(axis=0)\n",
            "folder_with_module/__pycache__/x.py": b"backprop = 1",
            "folder_with_module/.ipynb_checkpoints/net.ipynb": notebook(WRONG),
        },
    ),
    Entry(
        "folder_with_data",
        {
            "folder_with_data/main.py": b"s = float(open('scale.csv').read())\n"
            + RIGHT.replace("/ m", "/ m * s").encode(),
            "folder_with_data/scale.csv": b"1.0",
        },
    ),
    Entry("folder_notebook", {"folder_notebook/1.ipynb": notebook(RIGHT)}),
]


# --- a class of them ------------------------------------------------------------------------------


@dataclass
class Result:
    """The outcome of a class: each row by the name of its entry, and what was touched outside."""

    rows: dict[str, Outcome]
    touched: list[str]
    seconds: float


def run(
    entries: list[Entry], sandbox: bool, jobs: int = 2, seconds: float = 3.0, megabytes: int = 1500
) -> Result:
    """Check a class of these entries between two right submissions."""
    with tempfile.TemporaryDirectory(prefix="class-") as place:
        root = Path(place)
        folder, task = root / "class", root / "task.py"
        task.write_text(TASK)
        (root / "canary.txt").write_text("alive")
        for one in (entry("right_a", RIGHT), *entries, entry("right_z", RIGHT_CLAIMS)):
            for name, data in one.files.items():
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
        before, start = contents(root), time.perf_counter()
        found = check_folder(
            folder, task, jobs=jobs, seconds=seconds, megabytes=megabytes, sandbox=sandbox
        )
        took = time.perf_counter() - start
        touched = [f"changed: {p}" for p, h in contents(root).items() if before.get(p) != h]
        touched += [f"gone: {p}" for p in before.keys() - contents(root).keys()]
    rows = {outcome.file.partition("/")[0].rsplit(".", 1)[0]: outcome for outcome in found}
    return Result(rows, touched + left_behind(), took)


def contents(root: Path) -> dict[str, str]:
    """Return a hash of each file below a folder, of the library too."""
    library = Path(sys.modules["tinygrad_edu"].__file__ or "").parent / "verifying"
    paths = [*root.rglob("*"), *library.glob("*.py")]
    return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in paths if p.is_file()}


def left_behind() -> list[str]:
    """Return the processes that submissions have started and that still run."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes()
        except OSError:
            continue
        if MARKER.encode() in command and int(process.name) != os.getpid():
            found.append(f"process {process.name}: {command!r}")
    return found


def complaints(result: Result, entries: list[Entry]) -> list[str]:
    """Return what is not as it must be."""
    found = list(result.touched)
    wanted = {one.name for one in entries} | {"right_a", "right_z"}
    found += [f"no row: {name}" for name in wanted - result.rows.keys()]
    honest = {one.name for one in HONEST} | {"right_a", "right_z"}
    marked = {one.name for one in DIFFERENTIATING}
    for name in sorted(wanted & result.rows.keys()):
        row = result.rows[name]
        right, seen = row.code == 0, any("derivatives" in mark for mark in row.marks)
        if right != (name in honest | marked):
            told = row.reason or [(c["name"], c["reason"]) for c in row.report["claims"]]
            found.append(f"{name} is {'right' if right else f'not right: {told}'}")
        if name in marked and not seen:
            found.append(f"{name} is not marked")
        if name in honest and row.marks:
            found.append(f"{name} is marked: {row.marks}")
    return found
