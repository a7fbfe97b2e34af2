"""The assignment of docs/grading.md: its cells are run in order, and its test for Otter.

`python -m tests.notebooks` has nbgrader and Otter themselves do it, where they are installed.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.notebooks import HINT, cells, forgetful, notebook, students


def run(cell: str, source: str, names: dict[str, Any], folder: Path) -> None:
    """Run a cell as a file, so that the source of its functions can be found."""
    path = folder / f"{cell}.py"
    path.write_text(source, encoding="utf-8")
    exec(compile(source, str(path), "exec"), names)


@pytest.mark.parametrize("student", ["ada", "bob"])
def test_the_cells_in_order(student: str, tmp_path: Path) -> None:
    sources, names = students()[student], dict[str, Any]()
    for cell in ("task", "solution"):
        run(cell, sources[cell], names, tmp_path)
    if student == "ada":
        run("test", sources["test"], names, tmp_path)
        return
    with pytest.raises(AssertionError) as caught:
        run("test", sources["test"], names, tmp_path)
    assert HINT in str(caught.value) and "axis=0" not in str(caught.value)


@pytest.mark.parametrize("student", ["ada", "bob"])
def test_the_function_that_otter_calls(
    student: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otter itself is not needed: its decorator gets the function and gives it back."""
    stand_in = ModuleType("otter.test_files")
    stand_in.test_case = lambda points: lambda function: function  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "otter", ModuleType("otter"))
    monkeypatch.setitem(sys.modules, "otter.test_files", stand_in)
    names: dict[str, Any] = {}
    for cell in ("task", "solution", "otter"):
        run(cell, students()[student][cell], names, tmp_path)
    arguments = [names[name] for name in ("forward", "backprop", "inputs")]
    if student == "ada":
        names["test_gradients"](*arguments)
        return
    with pytest.raises(AssertionError, match="WRONG"):
        names["test_gradients"](*arguments)


def test_the_notebook_hides_the_solution_and_locks_the_test() -> None:
    made = {cell["id"]: cell["metadata"]["nbgrader"] for cell in notebook(cells())["cells"]}
    assert made["solution"]["solution"] and not made["solution"]["locked"]
    assert made["test"]["grade"] and made["test"]["locked"] and made["test"]["points"] == 2


def test_the_mistake_is_one() -> None:
    assert forgetful("np.sum(err, axis=0)") == "np.sum(err)"
    with pytest.raises(AssertionError):
        forgetful("np.sum(err)")
