"""Files that hold a derivation, and how they are checked: each in a process of its own.

A file is plain Python, as the chapter writes it:

    shapes = {"X": "m n", "Y": "m k onehot", "W": "n k", "b": "k"}

    def forward(X, Y, W, b):                  # computes the loss
        A = tg.softmax(X @ W + b)
        return -(Y * np.log(A)).sum() / len(X)

    claims = {"W": "X.T @ (A - Y) / m", "b": "np.sum(A - Y, axis=0) / m"}

`np` and `tg` are there without an import. In the place of `claims`, or beside it, may stand a
function `backprop`, or a class that has it as a method; `wrt` names the values that it returns,
`given` defines further names, see `verify`. For a class of students, `forward` and `shapes` come
from the teacher's file (the task), and a submission holds the rest; `wrt` in the task names the
gradients that are asked for, and one that is not claimed is a mistake.

A submission is somebody's program, and checking it runs it. It is run in a process of its own with
bounds on time and memory, so that one that hangs, eats memory, prints without end or ends the
process costs only its own row. It protects from accidents, not from malice. In particular a
submission can

- read and change whatever you can: files, the network, the teacher's file, other submissions;
- write a result of its own, since it runs in the very process that reports on it;
- leave a process behind that has left the group (setsid), which the time limit then does not end;
- start processes, each of which has the bound on memory for itself;
- fill the disk with many files (each is bounded to 1 MB) or the machine's shared memory.

For people whom you do not trust run the whole command in a container or a virtual machine. A
submission that is nothing but strings in a dictionary, with a task, is only read and never run.
"""

from __future__ import annotations

import ast
import contextlib
import csv
import io
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .problems import CannotCheck
from .report import Report, Verdict
from .verification import verify
from .wording import Told, say

__all__ = ["Outcome", "check_file", "check_folder", "load", "report_on", "to_csv", "to_json"]

RIGHT, WRONG, CANNOT = 0, 1, 2
RESULTS = ("right", "wrong", "cannot be checked")  # in the English wording
MOST_OUTPUT = 4_000_000  # bytes of a result
NAMES = ("forward", "shapes", "inputs", "claims", "backprop", "given", "wrt")


@dataclass
class Outcome:
    """What came of a file: 0 right, 1 wrong, 2 cannot be checked, for the reason given.

    Example:
        >>> Outcome("ada.py", 2, reason="the file is empty").row()["result"]
        'cannot be checked'
    """

    file: str
    code: int
    reason: str = ""
    text: str = ""
    report: dict[str, Any] = field(default_factory=dict)

    def row(self, lang: str = "en") -> dict[str, Any]:
        """The line of a class list."""
        claims = self.report.get("claims", [])
        wrong = [claim for claim in claims if claim["status"] != "right"]
        # the one that says most: a function that fails spoils the others too
        first: dict[str, Any] = max(wrong, key=lambda claim: bool(claim["kinds"]), default={})
        change = f"{first['before']} → {first['after']}" if first.get("after") else ""
        cells = {
            "file": self.file,
            "result": say(RESULTS[self.code], lang) if lang != "en" else RESULTS[self.code],
            "right-claims": len(claims) - len(wrong),
            "claims": len(claims),
            "first mistake": first.get("name", ""),
            "diagnosis": first.get("reason", "") or self.reason,
            "fix": change,
        }
        return {say(column, lang): cell for column, cell in cells.items()}


def load(path: Path, run: bool = True) -> dict[str, Any]:
    """The names that a file defines; `run=False`: only those that can be read off it.

    Raises:  CannotCheck if it cannot be read or fails, also by calling sys.exit
    Example:
        load(Path("ada.py"))["claims"]      # {'W': 'X.T @ (A - Y) / m'}
        >>> load(Path("nowhere.py"))  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        tinygrad_edu...CannotCheck: the file cannot be read: No such file or directory
    """
    try:
        if path.stat().st_size > 1_000_000:
            raise CannotCheck("large-file")
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise CannotCheck("no-reading", error=error.strerror) from None
    except UnicodeDecodeError:
        raise CannotCheck("not-utf8") from None
    if not text.strip():
        raise CannotCheck("empty-file")
    try:
        tree = ast.parse(text, str(path))
    except SyntaxError as error:
        raise CannotCheck("bad-python", line=error.lineno, error=error.msg) from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise CannotCheck("no-reading", error=error) from None
    if (found := _literals(tree)) is not None:
        return found
    if not run:
        return {}
    names: dict[str, Any] = {"__name__": "submission", "__file__": str(path), "np": np}
    names["tg"] = sys.modules["tinygrad_edu"]
    try:
        exec(compile(tree, str(path), "exec"), names)
    except SystemExit:
        raise CannotCheck("exits") from None
    except MemoryError:
        raise CannotCheck("memory") from None
    except Exception as error:
        raise CannotCheck("file-fails", error=f"{type(error).__name__}: {error}") from None
    for x in list(names.values()):  # as the chapter has it: a method of a class
        if isinstance(x, type) and x.__module__ == "submission" and "backprop" in vars(x):
            names.setdefault("backprop", vars(x)["backprop"])
    return {name: names[name] for name in NAMES if name in names}


def _literals(tree: ast.Module) -> dict[str, Any] | None:
    """The values of a file that is nothing but assignments of literals, else None."""
    found = {}
    for statement in tree.body:
        match statement:
            case ast.Expr(value=ast.Constant()):
                continue
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if name in NAMES:
                try:
                    found[name] = ast.literal_eval(value)
                except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
                    return None
            case _:
                return None
    return found


def report_on(path: Path, task: Path | None = None, lang: str = "en") -> Report:
    """The report on a file, checked in this very process.

    Raises:  CannotCheck
    Example:
        print(report_on(Path("ada.py"), task=Path("task.py")))
        >>> report_on(Path("nowhere.py"))  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        tinygrad_edu...CannotCheck: the file cannot be read: No such file or directory
    """
    names = load(path)
    asked_for: Sequence[str] = ()
    if task is not None:
        teachers = load(task)
        asked_for = teachers.get("wrt", ())
        names = {**names, **{k: teachers[k] for k in ("forward", "shapes", "inputs", "given")
                             if k in teachers}}  # fmt: skip
    inputs = names.get("shapes", names.get("inputs"))
    if "forward" not in names:
        raise CannotCheck("no-forward")
    if inputs is None:
        raise CannotCheck("no-shapes")
    if not isinstance(inputs, Mapping) or not callable(names["forward"]):
        raise CannotCheck("wrong-kinds")
    asked = [names[name] for name in ("claims", "backprop") if name in names]
    if not asked:
        raise CannotCheck("no-claims")
    settings = {key: names[key] for key in ("given", "wrt") if key in names}
    try:
        reports = [
            verify(names["forward"], claims, inputs=inputs, lang=lang, **settings)
            for claims in asked
        ]
    except (TypeError, ValueError) as error:
        if isinstance(error, CannotCheck):
            raise
        raise CannotCheck("check-fails", error=f"{type(error).__name__}: {error}") from error
    verdicts = [verdict for report in reports for verdict in report.verdicts]
    claimed = {verdict.name for verdict in verdicts}
    verdicts += [Verdict(name, "error", "", reason=say("not-claimed", lang))
                 for name in asked_for if name not in claimed]  # fmt: skip
    return Report(verdicts, reports[-1].notes, lang)


def outcome_of(path: Path, task: Path | None, lang: str, colour: bool) -> dict[str, Any]:
    """What a worker sends back.

    Example:
        >>> outcome_of(Path("nowhere.py"), None, "en", False)["code"]
        2
    """
    refusal: Told
    try:
        report = report_on(path, task, lang)
    except CannotCheck as error:
        refusal = error
    except SystemExit:
        refusal = Told("exits")
    except MemoryError:
        refusal = Told("memory")
    except RecursionError:
        refusal = Told("recursion")
    except Exception as error:
        refusal = Told("check-fails", error=f"{type(error).__name__}: {error}")
    else:
        code = RIGHT if report.right else WRONG
        return {"code": code, "text": report.text(colour), "report": report.to_dict()}
    return {"code": CANNOT, "reason": refusal.said(lang)[:2000]}


def check_file(
    path: Path,
    task: Path | None = None,
    *,
    lang: str = "en",
    seconds: float = 20.0,
    megabytes: int = 2048,
    colour: bool = False,
) -> Outcome:
    """Check a file in a process of its own, with bounds on its time and its memory.

    Example:
        >>> check_file(Path("nowhere.py")).reason
        'the file cannot be read: No such file or directory'
    """
    receiver, sender = os.pipe()
    command = [
        sys.executable, "-P", "-m", "tinygrad_edu.verifying.worker", str(path.resolve()),
        str(task.resolve()) if task else "", lang, str(int(colour)), str(sender),
        str(seconds), str(megabytes),
    ]  # fmt: skip
    package = str(Path(__file__).resolve().parents[2])
    paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
    threads = dict.fromkeys(
        ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"
    )  # each thread would reserve memory of its own
    folder = path.resolve().parent
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            pass_fds=(sender,), start_new_session=True, cwd=folder if folder.is_dir() else None,
            env={**os.environ, **threads, "PYTHONPATH": os.pathsep.join(paths)},
        )  # fmt: skip
    finally:
        os.close(sender)
    try:
        answer, in_time = _receive(receiver, seconds + 2.0)
    finally:
        os.close(receiver)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # and whatever it has started
        code = process.wait()
    try:
        found = json.loads(answer)
        return Outcome(path.name, int(found["code"]), found.get("reason", ""),
                       found.get("text", ""), found.get("report", {}))  # fmt: skip
    except (ValueError, KeyError, TypeError, UnicodeDecodeError):
        pass
    if not in_time or code == -signal.SIGXCPU:
        reason = say("slow", lang, seconds=seconds)
    elif code in (-signal.SIGKILL, -signal.SIGSEGV, -signal.SIGABRT):
        reason = say("killed", lang)
    else:
        reason = say("no-result", lang, code=code)
    return Outcome(path.name, CANNOT, reason)


def _receive(descriptor: int, seconds: float) -> tuple[bytes, bool]:
    """All that is sent until the other end is closed, and whether that was in time."""
    deadline, answer = time.monotonic() + seconds, bytearray()
    while (left := deadline - time.monotonic()) > 0:
        ready, _, _ = select.select([descriptor], [], [], left)
        if not ready:
            break
        piece = os.read(descriptor, 65536)
        answer += piece
        if not piece or len(answer) > MOST_OUTPUT:
            return bytes(answer), True
    return bytes(answer), False


def check_folder(
    folder: Path, task: Path | None = None, *, jobs: int = 2, **settings: Any
) -> list[Outcome]:
    """Check every Python file of a folder, in the order of their names.

    Example:
        check_folder(Path("class"), task=Path("task.py"))
        >>> check_folder(Path("nowhere"))
        []
    """
    files = sorted(path for path in folder.glob("*.py") if not path.name.startswith((".", "__")))
    if task is not None:
        files = [path for path in files if path.resolve() != task.resolve()]
    with ThreadPoolExecutor(max(1, jobs)) as pool:
        return list(pool.map(lambda path: check_file(path, task, **settings), files))


def to_csv(outcomes: Sequence[Outcome], lang: str = "en") -> str:
    """A class list as CSV, one row a submission.

    Example:
        >>> print(to_csv([Outcome("ada.py", 2, "the file is empty")]), end="")
        file,result,right,claims,first mistake,diagnosis,change
        ada.py,cannot be checked,0,0,,the file is empty,
    """
    text = io.StringIO()
    fields = list(Outcome("", 0).row(lang))
    writer = csv.DictWriter(text, fields, lineterminator="\n")
    writer.writeheader()
    for outcome in outcomes:
        # A cell that begins like a formula would be run by a spreadsheet.
        row = outcome.row(lang)
        writer.writerow(
            {
                k: f"'{v}" if isinstance(v, str) and v[:1] in "=+-@\t" and v else v
                for k, v in row.items()
            }
        )
    return text.getvalue()


def to_json(outcomes: Sequence[Outcome]) -> str:
    """A class list as JSON, with the reports in full. Its keys are English in every language.

    Example:
        >>> json.loads(to_json([Outcome("ada.py", 2, "the file is empty")]))[0]["file"]
        'ada.py'
    """
    rows = [{**o.row(), "report": o.report} for o in outcomes]
    return json.dumps(rows, ensure_ascii=False, indent=2)
