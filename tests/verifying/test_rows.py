"""The rows of a class: numbers of claims, empty folders, order, messages, syntax errors."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pytest

from tests.hostile import RIGHT, RIGHT_CLAIMS, TASK, notebook
from tinygrad_edu import __main__ as command
from tinygrad_edu.verifying import mistakes  # noqa: F401  (declares them)
from tinygrad_edu.verifying.answers import Outcome
from tinygrad_edu.verifying.collecting import submissions_in
from tinygrad_edu.verifying.sources import Unreadable, read_source
from tinygrad_edu.verifying.submissions import check_folder
from tinygrad_edu.verifying.table import Printer, summary, table_line, to_csv, to_json
from tinygrad_edu.verifying.wording import error_text

UNASKED = TASK.replace('wrt = ["W", "b"]', "")
AXIS = RIGHT.replace(", axis=0", "")


def folder_of(place: Path, texts: dict[str, str], task: str = TASK) -> tuple[Path, Path]:
    """Write submissions and a task; return both paths."""
    place.mkdir(exist_ok=True)
    (place / "task.py").write_text(task)
    for name, text in texts.items():
        path = place / "class" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return place / "class", place / "task.py"


BROKEN = {
    "a.py": "",
    "b.py": "x = (\n",
    "c.py": "raise ValueError",
    "d.py": "x = 1",
    "e/readme.pdf": "",
    "f.py": RIGHT_CLAIMS,
}


# --- how many claims there are --------------------------------------------------------------------


def test_a_row_that_cannot_be_checked_has_the_number_of_claims_of_the_task(tmp_path: Path) -> None:
    found = check_folder(*folder_of(tmp_path, BROKEN))
    rows = list(csv.DictReader(io.StringIO(to_csv(found))))
    assert [(row["right"], row["claims"]) for row in rows] == [("0", "2")] * 5 + [("2", "2")]
    assert [o.code for o in found] == [2] * 5 + [0]
    assert all("  cannot be checked  0/2  " in table_line(o) for o in found[:-1])


def test_a_task_that_asks_for_no_names_leaves_a_dash(tmp_path: Path) -> None:
    found = check_folder(*folder_of(tmp_path, {"a.py": "", "b.py": "raise"}, UNASKED))
    rows = list(csv.DictReader(io.StringIO(to_csv(found))))
    assert [row["claims"] for row in rows] == ["–", "–"]
    assert [row["claims"] for row in json.loads(to_json(found))] == [None, None]
    assert all("0/–" in table_line(o) for o in found)


def test_a_task_without_forward_asks_too(tmp_path: Path) -> None:
    found = check_folder(*folder_of(tmp_path, {"a.py": ""}, "wrt = ['W', 'b', 'c']"))
    assert found[0].row()["claims"] == 3
    assert check_folder(tmp_path / "class")[0].row()["claims"] is None  # no task at all


# --- each student has a row -----------------------------------------------------------------------


def test_an_empty_folder_has_a_row(tmp_path: Path) -> None:
    folder, task = folder_of(tmp_path, {"ada.py": RIGHT_CLAIMS, "dan/notes.pdf": "x"})
    for name in ("bob", "cyd/inner", "eve/.git", "eve/__pycache__"):
        (folder / name).mkdir(parents=True)
    found = {s.name: s.refusal.what if s.refusal else "" for s in submissions_in(folder)}
    empty = dict.fromkeys(("bob", "cyd", "eve"), "empty-folder")
    assert found == {"ada.py": "", "dan": "no-files", **empty}
    rows = check_folder(folder, task)
    assert [o.file for o in rows] == ["ada.py", "bob", "cyd", "dan", "eve"]
    assert rows[1].reason == "the folder is empty"


# --- order ----------------------------------------------------------------------------------------

SLOW = "import time\ntime.sleep(1)\n" + RIGHT


@pytest.mark.parametrize("form", ["table", "csv", "json", "text"])
def test_rows_are_in_the_order_of_names(
    tmp_path: Path, form: str, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    texts = {"a.py": SLOW, "b/x.py": RIGHT_CLAIMS, "b.py": "", "c.txt": "W = X", "d.py": AXIS}
    folder, task = folder_of(tmp_path, texts)
    arguments = ["verify", str(folder), "--task", str(task), "--sandbox", "off", "--jobs", "2"]
    command.main([*arguments, "--format", form])
    out = capfdbinary.readouterr().out.decode("utf-8-sig")
    names = re.findall(r"\b[abcd](?:/x)?\.(?:py|txt)", out)
    assert list(dict.fromkeys(names)) == ["a.py", "b.py", "b/x.py", "c.txt", "d.py"]


def test_a_row_waits_only_for_those_before_it(capsys: pytest.CaptureFixture[str]) -> None:
    names = ["a.py", "b.py", "c.py", "d.py"]
    rows = command._Rows(Printer(), "table", "en", names)
    shown = []
    for name in ("b.py", "a.py", "d.py", "c.py"):
        rows.add(Outcome(name, 2, "it is empty"))
        shown.append(re.findall(r"\w\.py", capsys.readouterr().out))
    assert shown == [[], ["a.py", "b.py"], [], ["c.py", "d.py"]]


@pytest.mark.parametrize("form", ["table", "csv", "json", "text"])
def test_an_interrupt_loses_no_row(
    form: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> object:
        yield Outcome("b.py", 2, "it is empty")
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "outcomes", interrupted)
    folder, task = folder_of(tmp_path, {"a.py": RIGHT, "b.py": RIGHT})
    arguments = ["verify", str(folder), "--task", str(task), "--sandbox", "off"]
    assert command.main([*arguments, "--format", form]) == command.INTERRUPTED
    assert "b.py" in capfd.readouterr().out


# --- hints ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("lang", ["en", "ko"])
@pytest.mark.parametrize("text", [AXIS, AXIS.replace("A - Y", "Y - A"), RIGHT.replace("X.T", "X")])
def test_no_row_ends_in_a_colon(tmp_path: Path, text: str, lang: str) -> None:
    folder, task = folder_of(tmp_path, {"ada.py": text, "bob.py": "claims = {'W': 'X.T @ E9'}"})
    for hints in range(4):
        found = check_folder(folder, task, hints=hints, lang=lang)
        lines = [table_line(o, lang=lang) for o in found] + summary(found, "", lang).splitlines()
        assert not [line for line in lines[:-1] if line.rstrip().endswith(":") and "∂" in line]
        assert not [line for line in lines if re.search(r"∂L/∂\w+:\s*( |$)( |$)", line)]
    assert "∂L/∂" in lines[0]


def test_the_first_hint_says_where_to_look() -> None:
    claim = {"name": "b", "status": "wrong", "kinds": (), "reason": "", "after": ""}
    report = {"claims": [{**claim, "before": "b = E.sum()"}], "notes": []}
    line = table_line(Outcome("ada.py", 1, report=report))
    assert line.endswith("wrong  0/1  ∂L/∂b  look at b = E.sum()")


# --- messages -------------------------------------------------------------------------------------

SILENT = [
    ("raise ValueError", "running the file fails: ValueError"),
    ("assert 1 > 2", "running the file fails: AssertionError"),
    ("class Mine(Exception): pass\nraise Mine", "running the file fails: Mine"),
    ("class Mine(Exception): pass\nraise Mine('no')", "running the file fails: Mine: no"),
    ("raise ValueError('  ')", "running the file fails: ValueError"),
    ("raise StopIteration", "running the file fails: StopIteration"),
]


def test_an_exception_without_a_message_is_told_by_its_type(tmp_path: Path) -> None:
    texts = {f"{i}.py": text for i, (text, _) in enumerate(SILENT)}
    found = check_folder(*folder_of(tmp_path, texts))
    assert [o.reason for o in found] == [said for _, said in SILENT]
    inside = {"a.py": "def backprop(X):\n    raise NotImplementedError"}
    reason = check_folder(*folder_of(tmp_path / "in", inside))[0].reason
    assert reason.endswith("NotImplementedError")


def test_an_exception_that_cannot_be_printed() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise ValueError

    assert error_text(Mute()) == "Mute"


# --- syntax errors --------------------------------------------------------------------------------

POINTED = [
    ("x = (\n", "line 1: the Python is wrong: '(' was never closed\n    x = (\n        ^"),
    ("def f(:\n", "    def f(:\n          ^"),
    (
        "if x:\n  y = 1 +\n",
        "line 2: the Python is wrong: invalid syntax\n    y = 1 +\n           ^",
    ),
    ("\treturn 1\n", "    return 1\n"),
    ("return 1\n", "line 1: the Python is wrong: 'return' outside function\n    return 1\n    ^"),
    ("가 = (1 +* 2)\n", "    가 = (1 +* 2)\n             ^"),  # two columns for the letter
    ("x = [" + "1, " * 100 + "2 3]\n", "\n    "),
]


@pytest.mark.parametrize(("text", "said"), POINTED)
def test_a_syntax_error_is_shown_with_its_line_and_a_caret(text: str, said: str) -> None:
    with pytest.raises(Unreadable) as caught:
        read_source("a.py", text.encode())
    message = str(caught.value)
    assert said in message and message.endswith("^")
    assert max(map(len, message.split("\n"))) < 120
    with pytest.raises(Unreadable, match=r"cell 2, line [12](.|\n)*\^$"):
        read_source("a.ipynb", notebook("x = 1", text))


def test_a_table_has_the_line_of_a_syntax_error(tmp_path: Path) -> None:
    found = check_folder(*folder_of(tmp_path, {"a.py": "x = 1\ny = (\n"}))
    assert table_line(found[0]).endswith("'(' was never closed  y = (")
    assert found[0].text().endswith("\n    y = (\n        ^")
    assert "\n" not in summary(found, "").splitlines()[2]
