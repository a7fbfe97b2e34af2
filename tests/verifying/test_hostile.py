"""A class with forgeries, misbehaving and odd submissions: some of those of `tests.hostile`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.hostile import (
    DIFFERENTIATING,
    FORGERIES,
    HONEST,
    MISBEHAVING,
    RIGHT,
    RIGHT_CLAIMS,
    TASK,
    WRONG,
    Entry,
    Result,
    complaints,
    entry,
    run,
)
from tinygrad_edu.verifying.answers import Outcome
from tinygrad_edu.verifying.limits import sandbox_trouble
from tinygrad_edu.verifying.submissions import check_folder

SOME = [
    "descriptor_wire",
    "exit_with_output",
    "patch_comparison",
    "patch_log",
    "frames",
    "thread",
    "liar",
    "edits_task",
    "by_hidden_grad",
    "endless",
    "own_list",
    "hard_exit",
    "own_exception",
    "nulls",
    "deep_notebook",
    "surrogate_error",
    "cp949",
    "notebook_magics",
    "text",
    "folder_with_module",
    "any_names",
]
TABLES = [*FORGERIES, *DIFFERENTIATING, *MISBEHAVING, *HONEST]


def test_the_tables_are_as_large_as_they_are_said_to_be() -> None:
    assert len(FORGERIES) >= 30 and len(MISBEHAVING) >= 36 and len(HONEST) >= 37
    names = [one.name for one in TABLES]
    assert len(names) == len(set(names)) and set(SOME) <= set(names)


@pytest.mark.parametrize("sandbox", [False, True])
def test_each_costs_only_its_own_row(sandbox: bool) -> None:
    if sandbox and sandbox_trouble():
        pytest.skip(f"no sandbox: {sandbox_trouble()}")
    chosen = [one for one in TABLES if one.name in SOME[sandbox::2] and (sandbox or not one.harms)]
    assert complaints(run(chosen, sandbox), chosen) == []


def test_what_is_not_as_it_must_be_is_found() -> None:
    right = Outcome("x", 0, report={"claims": [], "right": True, "notes": []})
    wrong = Outcome("x", 2, "no reason")
    rows = {"right_a": right, "right_z": wrong, "liar": right, "cp949": wrong, "by_grad": right}
    chosen = [entry(name, "") for name in ("liar", "cp949", "by_grad", "endless")]
    found = complaints(Result(rows, ["changed: task.py"], 0.0), chosen)
    assert found == [
        "changed: task.py",
        "no row: endless",
        "by_grad is not marked",
        "cp949 is not right: no reason",
        "liar is right",
        "right_z is not right: no reason",
    ]


def test_without_a_sandbox_a_changed_task_or_file_changes_no_verdict(tmp_path: Path) -> None:
    """Task and submissions are read before anything runs."""
    folder, task = tmp_path / "class", tmp_path / "task.py"
    folder.mkdir()
    task.write_text(TASK)
    paths = [str(task), str(folder / "b_right.py"), str(folder / "c_wrong.py")]
    vandal = f"for p in {paths!r}:\n    open(p, 'w').write('forward = lambda W: (0 * W).sum()')\n"
    texts = {"a_vandal": vandal + WRONG, "b_right": RIGHT, "c_wrong": WRONG, "d": RIGHT_CLAIMS}
    for name, text in texts.items():
        (folder / f"{name}.py").write_text(text)
    found = check_folder(folder, task, jobs=1, sandbox=False)
    assert [outcome.code for outcome in found] == [1, 0, 1, 0]
    assert task.read_text() != TASK  # it did what it could


def test_a_sandbox_shows_nothing_of_what_is_outside(tmp_path: Path) -> None:
    if sandbox_trouble():
        pytest.skip(f"no sandbox: {sandbox_trouble()}")
    (tmp_path / "class").mkdir()
    (tmp_path / "task.py").write_text(TASK)
    spy = "import os\nraise ValueError(os.path.exists(OUTSIDE), os.getppid(), os.listdir())"
    spy = spy.replace("OUTSIDE", repr(str(tmp_path)))
    (tmp_path / "class" / "spy.py").write_text(spy)
    (found,) = check_folder(tmp_path / "class", tmp_path / "task.py", sandbox=True)
    assert found.reason.endswith("ValueError: (False, 1, [])")


def test_entries_of_the_text_files_have_their_parts() -> None:
    sources = {one.name: b"".join(one.files.values()).decode() for one in FORGERIES}
    assert "def backprop" in sources["patch_comparison"] and "@" not in sources["frames"]
    assert isinstance(FORGERIES[0], Entry)
