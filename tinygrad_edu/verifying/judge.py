"""The verdict on one submission, in a process that runs the task and this library only.

What the submission claims in text is read and worked out here, within bounds. What it computes in
functions of its own it computes in the student's process (`elsewhere`), from the inputs of random
problems; here its arrays are held against the gradients.

Where the task has no `forward`, or there is no task, the submission's own is used: then everything
runs in one process, and the verdict is worth what its author's word is.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .answers import CANNOT, RIGHT, WRONG
from .elsewhere import Conversation, Elsewhere, Stopped
from .inputs import CannotCheck
from .prepared import Prepared
from .report import Report, Verdict
from .sources import Source, executed, literals, read_source
from .verification import verified
from .wording import Told, error_text, say

__all__ = ["Job", "differentiates", "judged", "judged_alone", "task_of"]


@dataclass
class Job:
    """A submission to be judged, and how.

    Example:
        >>> Job("ada.py", b"claims = {}").lang
        'en'
    """

    file: str
    data: bytes
    files: dict[str, bytes] = field(default_factory=dict)  # what lies beside it
    lang: str = "en"
    hints: int = 3
    seconds: float = 20.0
    megabytes: int = 2048
    sandbox: bool = False


def task_of(file: str, data: bytes) -> dict[str, Any]:
    """Return what the teacher's file defines, and as `prepared` the problems for its `forward`.

    Raises:  Told if it cannot be used
    Example:
        >>> text = b"shapes = {'w': 'n'}\\ndef forward(w): return (w * w).sum()"
        >>> sorted(task_of("task.py", text))
        ['forward', 'prepared', 'shapes']
    """
    source = read_source(file, data)
    if not source.python:
        raise Told("task-not-python")
    names = _run(source, file, "task")
    if "forward" in names:
        try:
            names["prepared"] = Prepared(*_loss(names), names.get("given"))
            verified(names["prepared"], {})
        except CannotCheck as error:
            if error.what != "no-claim":  # which is said last, of a task that works
                raise
        except (TypeError, ValueError) as error:
            if isinstance(error, Told):
                raise
            raise Told("check-fails", error=error_text(error)) from error
    return names


def _run(source: Source, file: str, module: str) -> dict[str, Any]:
    """Return the names of a source that is run in this process.

    Raises:  Told with the reason if it fails
    """
    try:
        return executed(source.text, file, module)
    except SystemExit:
        raise Told("exits") from None
    except MemoryError:
        raise Told("memory") from None
    except Exception as error:
        raise Told("file-fails", error=error_text(error)) from None


def _loss(names: Mapping[str, Any]) -> tuple[Any, Mapping[str, Any]]:
    """Return `forward` and what is said of its inputs.

    Raises:  Told if there is none
    """
    inputs = names.get("shapes", names.get("inputs"))
    if "forward" not in names:
        raise Told("no-forward")
    if inputs is None:
        raise Told("no-shapes")
    if not isinstance(inputs, Mapping) or not callable(names["forward"]):
        raise Told("wrong-kinds")
    return names["forward"], inputs


def judged(job: Job, task: Mapping[str, Any]) -> dict[str, Any]:
    """Return the answer on a submission to a task that has a `forward`.

    Example:
        >>> task = task_of("t.py", b"shapes = {'w': 'n'}\\ndef forward(w): return (w * w).sum()")
        >>> judged(Job("ada.py", b"claims = {'w': '2 * w'}"), task)["code"]
        0
    """
    marks: list[str] = []
    return _answered(job, marks, lambda: _report_to_task(job, task, marks))


def _report_to_task(job: Job, task: Mapping[str, Any], marks: list[str]) -> Report:
    source = read_source(job.file, job.data)
    if not source.python:
        return _report(job, source, task, {"claims": source.text}, task)
    names = literals(source.tree)
    if names is not None:
        return _report(job, source, task, names, task)
    talk = Conversation(source.text, job.file, job.files, job.seconds, job.megabytes, job.sandbox)
    with talk:
        found = _loaded(talk)
        report = _report(job, source, task, found, task)
    seen = [f"{library} (line {line})" for line, library in differentiates(source)] or talk.seen
    if seen:
        marks.append(say("differentiates", job.lang, what=", ".join(dict.fromkeys(seen))))
    return report


def _loaded(talk: Conversation) -> dict[str, Any]:
    """Return what a submission defines, its functions as they can be called from here."""
    try:
        found = talk.load()
    except Exception as error:
        raise Told("file-fails", error=error_text(error)) from None
    if not isinstance(found, dict):
        raise Told("bad-answer")
    found = {name: _with_functions(talk, x) for name, x in found.items()}
    if isinstance(found.get("claims"), dict):
        found["claims"] = {k: _with_functions(talk, x) for k, x in found["claims"].items()}
    return found


def _with_functions(talk: Conversation, x: Any) -> Any:
    told = isinstance(x, dict) and {"function", "name", "signature", "text"} <= x.keys()
    return Elsewhere(talk, x) if told else x


def judged_alone(job: Job, task: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the answer on a submission with a `forward` of its own, run in this very process.

    `task` may hold what else is known, such as `wrt`.

    Example:
        >>> text = b"shapes = {'w': 'n'}\\ndef forward(w): return (w * w).sum()\\n"
        >>> found = judged_alone(Job("ada.py", text + b"claims = {'w': 'w'}"), None)
        >>> found["report"]["claims"][0]["after"]
        '2 * w'
    """
    marks: list[str] = []

    def report() -> Report:
        source = read_source(job.file, job.data)
        if not source.python:
            raise Told("no-forward")
        names = literals(source.tree)
        names = _run(source, job.file, "submission") if names is None else names
        teachers = dict(task or {})
        teachers.pop("wrt", None)
        return _report(job, source, {**names, **teachers}, names, task or {})

    return _answered(job, marks, report)


def _report(
    job: Job,
    source: Source,
    loss: Mapping[str, Any],
    names: Mapping[str, Any],
    task: Mapping[str, Any],
) -> Report:
    """Return the report on what a submission claims.

    loss    where `forward` and `shapes` are taken from
    names   what the submission defines
    task    what the teacher's file defines: `wrt` are the gradients that it asks for
    """
    _loss(loss)
    asked = [names[name] for name in ("claims", "backprop") if name in names]
    if not asked:
        raise Told("no-claims")
    given = task.get("given", names.get("given"))
    orders = [names.get("wrt"), task.get("wrt")]
    try:
        prepared = loss.get("prepared")
        if prepared is None or given != task.get("given"):
            prepared = Prepared(*_loss(loss), given)
        reports = [
            _verified(prepared, claims, orders, lang=job.lang, hints=job.hints) for claims in asked
        ]
    except (TypeError, ValueError) as error:
        if isinstance(error, Told):
            raise
        raise Told("check-fails", error=error_text(error)) from error
    verdicts = [verdict for report in reports for verdict in report.verdicts]
    claimed = {verdict.name for verdict in verdicts}
    missing = [name for name in task.get("wrt") or () if name not in claimed]
    reason = say("not-claimed", job.lang)
    verdicts += [Verdict(str(name), "error", "", reason=reason) for name in missing]
    for verdict in verdicts:
        if verdict.line:
            verdict.cell, verdict.line = source.place(verdict.line)
    return Report(verdicts, reports[-1].notes, job.lang)


def _verified(prepared: Prepared, claims: Any, orders: Sequence[Any], **settings: Any) -> Report:
    """Return the report on claims; the task's order of values where the claims tell none."""
    own, teachers = orders
    try:
        return verified(prepared, claims, wrt=own, **settings)
    except CannotCheck as error:
        if own or not teachers or error.what not in ("function-order", "function-names"):
            raise
        return verified(prepared, claims, wrt=teachers, **settings)


def _answered(job: Job, marks: list[str], report: Any) -> dict[str, Any]:
    """Return the answer that a report makes, or the reason why there is none."""
    refusal: Told
    try:
        made: Report = report()
    except Stopped as error:
        refusal = error.told
    except Told as error:
        refusal = error
    except SystemExit:
        refusal = Told("exits")
    except MemoryError:
        refusal = Told("memory")
    except RecursionError:
        refusal = Told("recursion")
    except Exception as error:
        refusal = Told("check-fails", error=error_text(error))
    else:
        code = RIGHT if made.right else WRONG
        return {"code": code, "report": made.to_dict(), "marks": marks}
    return {"code": CANNOT, "reason": refusal.said(job.lang)[:2000], "marks": marks}


LIBRARIES = ("autograd", "jax", "mygrad", "tensorflow", "torch")  # that differentiate


def differentiates(source: Source) -> Iterator[tuple[int, str]]:
    """Yield the lines in which a source asks a library for derivatives, and for what.

    Example:
        >>> list(differentiates(read_source("ada.py", b"dW = tg.grad(loss, [W])")))
        [(1, 'tg.grad')]
    """
    for x in ast.walk(source.tree):
        match x:
            case ast.Import(names=names):
                libraries = [alias.name for alias in names]
            case ast.ImportFrom(module=str(module)):
                libraries = [module]
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=attribute)) if name in (
                "tg",
                "tinygrad_edu",
            ) and attribute in ("grad", "explain", "Tensor"):
                yield x.lineno, f"{name}.{attribute}"
                continue
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr="backward")) if (
                name != "self"
            ):
                yield x.lineno, f"{name}.backward"
                continue
            case _:
                continue
        for library in libraries:
            if library.partition(".")[0] in LIBRARIES:
                yield x.lineno, library
