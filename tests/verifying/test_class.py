"""A class's work: folders, rows as they are ready, forms, encodings, hints, languages."""

from __future__ import annotations

import csv
import io
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.hostile import RIGHT, RIGHT_CLAIMS, TASK, WRONG, WRONG_CLAIMS, notebook
from tinygrad_edu import __main__ as command
from tinygrad_edu.verifying.answers import Outcome, outcome_of
from tinygrad_edu.verifying.collecting import Submission, read_file, submissions_in
from tinygrad_edu.verifying.hinting import HINTS
from tinygrad_edu.verifying.limits import protections
from tinygrad_edu.verifying.sources import Unreadable, read_source
from tinygrad_edu.verifying.submissions import (
    Check,
    TaskRefused,
    check_file,
    check_folder,
    outcomes,
)
from tinygrad_edu.verifying.table import (
    Printer,
    class_mistakes,
    progress,
    summary,
    table_line,
    to_csv,
    to_json,
)
from tinygrad_edu.verifying.wording import SENTENCES

ROOT = Path(__file__).parents[2]
AXIS = RIGHT.replace(", axis=0", "")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Return a folder with a task and an empty class."""
    (tmp_path / "task.py").write_text(TASK)
    (tmp_path / "class").mkdir()
    return tmp_path


def hand_in(place: Path, **texts: str | bytes) -> list[str]:
    """Write submissions; return the arguments of the command that checks them."""
    for name, text in texts.items():
        path = place / "class" / f"{name}.py"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return ["verify", str(place / "class"), "--task", str(place / "task.py"), "--sandbox", "off"]


def run(arguments: Sequence[str], **settings: Any) -> subprocess.CompletedProcess[bytes]:
    """Run the command in a Python of its own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **settings.pop("env", {})}
    return subprocess.run(
        [sys.executable, "-m", "tinygrad_edu", *arguments],
        capture_output=True,
        env=environment,
        **settings,
    )


# --- forms ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[bytes]:
    """Return what the command prints about a small class, in cp949."""
    place = tmp_path_factory.mktemp("place")
    (place / "task.py").write_text(TASK)
    (place / "class").mkdir()
    texts = {"ada": RIGHT, "bob": AXIS, "cyd": AXIS, "dan": WRONG_CLAIMS, "eve": "raise ValueError"}
    arguments = [*hand_in(place, **texts), "--format", "table"]
    return run(arguments, env={"PYTHONIOENCODING": "cp949"})


def test_a_table_in_cp949(table: subprocess.CompletedProcess[bytes]) -> None:
    text = table.stdout.decode("cp949")
    assert table.returncode == 2 and not table.stderr
    assert "v ada.py  right  2/2" in text and "x bob.py  wrong  1/2" in text
    assert "→" in text and "1^TE" in text  # the one cp949 has, the other it has not


def test_below_the_table_the_mistakes_are_counted(
    table: subprocess.CompletedProcess[bytes],
) -> None:
    lines = table.stdout.decode("cp949").splitlines()[5:]
    assert lines[0] == "5 submissions: 1 right, 3 wrong, 1 cannot be checked"
    assert lines[2].startswith("  3 × ∂L/∂b: a sum runs over too many axes")
    assert any(line.startswith("  1 ×") and "a division is missing" in line for line in lines)
    assert any("cannot be checked: running the file fails: ValueError" in line for line in lines)
    assert lines[-1].startswith("protections: ") and "no sandbox (turned off)" in lines[-1]


def test_csv_has_a_byte_order_mark_and_the_rest_goes_elsewhere(
    place: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert command.main([*hand_in(place, ada=RIGHT, bob=AXIS), "--lang", "ko"]) == 1
    out, err = capfdbinary.readouterr()
    assert out.startswith(b"\xef\xbb\xbf") and out.count(b"\xef\xbb\xbf") == 1
    rows = list(csv.DictReader(io.StringIO(out.decode("utf-8-sig"))))
    assert sorted(row["파일"] for row in rows) == ["ada.py", "bob.py"]
    assert {row["결과"] for row in rows} == {"맞음", "틀림"}
    assert "보호 장치" in err.decode() and "1 ×" in err.decode()


def test_output_to_a_file_is_utf8(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = place / "rows.csv"
    assert command.main([*hand_in(place, bob=AXIS), "--output", str(rows)]) == 1
    assert rows.read_bytes().startswith(b"\xef\xbb\xbffile,result")
    assert capsys.readouterr().out == ""
    found = command.main([*hand_in(place, bob=AXIS), "--format", "json", "--output", str(rows)])
    assert found == 1 and json.loads(rows.read_text())[0]["report"]["claims"][0]["after"]


@pytest.mark.parametrize("form", ["csv", "text"])
def test_a_reader_that_has_seen_enough_ends_it_quietly(place: Path, form: str) -> None:
    arguments = [*hand_in(place, **{f"s{i}": RIGHT_CLAIMS for i in range(4)}), "--format", form]
    inside, outside = os.pipe()
    os.close(inside)
    done = subprocess.run(
        [sys.executable, "-m", "tinygrad_edu", *arguments],
        stdout=outside,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    os.close(outside)
    assert done.returncode == 141 and b"Traceback" not in done.stderr


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp949", "cp1252", "utf-8"])
def test_any_encoding_takes_any_sign(encoding: str) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    Printer(stream).line("✓ ∂L/∂W → Xᵀ 가 \ud800 😀")
    assert stream.buffer.getvalue().endswith(b"\n")


def test_a_mistake_that_gradients_share_is_explained_once(place: Path) -> None:
    sign = RIGHT.replace("A - Y", "Y - A")
    hand_in(place, ada=sign)
    text = check_file(place / "class" / "ada.py", place / "task.py").text()
    assert text.count("err = A - Y") == 1 and text.count("smallest counterexample") == 1
    assert "the same mistake as in ∂L/∂b" in text
    row = Outcome(
        "ada.py", 1, report=check_file(place / "class" / "ada.py", place / "task.py").report
    )
    assert [mistake.count for mistake in class_mistakes([row, row])] == [2]


def test_progress_counts_without_rich(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "rich.console", None)
    with progress(2, shown=True) as advance:
        advance()
        advance()
    assert "2/2" in capsys.readouterr().err


def test_progress_with_rich(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("rich")
    with progress(2, shown=True) as advance:
        advance()
    assert "Traceback" not in capsys.readouterr().err


# --- rows as they are ready -----------------------------------------------------------------------


def test_a_slow_submission_holds_up_no_other_row(place: Path) -> None:
    slow = Submission("a.py", b"import time\ntime.sleep(100)")
    fast = [Submission(f"{c}.py", RIGHT_CLAIMS.encode()) for c in "bcd"]
    with Check(place / "task.py", seconds=3.0) as check:
        order = [outcome.file for outcome in outcomes(check, [slow, *fast], jobs=2)]
    assert order[-1] == "a.py" and sorted(order) == ["a.py", "b.py", "c.py", "d.py"]


def test_a_check_that_is_left_early_ends_its_processes(place: Path) -> None:
    endless = [Submission(f"{i}.py", b"while True: pass") for i in range(3)]
    with Check(place / "task.py", seconds=60.0) as check:
        rows = outcomes(check, [Submission("a.py", b""), *endless], jobs=2)
        assert next(rows).file == "a.py"
        rows.close()  # type: ignore[attr-defined]
    assert check.server is not None and check.server.poll() is not None


# --- the task -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def forward(:", "the Python is wrong"),
        ("raise ValueError('no')", "ValueError: no"),
        ("shapes = {}\nforward = 3", "must be a function"),
        ("def forward(X): return X", "no dictionary `shapes`"),
        (TASK.replace("np.log", "np.nonsense"), "forward fails"),
        (TASK.replace("m n", "m n !"), "expected letters"),
        ("", "empty"),
        ("import sys\nsys.exit(1)", "sys.exit"),
        ("import os\nos._exit(3)", "exit code 3"),
    ],
)
def test_a_wrong_task_is_said_once(
    place: Path, text: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = hand_in(place, ada=RIGHT, bob=WRONG)
    (place / "task.py").write_text(text)
    assert command.main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == "" and said in err and err.count("task.py") == 1
    assert "ada" not in err and "bob" not in err


def test_a_task_that_is_not_there() -> None:
    with pytest.raises(TaskRefused, match="No such file"):
        Check(Path("nowhere.py"))


def test_a_bare_tuple_is_in_the_order_of_the_task(place: Path) -> None:
    text = "def backprop(X, Y, A):\n    return X.T @ (A - Y) / len(X), (A - Y).mean(axis=0)\n"
    hand_in(
        place, tuple_=text, named=RIGHT.replace("return W_grad, b_grad", "return b_grad, W_grad")
    )
    for name in ("tuple_", "named"):
        assert check_file(place / "class" / f"{name}.py", place / "task.py").code == 0


def test_a_forward_of_its_own_is_marked(place: Path) -> None:
    own = "def forward(W): return (W * W).sum()\nshapes = {'W': 'n'}\nclaims = {'W': '2 * W'}\n"
    hand_in(place, ada=own)
    alone = check_file(place / "class" / "ada.py")
    assert alone.code == 0 and alone.marks == ["`forward` is the submission's own"]
    (place / "task.py").write_text("wrt = ['W', 'b']")
    asked = check_file(place / "class" / "ada.py", place / "task.py")
    assert asked.code == 1 and asked.marks and "asked for" in asked.first()["reason"]


# --- where there is less --------------------------------------------------------------------------


def test_without_the_module_resource(place: Path) -> None:
    hidden = place / "hidden"
    hidden.mkdir()
    (hidden / "resource.py").write_text("raise ImportError('no module of this name here')")
    arguments = [*hand_in(place, ada=RIGHT, eve="while True: pass"), "--format", "table"]
    paths = os.pathsep.join([str(hidden), str(ROOT)])
    done = run([*arguments, "--seconds", "3"], env={"PYTHONPATH": paths})
    text = done.stdout.decode()
    assert done.returncode == 2 and not done.stderr
    assert (
        "✓ ada.py  right" in text and "– eve.py  cannot be checked  0/2  it takes more than" in text
    )
    assert "no limits on memory and files" in text.splitlines()[-1]


def test_where_the_system_cannot_fork(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "send_fds")
    hand_in(place, ada=RIGHT, bob=AXIS)
    with Check(place / "task.py") as check:
        assert check.server is None
        found = [check.outcome(s).code for s in submissions_in(place / "class")]
    assert found == [0, 1]


@pytest.mark.parametrize("trouble", ["absent", "bwrap: No permissions"])
def test_a_sandbox_that_is_asked_for_and_not_there(
    place: Path, trouble: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "sandbox_trouble", lambda: trouble)
    arguments = hand_in(place, ada=RIGHT)[:-1]
    assert command.main([*arguments, "on"]) == 2
    assert "there is no sandbox" in capsys.readouterr().err
    assert command.main([*arguments, "auto", "--format", "table"]) == 0
    assert "no sandbox (" in capsys.readouterr().out.splitlines()[-1]


def test_the_line_of_protections() -> None:
    assert protections(True).endswith("sandbox (bubblewrap)")
    assert "no sandbox (turned off)" in protections(False, "turned off")


# --- reading --------------------------------------------------------------------------------------


def test_links_pipes_and_devices_are_not_read(place: Path) -> None:
    folder = place / "class"
    os.mkfifo(folder / "pipe.py")
    (folder / "zero.py").symlink_to("/dev/zero")
    (folder / "other.py").symlink_to(place / "task.py")
    (folder / "nowhere.py").symlink_to("nowhere")
    found = {s.name: s.refusal for s in submissions_in(folder)}
    assert len(found) == 4
    assert {refusal.what for refusal in found.values() if refusal} == {"is-link", "not-file"}


def test_one_folder_for_each_student(place: Path) -> None:
    files = {
        "ada/hw1/main.py": RIGHT,
        "ada/hw1/plot.py": "import matplotlib",
        "bob/notes.txt": "hello",
        "bob/net.ipynb": notebook(RIGHT).decode(),
        "cyd/a.py": RIGHT,
        "cyd/b.py": RIGHT,
        "dan/readme.pdf": "",
        "eve.py": RIGHT_CLAIMS,
        ".git/x.py": RIGHT,
        "shared.csv": "1,2",
    }
    for name, text in files.items():
        path = place / "class" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    found = {s.name: s for s in submissions_in(place / "class")}
    assert list(found) == ["ada/hw1/main.py", "bob/net.ipynb", "cyd", "dan", "eve.py"]
    assert found["ada/hw1/main.py"].files.keys() == {"hw1/main.py", "hw1/plot.py", "shared.csv"}
    several, none = found["cyd"].refusal, found["dan"].refusal
    assert several is not None and several.said("en").endswith("a.py, b.py")
    assert none is not None and none.what == "no-files"


def test_the_task_in_the_folder_is_no_submission(place: Path) -> None:
    (place / "class" / "task.py").write_text(TASK)
    (place / "class" / "ada.py").write_text(RIGHT)
    found = submissions_in(place / "class", place / "class" / "task.py")
    assert [s.name for s in found] == ["ada.py"]


def test_a_line_of_a_notebook_is_told_with_its_cell(place: Path) -> None:
    (place / "class" / "ada.ipynb").write_bytes(notebook("%time\nimport os", AXIS))
    found = check_file(place / "class" / "ada.ipynb", place / "task.py")
    assert "b_grad = np.sum(err) / m (in cell 2, line 6)" in found.text()
    wrong = notebook("x = 1", "y = 1\ndef f(:\n")
    with pytest.raises(Unreadable, match="cell 2, line 2: the Python is wrong"):
        read_source("a.ipynb", wrong)


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.py", b"\xff\xfe\x00", "UTF-8"),
        ("a.py", b"# coding: nonsense\n", "UTF-8"),
        ("a.py", "# 가\n".encode("cp949"), "UTF-8"),
        ("a.txt", b"\xff\xff\xff", "UTF-8"),
        ("a.ipynb", b"[1]", "not a notebook"),
        ("a.ipynb", b'{"cells": [{"cell_type": "code"}]}', "not a notebook"),
        ("a.py", b" \n", "empty"),
        ("a.ipynb", b'{"cells": []}', "empty"),
    ],
)
def test_what_is_no_source(name: str, data: bytes, said: str) -> None:
    with pytest.raises(Unreadable, match=said):
        read_source(name, data)


def test_a_file_that_disappears(place: Path) -> None:
    refusal = read_file(place / "gone.py").refusal
    assert refusal is not None and "No such file" in refusal.said("en")


# --- answers --------------------------------------------------------------------------------------

CLAIM: dict[str, Any] = {
    "name": "W",
    "status": "right",
    "text": "x",
    "conditions": [],
    "kinds": [],
    "reason": "",
    "before": "",
    "after": "",
    "remarks": [],
    "line": None,
    "cell": None,
    "counterexample": None,
}


def answers() -> Iterator[Any]:
    """Yield answers that have not the form of one."""
    right = {"code": 0, "marks": [], "report": {"claims": [CLAIM], "notes": []}}
    yield from ([], {}, 0, "right", {"code": 7}, {"code": 0, "report": [1]}, {"code": True})
    yield {**right, "code": 1}  # contradicts its claims
    yield {**right, "report": {"claims": [], "notes": []}}  # nothing is right of nothing
    yield {**right, "code": float("inf")}
    yield {**right, "marks": [1]}
    deep: list[Any] = []
    for _ in range(5000):
        deep = [deep]
    example = {"sizes": {}, "inputs": {"X": deep}, "claimed": 1, "true": 2}
    for change in (
        {"status": "perfect"},
        {"name": None},
        {"line": -1},
        {"line": 1e999},
        {"cell": "1"},
        {"kinds": "sign"},
        {"remarks": [None]},
        {"conditions": 3},
        {"counterexample": 3},
        {"counterexample": example},
        {"remarks": ["x"] * 2000},
    ):
        yield {**right, "report": {"claims": [{**CLAIM, **change}], "notes": []}}


@pytest.mark.parametrize("answer", [*answers()], ids=lambda answer: type(answer).__name__)
def test_an_answer_without_the_form_of_one_costs_its_own_row(answer: Any) -> None:
    found = outcome_of("eve.py", answer, "no result")
    assert found.code == 2 and found.reason == "its answer has not the form of a report"
    assert to_csv([found]) and summary([found], "") and found.text()


def test_an_answer_is_taken_over_without_signs_for_terminals() -> None:
    claim = {**CLAIM, "text": "\x1b[31mX\x07", "remarks": ["a" * 10_000]}
    answer = {"code": 0, "marks": ["\x1b]0;title"], "report": {"claims": [claim], "notes": []}}
    found = outcome_of("eve.py", answer, "")
    text = found.text()
    assert found.code == 0 and "\x1b" not in text and "\x07" not in text and len(text) < 9000


# --- hints and languages --------------------------------------------------------------------------


def test_the_command_gives_hints(place: Path) -> None:
    arguments = hand_in(place, ada=AXIS, bob=WRONG_CLAIMS)
    told: list[dict[str, str]] = []
    for hints in HINTS:
        found = check_folder(Path(arguments[1]), Path(arguments[3]), hints=hints)
        text = "\n".join(outcome.text() for outcome in found)
        lines = "\n".join([*map(table_line, found), summary(found, "")])
        told.append({"text": text, "table": lines, "csv": to_csv(found), "json": to_json(found)})
    for form in told[0]:
        place_of = '"line": 6' if form == "json" else "b_grad = np.sum(err) / m"
        texts = [one[form] for one in told]
        assert [place_of in text for text in texts[:2]] == [False, True]
        assert ["too many axes" in text for text in texts[:3]] == [False, False, True]
        assert ["axis=0" in text for text in texts] == [False, False, False, True]


def test_the_command_passes_hints_on(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [*hand_in(place, ada=AXIS), "--format", "text", "--hints", "1"]
    assert command.main(arguments) == 1
    out = capsys.readouterr().out
    assert "look at  b_grad = np.sum(err) / m (in line 6)" in out and "axis=0" not in out


HALF = "claims = {'b': 'np.mean(A - Y, axis=0)'}"

# What HOUSE says of the command's Korean, and how it is brought about.
KOREAN_ROWS = [
    ({}, RIGHT, "다른 파일에 있으면 --task FILE로 지정하십시오"),
    ({"task": TASK}, HALF, "요구한 그레이디언트인데 제출하지 않았습니다"),
    ({}, "x = (\n", "확인할 수 없음 – 1행 파이썬 문법 오류: '(' was never closed"),
    ({"task": TASK}, "claims = {'W': 'D9', 'b': 'b'}", "정의되지 않은 이름입니다: 'D9'"),
    ({"task": TASK}, RIGHT, "무작위로 만든 문제 "),
    ({"task": TASK}, WRONG_CLAIMS, "특수한 경우에만 맞음"),
    ({"task": TASK}, "while True: pass", "확인할 수 없음 – 2초가 넘게 걸립니다"),
]


@pytest.mark.parametrize(("files", "text", "said"), KOREAN_ROWS)
def test_korean(
    tmp_path: Path, files: dict[str, str], text: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ada.py").write_text(text)
    arguments = ["verify", str(tmp_path / "ada.py"), "--lang", "ko"]
    if files:
        (tmp_path / "task.py").write_text(files["task"])
        arguments += ["--task", str(tmp_path / "task.py")]
    command.main([*arguments, *(["--seconds", "2"] if "while" in text else [])])
    assert said in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["--lang", "ko", "--help"], ["--help", "--lang=ko"]])
def test_the_help_speaks_korean(
    arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit) as end:
        command.main(["verify", *arguments])
    text = capsys.readouterr().out
    assert end.value.code == 0
    for key in ("files", "task", "hints", "sandbox", "options", "help"):
        assert SENTENCES[f"help-{key}"][1] in " ".join(text.split())
    assert "show this help" not in text and "usage:" not in text


def test_the_columns_speak_korean() -> None:
    header = to_csv([], "ko").strip()
    assert header == "파일,결과,맞은 수,전체 수,첫 번째 실수,진단,수정,비고"
