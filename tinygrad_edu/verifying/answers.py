"""Outcomes of submissions: the answers of judges, taken over only as far as they have the form.

An answer may come from a process that ran the submission. So it is read as data that can be
anything: codes, texts, lists and numbers are checked one by one, and what is printed is made from
them here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .report import Counterexample, Report, Verdict
from .wording import say

__all__ = ["CANNOT", "RIGHT", "WRONG", "Outcome", "outcome_of"]

RIGHT, WRONG, CANNOT = 0, 1, 2
RESULTS = ("right", "wrong", "cannot be checked")  # in the English wording
STATUSES = ("right", "wrong", "special", "error", "unreadable")


@dataclass
class Outcome:
    """The outcome of a file: 0 right, 1 wrong, 2 cannot be checked, for the reason given.

    Example:
        >>> Outcome("ada.py", 2, reason="the file is empty").row()["result"]
        'cannot be checked'
    """

    file: str
    code: int
    reason: str = ""
    report: dict[str, Any] = field(default_factory=dict)
    marks: list[str] = field(default_factory=list)
    asked: int | None = None  # how many gradients the task asks for; None if it does not say

    def first(self) -> dict[str, Any]:
        """Return the first wrong claim that says of what kind its mistake is, else the first."""
        wrong = [c for c in self.report.get("claims", []) if c["status"] != "right"]
        # a function that fails spoils the other claims too
        return max(wrong, key=lambda claim: bool(claim["kinds"]), default={})

    def row(self, lang: str = "en") -> dict[str, Any]:
        """Return the line of a class list; the number of claims is None where it is not known."""
        claims, first = self.report.get("claims", []), self.first()
        change = f"{first['before']} → {first['after']}" if first.get("after") else ""
        cells = {
            "file": self.file,
            "result": say(RESULTS[self.code], lang) if lang != "en" else RESULTS[self.code],
            "right-claims": sum(claim["status"] == "right" for claim in claims),
            "claims": len(claims) if self.report else self.asked,
            "first mistake": first.get("name", ""),
            "diagnosis": first.get("reason", "") or self.reason,
            "fix": change or first.get("before", ""),
            "note": "; ".join(self.marks),
        }
        return {say(column, lang): cell for column, cell in cells.items()}

    def as_report(self, lang: str = "en") -> Report | None:
        """Return the report, or None if the file cannot be checked."""
        if not self.report:
            return None
        known = Verdict.__dataclass_fields__
        verdicts = [
            Verdict(**{k: x for k, x in c.items() if k in known and k != "counterexample"})
            for c in self.report["claims"]
        ]
        for verdict, claim in zip(verdicts, self.report["claims"], strict=True):
            verdict.counterexample = _counterexample(claim.get("counterexample"))
        return Report(verdicts, self.report["notes"], lang)

    def text(self, lang: str = "en", colour: bool = False) -> str:
        """Return what is printed about the file.

        Example:
            >>> print(Outcome("ada.py", 2, "the file is empty").text())
            ada.py: cannot be checked: the file is empty
        """
        report = self.as_report(lang)
        if report is None:
            return say("refused-file", lang, file=self.file, reason=self.reason)
        return "\n".join([f"{self.file}: {report.text(colour)}", *self.marks])


def outcome_of(name: str, answer: Any, otherwise: str, lang: str = "en") -> Outcome:
    """Return the outcome that an answer tells, whatever it is; `otherwise` if there is none.

    Only what has the right form is taken over, and only as much as a report can hold: a row of its
    own is all that an answer can spoil.

    Example:
        >>> outcome_of("eve.py", {"code": 0, "report": [1]}, "no result").reason
        'its answer has not the form of a report'
    """
    if answer is None:
        return Outcome(name, CANNOT, otherwise)
    try:
        return _outcome(name, answer)
    except (ValueError, TypeError, LookupError, RecursionError):
        return Outcome(name, CANNOT, say("bad-answer", lang))


def _outcome(name: str, answer: Any) -> Outcome:
    code = answer["code"]
    marks = [_text(mark, 500) for mark in _list(answer["marks"])]
    if type(code) is not int or code not in (RIGHT, WRONG, CANNOT):
        raise ValueError("a code is 0, 1 or 2")
    if code == CANNOT:
        return Outcome(name, CANNOT, _text(answer["reason"], 2000), marks=marks)
    claims = [_claim(claim) for claim in _list(answer["report"]["claims"])]
    right = all(claim["status"] == "right" for claim in claims)
    if not claims or right != (code == RIGHT):
        raise ValueError("the code contradicts the claims")
    notes = [_text(note, 2000) for note in _list(answer["report"]["notes"])]
    return Outcome(name, code, "", {"right": right, "claims": claims, "notes": notes}, marks)


def _claim(claim: Any) -> dict[str, Any]:
    if claim["status"] not in STATUSES:
        raise ValueError("an unknown status")
    found: dict[str, Any] = {
        "name": _text(claim["name"], 200),
        "status": claim["status"],
        "text": _text(claim["text"], 20_000),
        "conditions": [_text(x, 200) for x in _list(claim["conditions"])],
        "kinds": tuple(_text(x, 100) for x in _list(claim["kinds"])),
        "reason": _text(claim["reason"], 4000),
        "before": _text(claim["before"], 20_000),
        "after": _text(claim["after"], 20_000),
        "remarks": [_text(x, 4000) for x in _list(claim["remarks"])],
    }
    for place in ("line", "cell"):
        number = claim[place]
        if number is not None and (type(number) is not int or not 0 <= number < 10**7):
            raise ValueError("a place is a number")
        found[place] = number
    example = claim["counterexample"]
    found["counterexample"] = None if example is None else _example(example)
    return found


def _example(example: Any) -> dict[str, Any]:
    sizes = {_text(k, 20): int(n) for k, n in example["sizes"].items()}
    inputs = {_text(k, 200): _numbers(x) for k, x in example["inputs"].items()}
    numbers = {k: _numbers(example[k]) for k in ("claimed", "true")}
    return {"sizes": sizes, "inputs": inputs, **numbers}


def _counterexample(example: Mapping[str, Any] | None) -> Counterexample | None:
    return None if example is None else Counterexample(**example)


def _list(x: Any) -> list[Any]:
    if not isinstance(x, (list, tuple)) or len(x) > 1000:
        raise ValueError("a list is expected")
    return list(x)


def _text(x: Any, most: int) -> str:
    """Return a text without signs that would move a terminal's cursor or change its colours."""
    if not isinstance(x, str):
        raise ValueError("a text is expected")
    clean = "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in x)
    return clean if len(clean) <= most else clean[:most] + "…"


def _numbers(x: Any, depth: int = 0) -> Any:
    """Return numbers in lists, or a text."""
    if isinstance(x, (bool, int, float)) or x is None:
        return x
    if isinstance(x, str):
        return _text(x, 1000)
    if depth > 8:
        raise ValueError("lists in lists in lists")
    return [_numbers(y, depth + 1) for y in _list(x)]
